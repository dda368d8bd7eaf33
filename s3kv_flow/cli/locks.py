"""Locks: `s3kv lock` and `s3kv hold`."""

from __future__ import annotations

import sys

import click

from s3kv_flow.cli.output import as_json, describe, print_json, print_table, store

_key = click.argument("key")


@click.group()
def lock() -> None:
    """Retain keys: nobody changes them."""


@lock.command()
@_key
@click.option("--days", type=float, required=True, help="From now, by the server's clock.")
@click.option("--compliance", is_flag=True, help="So that nobody can end it, not even an admin.")
def place(key: str, days: float, compliance: bool) -> None:
    """Lock KEY."""
    kv = store()
    kv.place_retention_lock(key, days, "COMPLIANCE" if compliance else "GOVERNANCE")
    click.echo(describe(kv.get_lock(key)), err=True)


@lock.command()
@_key
def remove(key: str) -> None:
    """End KEY's lock now, if it is a GOVERNANCE one; takes a few seconds."""
    store().remove_retention_lock(key)


@lock.command()
@_key
@as_json
def show(key: str, as_json: bool) -> None:
    """Tell what protects KEY; exit status 1 where nothing does."""
    found = store().get_lock(key)
    print_json(found) if as_json else click.echo(describe(found))
    sys.exit(0 if found else 1)


@lock.command()
@click.argument("prefix", default="")
@as_json
def verify(prefix: str, as_json: bool) -> None:
    """Find keys whose locked version another tool has hidden; exit status 1 if there are any."""
    hidden = store().verify_locks(prefix)
    if as_json:
        print_json(hidden)
    elif hidden:
        print_table(("hidden", "its lock"), list(hidden.items()))
        click.echo("\nBring one back with: s3kv lock restore KEY", err=True)
    else:
        click.echo("every locked version is the one that is read")
    sys.exit(1 if hidden else 0)


@lock.command()
@_key
def restore(key: str) -> None:
    """Bring back the locked version of KEY that another tool has hidden."""
    if not store().restore_locked(key):
        click.echo("no locked version of it is hidden", err=True)
        sys.exit(1)


@click.group()
def hold() -> None:
    """Hold keys: nobody deletes them."""


@hold.command("apply")
@_key
def apply_(key: str) -> None:
    """Hold KEY."""
    store().apply_legal_hold(key)


@hold.command()
@_key
def release(key: str) -> None:
    """Release KEY, all its versions."""
    store().release_legal_hold(key)


@hold.command("show")
@_key
@as_json
def show_hold(key: str, as_json: bool) -> None:
    """Tell whether KEY is held; exit status 1 where it is not."""
    held = store().is_legal_hold_applied(key)
    print_json({"legal_hold": held}) if as_json else click.echo("held" if held else "not held")
    sys.exit(0 if held else 1)
