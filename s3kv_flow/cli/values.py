"""Keys and values: `s3kv ls`, `get`, `put`, `rm`, `cp`, `merge`, `stat`."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import click

from s3kv_flow._model import ANY, Deleted
from s3kv_flow._secret import revealed
from s3kv_flow.cli.output import (
    as_json,
    parse_tags,
    print_facts,
    print_json,
    print_table,
    progress,
    store,
)
from s3kv_flow.codecs.plain import dump_exact


@click.command()
@click.argument("prefix", default="")
@click.option("-l", "--long", is_flag=True, help="Also size and time.")
@as_json
def ls(prefix: str, long: bool, as_json: bool) -> None:
    """List the keys that begin with PREFIX.

    Memoized results are listed for a PREFIX that begins with cache/.
    """
    kv = store()
    if not long and not as_json:
        for key in kv.iter_keys(prefix):  # as they come: there may be millions
            click.echo(key)
        return
    rows = sorted((key, meta.size_bytes, meta.modified) for key, meta in kv._backend.listed(prefix))
    if as_json:
        names = ("key", "size_bytes", "modified")
        print_json([dict(zip(names, row, strict=True)) for row in rows])
    else:
        print_table(("key", "bytes", "modified"), rows)


@click.command()
@click.argument("key")
@click.option(
    "-o",
    "--output",
    type=click.Path(path_type=Path, dir_okay=False),
    help="Write the value to a file: bytes as they are, others as JSON.",
)
@as_json
def get(key: str, output: Path | None, as_json: bool) -> None:
    """Print the value of KEY.

    JSON as text, bytes as they are, others as Python shows them.
    """
    value = revealed(store()[key])
    text = dump_exact(value)
    if isinstance(value, bytes) and not as_json:
        data = value
    elif text is not None:
        data = (json.dumps(value, indent=2, ensure_ascii=False) + "\n").encode(
            "utf-8", "surrogatepass"
        )
    elif as_json or output is not None:
        raise click.ClickException(f"a {type(value).__name__} has no JSON form")
    else:
        data = f"{value!r}\n".encode("utf-8", "backslashreplace")
    if output is not None:
        output.write_bytes(data)
    else:
        sys.stdout.flush()
        sys.stdout.buffer.write(data)
        sys.stdout.buffer.flush()


@click.command()
@click.argument("key")
@click.argument("value", required=False)
@click.option("--file", type=click.File("rb"), help="Read it from a file; - is standard input.")
@click.option(
    "--as",
    "kind",
    type=click.Choice(["json", "text", "bytes"]),
    help="What it is; JSON where it is JSON, else text, if not said.",
)
@click.option("-t", "--tag", "tags", multiple=True, metavar="NAME=VALUE", help="Tag it.")
def put(key: str, value: str | None, file: Any, kind: str | None, tags: tuple[str, ...]) -> None:
    """Store VALUE under KEY."""
    if (value is None) == (file is None):
        raise click.UsageError("give a VALUE or a --file, and not both")
    data = file.read() if value is None else value.encode("utf-8", "surrogateescape")
    store().add(key, _parsed(data, kind), tags=parse_tags(tags))


def _no_constant(name: str) -> None:
    raise ValueError(f"{name} is no JSON (RFC 8259, section 6)")


def _parsed(data: bytes, kind: str | None) -> Any:
    if kind == "bytes":
        return data
    try:
        text = data.decode()
    except UnicodeDecodeError:
        raise click.UsageError("the value is no text; store it with --as bytes") from None
    if kind == "text":
        return text
    try:
        return json.loads(text, parse_constant=_no_constant)
    except ValueError as error:
        if kind == "json":
            raise click.UsageError(f"the value is no JSON: {error}") from None
        return text


@click.command()
@click.argument("keys", nargs=-1)
@click.option("--prefix", help="All keys that begin with it.")
@click.option("--tag", "tag", metavar="NAME=VALUE", help="All keys with the tag.")
@click.option("-y", "--yes", is_flag=True, help="Do not ask.")
@as_json
def rm(
    keys: tuple[str, ...], prefix: str | None, tag: str | None, yes: bool, as_json: bool
) -> None:
    """Delete KEYS.

    Absent ones are no error. Locked ones are kept and named, and the exit status is 1.
    """
    if sum((bool(keys), prefix is not None, tag is not None)) != 1:
        raise click.UsageError("give KEYS, or --prefix, or --tag")
    kv = store()
    if not keys and not yes:
        which = f"tag {tag}" if tag else f"prefix {prefix!r}"
        click.confirm(f"Delete all keys with {which} from {kv.location}?", abort=True, err=True)
    with progress("deleted") as told:
        if tag is not None:
            ((name, value),) = parse_tags([tag]).items()
            done = kv.delete_by_tag(name, value, progress=told)
        else:
            layout = kv._backend.layout
            names = (
                (meta.name for _, meta in kv._backend.listed(prefix))
                if prefix is not None
                else map(layout.object, keys)
            )
            objects = ((name, ANY) for name in names)
            done = kv._backend.delete_many(objects, lambda deleted: told(deleted.count))
    _report(done, as_json)


def _report(done: Deleted, as_json: bool) -> None:
    if as_json:
        print_json({"deleted": done.count, "locked": done.locked})
    else:
        click.echo(f"deleted {done.count:,}", err=True)
        for key in done.locked:
            click.echo(f"locked, kept: {key}", err=True)
    if done.locked:
        sys.exit(1)


@click.command()
@click.argument("source")
@click.argument("destination")
def cp(source: str, destination: str) -> None:
    """Copy the value of SOURCE to DESTINATION.

    The value alone: its tags and locks stay behind.
    """
    store().copy_key(source, destination)


@click.command()
@click.argument("sources", nargs=-1, required=True)
@click.argument("destination")
def merge(sources: tuple[str, ...], destination: str) -> None:
    """Merge dicts into that of DESTINATION.

    Left to right, as one step: merges at the same time lose nothing.
    """
    store().merge_keys(sources, destination)


@click.command()
@click.argument("key")
@as_json
def stat(key: str, as_json: bool) -> None:
    """Tell what is known of KEY."""
    kv = store()
    facts: dict[str, Any] = {
        "key": key,
        "object": kv._backend.layout.object(key),
        "size_bytes": kv.get_key_size(key),
        "modified": kv.get_key_last_updated_time(key),
        "tags": kv.get_tags(key),
        "lock": kv.get_lock(key),
    }
    if as_json:
        print_json(facts)
        return
    tags = (f"{name}={value}" for name, value in facts["tags"].items())
    print_facts({**facts, "tags": ", ".join(tags) or "none"})
