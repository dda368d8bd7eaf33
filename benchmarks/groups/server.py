"""A bucket to measure on."""

from __future__ import annotations

from obstore.store import S3Store

import s3kv_flow as s3kv
from s3kv_flow._server import LocalServer


def bucket(server: LocalServer) -> tuple[s3kv.S3KV, S3Store]:
    """Make a bucket, and give it to us and to bare obstore."""
    server.create_bucket("bench", object_lock=False)
    connection = server.connection("bench")
    kv = s3kv.S3KV(
        connection.endpoint_url,
        "bench",
        connection.access_key_id,
        connection.secret_access_key,
        enable_local_cache=False,
    )
    plain = S3Store(
        "bench",
        endpoint=connection.endpoint_url,
        access_key_id=connection.access_key_id,
        secret_access_key=connection.secret_access_key,
        region="us-east-1",
        client_options={"allow_http": True, "timeout": "1h"},
    )
    return kv, plain
