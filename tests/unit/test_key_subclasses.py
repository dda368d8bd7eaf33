"""Subclasses of Python's own types and of packages': what they add counts, and what they really hold."""

from __future__ import annotations

import collections
import dataclasses
import datetime
import decimal
import email.message
import fractions
import functools
import ipaddress
import pickle
import random
import time
import types
import weakref
from collections.abc import Callable
from typing import Any

import attrs
import jsonschema
import pydantic
import pytest

from s3kv_flow import register_key
from s3kv_flow.errors import ConfigurationError, UnhashableArgumentError, UnstableKeyWarning
from s3kv_flow.keys.token import Encoder
from s3kv_flow.testing import assert_different_keys, assert_same_key
from tests.fresh_interpreter import printed_by

BASES: dict[str, tuple[type, tuple[Any, ...]]] = {
    "counter": (collections.Counter, ("ab",)),
    "default dict": (collections.defaultdict, (list, {"a": [1]})),
    "ordered dict": (collections.OrderedDict, ({"a": 1},)),
    "deque": (collections.deque, ([1, 2],)),
    "dict": (dict, ({"a": 1},)),
    "list": (list, ([1, 2],)),
    "tuple": (tuple, ([1, 2],)),
    "set": (set, ([1, 2],)),
    "text": (str, ("a",)),
    "number": (int, (3,)),
    "datetime": (datetime.datetime, (2024, 1, 1)),
    "date": (datetime.date, (2024, 1, 1)),
    "time": (datetime.time, (1, 2)),
    "timedelta": (datetime.timedelta, (1,)),
    "decimal": (decimal.Decimal, ("1.5",)),
    "fraction": (fractions.Fraction, (1, 2)),
    "address": (ipaddress.IPv4Address, ("10.0.0.1",)),
    "network": (ipaddress.IPv4Network, ("10.0.0.0/8",)),
    "random": (random.Random, (1,)),
    "namespace": (types.SimpleNamespace, ()),
    "partial": (functools.partial, (print,)),
    "error": (ValueError, ("a",)),
}


def _made(name: str, slots: bool) -> type:
    base, _ = BASES[name]
    own = {"__slots__": ("label",)} if slots else {}
    return type("Tagged", (base,), {"__module__": __name__, **own})


@pytest.mark.parametrize(
    ("name", "slots"),
    # Python gives numbers and tuples no slots.
    [
        (name, slots)
        for name in BASES
        for slots in (False, True)
        if not slots or name not in ("number", "tuple")
    ],
)
def test_what_a_subclass_adds_counts(name: str, slots: bool) -> None:
    _, args = BASES[name]
    kind = _made(name, slots)

    def tagged(label: Any) -> Any:
        value: Any = kind(*args)
        if label is not None:
            value.label = label
        return value

    for hold in (lambda one: one, lambda one: {"a": [one]}, lambda one: [one] * 20):
        assert_different_keys(hold(tagged("x")), hold(tagged("y")), hold(tagged(None)))
        assert_same_key(hold(tagged("x")), hold(tagged("x")))


def test_fields_of_a_dataclass_over_a_counter_count() -> None:
    @dataclasses.dataclass
    class Counted(collections.Counter[str]):
        label: str = ""

    assert_different_keys(Counted("x"), Counted("y"))


def test_what_attrs_does_not_know_counts() -> None:
    @attrs.define
    class Slotted:
        x: int = 1

    class Below(Slotted):
        pass

    def below(label: str) -> Any:
        value = Below()
        value.label = label  # type: ignore[attr-defined]
        return value

    assert_different_keys(below("x"), below("y"), Below(), Slotted())
    assert_different_keys(*(attrs.evolve(Slotted(), x=x) for x in (1, 2)))


class _WithSlots(pydantic.BaseModel):
    __slots__ = ("_own",)
    x: int = 1


@pytest.mark.filterwarnings("ignore::s3kv_flow.UnstableKeyWarning")  # pickling leaves them out
def test_slots_of_a_model_count() -> None:
    def model(own: int) -> Any:
        value = _WithSlots()
        object.__setattr__(value, "_own", own)
        return value

    assert_different_keys(model(1), model(2), _WithSlots())


class Public(dict):  # type: ignore[type-arg]
    def items(self) -> Any:
        return [(key, value) for key, value in super().items() if not key.startswith("_")]


class OrderedPublic(collections.OrderedDict):  # type: ignore[type-arg]
    def items(self) -> Any:
        return [(key, value) for key, value in super().items() if not key.startswith("_")]


class Enabled(list):  # type: ignore[type-arg]
    def __iter__(self) -> Any:
        return (one for one in super().__iter__() if one > 0)


class EnabledSet(set):  # type: ignore[type-arg]
    def __iter__(self) -> Any:
        return (one for one in super().__iter__() if one > 0)


class EnabledQueue(collections.deque):  # type: ignore[type-arg]
    def __iter__(self) -> Any:
        return (one for one in super().__iter__() if one > 0)


@pytest.mark.filterwarnings("ignore::s3kv_flow.UnstableKeyWarning")  # pickles hold what is shown
@pytest.mark.parametrize(
    ("kind", "one", "other"),
    [
        (Public, {"a": 1, "_s": 1}, {"a": 1, "_s": 2}),
        (OrderedPublic, {"a": 1, "_s": 1}, {"a": 1, "_s": 2}),
        (Enabled, [1, -1], [1, -2]),
        (EnabledSet, [1, -1], [1, -5]),
        (EnabledQueue, [1, -1], [1, -2]),
    ],
)
def test_what_a_container_holds_counts_whatever_it_shows(
    kind: Callable[[Any], Any], one: Any, other: Any
) -> None:
    assert_different_keys(kind(one), kind(other))
    assert_different_keys([kind(one)] * 20, [kind(other)] * 20)
    assert_same_key(kind(one), kind(one))


