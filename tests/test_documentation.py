"""Every snippet of README and docs runs, as do the examples of public docstrings."""

from __future__ import annotations

import doctest
import importlib
import pkgutil
import re
import subprocess
import sys
from pathlib import Path

import pytest

import s3kv_flow

ROOT = Path(__file__).parents[1]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
WITH_SNIPPETS = [page for page in PAGES if "```python" in page.read_text()]
MODULES = sorted(
    module.name
    for module in pkgutil.walk_packages(s3kv_flow.__path__, "s3kv_flow.")
    # The handler of PyTorch imports it, and half a gigabyte is too much for a doctest of none.
    if not module.name.startswith(
        ("s3kv_flow.demo.pipeline.", "s3kv_flow.__main__", "s3kv_flow.keys.handlers.torch")
    )
)


@pytest.mark.parametrize("page", WITH_SNIPPETS, ids=lambda page: page.name)
def test_snippets_run_as_a_script(page: Path, tmp_path: Path) -> None:
    script = tmp_path / "pipeline.py"
    script.write_text("\n".join(re.findall(r"```python\n(.*?)```", page.read_text(), re.DOTALL)))
    done = subprocess.run(
        [sys.executable, str(script)],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert (done.returncode, done.stderr) == (0, "")


def test_links_lead_somewhere() -> None:
    for page in [*PAGES, ROOT / "CONTRIBUTING.md"]:
        for target in re.findall(r"\]\((?!https?:)([^)#]+)\)", page.read_text()):
            assert (page.parent / target).exists(), f"{page.name}: {target}"


@pytest.mark.parametrize("name", MODULES)
def test_examples_of_docstrings_run(name: str) -> None:
    result = doctest.testmod(importlib.import_module(name), verbose=False)
    assert result.failed == 0


def test_public_names_have_documentation_with_an_example_or_are_errors() -> None:
    for name in s3kv_flow.__all__:
        public = getattr(s3kv_flow, name)
        assert public.__doc__, name
