"""The snippets of the older package's README, as a user would paste them: run as they stand."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from s3kv_flow.stores.connection import Connection

BEGIN = """
from s3kv import S3KV
import os

s3kv = S3KV(os.environ['S3_ENDPOINT_URL'],
             os.environ['S3_BUCKET'], 
             os.environ['AWS_ACCESS_KEY_ID'], os.environ['AWS_SECRET_ACCESS_KEY'],
             enable_local_cache=True)
"""

BASIC = """
# Store data in the database
s3kv.add('key1', 'value1')
s3kv.add('key2', {'name': 'John', 'age': 30})

# Retrieve data from the database
value1 = s3kv.get('key1')
data = s3kv.get('key2')

# Delete a key
s3kv.delete('key1')

# Check if a key exists
if s3kv.exists('key3'):
    print("Key 'key3' exists!")
"""

CACHE = """
# Explicitly clear the cache
s3kv.clear_cache()  # Clears the entire local cache

# Clear files older than max_days
max_days = 2
s3kv.clear_old_cache(max_days)

# Clear the cache for a specific key
s3kv.clear_cache_for_key('test')
"""

SHOW = """
print(value1, data, s3kv.exists('key1'), s3kv.exists('key2'), s3kv.list_keys())
"""


@pytest.fixture(params=["seaweed-lock", "seaweed"])
def environment(
    request: pytest.FixtureRequest, connect: Callable[[str], Connection]
) -> dict[str, str]:
    """A fresh bucket, and nothing but the environment that names it."""
    from tests.conftest import environment_of, new_bucket

    return {**os.environ, **environment_of(new_bucket(request, request.param))}


@pytest.mark.parametrize(
    ("snippet", "printed"),
    [
        (BASIC + SHOW, "value1 {'name': 'John', 'age': 30} False True ['key2']\n"),
        (CACHE, ""),
    ],
    ids=["basic operations", "cache operations"],
)
def test_snippet_runs_as_it_stands(
    snippet: str, printed: str, environment: dict[str, str], tmp_path: Path
) -> None:
    script = tmp_path / "snippet.py"
    script.write_text(BEGIN + snippet)
    done = subprocess.run(
        [sys.executable, str(script)],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, printed, "")
