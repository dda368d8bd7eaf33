"""`S3KV`, one topic a module: `keys`, `tags`, `locks`, `local`; `store` puts them together."""

from s3kv_flow._kv.store import S3KV

__all__ = ["S3KV"]
