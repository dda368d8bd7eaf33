"""Every snippet of the README runs, as do the examples of docstrings."""

from __future__ import annotations

import doctest
import importlib
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
MODULES = [f"prefect_s3kv.{one.stem}" for one in sorted((ROOT / "prefect_s3kv").glob("[a-z]*.py"))]


@pytest.mark.server
@pytest.mark.timeout(300)
def test_snippets_run_as_a_script(seaweed: dict[str, str], tmp_path: Path) -> None:
    text = (ROOT / "README.md").read_text()
    snippets = re.findall(r"```python\n(.*?)```", text, re.DOTALL)
    assert len(snippets) >= 3
    environ = {name: value for name, value in os.environ.items() if name != "PREFECT_API_URL"}
    for number, snippet in enumerate(snippets):
        script = tmp_path / f"snippet_{number}.py"
        script.write_text(snippet)
        done = subprocess.run(
            [sys.executable, str(script)],
            env={**environ, **seaweed},
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("name", MODULES)
@pytest.mark.usefixtures("kv")
def test_examples_of_docstrings_run(name: str) -> None:
    result = doctest.testmod(importlib.import_module(name), verbose=False)
    assert result.failed == 0


def test_pictures_are_there() -> None:
    for target in re.findall(r"\]\((?!https?:)([^)#]+)\)", (ROOT / "README.md").read_text()):
        assert (ROOT / target).exists(), target
