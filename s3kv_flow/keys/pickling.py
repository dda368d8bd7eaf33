"""How objects of a class are pickled: by whom, and what that leaves out or makes up."""

from __future__ import annotations

import collections.abc
import copyreg
import dataclasses
import datetime
import functools
import sys
import types
import weakref
from collections.abc import Callable
from contextlib import suppress
from typing import Any, Final

from s3kv_flow.keys.source import is_user_function
from s3kv_flow.keys.state import slots_of, state_of

REDUCING: Final = ("__reduce__", "__reduce_ex__", "__getstate__")


@dataclasses.dataclass(frozen=True, slots=True)
class Pickling:
    """How objects of a class are pickled."""

    #: What was registered with `copyreg`.
    reducer: Callable[[Any], Any] | None
    #: The class that says what is written of them; None where Python does.
    above: type | None
    #: Whether Python says it, or a class of its own.
    is_by_python: bool
    #: Whether code of a class makes it up, perhaps another object each time.
    states_itself: bool
    #: Whether it may leave out attributes that a subclass adds.
    forgets: bool
    #: Whether it is a set, so that a list among what it is made of has no order.
    is_set: bool


_WRITTEN_IN_C: Final = (types.MemberDescriptorType, types.GetSetDescriptorType)
_FOLDED: Final = (datetime.datetime, datetime.time)

_known: weakref.WeakKeyDictionary[type, Pickling] = weakref.WeakKeyDictionary()


def pickling_of(kind: type) -> Pickling:
    """Give how objects of a class are pickled."""
    known = _known.get(kind)
    if known is None or known.reducer is not reducer_of(kind):
        known = _known[kind] = _look_at(kind)
    return known


def _look_at(kind: type) -> Pickling:
    reducer = reducer_of(kind)
    above = kind if reducer is not None else None
    for base in () if above else kind.__mro__[:-1]:
        if any(name in vars(base) for name in REDUCING):
            above = base
            break
    by_library = above is not None and (_is_of_attrs(above) or _is_of_pydantic(above))
    by_python = above is None or _is_of_python(above)
    answers = any("__getattr__" in vars(base) for base in kind.__mro__ if not _is_of_pydantic(base))
    return Pickling(
        reducer=reducer,
        above=above,
        is_by_python=by_python,
        states_itself=answers or not (by_python or by_library),
        forgets=above is not None and _may_forget(kind, above),
        is_set=issubclass(kind, collections.abc.Set)
        and not any(hasattr(kind, name) for name in ("__reversed__", "__getitem__")),
    )


def reducer_of(kind: type) -> Callable[[Any], Any] | None:
    """Give what was registered to reduce a type, which pickling asks first."""
    # tblib registers one for every exception that there is, when some other package imports it.
    return None if issubclass(kind, BaseException) else copyreg.dispatch_table.get(kind)


def _may_forget(kind: type, above: type) -> bool:
    if issubclass(kind, _FOLDED) and not _is_of_python(above):  # as pendulum forgets the fold
        return True
    if _is_of_attrs(above):
        slots = {name for name, _ in slots_of(kind)}
        return bool(kind.__dictoffset__) or not slots <= _names_of_attrs(above)
    if _is_of_pydantic(above):
        return bool(_slots_below(kind, above))
    return _is_of_python(above) and not _is_of_python(kind)


def _is_of_python(kind: type) -> bool:
    return str(kind.__module__).partition(".")[0] in sys.stdlib_module_names


def _is_of_pydantic(kind: type) -> bool:
    return str(kind.__module__).startswith("pydantic.")


def _slots_below(kind: type, above: type) -> list[str]:
    below = set(kind.__mro__) - set(above.__mro__)
    return [name for name, member in slots_of(kind) if member.__objclass__ in below]


def _is_of_attrs(kind: type) -> bool:
    """Whether attrs wrote what is pickled of a class with slots: its own fields."""
    written = vars(kind).get("__getstate__")
    return hasattr(kind, "__attrs_attrs__") and (
        getattr(written, "__module__", None) != kind.__module__
        or getattr(written, "__qualname__", "").endswith("slots_getstate")
    )


def _names_of_attrs(kind: type) -> set[str]:
    return {"__weakref__", *(field.name for field in getattr(kind, "__attrs_attrs__", ()))}


def unknown_to_pickling(value: Any, way: Pickling, state: Any) -> dict[str, Any]:
    """Give the attributes of an object that the class above, which says what is pickled, does not know."""
    kind, above = type(value), way.above
    assert above is not None
    if isinstance(value, _FOLDED) and not _is_of_python(above):
        return {"fold": value.fold} if value.fold else {}
    known = set(state) if isinstance(state, dict) else set()
    if isinstance(state, tuple):
        known.update(*(one for one in state if isinstance(one, dict)))
    if _is_of_attrs(above):
        known |= _names_of_attrs(above)
    if _is_of_pydantic(above):
        held = {
            name: getattr(value, name) for name in _slots_below(kind, above) if hasattr(value, name)
        }
    else:
        held = state_of(value)
    return {name: one for name, one in held.items() if name not in known}


def really_held(value: Any, items: Any, pairs: Any) -> tuple[Any, Any]:
    """Give what a container holds, whatever a subclass lets be seen when it is gone through."""
    if items is not None:
        for base in (list, collections.deque):
            if isinstance(value, base):
                items = base.__iter__(value)  # type: ignore[arg-type]
    if pairs is not None and isinstance(value, dict):
        ordered = isinstance(value, collections.OrderedDict)
        pairs = iter((collections.OrderedDict if ordered else dict).items(value))
    return items, pairs


def users_functions(value: Any) -> dict[str, Any]:
    """Give the attributes of an object that says itself how it is pickled which are functions of the user's."""
    if not pickling_of(type(value)).states_itself:
        return {}
    held = state_of(value)
    for name in ("__wrapped__", "func"):  # where it is written in C
        members = (vars(base).get(name) for base in type(value).__mro__)
        if any(isinstance(one, _WRITTEN_IN_C) for one in members):
            with suppress(Exception):
                held.setdefault(name, getattr(value, name))
    return {name: one for name, one in held.items() if users_function(one)}


def users_function(value: Any) -> bool:
    """Whether something is a function of the user's, or one with arguments of its own."""
    while type(value) in (functools.partial, types.MethodType):
        value = value.func if type(value) is functools.partial else value.__func__
    return type(value) is types.FunctionType and is_user_function(value)
