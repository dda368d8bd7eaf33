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


def test_a_dag_file_has_the_same_keys_in_every_folder(tmp_path: Path) -> None:
    from airflow.dag_processing.dagbag import DagBag

    from s3kv_flow.adapters import CachedCalls

    names = set()
    for folder in ("one", "other"):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "kept.py").write_text(
            "from airflow.sdk import dag, task\n\n@dag(schedule=None)\ndef kept():\n"
            "    @task.s3kv_cached\n    def step(x):\n        return x\n    step(1)\n\nkept()\n"
        )
        bag: Any = DagBag(str(tmp_path / folder), bundle_path=tmp_path / folder)
        (dag,) = bag.dags.values()
        names.add(CachedCalls(dag.get_task("step").python_callable).call(1).key)
    assert len(names) == 1
    assert names.pop().startswith("cache/kept.kept.")
