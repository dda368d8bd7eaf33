"""What an object holds of its own: attributes and slots, without what merely reading it leaves there."""

from __future__ import annotations

import functools
import types
from collections.abc import Iterator, Mapping
from contextlib import suppress
from typing import Any

from s3kv_flow.keys.classes import cached_by_attrs


class Layout:
    """Where objects of a class keep what they hold: looked up once for many of them.

    Parameters
    ----------
    kind : type
        The class. What is changed of it later is not seen.
    """

    __slots__ = ("_cached", "_kind", "_slots")

    def __init__(self, kind: type) -> None:
        self._kind = kind
        self._slots: list[tuple[str, types.MemberDescriptorType]] | None = None
        self._cached: dict[Any, bool] = {}

    def state(self, value: Any) -> dict[str, Any]:
        """Give the attributes of an object by name, those in slots of its and its bases too."""
        if self._slots is None:
            self._slots = list(slots_of(self._kind))
        held = {}
        for name, member in self._slots:
            with suppress(AttributeError):  # it is not filled
                held[name] = member.__get__(value, self._kind)
        held.update(getattr(value, "__dict__", {}))
        return self.without_cached(held)

    def without_cached(self, state: Mapping[Any, Any]) -> dict[Any, Any]:
        """Leave out what merely reading an object puts into it."""
        known = self._cached
        held = {}
        if "__wrapped__" in state:  # `functools.update_wrapper` has copied what it found
            state = {name: one for name, one in state.items() if name not in _OF_WRAPPERS}
        for name, one in state.items():
            cached = known.get(name)
            if cached is None:
                cached = known[name] = _is_cached(self._kind, name)
            if not cached:
                held[name] = one
        return held


class Layouts(dict[type, Layout]):
    """The layouts of classes, each made when it is asked for."""

    def __missing__(self, kind: type) -> Layout:
        layout = self[kind] = Layout(kind)
        return layout


def slots_of(kind: type) -> Iterator[tuple[str, types.MemberDescriptorType]]:
    """Give the slots of a class and its bases, those of these first."""
    for base in reversed(kind.__mro__):
        if base.__flags__ & _HEAP_TYPE:
            for name, member in vars(base).items():
                if isinstance(member, types.MemberDescriptorType):
                    yield name, member


def state_of(value: Any) -> dict[str, Any]:
    """Give the attributes of an object by name, those in slots of its and its bases too."""
    return Layout(type(value)).state(value)


_OF_WRAPPERS = frozenset(
    {*functools.WRAPPER_ASSIGNMENTS, "__annotations__", "__annotate__", "__type_params__"}
)

#: What packages leave in objects as these are used: attrs of a hash, scikit-learn of the identity of
#: a list and of warnings, PyTorch of being compiled, pandas of what it has computed.
_OF_LIBRARIES = frozenset(
    {"_attrs_cached_hash", "_stop_words_id", "_is_torch_compile", "_deprecated_key_to_warnings"}
    # Of beartype's validators: what they are written as, with addresses for names.
    | {"_is_valid_code", "_is_valid_code_locals"}
)
_CACHES = {
    "_cache": "pandas",
    **dict.fromkeys(("_cached_dict", "_dims", "_repr", "_to_dict", "_all_external_keys"), "dask"),
}

#: As Django, Werkzeug, boltons, astropy, propcache, SQLAlchemy and Pyramid call what they have like
#: `functools.cached_property`.
_CACHED_PROPERTIES = {"cachedproperty", "lazyproperty", "memoizedproperty", "reify"}

#: Of a type that was made by a class statement (`Py_TPFLAGS_HEAPTYPE`).
_HEAP_TYPE = 1 << 9


def _is_cached(kind: type, name: Any) -> bool:
    if name in _OF_LIBRARIES or name == "__doc__":  # copied from a function, as `toolz.curry` does
        return True
    package = _CACHES.get(name)
    if package and any(str(base.__module__).partition(".")[0] == package for base in kind.__mro__):
        return True
    for base in kind.__mro__:
        if name in cached_by_attrs(base):
            return True
        if name in vars(base):
            member = vars(base)[name]
            member = getattr(member, "wrapped", member)  # as pydantic has it
            called = type(member).__name__.replace("_", "").lower()
            return isinstance(member, functools.cached_property) or called in _CACHED_PROPERTIES
    return False
