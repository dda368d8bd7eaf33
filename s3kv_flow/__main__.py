"""``python -m s3kv_flow`` is the command `s3kv`."""

from s3kv_flow.cli.main import main

main()