class _Base:
    def __init__(self, x: Any) -> None:
        self.x = x

    def __reduce__(self) -> Any:
        return _rebuilt, (self.x,)


def _rebuilt(x: Any) -> Any:
    return type("Made", (_Base,), {})(x)


def test_copies_of_new_classes_are_not_compared_without_end() -> None:
    started = time.monotonic()
    Encoder().token(_rebuilt(3))
    message = email.message.EmailMessage()
    message.set_content("x")
    Encoder().token(message)
    assert time.monotonic() - started < 5


class _Cleaning:
    def __init__(self, inner: Any) -> None:
        self.inner = inner

    def __getstate__(self) -> Any:
        return self._clean(12)

    def _clean(self, times: int) -> Any:
        return dict(vars(self)) if not times else self._clean(times - 1)


def test_deep_chains_of_objects_with_a_state_of_their_own_have_a_key() -> None:
    from s3kv_flow.keys.call import CallKey
    from s3kv_flow.keys.identity import Identity

    def f(x: Any) -> Any:
        return x

    chain: Any = 1
    for _ in range(400):
        chain = _Cleaning(chain)
    assert CallKey(f, Identity(f)).of((chain,), {})


class _Finalized:
    pass


def test_what_is_held_by_this_process_is_refused() -> None:
    import ctypes

    for value in (weakref.finalize(_Finalized(), print), ctypes.CDLL(None)):
        with pytest.raises(UnhashableArgumentError):
            Encoder().token(value)


def test_the_slot_of_the_class_itself_counts() -> None:
    class Above:
        __slots__ = ("x",)

    class Below(Above):
        __slots__ = ("x",)

    def below(x: int) -> Any:
        value = Below()
        value.x = x
        return value

    assert_different_keys(below(1), below(2))


def test_a_class_keeps_its_key_whether_it_was_first_met_deep_or_not(tmp_path: Any) -> None:
    branches = "".join(f"        elif n == {n}: return {n}\n" for n in range(1, 60))
    (tmp_path / "steps_deep.py").write_text(
        "class K:\n    def __init__(self, x): self.x = x\n    def m(self, n):\n"
        "        if n == 0: return 0\n" + branches
    )
    script = (
        "from steps_deep import K\nfrom s3kv_flow.keys.call import CallKey\n"
        "from s3kv_flow.keys.identity import Identity\ndef f(x): return x\n"
        "keys = CallKey(f, Identity(f))\nv = K(1)\nfor _ in range(DEPTH): v = [v]\n"
        "keys.of((v,), {})\nprint(keys.of((K(1),), {}))\n"
    )
    found = {
        printed_by(script.replace("DEPTH", str(depth)), folder=tmp_path)[0]
        for depth in (0, 200, 226, 230, 240)
    }
    assert len(found) == 1


def test_values_survive_pickling() -> None:
    for name in ("counter", "fraction", "network", "decimal", "error"):
        base, args = BASES[name]
        value = base(*args)
        assert_same_key(value, pickle.loads(pickle.dumps(value)))


def test_what_answers_every_name_is_refused_in_bounded_time() -> None:
    script = """
import resource, time
from unittest import mock
from s3kv_flow import register_key
from s3kv_flow.errors import ConfigurationError, UnhashableArgumentError, UnstableKeyWarning
from s3kv_flow.keys.call import CallKey
from s3kv_flow.keys.identity import Identity

class Builder:
    def __init__(self, path=()): self.path = path
    def __getattr__(self, name): return Builder((*self.path, name))
    def __call__(self, *args): return Builder((*self.path, args))

class Endless:
    def __getstate__(self): return {"next": Endless()}

class Own:
    def __s3kv_key__(self): return Own()

def f(x): return x

keys = CallKey(f, Identity(f))
for value in (Builder(), mock.call(1), Endless(), Own()):
    try:
        keys.of((value,), {})
    except UnhashableArgumentError as error:
        assert len(str(error)) < 3000
assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss < 1_500_000  # in KiB
"""
    assert printed_by(script) == []


def test_schemas_have_one_key_in_every_process() -> None:
    script = """
import jsonschema
from s3kv_flow.testing.keys import token
schema = {"type": "object", "properties": {"a": {"type": "integer"}, "b": {"$ref": "#/properties/a"}}}
print(token(jsonschema.Draft202012Validator(schema)))
"""
    found = {printed_by(script)[0] for _ in range(3)}
    assert len(found) == 1
    assert_different_keys(
        *(jsonschema.Draft202012Validator({"type": kind}) for kind in ("object", "array"))
    )


def test_a_type_of_the_librarys_cannot_be_taught_by_name_either() -> None:
    for name in ("builtins.int", "collections.OrderedDict", "datetime.datetime", "decimal.Decimal"):
        with pytest.raises(ConfigurationError, match="part of the library's scheme"):
            register_key(name, str)


def test_a_warning_points_at_who_called() -> None:
    class Odd:
        def __init__(self) -> None:
            self.x = object()

        def __reduce__(self) -> Any:
            return Unordered, (id(self),)

    with pytest.warns(UnstableKeyWarning) as warned:
        Encoder().token([Odd()])
    assert warned[0].filename == __file__


class Unordered:
    def __init__(self, x: Any) -> None:
        self.x = x
