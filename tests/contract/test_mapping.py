"""CPython's own tests of mappings, run on a store."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from test import mapping_tests

import s3kv_flow as s3kv
from s3kv_flow.testing import memory_store


class TestMapping(mapping_tests.BasicTestMappingProtocol):
    """What every mutable mapping does, on an emptied store in the place of each new mapping."""

    @pytest.fixture(autouse=True)
    def _store(self) -> Iterator[None]:
        self.kv = memory_store(keyring=s3kv.Keyring.generate(), local_cache="off")
        yield
        self.kv.close()

    def _reference(self) -> dict[str, Any]:
        return {"1": "2", "key1": "value1", "key2": (1, 2, 3)}

    def _empty_mapping(self) -> s3kv.S3KV:
        self.kv.clear()
        return self.kv

    def _full_mapping(self, data: dict[str, Any]) -> s3kv.S3KV:
        self.kv.clear()
        self.kv.update(data)
        return self.kv


def test_two_stores_are_equal_only_if_they_are_one() -> None:
    one, other = memory_store(), memory_store()
    assert one == one
    assert one != other
    assert one != {}
    assert len({one, other}) == 2


def test_what_is_no_key_is_not_in_it() -> None:
    kv = memory_store()
    assert 7 not in kv
    with pytest.raises(s3kv.InvalidKeyError):
        kv[7]  # type: ignore[index]
    with pytest.raises(s3kv.KeyNotFoundError):
        del kv["absent"]
    assert kv.pop("absent", None) is None
