"""Authenticated bytes: the `S3KV1` envelope, its two suites, and the keys that seal it."""
