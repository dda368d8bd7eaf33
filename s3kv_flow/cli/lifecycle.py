"""`s3kv lifecycle`: rules by which the bucket itself ends old results."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from typing import Any

import click

from s3kv_flow._cache import FunctionCache
from s3kv_flow._lifecycle import Plan, apply, plan
from s3kv_flow.cli.explain import module_of
from s3kv_flow.cli.output import as_json, print_json, print_table, store
from s3kv_flow.keys.classes import cache_of

_modules = click.argument("modules", nargs=-1, metavar="[MODULE]...")


@click.group()
def lifecycle() -> None:
    """Have the bucket itself end old results.

    One rule for each cached function of a MODULE that has a max_age, of that age and its longest
    stale window in whole days; on a bucket that keeps versions, also rules that end old versions
    of what the library writes. Rules of others stay as they are. They save storage and nothing
    else: readers judge the exact age.
    """


@lifecycle.command("print")
@_modules
def print_(modules: tuple[str, ...]) -> None:
    """Print the rules, those that the bucket has included.

    As JSON, in the form that S3 takes.
    """
    wanted = plan(store()._backend, _caches(modules))
    _tell_left_out(wanted)
    print_json(wanted.configuration)


@lifecycle.command("apply")
@_modules
@click.option("-y", "--yes", is_flag=True, help="Do not ask.")
@as_json
def apply_(modules: tuple[str, ...], yes: bool, as_json: bool) -> None:
    """Write the rules to the bucket."""
    kv = store()
    wanted = plan(kv._backend, _caches(modules))
    _tell_left_out(wanted)
    if not as_json:
        _show(wanted)
    if wanted.changed and not yes:
        click.confirm(f"Write these rules to {kv.location}?", abort=True, err=True)
    apply(kv._backend, wanted)
    if as_json:
        print_json({"changed": wanted.changed, "rules": wanted.ours})
    else:
        click.echo("written" if wanted.changed else "they are there already", err=True)


def _caches(modules: tuple[str, ...]) -> Iterator[FunctionCache]:
    """Give the caches of the functions and methods of modules."""
    sys.path.insert(0, os.getcwd())
    for name in modules:
        for found in vars(module_of(name)).values():
            members = vars(found).values() if isinstance(found, type) else [found]
            for member in members:
                cache = cache_of(_function(member))
                if isinstance(cache, FunctionCache):
                    yield cache


def _function(member: Any) -> Any:
    return member.__func__ if isinstance(member, (staticmethod, classmethod)) else member


def _tell_left_out(wanted: Plan) -> None:
    for said in wanted.left_out:
        click.echo(f"left out, {said}", err=True)


def _show(wanted: Plan) -> None:
    rows = [(rule["Filter"]["Prefix"], _said(rule)) for rule in wanted.ours]
    if rows:
        print_table(("objects below", "end"), rows)
    others = len(wanted.configuration["Rules"]) - len(wanted.ours)
    click.echo(f"{others} other rule{'s' * (others != 1)} kept as they are", err=True)


def _said(rule: dict[str, Any]) -> str:
    if "Expiration" in rule:
        days = rule["Expiration"]["Days"]
        return f"after {days} day{'s' * (days != 1)}"
    return "a day after they were written over or deleted"
