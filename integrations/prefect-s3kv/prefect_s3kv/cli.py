"""`prefect-s3kv setup`: makes Prefect's server know the block, so that its name is enough."""

from __future__ import annotations

from typing import Any

import click


@click.group()
@click.version_option(package_name="prefect-s3kv")
def main() -> None:
    """Prefect task results on S3, shared with s3kv-flow."""


@main.command()
@click.option("--name", default="default", show_default=True, help="What the block is called.")
@click.option("--bucket", help="The bucket; by default what S3_BUCKET says where a task runs.")
@click.option("--endpoint-url", help="The S3 server, where it is not AWS.")
@click.option("--root", help="The prefix of all objects.")
@click.option("--max-age-days", type=float, help="Compute older results again.")
@click.option("--set-default", is_flag=True, help="Make it the server's default result storage.")
def setup(set_default: bool, name: str, **settings: Any) -> None:
    """Register the block type, and save a block.

    Credentials are not saved: each worker finds its own, by the ordinary AWS chain.
    """
    from prefect.client.orchestration import get_client

    from prefect_s3kv.storage import S3KVStorage

    given = {key: value for key, value in settings.items() if value is not None}
    block: Any = S3KVStorage(**given)
    try:
        identity = block.save(name, overwrite=True, _sync=True)
        if set_default:
            with get_client(sync_client=True) as client:
                client.update_server_default_result_storage(identity)
    except Exception as error:
        raise click.ClickException(
            f"Prefect's server could not be asked ({error}). Start it with `prefect server start`, "
            "or set PREFECT_API_URL."
        ) from error
    click.echo(f'Saved. Use it with result_storage="s3kv-storage/{name}".')
    if set_default:
        click.echo("Tasks that say nothing else store their results there.")


if __name__ == "__main__":
    main()
