"""Functions that look alike are told apart by all that they reach, in a few rounds over the graph."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

import pytest

from s3kv_flow.errors import UnstableKeyWarning
from s3kv_flow.keys import code
from s3kv_flow.keys.code import MOST_ROUNDS, Walk
from s3kv_flow.keys.digest import XXH3_128
from s3kv_flow.keys.identity import Identity
from tests.fresh_interpreter import printed_by

Function = Callable[[int], int]


def token(function: Any) -> bytes:
    return Identity(function).token(XXH3_128)


def leaf(x: int) -> int:
    return x


def double(x: int) -> int:
    return x * 2


def then(inner: Any) -> Function:
    def outer(x: int) -> int:
        return inner(x) + 1  # type: ignore[no-any-return]

    return outer


def chain(end: Function, links: int) -> Function:
    for _ in range(links):
        end = then(end)
    return end


def reads(held: Any) -> Function:
    def function(x: int) -> int:
        return held[x]  # type: ignore[no-any-return]

    return function


@pytest.mark.parametrize("links", [1, 3, MOST_ROUNDS - 1, MOST_ROUNDS, 3 * MOST_ROUNDS])
def test_where_a_chain_of_functions_ends_counts_however_long_it_is(links: int) -> None:
    assert token(chain(leaf, links)) == token(chain(leaf, links))
    assert token(chain(leaf, links)) != token(chain(double, links))
    assert token(chain(leaf, links)) != token(chain(leaf, links + 1))


@pytest.mark.parametrize("links", [1, 3, MOST_ROUNDS, 3 * MOST_ROUNDS])
def test_which_of_two_that_differ_far_away_has_which_name_counts(links: int) -> None:
    one, other = chain(leaf, links), chain(double, links)
    assert token(reads({"a": one, "b": other})) == token(reads({"b": other, "a": one}))
    assert token(reads({"a": one, "b": other})) != token(reads({"a": other, "b": one}))


def test_equal_functions_count_as_one_that_is_shared() -> None:
    one = chain(leaf, 5)
    assert token(reads([one, one])) == token(reads([one, chain(leaf, 5)]))
    assert token(reads([one, one])) != token(reads([one, chain(leaf, 6)]))


def network(size: int, odd: int) -> list[Function]:
    """Give functions of one factory that all know each other; one of them has another start."""
    functions: list[Function] = []
    for number in range(size):
        start = [number == odd]

        def function(x: int, start: Any = start) -> int:
            return x + start[0] + len(functions)

        functions.append(function)
    return functions


def test_functions_that_know_each_other_have_one_key_whichever_comes_first() -> None:
    functions = network(12, odd=3)
    assert token(reads({*functions[:6]})) == token(reads({*functions[2:8]}))
    assert token(reads({*functions[:3]})) == token(reads({*functions[4:7]}))
    assert token(reads({*functions[:3]})) != token(reads({*functions[1:4]}))


def test_a_walk_visits_each_function_a_few_times_however_many_look_alike(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    visits = 0
    visit = Walk._function

    def counted(self: Walk, function: Any) -> bytes:
        nonlocal visits
        visits += 1
        return visit(self, function)

    monkeypatch.setattr(Walk, "_function", counted)
    size = 200
    token(reads([{str(n): one} for n, one in enumerate(network(size, odd=7))]))
    assert visits <= (size + 2) * 4
    visits = 0
    token(chain(leaf, size))
    assert visits <= (size + 2) * (MOST_ROUNDS + 2)


def test_what_has_a_key_counts_beside_what_has_none_in_whatever_container() -> None:
    lock = threading.Lock()
    for hold in (
        lambda one: {"lock": lock, "run": one},
        lambda one: {"run": one, "lock": lock},
        lambda one: [lock, {"deep": (one, lock)}],
        lambda one: {lock, one},
    ):
        with pytest.warns(UnstableKeyWarning, match="thread.lock"):
            tokens = [token(reads(hold(one))) for one in (leaf, leaf, double)]
        assert tokens[0] == tokens[1] != tokens[2]
    with pytest.warns(UnstableKeyWarning):
        assert token(reads({"a": lock, "b": 1})) == token(reads({"b": 1, "a": lock}))


def test_a_container_without_a_key_that_holds_itself_ends() -> None:
    held: list[Any] = [threading.Lock(), leaf]
    held.append(held)
    with pytest.warns(UnstableKeyWarning):
        assert token(reads(held)) == token(reads(held))


def test_a_set_of_what_has_no_key_counts_alike_in_each_process(tmp_path: Any) -> None:
    (tmp_path / "registry.py").write_text(
        """
import threading

class Handler:
    def __init__(self, run):
        self.run, self.zz_lock = run, threading.Lock()

def a(x): return x + 1
def b(x): return x + 2
def c(x): return x + 3
def d(x): return x + 4

ALL = {Handler(a), Handler(b), Handler(c), Handler(d)}

def f(x):
    return sum(one.run(x) for one in ALL)
"""
    )
    script = """
        import os, sys, warnings
        kept = [object() for _ in range(int.from_bytes(os.urandom(1), "big"))]
        sys.path.insert(0, ".")
        warnings.simplefilter("ignore")
        import registry
        import s3kv_flow.keys.handlers
        from s3kv_flow.keys.digest import XXH3_128
        from s3kv_flow.keys.identity import Identity
        print(Identity(registry.f).token(XXH3_128).hex())
    """
    assert len({printed_by(script, folder=tmp_path)[0] for _ in range(5)}) == 1


def test_what_refines_leaves_no_guards_and_warns_of_nothing_twice() -> None:
    lock = threading.Lock()
    with pytest.warns(UnstableKeyWarning) as warned:
        walked = code.Walk(XXH3_128, deep=True, root=reads([chain(leaf, 4), lock])).walked()
    assert len(warned) == 1
    assert len(walked.guards.functions) == 6
