"""Every snippet of the README is a DAG that Airflow takes; the examples of docstrings run."""

from __future__ import annotations

import doctest
import importlib
import re
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
TEXT = (ROOT / "README.md").read_text()


def test_snippets_are_dags(tmp_path: Path) -> None:
    from airflow.dag_processing.dagbag import DagBag

    snippets = re.findall(r"```python\n(.*?)```", TEXT, re.DOTALL)
    assert len(snippets) >= 3
    for number, snippet in enumerate(snippets):
        (tmp_path / f"snippet_{number}.py").write_text(snippet)
    bag: Any = DagBag(str(tmp_path), bundle_path=tmp_path)
    assert bag.import_errors == {}
    assert len(bag.dags) >= len(snippets)


def test_pictures_are_there() -> None:
    for target in re.findall(r"\]\((?!https?:)([^)#]+)\)", TEXT):
        assert (ROOT / target).exists(), target


def test_examples_of_docstrings_run() -> None:
    result = doctest.testmod(importlib.import_module("airflow_provider_s3kv.policy"), verbose=False)
    assert result.attempted
    assert result.failed == 0
