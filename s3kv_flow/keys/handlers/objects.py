"""Objects of any class: dataclasses by their fields, all others by what pickling would write of them."""

from __future__ import annotations

import collections
import copyreg
import dataclasses
import io
import pickle
import threading
import time
import warnings
import weakref
from typing import Any, Final

from s3kv_flow.errors import UnhashableArgumentError, UnstableKeyWarning
from s3kv_flow.keys.columns import NotToldError, Told
from s3kv_flow.keys.digest import Digest
from s3kv_flow.keys.pickling import (
    REDUCING,
    Pickling,
    pickling_of,
    really_held,
    reducer_of,
    unknown_to_pickling,
    users_function,
    users_functions,
)
from s3kv_flow.keys.source import module_name, outside
from s3kv_flow.keys.state import Layout, Layouts, state_of
from s3kv_flow.keys.token import FALLBACKS, TOLD_BY_CLASS, Encoder


def _dataclass(value: Any, encoder: Encoder) -> bytes | None:
    kind = type(value)
    if not _is_by_fields(kind):
        return None
    return encoder.node(b"dataclass", encoder.token(kind), attributes(state_of(value), encoder))


def _told_by_fields(kind: type, encoder: Encoder) -> Told | None:
    """Give how dataclasses of one class are told."""
    if not _is_by_fields(kind) or _is_read_once(kind) or _is_of_this_process(kind):
        return None
    layouts = Layouts()

    def tell(value: Any) -> Any:
        return layouts[type(value)].state(value)

    return Told(encoder.node(b"dataclass", encoder.token(kind)), tell, inside=1)


def _is_by_fields(kind: type) -> bool:
    return dataclasses.is_dataclass(kind) and not _reduces(kind) and not _is_builtin(kind)


def _is_builtin(kind: type) -> bool:
    """Whether a class has what a list, a dict, a text or the like holds, beside its attributes."""
    return any(base.__module__ == "builtins" and base is not object for base in kind.__mro__)


def by_reduce(value: Any, encoder: Encoder) -> bytes:
    """Walk what pickling would write of an object, without pickle's own artefacts."""
    kind = type(value)
    way = pickling_of(kind)
    if way.states_itself:
        return encoder.stated(lambda: _by_reduce(value, way, encoder))
    return _by_reduce(value, way, encoder)


def _by_reduce(value: Any, way: Pickling, encoder: Encoder) -> bytes:
    kind = type(value)
    reduced = _reduced(value)
    behind = _behind(value, reduced)
    if isinstance(reduced, str):
        module = module_name(getattr(value, "__module__", None) or kind.__module__)
        named = encoder.token(kind), *map(encoder.token, (module, reduced))
        return encoder.node(b"global", *named, *([attributes(behind, encoder)] if behind else []))
    function, arguments, state, items, pairs = reduced
    own = unknown_to_pickling(value, way, state) if way.forgets else {}
    own |= behind
    return encoder.node(
        b"reduce" if not own else b"reduce, and more",
        *([attributes(own, encoder)] if own else []),
        encoder.token(kind),
        b"N" if function is None else encoder.token(function),
        encoder.sequence(b"arguments", arguments),
        _state(kind, state, encoder),
        b"" if items is None else encoder.sequence(b"items", list(items)),
        b"" if pairs is None else _pairs(value, pairs, encoder),
    )


def _behind(value: Any, reduced: str | tuple[Any, ...]) -> dict[str, Any]:
    """Give the functions of the user's that an object holds, where pickling writes only how to look it up."""
    if not isinstance(reduced, str):
        _, arguments, *more = reduced
        if any(one is not None for one in more) or any(map(users_function, arguments)):
            return {}
    return users_functions(value)


def _reduced(value: Any) -> str | tuple[Any, tuple[Any, ...], Any, Any, Any]:
    """Give what pickling would write of an object; None for a function that makes it the ordinary way."""
    kind = type(value)
    try:
        known = reducer_of(kind)
        reduced = value.__reduce_ex__(4) if known is None else known(value)
    except (UnhashableArgumentError, RecursionError, MemoryError):
        raise
    except Exception as error:
        raise _no_key(kind, f": {error}") from error
    if isinstance(reduced, str):
        return reduced
    if type(reduced) is not tuple or len(reduced) < 2 or type(reduced[1]) is not tuple:
        raise _no_key(kind, ": its __reduce__ gives no tuple of a function and its arguments")
    function, arguments, state, items, pairs = (*reduced, None, None, None)[:5]
    if issubclass(kind, BaseException) and state == {}:  # somebody looked at its attributes
        state = None
    if function is copyreg.__newobj__:  # type: ignore[attr-defined]
        arguments = arguments[1:]  # the first is the class
    if function in _ORDINARY:
        function = None
    if pickling_of(kind).is_set:
        arguments = tuple(
            frozenset(one) if type(one) is list and len(one) == len(value) else one
            for one in arguments
        )
    if (items is not None or pairs is not None) and pickling_of(kind).is_by_python:
        items, pairs = really_held(value, items, pairs)
    return function, arguments, state, items, pairs


