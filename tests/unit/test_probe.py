"""What a bucket's server can do is found out, whatever single answers say."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

import pytest

from s3kv_flow._layout import Layout
from s3kv_flow.stores.memory import MemoryStore
from s3kv_flow.stores.probe import Capabilities, probe
from s3kv_flow.stores.protocols import PreconditionFailedError
from s3kv_flow.testing.stores import WrappedStore

R = TypeVar("R")


class Refusing(WrappedStore):
    """Answers 412 to one request for no reason, before it acts or after it has acted."""

    def __init__(self, number: int, *, acts: bool) -> None:
        super().__init__(MemoryStore())
        self.left = number
        self.acts = acts

    def request(self, verb: str, name: str, send: Callable[[], R]) -> R:
        self.left -= 1
        if self.left or verb not in ("put", "delete_if"):
            return send()
        if self.acts:
            send()
        raise PreconditionFailedError("412 for no reason", key=name)


@pytest.mark.parametrize("acts", [False, True])
@pytest.mark.parametrize("number", range(2, 10))
def test_a_412_for_no_reason_takes_no_capability_away(number: int, acts: bool) -> None:
    store = Refusing(number, acts=acts)
    assert probe(store, Layout("root")) == Capabilities(
        create_only=True, compare_and_swap=True, conditional_delete=True
    )
    assert list(store.list("")) == []
