"""`s3kv explain` and `s3kv check-key`, over a project of a user's own."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

STEPS = """
import random
import s3kv_flow as s3kv

@s3kv.cached
def load(day, top=3):
    return [day] * top

@s3kv.cached
async def fetch(day):
    return day

def plain(x):
    return x

class Odd:
    def __s3kv_key__(self):
        return random.random()

@s3kv.cached
def unstable(x=Odd()):
    return 1
"""


@pytest.fixture
def run(tmp_path: Path):
    folder = tmp_path / "project"
    folder.mkdir()
    (folder / "steps.py").write_text(STEPS)

    def run(*arguments: str, status: int = 0) -> str:
        done = subprocess.run(
            [sys.executable, "-m", "s3kv_flow", *arguments],
            cwd=folder,
            env={**os.environ, "PYTHONDONTWRITEBYTECODE": "1"},
            capture_output=True,
            text=True,
            check=False,
            timeout=120,
        )
        assert done.returncode == status, done.stdout + done.stderr
        return done.stdout if status == 0 else done.stdout + done.stderr

    run.folder = folder
    return run


def test_explain_tells_a_miss_from_a_hit(run):
    assert "nothing of steps.load is stored yet" in run("explain", "steps:load", "mon", status=1)
    subprocess.run(
        [sys.executable, "-c", "import steps; steps.load('mon')"], cwd=run.folder, check=True
    )
    assert run("explain", "steps:load", "mon").startswith("hit: ")
    shown = run("explain", "steps:load", "mon", "top=4", status=1)
    assert "argument top differs" in shown
    found = json.loads(
        run("explain", "steps:load", "tue", "--json", status=1).partition("\ns3kv")[0]
    )
    assert found["differences"] == [{"part": "argument day", "how": "changed"}]
    assert "nothing of steps.fetch" in run("explain", "steps:fetch", "mon", status=1)


def test_check_key_computes_it_elsewhere(run):
    assert "one key everywhere" in run("check-key", "steps:load", "mon")
    found = json.loads(run("check-key", "steps:plain", "[1, 2]", "--json"))
    assert found["stable"]
    ways = {"hash seed 0", "hash seed 1", "optimised (-OO)", "spawned", "another folder"}
    assert set(found["keys"]) == ways
    assert "NOT stable" in run("check-key", "steps:unstable", status=1)


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (["explain", "steps"], "names no function"),
        (["explain", "steps:absent"], "cannot be imported"),
        (["explain", "no_such_module:f"], "cannot be imported"),
        (["explain", "steps:plain", "1"], "not a cached function"),
        (["check-key", "steps:load"], "day"),
    ],
)
def test_wrong_usage(run, arguments, text):
    assert text in run(*arguments, status=2)


ODD = """
import atexit, os, pathlib, threading
import s3kv_flow as s3kv

atexit.register(print, "bye", os.getpid())


class Source:
    def __init__(self, path): self.path = path
    def __s3kv_key__(self): return os.path.abspath(self.path)


@s3kv.cached
def here(src=Source("data.csv")): return 1


@s3kv.cached(depends_on=s3kv.File("limits.toml"))
def limited(x=1): return x


@s3kv.cached
def equals(query): return query


@s3kv.cached(key=lambda x: 1 / 0)
def keyed(x): return x
"""


@pytest.fixture
def odd(tmp_path, monkeypatch):
    (tmp_path / "odd.py").write_text(ODD)
    (tmp_path / "limits.toml").write_text("a = 1")
    (tmp_path / "broken.py").write_text("def f(:\n")
    (tmp_path / "leaving.py").write_text("import sys\nsys.exit(3)\n")
    monkeypatch.chdir(tmp_path)
    environment = {
        **os.environ,
        "PYTHONPATH": os.pathsep.join([str(tmp_path), *sys.path]),
        "S3KV_CACHE_DIR": str(tmp_path / "cache"),
    }

    def call(*arguments: str) -> tuple[int, str]:
        done = subprocess.run(
            [sys.executable, "-m", "s3kv_flow", *arguments],
            cwd=tmp_path,
            env=environment,
            capture_output=True,
            text=True,
            check=False,
            timeout=120,
        )
        return done.returncode, done.stdout + done.stderr

    return call


def test_check_key_tells_of_the_working_folder(odd):
    status, said = odd("check-key", "odd:here")
    assert status == 1
    assert "depends on the working folder" in said
    status, said = odd("check-key", "odd:limited")
    assert status == 1
    assert "limits.toml" in said
    assert "depends on the working folder" in said


def test_what_a_module_prints_at_its_end_is_no_key(odd):
    status, said = odd("check-key", "odd:equals", "a=b")
    assert (status, said.splitlines()[-2 if "bye" in said.splitlines()[-1] else -1]) == (
        0,
        "one key everywhere",
    )


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (("explain", "odd:equals"), "It takes (query)"),
        (("explain", "odd:equals", "1", "2"), "It takes (query)"),
        (("explain", "odd:keyed", "1"), "ZeroDivisionError"),
        (("explain", ":here"), "is no name of a module"),
        (("explain", "../odd:here"), "is no name of a module"),
        (("explain", "broken:f"), "SyntaxError"),
        (("explain", "leaving:f"), "SystemExit"),
        (("check-key", "broken:f"), "SyntaxError"),
        (("check-key", "odd:equals"), "missing a required argument: 'query'"),
        (("explain", "odd:Source"), "is not a cached function"),
    ],
)
def test_misuse_is_told_in_a_line_with_a_way_out(odd, arguments, expected):
    status, said = odd(*arguments)
    assert expected in said
    assert "Traceback" not in said
    assert status == 2, said


def test_text_with_an_equals_sign_is_text(odd):
    status, said = odd("explain", "odd:equals", "a=b")
    assert status == 1, said
    assert said.startswith("miss:")


def test_a_negative_number_is_an_argument(odd):
    status, said = odd("explain", "odd:equals", "-1")
    assert status == 1, said
    assert said.startswith("miss:")
