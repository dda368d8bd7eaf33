"""What of a class its author wrote: all else is made by decorators, libraries and the interpreter."""

from __future__ import annotations

import dataclasses
import enum
import functools
import inspect
import types
import typing
from collections.abc import Iterator
from typing import Any, Final

from s3kv_flow.keys import source

#: What libraries keep in a class: known from its code, or learned as it is used. What they were told
#: by the class is written by its author.
_LIBRARIES: Final = ("__pydantic", "__attrs", "__msgspec")
_TOLD_TO_LIBRARIES: Final = frozenset({"__pydantic_config__"})
#: What makes classes puts functions of its own into them.
_MAKERS: Final = frozenset(
    [
        *("abc", "attr", "attrs", "collections", "dataclasses", "enum", "msgspec", "pydantic"),
        *("typing", "typing_extensions"),
    ]
)

#: What `plain_member` takes apart wholly; subclasses of these are more.
_PLAIN_DESCRIPTORS: Final = (classmethod, staticmethod, property, functools.cached_property)
_OF_DESCRIPTORS: Final = frozenset(
    {"func", "attrname", "lock", "__doc__", "__name__", "__module__", "__qualname__", "__wrapped__"}
    | {"__annotations__", "__isabstractmethod__", "__annotate__", "__type_params__"}
)

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
MARKS: Final = frozenset(
    {"__final__", "__override__", "__deprecated__", "__dataclass_transform__"}
    | {"_synchronized_lock"}  # of wrapt
)

#: What makes functions cached ones: a closure over what keeps the results.
_CACHED_BY: Final = "s3kv_flow._decorator", "cached_function", "cache"

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
    if not generated and "__slots__" in members:
        yield "__slots__", "", members["__slots__"]
    yield from _bases_with_arguments(kind)
    for name, function in cached_by_attrs(kind).items():
        yield name, "cached_property", function
    for name in sorted(members):
        member = members[name]
        if name in _NOT_THE_CLASS:
            continue
        if name == "__init__" and _is_inherited(kind, name, member):
            continue
        plain = plain_member(member)
        is_function = isinstance(plain, types.FunctionType)
        if name.startswith(_LIBRARIES) and not is_function and name not in _TOLD_TO_LIBRARIES:
            continue
        if is_enum and name in _NEW_OF_ENUM:
            if is_function and source.is_user_function(plain):
                created = plain
            continue
        if is_enum and (
            name in enumerated or (_is_sunder(name) and plain is member and not is_function)
        ):
            continue
        if is_enum and name in _SHOWN and not is_function and _is_shown_as_data(kind):
            continue
        if name == "__hash__" and plain is None:  # also where only __eq__ was written
            continue
        if is_function and _is_not_written(plain, name, generated):
            continue
        if name == "__new__" and isinstance(plain, types.BuiltinFunctionType):
            continue
        if isinstance(plain, _DESCRIPTORS) or type(plain).__name__ == "_tuplegetter":
            continue
        # Python 3.13 makes a static method of the one.
        is_same = plain is member or (is_enum and name == "_generate_next_value_")
        if plain is not member and type(member) not in _PLAIN_DESCRIPTORS:
            plain = (type(member), plain, _own_state(member))
        yield name, "" if is_same else type(member).__name__, plain
    if created is not None:
        yield "__new__", "", created
    boundary = getattr(kind, "_boundary_", None)
    usual = enum.IntFlag if issubclass(kind, int) else enum.Flag
    if boundary is not None and boundary is not getattr(usual, "_boundary_", None):
        yield "_boundary_", "", boundary.name


def _bases_with_arguments(kind: type) -> Iterator[tuple[str, str, Any]]:
    """Give bases such as ``Base[int]``: code may ask a class for what stands in the brackets."""
    stated = vars(kind).get("__orig_bases__", ())
    told = [
        base
        for base in stated
        if typing.get_origin(base) not in (None, typing.Generic, typing.Protocol)
    ]
    if told:
        yield "__orig_bases__", "", tuple(told)


