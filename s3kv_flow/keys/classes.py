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
    ]
)


def written(kind: type) -> Iterator[tuple[str, str, Any]]:
    """Give the members of a class that count in its key: name, kind of descriptor, and what it was made of.

    Those of an enum come apart.
    """
    generated = _has_generated_methods(kind)
    enumerated = getattr(kind, "__members__", {})
    is_enum = issubclass(kind, enum.Enum)
    members = dict(vars(kind))
    for name in sorted(members):
        member = members[name]
        if name in _NOT_THE_CLASS or name.startswith(_LIBRARIES):
            continue
        plain = plain_member(member)
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
        yield name, "" if plain is member else type(member).__name__, plain
    boundary = getattr(kind, "_boundary_", None)
    usual = enum.IntFlag if issubclass(kind, int) else enum.Flag
    if boundary is not None and boundary is not getattr(usual, "_boundary_", None):
        yield "_boundary_", "", boundary.name


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


def fields_of(kind: type) -> list[tuple[str, Any]]:
    """Give what `dataclasses`, attrs and pydantic were told of each field, which makes methods."""
    fields: list[tuple[str, Any]] = []
    if dataclasses.is_dataclass(kind):
        options: Any = vars(kind).get("__dataclass_params__")
        named = ("init", "repr", "eq", "order", "unsafe_hash", "frozen")
        fields.append(("", [(name, getattr(options, name, None)) for name in named]))
        for field in dataclasses.fields(kind):
            default = "missing" if _is_missing(field.default) else (field.default,)
            factory = None if _is_missing(field.default_factory) else field.default_factory
            flags = (field.init, field.repr, field.compare, field.hash, field.kw_only)
            fields.append((field.name, (default, factory, flags, dict(field.metadata))))
    for attribute in getattr(kind, "__attrs_attrs__", ()):
        stated = [getattr(attribute, name, None) for name in _OF_ATTRS]
        fields.append((attribute.name, [*stated, dict(attribute.metadata)]))
    for name, field in getattr(kind, "__pydantic_fields__", {}).items():
        options = [getattr(field, name, None) for name in _OF_PYDANTIC]
        about = (field.annotation, field.default, field.default_factory, options)
        fields.append((name, (*about, list(field.metadata))))
    fields.extend(_decorators_of(kind))
    if hasattr(kind, "__struct_fields__"):
        fields.extend(_struct_fields_of(kind))
    return fields


_OF_ATTRS: Final = (
    *("default", "validator", "converter", "eq", "order", "hash", "init", "repr", "kw_only"),
    *("alias", "on_setattr"),
)
_OF_PYDANTIC: Final = (
    *("alias", "validation_alias", "serialization_alias", "exclude", "validate_default"),
    *("frozen", "repr", "init", "kw_only", "discriminator", "description"),
)
_PLAIN: Final = (str, bool, int, type(None))


def _decorators_of(kind: type) -> Iterator[tuple[str, Any]]:
    """Give what pydantic's decorators were told: which fields a validator is of, and when it runs."""
    decorators = getattr(kind, "__pydantic_decorators__", None)
    if decorators is None:
        return
    for group in dataclasses.fields(decorators):
        found = getattr(decorators, group.name)
        for name, decorator in found.items() if isinstance(found, dict) else ():
            info = decorator.info
            told = {
                one.name: value
                for one in dataclasses.fields(info)
                if isinstance(value := getattr(info, one.name), _PLAIN)
                or (type(value) is tuple and all(isinstance(part, str) for part in value))
            }
            yield f"{group.name} {name}", told


def _struct_fields_of(kind: Any) -> Iterator[tuple[str, Any]]:
    """Give the fields of a msgspec structure, in their order, and what it was told."""
    annotations = inspect.get_annotations(kind)
    defaults = kind.__struct_defaults__
    required = len(kind.__struct_fields__) - len(defaults)
    for place, name in enumerate(kind.__struct_fields__):
        default = () if place < required else (_plain_default(defaults[place - required]),)
        yield name, (place, default, annotations.get(name), kind.__struct_encode_fields__[place])
    config = kind.__struct_config__
    yield "config", [(name, getattr(config, name)) for name in sorted(_OF_STRUCTS)]


_OF_STRUCTS: Final = (
    *("frozen", "eq", "order", "array_like", "forbid_unknown_fields", "omit_defaults", "tag"),
    *("tag_field", "weakref", "dict"),
)


def _plain_default(default: Any) -> Any:
    factory = getattr(default, "factory", None)  # as msgspec keeps it
    return default if factory is None else ("factory", factory)


def _is_missing(value: Any) -> bool:
    # By its type: a class that travelled in a pickle has a copy of dataclasses' own.
    return isinstance(value, type(dataclasses.MISSING))


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