_ORDINARY: Final = (copyreg.__newobj__, copyreg.__newobj_ex__, copyreg._reconstructor)  # type: ignore[attr-defined]


def _told_by_reduce(kind: type, encoder: Encoder) -> Told | None:
    """Give how objects of one class are told by what pickling would write of them."""
    if _is_read_once(kind) or _is_of_this_process(kind) or pickling_of(kind).forgets:
        return None
    layouts = Layouts()

    def tell(value: Any) -> Any:
        kind = type(value)
        if kind not in _compared:
            _compare(value, encoder)
        reduced = _reduced(value)
        if isinstance(reduced, str) or _behind(value, reduced):
            raise NotToldError
        function, arguments, state, items, pairs = reduced
        return (
            function,
            arguments,
            *_parted(layouts[kind], state),
            None if items is None else list(items),
            None if pairs is None else _named(kind, pairs),
        )

    return Told(encoder.node(b"reduce", encoder.token(kind)), tell, fields=7, inside=1)


def _named(kind: type, pairs: Any) -> Any:
    listed = list(pairs)
    if issubclass(kind, collections.OrderedDict):
        return listed
    named = dict(listed)
    if len(named) < len(listed) or not issubclass(kind, dict):
        raise NotToldError
    return named


def _state(kind: type, state: Any, encoder: Encoder) -> bytes:
    form, held, beside = _parted(Layout(kind), state)
    if form == AS_IT_IS:
        return encoder.attribute("__getstate__()", held)
    if form == ATTRIBUTES:
        return attributes(held, encoder)
    own = encoder.token(None) if held is None else attributes(held, encoder)
    tag = b"slots" if form == WITH_SLOTS else b"pydantic"
    return encoder.node(tag, own, attributes(beside, encoder))


AS_IT_IS, ATTRIBUTES, WITH_SLOTS, OF_PYDANTIC = range(4)


def _parted(layout: Layout, state: Any) -> tuple[int, Any, Any]:
    """Give of which form a state is, its attributes, and what is beside them.

    What only had been read is as good as nothing.
    """
    if type(state) is dict:
        if type(state.get("__dict__")) is dict:  # pydantic puts its own state together
            beside = {name: one for name, one in state.items() if name != "__dict__"}
            return OF_PYDANTIC, layout.without_cached(state["__dict__"]), beside
        kept = _kept(layout, state)
        return (AS_IT_IS, None, None) if kept is None else (ATTRIBUTES, kept, None)
    if type(state) is tuple and len(state) == 2 and type(state[1]) is dict:
        own, slots = state  # as pickling gives them where there are slots
        if own is None or type(own) is dict:
            return WITH_SLOTS, _kept(layout, own), layout.without_cached(slots)
    return AS_IT_IS, state, None


def _kept(layout: Layout, state: dict[Any, Any] | None) -> dict[Any, Any] | None:
    return (layout.without_cached(state) or None) if state else state


def _pairs(value: Any, pairs: Any, encoder: Encoder) -> bytes:
    if isinstance(value, collections.OrderedDict):
        return encoder.sequence(b"ordered pairs", list(pairs))
    return encoder.mapping(b"pairs", pairs)


#: Types whose keys have been compared with those of a copy.
_compared: weakref.WeakSet[type] = weakref.WeakSet()
_here = threading.local()
#: What takes longer, or more memory, is not encoded twice more, and copied, for the sake of a warning.
COMPARE_SECONDS: Final = 0.1
COMPARE_BYTES: Final = 1 << 20


def _reduce(value: Any, encoder: Encoder) -> bytes | None:
    if type(value) in _compared or getattr(_here, "compares", False):
        return by_reduce(value, encoder)
    _compared.add(type(value))
    started = time.perf_counter()
    token = by_reduce(value, encoder)
    if time.perf_counter() - started < COMPARE_SECONDS:
        _compare(value, encoder)
    return token


