"""`s3kv keys`: the keyring that seals entries."""

from __future__ import annotations

from pathlib import Path

import click

from s3kv_flow.envelope.keyring import Keyring
from s3kv_flow.errors import ConfigurationError


@click.group()
def keys() -> None:
    """Make the keys that entries are sealed with."""


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
