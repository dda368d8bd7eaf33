"""The command `s3kv`."""
