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
    assert set(found["keys"]) == {"hash seed 0", "hash seed 1", "optimised (-OO)", "spawned"}
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
