"""What a walk over code has read and could change while the process lives; checked at each call."""

from __future__ import annotations

import datetime
import enum
import functools
import pathlib
import re
import types
from typing import Any, Final

from s3kv_flow.errors import UnhashableArgumentError
from s3kv_flow.keys import source
from s3kv_flow.keys.classes import IDENTITY_ATTRIBUTE
from s3kv_flow.keys.digest import Digest
from s3kv_flow.keys.repeated import Repeated
from s3kv_flow.keys.token import SCALARS, Encoder

#: Longer tuples are not looked through for what could change in them.
LARGEST_CONSTANT: Final = 4096

#: In place of a name or a cell that holds nothing.
MISSING: Final = object()
#: In place of a member of a class that does not count.
ANYTHING: Final = object()


class Guards:
    """What a walk has read; while it all holds, the walk would give the same token."""

    __slots__ = ("cells", "classes", "data", "files", "functions", "names")

    def __init__(self) -> None:
        self.names: list[tuple[Any, str, Any]] = []
        self.functions: list[tuple[Any, Any, Any, Any, int]] = []
        self.cells: list[tuple[Any, Any]] = []
        self.classes: list[tuple[type, dict[str, Any], Any]] = []
        self.files: list[tuple[str, source.Stamp | None]] = []
        self.data: list[tuple[Any, Repeated, bytes]] = []

    def hold(self, digest: Digest) -> bool:
        """Whether nothing has changed."""
        for namespace, name, value in self.names:
            if namespace.get(name, MISSING) is not value:
                return False
        for function, code, defaults, keyword_defaults, attributes in self.functions:
            if (
                function.__code__ is not code
                or function.__defaults__ is not defaults
                or function.__kwdefaults__ is not keyword_defaults
                or len(function.__dict__) != attributes
            ):
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
        identity = value.__dict__.get(IDENTITY_ATTRIBUTE)
        return registry_of(value) is None and (identity is None or not identity.depends_on)
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
