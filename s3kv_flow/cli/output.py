"""How the command shows things: tables for people, JSON for programs, progress on a terminal."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import Any

import click

from s3kv_flow._kv import S3KV
from s3kv_flow._model import Lock

as_json = click.option("--json", "as_json", is_flag=True, help="Print JSON.")


def store() -> S3KV:
    """Give the store that the command's options and the environment name."""
    options: dict[str, Any] = click.get_current_context().find_root().params
    context = click.get_current_context()
    given: dict[str, Any] = {
        name: options[name] for name in ("endpoint_url", "bucket", "root") if options.get(name)
    }
    if options.get("keyring"):
        given["keyring"] = Path(options["keyring"]).expanduser()
    opened = S3KV(**given)
    context.call_on_close(opened.close)
    return opened


def print_json(value: Any) -> None:
    """Print a value as JSON text."""
    click.echo(json.dumps(value, indent=2, ensure_ascii=False, default=_plain))


def _plain(value: Any) -> Any:
    if isinstance(value, datetime):
        return value.isoformat()
    if isinstance(value, Lock):
        return {
            "mode": value.mode,
            "retain_until": value.retain_until,
            "legal_hold": value.legal_hold,
        }
    raise TypeError(f"{type(value).__name__} has no JSON form")


def print_table(columns: Sequence[str], rows: Sequence[Sequence[Any]]) -> None:
    """Print rows in columns as wide as they need; numbers to the right."""
    from rich import box
    from rich.console import Console
    from rich.table import Table

    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, show_edge=False, header_style="bold")
    for index, name in enumerate(columns):
        number = bool(rows) and all(isinstance(row[index], (int, float)) for row in rows)
        table.add_column(name, justify="right" if number else "left", overflow="fold")
    for row in rows:
        table.add_row(*(shown(cell) for cell in row))
    # A pipe has no width: never cut what a program may read.
    console = Console(width=None if sys.stdout.isatty() else 10_000, highlight=False, markup=False)
    with console.capture() as captured:
        console.print(table)
    click.echo("\n".join(line.rstrip() for line in captured.get().rstrip().splitlines()))


def print_facts(facts: Mapping[str, Any]) -> None:
    """Print names and values, one a line."""
    width = max(map(len, facts))
    for name, value in facts.items():
        click.echo(f"{click.style(name.ljust(width), bold=True)}  {shown(value)}")


def shown(value: Any) -> str:
    """Give a value as a person reads it in a table."""
    if isinstance(value, datetime):
        return value.astimezone().strftime("%Y-%m-%d %H:%M:%S")
    if isinstance(value, Lock):
        return describe(value)
    return str(value)


def describe(lock: Lock) -> str:
    """Say what a lock does."""
    parts = []
    if lock.mode is not None:
        parts.append(f"{lock.mode} until {shown(lock.retain_until)}")
    if lock.legal_hold:
        parts.append("legal hold")
    return ", ".join(parts) or "none"


@contextmanager
def progress(what: str) -> Iterator[Callable[[int], object]]:
    """Show on a terminal how many are done; the function is told the number."""
    from rich.console import Console
    from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

    console = Console(stderr=True)
    columns = (
        SpinnerColumn(),
        TextColumn(f"{what} {{task.completed:,.0f}}"),
        TimeElapsedColumn(),
    )
    with Progress(
        *columns, console=console, transient=True, disable=not console.is_terminal
    ) as bar:
        task = bar.add_task(what, total=None)
        yield lambda done: bar.update(task, completed=done)


def parse_tags(texts: Sequence[str]) -> dict[str, str]:
    """Read ``name=value`` arguments."""
    tags = {}
    for text in texts:
        name, equals, value = text.partition("=")
        if not equals or not name:
            raise click.UsageError(f"{text!r} is no tag: write it as name=value")
        tags[name] = value
    return tags
