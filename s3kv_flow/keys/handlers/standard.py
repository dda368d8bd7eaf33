"""The standard library's types, and classes of the user's own."""

from __future__ import annotations

import array
import collections
import contextlib
import datetime
import enum
import functools
import logging
import pathlib
import re
import struct
import sys
import threading
import types
import typing
from collections.abc import Callable
from typing import Any, Union

from s3kv_flow.errors import UnhashableArgumentError
from s3kv_flow.keys.classes import plain_member
from s3kv_flow.keys.columns import Told, placed
from s3kv_flow.keys.handlers.objects import attributes, by_reduce
from s3kv_flow.keys.source import is_user_function, module_name
from s3kv_flow.keys.state import state_of
from s3kv_flow.keys.token import BY_BASE, EXACT, PIECE, TOLD, Encoder, Handler


def _for(*kinds: type) -> Callable[[Handler], Handler]:
    def add(handler: Handler) -> Handler:
        EXACT.update(dict.fromkeys(kinds, handler))
        return handler

    return add


_Tell = Callable[[Any], Any]


def told_by(tag: bytes, *kinds: type, fields: int = 0) -> Callable[[_Tell], _Tell]:
    """Let values of some types be told by the value that the function gives, or a tuple of fields."""

    def add(tell: _Tell) -> _Tell:
        @_for(*kinds)
        def token(value: Any, encoder: Encoder) -> bytes:
            return encoder.node(tag, encoder.token(tell(value)))

        TOLD.update(dict.fromkeys(kinds, Told(tag, tell, fields)))
        return tell

    return add


def _many_told_by(kind: type, fields: int = 0) -> Callable[[_Tell], _Tell]:
    """Let many containers of a type be told by others; one by itself has a token of its own."""

    def add(tell: _Tell) -> _Tell:
        TOLD[kind] = Told(kind.__name__.encode(), tell, fields, inside=1)
        return tell

    return add


def _inherited(kind: type) -> Callable[[Handler], Handler]:
    def add(handler: Handler) -> Handler:
        BY_BASE.append((kind, handler))
        return handler

    return add


# Containers


@_for(list)
def _list(value: list[Any], encoder: Encoder) -> bytes:
    return encoder.sequence(b"list", value)


@_for(tuple)
def _tuple(value: tuple[Any, ...], encoder: Encoder) -> bytes:
    return encoder.sequence(b"tuple", value)


@_for(dict)
def _dict(value: dict[Any, Any], encoder: Encoder) -> bytes:
    return encoder.dictionary(value)


@_for(set)
def _set(value: set[Any], encoder: Encoder) -> bytes:
    return encoder.unordered(b"set", value)


@_for(frozenset)
def _frozenset(value: frozenset[Any], encoder: Encoder) -> bytes:
    return encoder.unordered(b"frozenset", value)


@_for(bytearray)
def _bytearray(value: bytearray, encoder: Encoder) -> bytes:
    # Slices are copies: whoever holds the buffer forbids other threads to change its size.
    pieces = (value[at : at + PIECE] for at in range(0, len(value), PIECE))
    return encoder.node(b"bytearray", encoder.buffer(len(value), pieces))


@_for(memoryview)
def _memoryview(value: memoryview, encoder: Encoder) -> bytes:
    form, shape = encoder.token(value.format), encoder.token(value.shape)
    try:
        held: memoryview | bytes = value.cast("B") if value.c_contiguous else value.tobytes()
    except TypeError:  # of a form that `struct` has and memoryview does not read, or empty
        held = value.tobytes()
    return encoder.node(b"memoryview", form, shape, encoder.buffer(value.nbytes, [held]))


@_for(array.array)
def _array(value: array.array[Any], encoder: Encoder) -> bytes:
    step = PIECE // value.itemsize
    pieces = (value[at : at + step].tobytes() for at in range(0, len(value), step))
    size = len(value) * value.itemsize
    return encoder.node(b"array", encoder.token(value.typecode), encoder.buffer(size, pieces))


