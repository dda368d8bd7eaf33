"""`s3kv demo`: the main job, on real data and a real S3 server."""

from __future__ import annotations

from pathlib import Path

import click
from rich.console import Console


@click.command()
@click.option(
    "--folder",
    type=click.Path(path_type=Path, file_okay=False),
    default=Path("s3kv-demo"),
    show_default=True,
    help="Where the pipeline, the server's data and the picture go.",
)
def demo(folder: Path) -> None:
    """Run a pipeline on a year of flights, again and again, and show what is computed once."""
    from s3kv_flow.demo.run import Demo

    Demo(folder, Console()).show()
