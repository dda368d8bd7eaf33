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

_DESCRIPTORS = (types.MemberDescriptorType, types.GetSetDescriptorType, types.BuiltinFunctionType)

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
        "__hash__",
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


def written(kind: type) -> Iterator[tuple[str, Any]]:
    """Give the members of a class that count in its key, by name; those of an enum apart."""
    generated = _has_generated_methods(kind)
    enumerated = getattr(kind, "__members__", {})
    is_enum = issubclass(kind, enum.Enum)
    members = dict(vars(kind))
    for name in sorted(members):
        member = members[name]
        if name in _NOT_THE_CLASS or name.startswith(_LIBRARIES):
            continue
        if is_enum and (
            name in enumerated
            or (name.startswith("_") and not isinstance(member, types.FunctionType))
        ):
            continue
        plain = plain_member(member)
        if isinstance(plain, types.FunctionType) and _is_not_written(plain, name, generated):
            continue
        if isinstance(plain, _DESCRIPTORS) or type(plain).__name__ == "_tuplegetter":
            continue
        yield name, plain


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
        fields.append(
            ("", [(name, getattr(options, name, None)) for name in ("eq", "order", "frozen")])
        )
        for field in dataclasses.fields(kind):
            default = "missing" if _is_missing(field.default) else (field.default,)
            factory = None if _is_missing(field.default_factory) else field.default_factory
            flags = (field.init, field.compare, field.hash, field.kw_only)
            fields.append((field.name, (default, factory, flags)))
    for attribute in getattr(kind, "__attrs_attrs__", ()):
        names = ("default", "validator", "converter", "eq", "init", "kw_only", "alias")
        fields.append((attribute.name, [getattr(attribute, name, None) for name in names]))
    for name, field in getattr(kind, "__pydantic_fields__", {}).items():
        stated = (_annotation(field.annotation), field.default, field.default_factory)
        fields.append((name, (*stated, list(field.metadata))))
    return fields


def _is_missing(value: Any) -> bool:
    # By its type: a class that travelled in a pickle has a copy of dataclasses' own.
    return isinstance(value, type(dataclasses.MISSING))


def _annotation(annotation: Any) -> Any:
    """Give a type that has a token, or its text."""
    return annotation if isinstance(annotation, type) else str(annotation)


def _is_not_written(function: types.FunctionType, name: str, generated: bool) -> bool:
    """Whether a method was made by a decorator or inherited from an installed package."""
    inner = inspect.unwrap(function)
    filename = getattr(inner, "__code__", function.__code__).co_filename
    if filename == source.BY_VALUE:  # generated code looks the same there, but has no text
        file = inner.__globals__.get("__file__")
        if file is not None and not source.is_user_file(file):
            return True
        return generated and name.startswith("_") and source.node_of(inner) is None
    if generated and name.startswith("_") and filename.startswith("<"):
        return True
    return not source.is_user_file(filename)