@_for(collections.OrderedDict)
def _ordered(value: collections.OrderedDict[Any, Any], encoder: Encoder) -> bytes:
    items = list(value.items())
    try:
        return encoder.sequence(b"ordereddict", items)
    except UnhashableArgumentError as error:
        place, rest = placed(error)
        error.path = f"[{items[place][0]!r}]{rest.removeprefix('[1]')}"
        raise


@_for(collections.defaultdict)
def _defaultdict(value: collections.defaultdict[Any, Any], encoder: Encoder) -> bytes:
    factory = encoder.attribute("default_factory", value.default_factory)
    return encoder.node(b"defaultdict", factory, encoder.mapping(b"dict", value.items()))


@_for(collections.Counter)
def _counter(value: collections.Counter[Any], encoder: Encoder) -> bytes:
    return encoder.mapping(b"counter", value.items())


@_for(collections.deque)
def _deque(value: collections.deque[Any], encoder: Encoder) -> bytes:
    return encoder.record(b"deque", value.maxlen, list(value))


@_many_told_by(collections.OrderedDict, fields=2)
def _names_and_values(value: Any) -> tuple[list[Any], list[Any]]:
    return list(value), list(value.values())


@_many_told_by(collections.defaultdict, fields=2)
def _factory_and_values(value: Any) -> tuple[Any, dict[Any, Any]]:
    return value.default_factory, dict(value)


@_many_told_by(collections.Counter)
def _counts(value: Any) -> dict[Any, int]:
    return dict(value)


@_many_told_by(collections.deque, fields=2)
def _length_and_values(value: Any) -> tuple[Any, list[Any]]:
    return value.maxlen, list(value)


@_many_told_by(types.SimpleNamespace)
def _attributes(value: Any) -> dict[str, Any]:
    return dict(vars(value))


@_for(collections.ChainMap)
def _chainmap(value: collections.ChainMap[Any, Any], encoder: Encoder) -> bytes:
    return encoder.sequence(b"chainmap", value.maps)


@_for(types.MappingProxyType)
def _mappingproxy(value: types.MappingProxyType[Any, Any], encoder: Encoder) -> bytes:
    return encoder.record(b"mappingproxy", value.copy())  # of what it shows, which may be ordered


@_for(type({}.keys()))
def _keys(value: Any, encoder: Encoder) -> bytes:
    return encoder.unordered(b"dict keys", value)


@_for(type({}.values()))
def _values(value: Any, encoder: Encoder) -> bytes:
    return encoder.sequence(b"dict values", list(value))


@_for(type({}.items()))
def _items(value: Any, encoder: Encoder) -> bytes:
    return encoder.mapping(b"dict items", value)


@_for(types.SimpleNamespace)
def _namespace(value: types.SimpleNamespace, encoder: Encoder) -> bytes:
    return encoder.node(b"namespace", attributes(vars(value), encoder))


# Ranges, times, places


@told_by(b"range", range, fields=3)
@told_by(b"slice", slice, fields=3)
def _bounds(value: Any) -> tuple[Any, Any, Any]:
    return value.start, value.stop, value.step


@told_by(b"date", datetime.date)
def _date(value: datetime.date) -> int:
    return value.toordinal()


@told_by(b"datetime", datetime.datetime, fields=2)
@told_by(b"time", datetime.time, fields=2)
def _clock(value: datetime.datetime | datetime.time) -> tuple[bytes, datetime.tzinfo | None]:
    reduced: Any = value.__reduce_ex__(4)[1]
    state, zone = reduced if len(reduced) == 2 else (*reduced, None)
    return state, zone


@told_by(b"timedelta", datetime.timedelta)
def _timedelta(value: datetime.timedelta) -> int:
    return (value.days * 86_400 + value.seconds) * 1_000_000 + value.microseconds


@_for(datetime.timezone)
def _timezone(value: datetime.timezone, encoder: Encoder) -> bytes:
    return encoder.record(b"timezone", value.utcoffset(None), value.tzname(None))


