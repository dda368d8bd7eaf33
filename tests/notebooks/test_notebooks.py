"""Notebooks in real kernels: what is defined in cells hits after restarts, reorderings and comments."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import nbformat
import pytest
from nbclient import NotebookClient

from s3kv_flow._server import LocalServer
from s3kv_flow.stores.connection import Connection

NOTEBOOKS = sorted((Path(__file__).parents[2] / "notebooks").glob("*.ipynb"))


def execute(notebook: Any, folder: Path) -> str:
    """Run all cells in a new kernel and give what they printed and showed."""
    client = NotebookClient(notebook, timeout=120, kernel_name="python3")
    client.execute(cwd=str(folder))
    shown = []
    for cell in notebook.cells:
        for output in cell.get("outputs", ()):
            shown.append(output.get("text") or output.get("data", {}).get("text/plain", ""))
    return "".join(shown)


def notebook_of(*cells: str) -> Any:
    return nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(cell) for cell in cells])


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
@pytest.mark.parametrize("bucket", ["seaweed-lock"], indirect=True)
def test_notebook_runs_and_hits_after_a_restart(
    path: Path,
    bucket: Connection,
    seaweed: LocalServer,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("S3KV_KEYRING_FILE", str(seaweed.keyring_file))
    first = execute(nbformat.read(path, 4), tmp_path)
    assert first.count("{'absent': ") == 6
    monkeypatch.setenv("S3KV_CACHE_DIR", str(tmp_path / "another-machine"))
    again = execute(nbformat.read(path, 4), tmp_path)
    assert again.count("{'absent': ") == 0
    assert again.count("{'remote': ") == 6


IMPORT = "import s3kv_flow as s3kv"
HELPER = "SCALE = 10\n\ndef double(x):\n    return 2 * x"
STEP = """@s3kv.cached
def step(x):
    print("computed")
    return double(x) * SCALE"""
CALL = "print(step(4), step.key(4))"


def test_functions_of_cells_hit_after_a_restart(tmp_path: Path) -> None:
    first = execute(notebook_of(IMPORT, HELPER, STEP, CALL), tmp_path)
    assert first.startswith("computed\n80 cache/")
    again = execute(notebook_of(IMPORT, HELPER, STEP, CALL), tmp_path)
    assert "computed\n" + again == first


@pytest.mark.parametrize(
    "cells",
    [
        (IMPORT, STEP, HELPER, CALL),
        (IMPORT, "x = 1", HELPER, HELPER, STEP, "y = 2", STEP, CALL),
        (IMPORT, HELPER, STEP.replace("    print", "    # a comment\n\n    print"), CALL),
        (IMPORT, HELPER.replace("def double", "# doubles\ndef double"), STEP, CALL),
        (f"{IMPORT}\n\n{HELPER}\n\n{STEP}", CALL),
        ("from __future__ import annotations", IMPORT, HELPER, STEP, CALL),
        (IMPORT, f"%%capture\n{HELPER}", STEP, CALL),
    ],
    ids=[
        *("reordered", "run twice", "comment", "comment in helper", "one cell", "future import"),
        "capture",
    ],
)
def test_what_does_not_change_the_code_does_not_change_the_key(
    cells: tuple[str, ...], tmp_path: Path
) -> None:
    first = execute(notebook_of(IMPORT, HELPER, STEP, CALL), tmp_path)
    again = execute(notebook_of(*cells), tmp_path)
    assert "computed\n" + again == first


def test_timing_a_cell_changes_no_key(tmp_path: Path) -> None:
    first = execute(notebook_of(IMPORT, HELPER, STEP, CALL), tmp_path)
    cells = IMPORT, f"%%time\n{HELPER}", f"%%time\n{STEP}\n{CALL}"
    again = execute(notebook_of(*cells), tmp_path)
    assert first.partition("computed\n")[2] in again
    assert "computed" not in again


def test_a_changed_helper_computes_again(tmp_path: Path) -> None:
    execute(notebook_of(IMPORT, HELPER, STEP, CALL), tmp_path)
    changed = execute(notebook_of(IMPORT, HELPER.replace("2 *", "3 *"), STEP, CALL), tmp_path)
    assert changed.startswith("computed\n120 ")


def test_a_cell_run_again_with_an_edit_computes_again(tmp_path: Path) -> None:
    shown = execute(
        notebook_of(IMPORT, HELPER, STEP, CALL, HELPER.replace("2 *", "3 *"), CALL), tmp_path
    )
    assert shown.count("computed") == 2
    assert "\n120 " in shown


def test_two_notebooks_with_functions_of_one_name_do_not_collide(tmp_path: Path) -> None:
    other = STEP.replace("double(x) * SCALE", "-x")
    assert execute(notebook_of(IMPORT, HELPER, STEP, CALL), tmp_path).startswith("computed\n80 ")
    assert execute(notebook_of(IMPORT, other, CALL), tmp_path).startswith("computed\n-4 ")
    assert execute(notebook_of(IMPORT, HELPER, STEP, CALL), tmp_path).startswith("80 ")


def test_objects_of_classes_defined_in_cells_come_back(tmp_path: Path) -> None:
    cells = (
        IMPORT,
        "class Point:\n    def __init__(self, x):\n        self.x = x",
        "@s3kv.cached\ndef point(x):\n    print('computed')\n    return Point(x)",
        "print(point(3).x)",
    )
    assert execute(notebook_of(*cells), tmp_path) == "computed\n3\n"
    assert execute(notebook_of(*cells), tmp_path) == "3\n"
