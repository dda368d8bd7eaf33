"""Memoized results: `s3kv show` and `clear`."""

from __future__ import annotations

import sys
from dataclasses import asdict

import click

from s3kv_flow.adapters import calls_at, results_of, sweep, sweep_local
from s3kv_flow.cli.output import as_json, parse_tags, print_facts, print_json, store
from s3kv_flow.errors import KeyNotFoundError


@click.command()
@click.argument("key")
@as_json
def show(key: str, as_json: bool) -> None:
    """Tell what is known of the result under KEY, without its value.

    KEY is that of a memoized result, cache/NAME/H2/DIGEST, as `f.key(...)` and `s3kv ls cache/`
    give it.
    """
    calls, call = calls_at(key, store=store())
    entry = calls.peek(call)
    if entry is None:
        raise KeyNotFoundError("there is no such result, or it cannot be opened here", key=key)
    facts = asdict(entry)
    if as_json:
        print_json(facts)
        return
    producer = ", ".join(f"{name} {value}" for name, value in entry.producer.items())
    tags = ", ".join(f"{name}={value}" for name, value in entry.tags.items())
    print_facts(
        {
            **facts,
            "age_seconds": f"{entry.age_seconds:.0f}",
            "tags": tags or "none",
            "producer": producer or "unknown",
        }
    )


@click.command()
@click.option("--older-than", "days", type=click.FloatRange(min=0), help="Only those, in days.")
@click.option("--name", help="Only the results of one function, by its cache's name.")
@click.option("--tag", metavar="NAME=VALUE", help="Only those with the tag.")
@click.option("--local", is_flag=True, help="This machine's copies alone; the bucket is untouched.")
@click.option("-n", "--dry-run", is_flag=True, help="Delete nothing, and tell.")
@click.option("-y", "--yes", is_flag=True, help="Do not ask.")
@as_json
def clear(
    *,
    days: float | None,
    name: str | None,
    tag: str | None,
    local: bool,
    dry_run: bool,
    yes: bool,
    as_json: bool,
) -> None:
    """Delete memoized results: all of them, or those that the options say.

    Keys that were added are not touched. Locked results are kept and named, and the exit status is
    1 then.
    """
    kv = store()
    if local:
        if tag is not None or dry_run:
            raise click.UsageError("--local takes --older-than and --name alone")
        cleared = sweep_local(days or 0, kv, function=name)
        _tell(as_json, {"local_entries": cleared.entries, "local_bytes": cleared.size_bytes})
        return
    if not (yes or dry_run):
        which = f"of {name}" if name else "of all functions"
        older = f" older than {days:g} days" if days else ""
        click.confirm(f"Delete results {which}{older} from {kv.location}?", abort=True, err=True)
    tagged = None if tag is None else next(iter(parse_tags([tag]).items()))
    if not dry_run and tagged is None:
        sweep_local(days or 0, kv, function=name)
    prefix = results_of(name)
    swept = sweep(days or 0, kv, prefix=prefix, tag=tagged, dry_run=dry_run)
    _tell(as_json, {"dry_run": dry_run, **asdict(swept)})
    if swept.locked:
        sys.exit(1)


def _tell(as_json: bool, facts: dict[str, object]) -> None:
    if as_json:
        print_json(facts)
        return
    for name, value in facts.items():
        if name == "locked" and isinstance(value, tuple):
            for key in value:
                click.echo(f"locked, kept: {key}", err=True)
        elif name == "names" and isinstance(value, dict):
            for function, count in sorted(value.items()):
                click.echo(f"{count:8,}  {function}")
        else:
            click.echo(f"{name.replace('_', ' ')}: {value}", err=True)