@_inherited(set)
@_inherited(frozenset)
def _set_subclass(value: Any, encoder: Encoder) -> bytes:
    # What a set's own __reduce__ gives is in hash order.
    held = attributes(state_of(value), encoder)
    # What is really in there, whatever the subclass lets be seen.
    base: Any = set if isinstance(value, set) else frozenset
    inside = encoder.unordered(b"set", base.__iter__(value))
    return encoder.node(b"set subclass", encoder.token(type(value)), inside, held)


@told_by(b"path", pathlib.PosixPath)
@told_by(b"pure path", pathlib.PurePosixPath)
@told_by(b"windows path", pathlib.WindowsPath)
@told_by(b"pure windows path", pathlib.PureWindowsPath)
def _text(value: Any) -> str:
    return str(value)


@_inherited(pathlib.PurePath)
def _path(value: pathlib.PurePath, encoder: Encoder) -> bytes:
    flavour = "windows" if isinstance(value, pathlib.PureWindowsPath) else "posix"
    concrete = isinstance(value, pathlib.Path)
    own = b""
    if type(value).__module__.partition(".")[0] != "pathlib":
        kept = {name: one for name, one in state_of(value).items() if name not in _OF_PATHS}
        own = encoder.record(b"own", type(value), kept)
    return encoder.node(b"path", own, *map(encoder.token, (flavour, concrete, str(value))))


#: Where paths keep their parts, and what they were asked: slots, but for subclasses.
_OF_PATHS = frozenset(
    name for kind in pathlib.Path.__mro__ for name in getattr(kind, "__slots__", ())
)


@_for(re.Pattern)
def _pattern(value: re.Pattern[Any], encoder: Encoder) -> bytes:
    return encoder.record(b"pattern", value.pattern, value.flags)


def _zoneinfo(value: Any, encoder: Encoder) -> bytes:
    if value.key is None:
        raise UnhashableArgumentError(
            "a time zone read from a file has no name", way_out="Use ZoneInfo(name)."
        )
    return encoder.record(b"zoneinfo", value.key)


@_inherited(datetime.tzinfo)
def _tzinfo(value: datetime.tzinfo, encoder: Encoder) -> bytes:
    import zoneinfo

    if type(value) is zoneinfo.ZoneInfo:
        return _zoneinfo(value, encoder)
    return by_reduce(value, encoder)


# Types and callables that are no plain functions


@_for(types.GenericAlias)
def _alias(value: types.GenericAlias, encoder: Encoder) -> bytes:
    unpacked = getattr(value, "__unpacked__", False)  # as in `*tuple[int, ...]`
    return encoder.record(b"alias", value.__origin__, value.__args__, *([True] if unpacked else []))


if sys.version_info >= (3, 12):

    @_for(typing.TypeAliasType)
    def _named_alias(value: Any, encoder: Encoder) -> bytes:
        name = module_name(value.__module__), value.__name__
        return encoder.record(b"named alias", name, value.__type_params__, value.__value__)


def _typing(value: Any, encoder: Encoder) -> bytes:
    origin: Any = typing.get_origin(value)
    if origin is typing.Literal:
        return encoder.record(b"literal", *typing.get_args(value))
    if origin in (Union, types.UnionType):
        return encoder.record(b"union", *typing.get_args(value))  # pydantic heeds their order
    return encoder.record(b"typing", origin, typing.get_args(value))


for _kind in {
    type(typing.List[int]),  # noqa: UP006
    type(typing.Optional[int]),
    type(typing.Literal[1]),
    type(typing.Callable[[int], int]),
    type(collections.abc.Callable[[int], int]),
    types.UnionType,
}:
    EXACT[_kind] = _typing


@_for(typing.ForwardRef)
def _forward(value: typing.ForwardRef, encoder: Encoder) -> bytes:
    return encoder.record(b"forward reference", value.__forward_arg__)


@_for(type(typing.Annotated[int, 0]))
def _annotated(value: Any, encoder: Encoder) -> bytes:
    return encoder.record(b"annotated", value.__origin__, list(value.__metadata__))