def cached_by_attrs(kind: type) -> dict[str, Any]:
    """Give the cached properties of a class with slots, from where attrs has put them."""
    getter = vars(kind).get("__getattr__")
    if not isinstance(getter, types.FunctionType) or not _is_by_attrs(getter):
        return {}
    known: dict[str, Any] = getter.__globals__.get("cached_properties", {})
    return known


def _is_by_attrs(function: types.FunctionType) -> bool:
    return function.__code__.co_filename.startswith("<attrs generated")


def _is_sunder(name: str) -> bool:
    """Whether a name is one of those that `enum` keeps for itself, such as ``_member_map_``."""
    return name[0] == name[-1] == "_" and name[1:2] != "_" and name[-2:-1] != "_"


#: Of its data, `enum` gives these to what shows its members as such.
_SHOWN: Final = frozenset({"__format__", "__str__", "__repr__"})


def _is_shown_as_data(kind: type) -> bool:
    known = ("IntEnum", "IntFlag", "StrEnum", "ReprEnum")
    return any(base.__module__ == "enum" and base.__name__ in known for base in kind.__mro__)


def _is_dunder(name: str) -> bool:
    return name.startswith("__") and name.endswith("__")


def _own_state(member: Any) -> dict[str, Any]:
    """Give what a descriptor of the user's own class holds beside what it was made of."""
    state = getattr(member, "__dict__", {})
    return {name: one for name, one in state.items() if name not in _OF_DESCRIPTORS}


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


def cache_of(function: Any) -> Any:
    """Give what keeps the results of a cached function; None of any other.

    Attributes would tell nothing: `functools.wraps` copies them to what is more than the function,
    and reloading to what is older.
    """
    if type(function) is types.MethodType:
        function = function.__func__
    if type(function) is not types.FunctionType:  # a proxy would say that it is one
        return None
    module, name, cell = _CACHED_BY
    code = function.__code__
    if code.co_name != name or function.__globals__.get("__name__") != module:
        return None
    return (function.__closure__ or ())[code.co_freevars.index(cell)].cell_contents


def _has_generated_methods(kind: type) -> bool:
    return dataclasses.is_dataclass(kind) or any(
        hasattr(kind, mark) for mark in ("__attrs_attrs__", "__pydantic_fields__", "_fields")
    )


def _is_not_written(function: types.FunctionType, name: str, generated: bool) -> bool:
    """Whether a method was put there by what makes classes, such as a decorator or `enum`."""
    inner = inspect.unwrap(function)
    if inner is not function and _is_written_by_user(function):
        return False
    filename = getattr(inner, "__code__", function.__code__).co_filename
    if filename == source.BY_VALUE:  # generated code looks the same there, but has no text
        file = inner.__globals__.get("__file__")
        if file is not None and not source.is_user_file(file):
            return True
        return generated and name in _GENERATED and source.node_of(inner) is None
    if filename.startswith("<attrs generated"):
        return True
    if generated and name in _GENERATED and filename.startswith("<"):
        return source.node_of(inner) is None and _is_made_by_dataclasses(inner, name)
    by = str(getattr(inner, "__module__", "")).partition(".")[0]
    is_their_name = _is_dunder(name) or name in _GENERATED or name.startswith(_LIBRARIES)
    return is_their_name and by in _MAKERS and not source.is_user_file(filename)


def _is_written_by_user(function: types.FunctionType) -> bool:
    filename = function.__code__.co_filename
    if filename == source.BY_VALUE:
        filename = str(function.__globals__.get("__file__"))
    return source.is_user_file(filename) and not filename.startswith("<attrs generated")


def _is_made_by_dataclasses(function: types.FunctionType, name: str) -> bool:
    """Whether a method without a text is of a dataclass or a named tuple, and not of its author."""
    qualified = getattr(function.__code__, "co_qualname", None)  # since Python 3.11
    return qualified is None or name == "__new__" or "__create_fn__" in qualified
