"""Assets of the scheme ``s3kv``: what a cached task gives, as ``s3kv://cache/<name>``."""

from __future__ import annotations

from typing import Any
from urllib.parse import SplitResult


def sanitize_uri(uri: SplitResult) -> SplitResult:
    """Check the address of an asset.

    Raises
    ------
    ValueError
        It names nothing, or has credentials in it.
    """
    if not uri.netloc:
        raise ValueError("an s3kv:// asset needs a name, such as s3kv://cache/features")
    if uri.username or uri.password:
        raise ValueError("an s3kv:// asset has no credentials: they belong into a connection")
    return uri._replace(path=uri.path.rstrip("/") or "/")


def create_asset(*, name: str, extra: dict[str, Any] | None = None) -> Any:
    """Give the asset of a cache."""
    from airflow.sdk import Asset

    return Asset(uri=f"s3kv://cache/{name}", extra=extra)