@_for(type(typing.Union), type(typing.Literal))
def _special(value: Any, encoder: Encoder) -> bytes:
    return encoder.record(b"typing special", str(value))  # typing.Any is a class since Python 3.11


@_for(typing.NewType)
def _new_type(value: Any, encoder: Encoder) -> bytes:
    return encoder.record(b"new type", value.__name__, value.__supertype__)


@_for(typing.TypeVar)
def _type_variable(value: typing.TypeVar, encoder: Encoder) -> bytes:
    about = (value.__covariant__, value.__contravariant__, value.__constraints__)
    return encoder.record(b"type variable", value.__name__, value.__bound__, about)


@_for(functools.partial)
def _partial(value: functools.partial[Any], encoder: Encoder) -> bytes:
    return encoder.record(b"partial", value.func, value.args, value.keywords, vars(value))


@_for(types.MethodType)
def _method(value: types.MethodType, encoder: Encoder) -> bytes:
    return encoder.record(b"method", value.__func__, value.__self__)


@_for(types.BuiltinFunctionType)
def _builtin(value: types.BuiltinFunctionType, encoder: Encoder) -> bytes:
    if value is threading.Lock:  # a class since Python 3.13
        return encoder.node(b"threading.Lock")
    owner: Any = value.__self__
    if owner is None or isinstance(owner, types.ModuleType):
        module = owner.__name__ if owner is not None else value.__module__
        return encoder.record(b"builtin", module, value.__qualname__)
    return encoder.record(b"builtin method", owner, value.__qualname__)


@_for(types.MethodDescriptorType, types.WrapperDescriptorType, types.ClassMethodDescriptorType)
def _descriptor(value: Any, encoder: Encoder) -> bytes:
    return encoder.record(b"descriptor", value.__objclass__, value.__name__)


@_for(functools._lru_cache_wrapper)
def _lru_cache(value: Any, encoder: Encoder) -> bytes:
    wrapped = value.__wrapped__
    if isinstance(wrapped, types.FunctionType) and not is_user_function(wrapped):
        return encoder.token(
            wrapped
        )  # which functions the standard library keeps results of varies
    return encoder.record(b"lru_cache", wrapped)


@_for(functools.singledispatchmethod)
def _dispatching_method(value: functools.singledispatchmethod[Any], encoder: Encoder) -> bytes:
    # What it was asked is kept beside, and does not count.
    registry = {kind: plain_member(one) for kind, one in value.dispatcher.registry.items()}
    return encoder.record(b"singledispatchmethod", plain_member(value.func), registry)


@_inherited(logging.Logger)
def _logger(value: logging.Logger, encoder: Encoder) -> bytes:
    return encoder.record(b"logger", module_name(value.name))


@_inherited(contextlib._GeneratorContextManager)
@_inherited(contextlib._AsyncGeneratorContextManager)
def _context(value: Any, encoder: Encoder) -> bytes:
    """Give the token of what `contextlib.contextmanager` made: a decorator, too."""
    return encoder.record(b"context", type(value), value.func, value.args, value.kwds)


@_inherited(logging.LoggerAdapter)
def _logger_adapter(value: logging.LoggerAdapter[Any], encoder: Encoder) -> bytes:
    held = {name: one for name, one in state_of(value).items() if one is not False}
    return encoder.node(b"adapter", encoder.token(type(value)), attributes(held, encoder))


@_for(property, classmethod, staticmethod)
def _plain_descriptor(value: Any, encoder: Encoder) -> bytes:
    return encoder.record(b"made of", type(value).__name__, plain_member(value))


@_for(struct.Struct)
def _struct(value: struct.Struct, encoder: Encoder) -> bytes:
    return encoder.record(b"struct", value.format)


# Classes of the user's own


@_inherited(enum.Enum)
def _enum(value: enum.Enum, encoder: Encoder) -> bytes:
    name = None if isinstance(value, enum.Flag) else value.name
    return encoder.node(
        b"enum", encoder.token(type(value)), encoder.token(name), encoder.token(value.value)
    )
