"""`s3kv keys`: the keyring that seals entries."""

from __future__ import annotations

import sys
from dataclasses import asdict
from pathlib import Path

import click

from s3kv_flow import _sweep as sweep
from s3kv_flow._sweep import Swept
from s3kv_flow.cli.output import as_json, print_json, print_table, progress, store
from s3kv_flow.envelope.keyring import Keyring
from s3kv_flow.errors import ConfigurationError


@click.group()
def keys() -> None:
    """Make and rotate the keys that entries are sealed with.

    \b
    To rotate without a miss:
      1. s3kv keys add       and give the file to every process: they can read the new key
      2. s3kv keys use ID    and give it again: they seal with it
      3. s3kv reseal         what the old key sealed
      4. s3kv keys retire OLD
    """  # noqa: D301 - click reads the backspace as "do not wrap this"


_file = click.option(
    "--file",
    "path",
    type=click.Path(path_type=Path, dir_okay=False, exists=True),
    envvar="S3KV_KEYRING_FILE",
    required=True,
    help="The keyring; S3KV_KEYRING_FILE.",
)


@keys.command()
@click.option("--id", "key_id", help="The key's name; random by default.")
@click.option(
    "--file",
    "path",
    type=click.Path(path_type=Path, dir_okay=False),
    help="A new file to write it to, readable by you alone.",
)
def generate(key_id: str | None, path: Path | None) -> None:
    """Make a keyring of one new key.

    Without --file it is printed, for a secret store. Give it to every process that reads or
    writes the bucket, as S3KV_KEYRING or, in a file, as S3KV_KEYRING_FILE.
    """
    ring = Keyring.generate(key_id)
    if path is None:
        click.echo(ring.text(), nl=False)
        return
    if not ring.write(path):
        raise ConfigurationError(f"{path} is there already", way_out="Name another file.")
    click.echo(f"wrote {path}; use it with: export S3KV_KEYRING_FILE={path.resolve()}")


@keys.command("list")
@_file
@as_json
def list_(path: Path, as_json: bool) -> None:
    """List the keys by their ids; the first one seals."""
    ring = Keyring.read(path)
    sealing, _ = ring.sealing
    if as_json:
        print_json([{"id": key_id, "seals": key_id == sealing} for key_id in ring])
    else:
        print_table(("key", ""), [(key, "seals" if key == sealing else "opens") for key in ring])


@keys.command()
@_file
@click.option("--id", "key_id", help="The key's name; random by default.")
def add(path: Path, key_id: str | None) -> None:
    """Add a new key, which opens and does not seal yet."""
    ring = Keyring.read(path).adding(key_id)
    ring.replace(path)
    click.echo(f"added {list(ring)[-1]}; when every process has it: s3kv keys use {list(ring)[-1]}")


@keys.command()
@click.argument("key_id", metavar="ID")
@_file
def use(path: Path, key_id: str) -> None:
    """Seal with key ID from now on."""
    Keyring.read(path).sealing_with(key_id).replace(path)
    click.echo(f"{key_id} seals; for what older keys sealed: s3kv reseal")


@keys.command()
@click.argument("key_id", metavar="ID")
@_file
def retire(path: Path, key_id: str) -> None:
    """Remove key ID: what it sealed cannot be read any more."""
    Keyring.read(path).without(key_id).replace(path)
    click.echo(f"removed {key_id}")


def _report(swept: Swept, what: str, as_json: bool) -> None:
    if as_json:
        print_json(asdict(swept))
    else:
        click.echo(f"looked at {swept.looked_at:,} entries, {what.format(swept.changed)}")
        for problem in swept.problems:
            click.echo(f"{problem.key}: {problem.why}", err=True)
    sys.exit(1 if swept.problems else 0)


@click.command()
@as_json
def reseal(as_json: bool) -> None:
    """Seal all entries with the current key.

    Those sealed with another key of the keyring are written anew. Exit status 1 where some could
    not be: locked, or unreadable.
    """
    with progress("looked at") as told:
        swept = sweep.reseal(store()._backend, progress=told)
    _report(swept, "sealed {:,} anew", as_json)


@click.command()
@click.option("--sample", type=float, default=1.0, show_default=True, help="The part to look at.")
@as_json
def verify(sample: float, as_json: bool) -> None:
    """Read entries as a reader would, and name those that fail."""
    with progress("looked at") as told:
        swept = sweep.verify(store()._backend, sample=sample, progress=told)
    _report(swept, f"{len(swept.problems):,} failed", as_json)
