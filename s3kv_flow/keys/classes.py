"""What of a class its author wrote: all else is made by decorators, libraries and the interpreter."""

from __future__ import annotations

import dataclasses
import enum
import functools
import inspect
import types
from collections.abc import Iterator
from typing import Any, Final

from s3kv_flow.keys import source

#: What libraries keep in a class: known from its code, or learned as it is used.
_LIBRARIES: Final = ("__pydantic", "__attrs", "__msgspec")

_DESCRIPTORS = (types.MemberDescriptorType, types.GetSetDescriptorType)

#: Methods that `dataclasses`, named tuples and attrs write; without a text they look like the user's.
_GENERATED: Final = frozenset(
    [
        *("__init__", "__repr__", "__eq__", "__lt__", "__le__", "__gt__", "__ge__", "__hash__"),
        *("__setattr__", "__delattr__", "__getstate__", "__setstate__", "__new__", "__ne__"),
        *("__getnewargs__", "__attrs_init__", "__post_init_post_parse__", "_replace", "_asdict"),
        *("_make", "__str__", "__reduce__"),
    ]
)

#: What `typing` leaves on what it decorates, by the version of Python.
MARKS: Final = frozenset({"__final__", "__override__", "__deprecated__", "__dataclass_transform__"})

#: Cached functions carry their own identity here, which may be a version instead of code.
IDENTITY_ATTRIBUTE: Final = "__s3kv_identity__"

#: An enum keeps the `__new__` that was written in its class under one of these.
_NEW_OF_ENUM: Final = ("__new_member__", "_new_member_")

#: What the interpreter, `abc`, `dataclasses` and pickling write into a class.
_NOT_THE_CLASS: Final = frozenset(
    [
        "__dict__",
        "__weakref__",
        "__doc__",
        "__module__",
        "__qualname__",
        "__firstlineno__",
        "__static_attributes__",
        "__annotations__",
        "__annotate__",
        "__annotate_func__",
        "__annotations_cache__",
        "__conditional_annotations__",
        "__abstractmethods__",
        "_abc_impl",
        "__parameters__",
        "__orig_bases__",
        "__slots__",
        "__match_args__",
        "__dataclass_fields__",
        "__dataclass_params__",
        "__signature__",
        "__classdictcell__",
        "__slotnames__",
        "__type_params__",
        "__replace__",
        "__readonly_keys__",
        "__mutable_keys__",
        "__closed__",
        "__extra_items__",
        "__protocol_attrs__",
        "__non_callable_proto_members__",
        *MARKS,
    ]
)


def written(kind: type) -> Iterator[tuple[str, str, Any]]:
    """Give the members of a class that count in its key: name, kind of descriptor, and what it was made of.

    Those of an enum come apart.
    """
    generated = _has_generated_methods(kind)
    enumerated = getattr(kind, "__members__", {})
    is_enum = issubclass(kind, enum.Enum)
    created: Any = None
    members = dict(vars(kind))
    for name in sorted(members):
        member = members[name]
        if name in _NOT_THE_CLASS or name.startswith(_LIBRARIES):
            continue
        if name == "__init__" and _is_inherited(kind, name, member):
            continue
        plain = plain_member(member)
        if is_enum and name in _NEW_OF_ENUM:
            if isinstance(plain, types.FunctionType) and source.is_user_function(plain):
                created = plain
            continue
        is_code = plain is not member or isinstance(plain, types.FunctionType)
        if is_enum and (name in enumerated or (name.startswith("_") and not is_code)):
            continue
        if name == "__hash__" and plain is None:  # also where only __eq__ was written
            continue
        if isinstance(plain, types.FunctionType) and _is_not_written(plain, name, generated):
            continue
        if isinstance(plain, types.BuiltinFunctionType) and name.startswith("_"):
            continue
        if isinstance(plain, _DESCRIPTORS) or type(plain).__name__ == "_tuplegetter":
            continue
        # Python 3.13 makes a static method of the one.
        is_same = plain is member or (is_enum and name == "_generate_next_value_")
        yield name, "" if is_same else type(member).__name__, plain
    if created is not None:
        yield "__new__", "", created
    boundary = getattr(kind, "_boundary_", None)
    usual = enum.IntFlag if issubclass(kind, int) else enum.Flag
    if boundary is not None and boundary is not getattr(usual, "_boundary_", None):
        yield "_boundary_", "", boundary.name


def _is_inherited(kind: type, name: str, member: Any) -> bool:
    """Whether `typing` put there what a base has, as it does once a protocol's class is first called."""
    is_protocol = getattr(kind, "_is_protocol", None) is not None
    return is_protocol and any(vars(base).get(name) is member for base in kind.__mro__[1:])


def plain_member(member: Any) -> Any:
    """Give what a descriptor was made of."""
    if isinstance(member, (classmethod, staticmethod)):
        return member.__func__
    if isinstance(member, property):
        return member.fget, member.fset, member.fdel
    if isinstance(member, functools.cached_property):
        return member.func
    return member


def _has_generated_methods(kind: type) -> bool:
    return dataclasses.is_dataclass(kind) or any(
        hasattr(kind, mark) for mark in ("__attrs_attrs__", "__pydantic_fields__", "_fields")
    )


def _is_not_written(function: types.FunctionType, name: str, generated: bool) -> bool:
    """Whether a method was made by a decorator or inherited from an installed package."""
    inner = inspect.unwrap(function)
    filename = getattr(inner, "__code__", function.__code__).co_filename
    if filename == source.BY_VALUE:  # generated code looks the same there, but has no text
        file = inner.__globals__.get("__file__")
        if file is not None and not source.is_user_file(file):
            return True
        return generated and name in _GENERATED and source.node_of(inner) is None
    if filename.startswith("<attrs generated"):
        return True
    if generated and name in _GENERATED and filename.startswith("<"):
        return source.node_of(inner) is None
    # Others are put there by base classes and decorators, if they have a name of Python's own.
    return name.startswith("_") and not source.is_user_file(filename)
