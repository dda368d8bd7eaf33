"""What an object holds of its own: attributes and slots, without what merely reading it leaves there."""

from __future__ import annotations

import functools
import types
from collections.abc import Mapping
from contextlib import suppress
from typing import Any


def state_of(value: Any) -> dict[str, Any]:
    """Give the attributes of an object by name, those in slots of its and its bases too."""
    kind = type(value)
    held = {}
    for base in kind.__mro__:
        if not base.__flags__ & _HEAP_TYPE:
            continue
        for name, member in vars(base).items():
            if isinstance(member, types.MemberDescriptorType):
                with suppress(AttributeError):  # it is not filled
                    held[name] = member.__get__(value, kind)
    return {**held, **without_cached(kind, getattr(value, "__dict__", {}))}


#: What attrs keeps of a hash, scikit-learn of the identity of a list, PyTorch of being compiled.
_OF_LIBRARIES = frozenset({"_attrs_cached_hash", "_stop_words_id", "_is_torch_compile"})

#: Of a type that was made by a class statement (`Py_TPFLAGS_HEAPTYPE`).
_HEAP_TYPE = 1 << 9


def without_cached(kind: type, state: Mapping[Any, Any]) -> dict[Any, Any]:
    """Leave out what merely reading an object puts into it."""
    return {name: held for name, held in state.items() if not _is_cached(kind, name)}


def _is_cached(kind: type, name: Any) -> bool:
    if name in _OF_LIBRARIES:
        return True
    for base in kind.__mro__:
        if name in vars(base):
            member = vars(base)[name]
            member = getattr(member, "wrapped", member)  # as pydantic has it
            return isinstance(member, functools.cached_property)
    return False
