"""Tags: `s3kv tag`, `find`, `gc`, `repair`."""

from __future__ import annotations

import click

from s3kv_flow.cli.output import as_json, parse_tags, print_json, print_table, progress, store


@click.command()
@click.argument("key", required=False)
@click.argument("tags", nargs=-1, metavar="[NAME=VALUE]...")
@click.option("--prefix", help="Tag all keys that begin with it, in the place of KEY.")
@click.option("--replace", is_flag=True, help="Drop the tags that KEY has.")
@as_json
def tag(
    key: str | None, tags: tuple[str, ...], prefix: str | None, replace: bool, as_json: bool
) -> None:
    """Add tags to KEY, or show those it has."""
    if prefix is not None:
        wanted = parse_tags([key, *tags] if key else tags)
        if not wanted or replace:
            raise click.UsageError("with --prefix, give tags to add")
        with progress("tagged") as told:
            count = store().tag_keys_with_prefix(prefix, wanted, progress=told)
        if as_json:
            print_json({"tagged": count})
        else:
            click.echo(f"tagged {count:,}", err=True)
        return
    if key is None:
        raise click.UsageError("give a KEY or a --prefix")
    kv = store()
    if tags or replace:
        kv.tag_key(key, parse_tags(tags), replace=replace)
    found = kv.get_tags(key)
    if as_json:
        print_json(found)
    elif not tags:
        print_table(("tag", "value"), list(found.items()))


@click.command()
@click.argument("tag", metavar="NAME=VALUE")
@click.option("--count", is_flag=True, help="Print how many there are.")
@as_json
def find(tag: str, count: bool, as_json: bool) -> None:
    """Print the keys that have a tag.

    Memoized results are among them.
    """
    ((name, value),) = parse_tags([tag]).items()
    keys = store().iter_keys_by_tag_value(name, value)
    if count:
        total = sum(1 for _ in keys)
        print_json({"count": total}) if as_json else click.echo(total)
    elif as_json:
        print_json(sorted(keys))
    else:
        for key in keys:
            click.echo(key)


@click.command()
@click.option("--dry-run", is_flag=True, help="Only tell.")
@as_json
def gc(dry_run: bool, as_json: bool) -> None:
    """Clean the tag index.

    Removes markers, older than a day, of tags that keys no longer have.
    """
    with progress("looked at") as told:
        count = store().collect_tag_index(dry_run=dry_run, progress=told)
    if as_json:
        print_json({"removed": 0 if dry_run else count, "removable": count})
    else:
        click.echo(f"{'would remove' if dry_run else 'removed'} {count:,} markers")


@click.command()
@click.argument("prefix", default="")
@as_json
def repair(prefix: str, as_json: bool) -> None:
    """Index what other tools have tagged.

    Reads the tags of all keys that begin with PREFIX, or of all.
    """
    with progress("looked at") as told:
        count = store().repair_tag_index(prefix, progress=told)
    if as_json:
        print_json({"tags": count})
    else:
        click.echo(f"indexed {count:,} tags")
