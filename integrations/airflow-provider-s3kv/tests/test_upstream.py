"""Airflow's own tests of XComs in object storage, with our backend in the place of theirs.

Fetched from the registry, in the version that is installed. Those that look at ``file://`` paths are
about another backend.
"""

from __future__ import annotations

import importlib.util
import subprocess
import sys
import tarfile
import tempfile
import types
from contextlib import nullcontext
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pytest

from airflow_provider_s3kv import S3KVXComBackend

FILE = "tests/unit/common/io/xcom/test_backend.py"


def fetched() -> Any:
    """Give the module of their tests, without what they need of Airflow's own checkout."""
    folder = Path(tempfile.mkdtemp(prefix="upstream-"))
    name = "apache-airflow-providers-common-io"
    subprocess.run(
        [
            *(sys.executable, "-m", "pip", "download", "-q", "--disable-pip-version-check"),
            *("--no-deps", "--no-binary", name, "-d", str(folder), f"{name}=={version(name)}"),
        ],
        check=True,
    )
    (archive,) = folder.glob("*.tar.gz")
    with tarfile.open(archive) as tar:
        (member,) = [one for one in tar.getnames() if one.partition("/")[2] == FILE]
        source = tar.extractfile(member)
        assert source is not None
        text = source.read()
    stubs: dict[str, dict[str, Any]] = {
        "tests_common": {},
        "tests_common.test_utils": {},
        "tests_common.test_utils.db": {
            "clear_db_runs": lambda: None,
            "clear_db_xcom": lambda: None,
        },
        "tests_common.test_utils.compat": {"timezone": None},
        "tests_common.test_utils.config": {"conf_vars": _conf_vars},
        "tests_common.test_utils.version_compat": {
            "AIRFLOW_V_3_0_PLUS": True,
            "AIRFLOW_V_3_1_PLUS": True,
            "AIRFLOW_V_3_4_PLUS": False,
            "XCOM_RETURN_KEY": "return_value",
        },
    }
    for name, attributes in stubs.items():
        module = types.ModuleType(name)
        module.__dict__.update(attributes)
        sys.modules[name] = module
    sys.modules["tests_common.test_utils"].db = sys.modules["tests_common.test_utils.db"]  # type: ignore[attr-defined]
    path = folder / "upstream_xcom.py"
    path.write_bytes(text)
    spec = importlib.util.spec_from_file_location(path.stem, path)
    assert spec is not None
    assert spec.loader is not None
    found = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(found)
    return found


class _conf_vars(nullcontext):  # type: ignore[type-arg]
    """Their settings are of another backend."""

    def __init__(self, settings: Any) -> None:
        super().__init__()

    def __call__(self, test: Any) -> Any:
        return test


theirs = fetched()


@pytest.mark.usefixtures("kv")
class TestXComs(theirs.TestXComObjectStorageBackend):  # type: ignore[misc]
    @pytest.fixture(autouse=True)
    def ours(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(theirs, "XComObjectStorageBackend", _Ours)
        monkeypatch.setattr(theirs, "resolve_xcom_backend", lambda: S3KVXComBackend)


class _Ours(S3KVXComBackend):
    @staticmethod
    def _get_full_path(data: Any) -> Any:
        raise AssertionError("it is about files")


#: These look at paths of files, at a compression of files, or are of a later Airflow.
for _name in list(vars(theirs.TestXComObjectStorageBackend)):
    if _name.startswith("test_") and _name != "test_serialization_deserialization_basic":
        setattr(TestXComs, _name, None)