def _compare(value: Any, encoder: Encoder) -> None:
    """Warn where a copy by pickle has another key; on a cycle each object reaches all others, so not of each."""
    if encoder.comparing_took > COMPARE_SECONDS or getattr(_here, "compares", False):
        return
    kind = type(value)
    _compared.add(kind)
    started = time.perf_counter()
    is_stable = _is_stable(value, encoder.digest)
    encoder.comparing_took += time.perf_counter() - started
    if not is_stable:
        warnings.warn(
            f"a {kind.__module__}.{kind.__qualname__} has another key once it was pickled, so it "
            "may have another in each process; teach it with __s3kv_key__ or s3kv_flow.register_key",
            UnstableKeyWarning,
            stacklevel=outside(),
        )


class _Short(io.BytesIO):
    """Takes a pickle up to a size."""

    def write(self, data: Any) -> int:
        if self.tell() + memoryview(data).nbytes > COMPARE_BYTES:
            raise ValueError
        return super().write(data)


def _is_stable(value: Any, digest: Digest) -> bool:
    """Whether a copy by pickle has the same token, as one in another process would."""
    stream = _Short()
    try:
        pickle.dump(value, stream, protocol=5)
        copy = pickle.loads(stream.getvalue())
    except Exception:  # then it is large, or does not travel
        return True
    _here.compares = True  # a copy may be of a new class, whose copies are, too
    try:
        return Encoder(digest).token(copy) == Encoder(digest).token(value)
    except UnhashableArgumentError:
        return False
    finally:
        _here.compares = False


def attributes(held: dict[Any, Any], encoder: Encoder) -> bytes:
    """Give the token of attributes by name, in no order."""
    pairs = []
    for name, value in encoder.in_order(held.items()):
        pairs.append(encoder.token(name) + encoder.attribute(str(name), value))
    return encoder.node(b"attributes", *sorted(pairs))


def _reduces(kind: type) -> bool:
    """Whether a class says itself what makes its state."""
    return reducer_of(kind) is not None or any(
        name in vars(base)
        for base in kind.__mro__[:-1]
        for name in REDUCING
        if base.__module__ != "dataclasses" and not _slots_getstate(base, name)
    )


def _slots_getstate(base: type, name: str) -> bool:
    # dataclass(frozen=True, slots=True) writes a __getstate__ of its own into the class.
    return (
        name == "__getstate__"
        and dataclasses.is_dataclass(base)
        and getattr(vars(base).get(name), "__module__", "") == "dataclasses"
    )


def _no_key(kind: type, why: str = "") -> UnhashableArgumentError:
    return UnhashableArgumentError(
        f"a {kind.__module__}.{kind.__qualname__} has no stable key{why}",
        way_out="Leave the argument out with ignore=(...), say what to hash with key=..., "
        "or teach its type with __s3kv_key__ or s3kv_flow.register_key.",
    )


def _never_consume(value: Any, encoder: Encoder) -> bytes | None:
    if _is_read_once(type(value)):
        raise UnhashableArgumentError(
            f"a {type(value).__qualname__} can be read only once, and hashing would use it up",
            way_out="Pass a list of it or what it holds, or leave it out with ignore=(...).",
        )
    return None


def _is_read_once(kind: type) -> bool:
    # What is called as well, as the asynchronous retries of tenacity are, is more than an iterator.
    is_iterator = issubclass(kind, (collections.abc.Iterator, collections.abc.AsyncIterator))
    return is_iterator and not any("__call__" in vars(base) for base in kind.__mro__)


#: Modules of the standard library whose objects are held by their process: locks, queues, clients.
_OF_THIS_PROCESS: Final = frozenset(
    [
        *("asyncio", "concurrent.futures", "multiprocessing", "queue", "_queue", "socketserver"),
        *("http.client", "ftplib", "imaplib", "poplib", "smtplib", "tempfile"),
    ]
)


#: Classes of which the same holds.
_HANDLES: Final = frozenset({"weakref.finalize", "ctypes.CDLL", "django.db.models.query.QuerySet"})


def _never_of_this_process(value: Any, encoder: Encoder) -> bytes | None:
    if _is_of_this_process(type(value)):
        raise _no_key(type(value), ": it is held by this process")
    return None


def _is_of_this_process(kind: type) -> bool:
    if issubclass(kind, BaseException):
        return False
    if any(f"{base.__module__}.{base.__qualname__}" in _HANDLES for base in kind.__mro__):
        return True
    modules = [str(base.__module__) for base in kind.__mro__]
    return any(
        module in _OF_THIS_PROCESS or module.rpartition(".")[0] in _OF_THIS_PROCESS
        for module in modules
    )


FALLBACKS.extend((_never_consume, _never_of_this_process, _dataclass, _reduce))
TOLD_BY_CLASS.extend((_told_by_fields, _told_by_reduce))
