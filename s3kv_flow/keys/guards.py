"""What a walk over code has read and could change while the process lives; checked at each call."""

from __future__ import annotations

import datetime
import enum
import functools
import operator
import pathlib
import re
import types
from collections.abc import Callable
from typing import Any, Final

from s3kv_flow.errors import UnhashableArgumentError
from s3kv_flow.keys import source
from s3kv_flow.keys.classes import cache_of
from s3kv_flow.keys.digest import Digest
from s3kv_flow.keys.repeated import Repeated
from s3kv_flow.keys.state import Layout
from s3kv_flow.keys.token import SCALARS, Encoder

#: Longer tuples are not looked through for what could change in them.
LARGEST_CONSTANT: Final = 4096

#: Of these, members without a key leave the others theirs.
CONTAINERS: Final = (list, tuple, dict, set, frozenset)

#: In place of a name or a cell that holds nothing.
MISSING: Final = object()
#: In place of a member of a class that does not count.
ANYTHING: Final = object()


class Guards:
    """What a walk has read; while it all holds, the walk would give the same token."""

    __slots__ = ("cells", "classes", "data", "files", "functions", "names", "opaque", "sizes")

    def __init__(self) -> None:
        self.names: list[tuple[Any, str, Any]] = []
        self.sizes: list[tuple[Any, int]] = []
        self.functions: list[tuple[Any, ...]] = []
        self.cells: list[tuple[Any, Any]] = []
        self.classes: list[tuple[type, dict[str, Any], Any]] = []
        self.files: list[tuple[str, source.Stamp | None]] = []
        self.data: list[tuple[Any, Repeated, bytes]] = []
        #: What has no key: how to look at what it holds, and what that was.
        self.opaque: list[tuple[Callable[[], list[Any]], list[Any]]] = []

    def watch(self, function: types.FunctionType) -> None:
        """Note what a function is made of; what it closes over and its attributes have their own guards."""
        of_its_own = function.__code__, function.__defaults__, function.__closure__
        own, keywords = function.__dict__, function.__kwdefaults__
        self.functions.append((function, *of_its_own, own, len(own), keywords))
        if keywords is not None:
            self.sizes.append((keywords, len(keywords)))
            self.names.extend((keywords, *one) for one in keywords.items())

    def watch_opaque(self, value: Any) -> None:
        """Note what something without a key holds: its members, or else its attributes."""
        layout = Layout(type(value))

        def look() -> list[Any]:
            if type(value) in CONTAINERS and type(value) is not dict:
                return list(value)
            held: dict[Any, Any] = value if type(value) is dict else layout.state(value)
            return [*held, *held.values()]

        self.opaque.append((look, look()))

    def hold(self, digest: Digest) -> bool:
        """Whether nothing has changed."""
        for namespace, name, value in self.names:
            if namespace.get(name, MISSING) is not value:
                return False
        for function, code, defaults, closure, own, size, keywords in self.functions:
            if (
                function.__code__ is not code
                or function.__defaults__ is not defaults
                or function.__closure__ is not closure
                or function.__dict__ is not own
                or len(own) != size
                or function.__kwdefaults__ is not keywords
            ):
                return False
        for sized, size in self.sizes:
            if len(sized) != size:
                return False
        for cell, value in self.cells:
            if contents(cell) is not value:
                return False
        for kind, members, bases in self.classes:
            now = vars(kind)
            if kind.__bases__ is not bases and kind.__bases__ != bases:
                return False
            if len(now) != len(members):
                return False
            for name, member in members.items():
                if member is not ANYTHING and now.get(name, MISSING) is not member:
                    return False
        for file, stamp in self.files:
            if source.stamp_of(file) != stamp:
                return False
        for look, before in self.opaque:
            held = look()
            if len(held) != len(before) or not all(map(operator.is_, held, before)):
                return False
        for value, repeated, token in self.data:
            try:
                if repeated.token(value, Encoder(digest, by_identity)) != token:
                    return False
            except UnhashableArgumentError:
                return False
        return True


def by_identity(value: Any, encoder: Encoder) -> bytes:
    """Tell code apart within this process only, for guards; the code itself has its own."""
    return b"@%20d" % id(value)


def contents(cell: Any) -> Any:
    """Give what a closure's cell holds."""
    try:
        return cell.cell_contents
    except ValueError:  # not yet filled
        return MISSING


_CONSTANT_TYPES: Final = frozenset(
    {
        *SCALARS,
        datetime.date,
        datetime.datetime,
        datetime.time,
        datetime.timedelta,
        datetime.timezone,
        range,
        re.Pattern,
        type(pathlib.Path()),
        pathlib.PurePosixPath,
        types.ModuleType,
    }
)


def is_constant(value: Any) -> bool:
    """Whether a value cannot change, or guards of its own tell when it does."""
    kind = type(value)
    if kind in (tuple, frozenset):
        return len(value) <= LARGEST_CONSTANT and all(map(is_constant, value))
    if kind is types.FunctionType:
        cache = cache_of(value)
        if cache is not None:
            return not cache.identity.depends_on
        # A package's may close over what is the user's.
        return registry_of(value) is None and (
            not value.__closure__ or source.is_user_function(value)
        )
    if isinstance(value, enum.Enum):
        return is_constant(value._value_)
    if kind is types.BuiltinFunctionType:  # a method of a list or a dict shows what is in there
        owner = value.__self__
        return owner is None or isinstance(owner, (types.ModuleType, type))
    return kind in _CONSTANT_TYPES or isinstance(value, type)


def registry_of(function: types.FunctionType) -> Any:
    """Give what `functools.singledispatch` made a function dispatch to; it also keeps what it was asked."""
    if function.__code__.co_filename != functools.__file__:
        return None
    registry = function.__dict__.get("registry")
    return registry if isinstance(registry, types.MappingProxyType) else None
