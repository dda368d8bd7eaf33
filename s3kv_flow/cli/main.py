"""The command's root: errors to exit codes, and the groups of commands.

Exit status: 0 done, 1 no (not found, not running), 2 usage, 3 the store.
"""

from __future__ import annotations

import sys

import click

from s3kv_flow import __version__
from s3kv_flow.cli.demo import demo
from s3kv_flow.cli.keys import keys
from s3kv_flow.cli.local import local
from s3kv_flow.errors import ConfigurationError, KeyNotFoundError, MissError, S3KVError

NO, USAGE, STORE = 1, 2, 3


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="s3kv")
def commands() -> None:
    """Results of data pipelines, computed once and kept on S3."""


for _command in (local, keys, demo):
    commands.add_command(_command)


def main() -> None:
    """Run the command; our own errors become one line and an exit status."""
    try:
        commands()
    except S3KVError as error:
        click.echo(f"s3kv: {error}", err=True)
        if isinstance(error, (KeyNotFoundError, MissError)):
            sys.exit(NO)
        sys.exit(USAGE if isinstance(error, ConfigurationError) else STORE)
