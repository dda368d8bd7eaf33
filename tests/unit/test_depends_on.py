"""What a result depends on beside its arguments and its code."""

from __future__ import annotations

import json

import pytest

import s3kv_flow as s3kv
from s3kv_flow.testing import memory_store


@pytest.fixture
def kv():
    return memory_store()


def test_a_file_counts_by_its_content(kv, tmp_path):
    file = tmp_path / "a.txt"
    file.write_text("one")

    @kv.cached(depends_on=s3kv.File(file))
    def step():
        return file.read_text()

    assert step() == "one"
    file.write_text("two")
    assert step() == "two"
    file.write_text("one")
    assert step() == "one"
    assert step.cache_info().hit_count == 1
    copy = tmp_path / "copy.txt"
    copy.write_text("one")
    same = kv.cached(depends_on=[s3kv.File(copy)], name="n")(step.__wrapped__)
    assert same.key().rpartition("/")[2] == step.key().rpartition("/")[2]


def test_a_file_as_an_argument_counts_by_its_content_and_opens_like_a_path(kv, tmp_path):
    calls = []

    @kv.cached
    def load(file):
        calls.append(1)
        with open(file) as text:
            return json.load(text)

    first, second = tmp_path / "first.json", tmp_path / "second.json"
    for path in (first, second):
        path.write_text("[1]")
        assert load(s3kv.File(path)) == [1]
    assert len(calls) == 1


def test_a_file_that_cannot_be_read_is_named_and_the_function_runs(kv, tmp_path, caplog):
    @kv.cached(depends_on=s3kv.File(tmp_path / "absent.toml"))
    def step():
        return 1

    assert step() == 1
    assert "depends_on: the file" in caplog.text
    assert "absent.toml" in caplog.text
    with pytest.raises(s3kv.UnhashableArgumentError, match="absent"):
        step.key()
    with pytest.raises(s3kv.UnhashableArgumentError):
        kv.cached(depends_on=s3kv.File(tmp_path))(step.__wrapped__).key()


def test_a_variable_counts_by_its_value_or_its_absence(kv, monkeypatch):
    @kv.cached(depends_on=s3kv.Env("STAGE_OF_TEST"))
    def step():
        return 1

    keys = [step.key()]
    for value in ("", "prod"):
        monkeypatch.setenv("STAGE_OF_TEST", value)
        keys.append(step.key())
    assert len(set(keys)) == 3
    monkeypatch.delenv("STAGE_OF_TEST")
    assert step.key() == keys[0]


def test_a_package_counts_by_its_version(kv, monkeypatch):
    import importlib.metadata

    @kv.cached(depends_on=s3kv.Package("numpy"))
    def step():
        return 1

    before = step.key()
    monkeypatch.setattr(importlib.metadata, "version", lambda name: "99")
    assert step.key() != before
    monkeypatch.undo()
    with pytest.raises(s3kv.UnhashableArgumentError, match="no-such-package"):
        kv.cached(depends_on=s3kv.Package("no-such-package"))(step.__wrapped__).key()


def test_functions_modules_and_values_count(kv):
    import numpy as np

    def helper(x):
        return x + 1

    def other(x):
        return x + 2

    def step():
        return 1

    def key(*depends_on):
        return kv.cached(depends_on=depends_on, name="n")(step).key()

    keys = [key(), key(helper), key(other), key(np), key(np.mean), key("v1"), key(helper, "v1")]
    assert len(set(keys)) == len(keys)
    assert key(helper, "v1") == key("v1", helper)
    assert key(np) == key(np)


def test_with_a_version_it_counts_too(kv, monkeypatch):
    @kv.cached(version=1, depends_on=s3kv.Env("STAGE_OF_TEST"))
    def step():
        return 1

    before = step.key()
    monkeypatch.setenv("STAGE_OF_TEST", "x")
    assert step.key() != before


def test_what_a_cached_helper_depends_on_counts_for_its_callers(kv, monkeypatch):
    @kv.cached(depends_on=s3kv.Env("STAGE_OF_TEST"))
    def helper():
        return 1

    @kv.cached
    def step():
        return helper()

    before = step.key()
    monkeypatch.setenv("STAGE_OF_TEST", "x")
    assert step.key() != before
