"""`s3kv demo`."""

import click


@click.command()
def demo() -> None:
    """Show it."""
