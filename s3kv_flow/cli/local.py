"""`s3kv local`: a real S3 server on this machine."""

from __future__ import annotations

import json
import shlex
import sys
from pathlib import Path
from typing import Any

import click

from s3kv_flow._server import LocalServer, default_folder, describe

DEFAULT_BUCKET = "s3kv-local"

_folder = click.option(
    "--folder",
    type=click.Path(path_type=Path, file_okay=False),
    default=default_folder,
    help="Where its data, logs and credentials lie.",
)
_bucket = click.option("--bucket", default=DEFAULT_BUCKET, show_default=True, help="The bucket.")
_json = click.option("--json", "as_json", is_flag=True, help="Print JSON.")


@click.group()
def local() -> None:
    """Run a real S3 server (SeaweedFS) on loopback, with its own credentials and data."""


@local.command()
@_folder
@_bucket
@_json
@click.option("--port", type=int, help="The first of five ports; free ones by default.")
def start(folder: Path, bucket: str, as_json: bool, port: int | None) -> None:
    """Start the server and make the bucket, with Object Lock."""
    server = LocalServer(folder)
    was_running = server.running() is not None
    if not was_running and not as_json:
        click.echo("starting SeaweedFS ...", err=True)
    server.start(port=port)
    server.create_bucket(bucket)
    state = describe(server, bucket)
    if as_json:
        click.echo(json.dumps(state))
        return
    click.echo(
        f"{'already running' if was_running else 'running'} at {state['endpoint_url']}, "
        f"bucket {bucket}, data in {folder}"
    )
    option = "" if folder == default_folder() else f" --folder {shlex.quote(str(folder))}"
    click.echo(f'To use it from this shell:  eval "$(s3kv local env{option})"')


@local.command()
@_folder
def stop(folder: Path) -> None:
    """Stop the server; its data stays."""
    if not LocalServer(folder).stop():
        click.echo("not running", err=True)
        sys.exit(1)
    click.echo("stopped")


@local.command()
@_folder
@_bucket
@_json
def status(folder: Path, bucket: str, as_json: bool) -> None:
    """Tell whether it runs, and where."""
    state = describe(LocalServer(folder), bucket)
    click.echo(json.dumps(state) if as_json else _shown(state))
    sys.exit(0 if state["running"] else 1)


def _shown(state: dict[str, Any]) -> str:
    if not state["running"]:
        return f"not running (data in {state['folder']})"
    return f"running at {state['endpoint_url']} (process {state['pid']}, data in {state['folder']})"


@local.command()
@_folder
@_bucket
@_json
def env(folder: Path, bucket: str, as_json: bool) -> None:
    """Print the environment that finds it, for a shell to evaluate."""
    variables = LocalServer(folder).environment(bucket)
    if as_json:
        click.echo(json.dumps(variables))
    else:
        for name, value in variables.items():
            click.echo(f"export {name}={shlex.quote(value)}")
