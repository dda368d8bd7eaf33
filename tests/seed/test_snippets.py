"""The README of the older package: every snippet, as a user would paste it, run as it stands."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from s3kv_flow.stores.connection import Connection
from s3kv_flow.stores.control import Boto3Objects

README = (Path(__file__).parent / "README_of_the_older_package.md").read_text("utf-8")
SNIPPETS = dict(
    re.findall(r"^### ([^\n]+)\n(?:(?!^###).)*?^```\n(.*?)^```$", README, re.MULTILINE | re.DOTALL)
)
MERGE = re.findall(r"^```\n(.*?)^```$", README, re.MULTILINE | re.DOTALL)[2]

TIME = r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d\+00:00\n"
PRINTED = {
    "Basic Operations": "",
    "Extended Key Operations : Copy and Merge": "",
    "Cache Operations": "",
    "Tagging Keys": (r"{'environment': 'production', 'module': 'user_management'}\n\['test_c'\]\n"),
    "Listing Keys": r"\[\]\n",
    "Locking Keys - Retention and Legal Hold": r"Key 'test_retention' is under legal hold\.\n",
    "Utility functions": r"21\n" + TIME,
}
#: What is there afterwards, of what the snippets wrote and of `test`, `test_a` and `test_c`.
LEFT = {
    "Basic Operations": {"key2": {"name": "John", "age": 30}},
    "Extended Key Operations : Copy and Merge": {
        "source_key": {"name": "john"},
        "destination_key": {"name": "john"},
    },
    "Tagging Keys": {"test": None, "test_a": None, "test_c": None},
    "Locking Keys - Retention and Legal Hold": {"test_retention": {"name": "fat_boy_slim"}},
    "Utility functions": {"test": {"dj": "fatboy slim"}},
}


@pytest.fixture
def bucket(request: pytest.FixtureRequest) -> Connection:
    """A fresh bucket with Object Lock, and what the README takes to be in it."""
    from tests.conftest import new_bucket

    connection = new_bucket(request, "seaweed-lock")
    store = Boto3Objects(connection)
    for key in ("test", "test_a", "test_c"):
        store.put(f"s3kv/{key}.json", [b'{"written": "by the older package"}'])
    return connection


@pytest.fixture
def run(bucket: Connection, tmp_path: Path) -> Callable[[str], str]:
    """Run a script with nothing but the environment that names the bucket."""
    from tests.conftest import environment_of

    def run(script: str) -> str:
        file = tmp_path / "snippet.py"
        file.write_text(script)
        done = subprocess.run(
            [sys.executable, str(file)],
            env={**os.environ, **environment_of(bucket)},
            capture_output=True,
            text=True,
            check=False,
            timeout=120,
        )
        assert (done.returncode, done.stderr) == (0, "")
        return done.stdout

    return run


@pytest.mark.parametrize("title", PRINTED)
def test_snippet_runs_as_it_stands(title: str, run: Callable[[str], str]) -> None:
    assert re.fullmatch(PRINTED[title], run(SNIPPETS[title]))
    for key, value in LEFT.get(title, {}).items():
        shown = run(f"from s3kv import S3KV\nprint(S3KV().get({key!r}))")
        assert shown == f"{value}\n"


def test_merge_snippet_merges(run: Callable[[str], str]) -> None:
    assert run(MERGE) == ""
    shown = run("from s3kv import S3KV\nprint(S3KV()['destination_key'])")
    assert shown == "{'data_a': 'value_a', 'data_b': 'value_b'}\n"


def test_no_snippet_is_left_out() -> None:
    blocks = re.findall(r"^```\n(.*?)^```$", README, re.MULTILINE | re.DOTALL)
    assert set(blocks) == {MERGE, *SNIPPETS.values()}
    assert set(SNIPPETS) == set(PRINTED)


def test_what_we_write_as_json_the_older_package_reads(
    run: Callable[[str], str], bucket: Connection
) -> None:
    """It reads `s3kv/<key>.json` with `json.loads`, as this does; also after a lock."""
    import json

    run(
        "from s3kv import S3KV\nkv = S3KV()\nkv['a'] = {'x': [1, 'é', None]}\n"
        "kv.place_retention_lock('a', 1)\nkv.remove_retention_lock('a')"
    )
    found = Boto3Objects(bucket).get("s3kv/a.json")
    assert json.loads(bytes(getattr(found, "body", b""))) == {"x": [1, "é", None]}
