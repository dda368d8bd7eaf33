"""The command's root: errors to exit codes, and the groups of commands.

Exit status: 0 done, 1 no (not found, locked, not running), 2 usage, 3 the store.
"""

from __future__ import annotations

import sys

import click

from s3kv_flow import __version__
from s3kv_flow.cli.demo import demo
from s3kv_flow.cli.doctor import doctor, policy_command
from s3kv_flow.cli.explain import check_key, explain
from s3kv_flow.cli.keys import keys, reseal, verify
from s3kv_flow.cli.lifecycle import lifecycle
from s3kv_flow.cli.local import local
from s3kv_flow.cli.locks import hold, lock
from s3kv_flow.cli.results import clear, show
from s3kv_flow.cli.tags import find, gc, repair, tag
from s3kv_flow.cli.values import cp, get, ls, merge, put, rm, stat
from s3kv_flow.errors import (
    ConfigurationError,
    ConflictError,
    InvalidKeyError,
    InvalidTagError,
    KeyLockedError,
    KeyNotFoundError,
    MergeError,
    MissError,
    S3KVError,
    UnhashableArgumentError,
)

NO, USAGE, STORE = 1, 2, 3


_REFUSED = (KeyNotFoundError, MissError, KeyLockedError, ConflictError)
_MISUSED = (
    *(ConfigurationError, InvalidKeyError, InvalidTagError, MergeError),
    UnhashableArgumentError,
)


class _InOrder(click.Group):
    """Lists its commands as they were added, related ones side by side."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(self.commands)


@click.group(cls=_InOrder, context_settings={"help_option_names": ["-h", "--help"]})
@click.option("--endpoint-url", metavar="URL", help="The server; S3_ENDPOINT_URL, else AWS.")
@click.option("--bucket", help="The bucket; S3_BUCKET.")
@click.option("--root", help="The prefix of the store's objects; S3KV_ROOT, else s3kv.")
@click.option("--keyring", metavar="FILE", help="Opens sealed values; S3KV_KEYRING_FILE.")
@click.version_option(__version__, prog_name="s3kv")
def commands(**_: object) -> None:
    """Results of data pipelines, computed once and kept on S3."""


for _command in (
    *(ls, get, put, rm, cp, merge, stat),
    *(tag, find, repair, gc),
    *(lock, hold),
    *(show, explain, clear, check_key),
    *(keys, reseal, verify),
    *(doctor, lifecycle, policy_command, local, demo),
):
    commands.add_command(_command)


def main() -> None:
    """Run the command; our own errors become one line and an exit status."""
    try:
        commands()
    except S3KVError as error:
        click.echo(f"s3kv: {error}", err=True)
        if isinstance(error, _REFUSED):
            sys.exit(NO)
        sys.exit(USAGE if isinstance(error, _MISUSED) else STORE)
