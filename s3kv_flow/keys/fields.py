"""What dataclasses, attrs, pydantic and msgspec were told of a class: it makes methods that nobody wrote."""

from __future__ import annotations

import dataclasses
import inspect
from collections.abc import Iterator, Sequence
from typing import Any, Final


def fields_of(kind: type) -> list[tuple[str, Sequence[Any]]]:
    """Give what was told of each field, and of the class, by name.

    As constants where that is possible: a list or a dict would be looked through in each call.
    """
    fields: list[tuple[str, Sequence[Any]]] = []
    if dataclasses.is_dataclass(kind):
        options: Any = vars(kind).get("__dataclass_params__")
        named = ("init", "repr", "eq", "order", "unsafe_hash", "frozen")
        fields.append(("", [(name, getattr(options, name, None)) for name in named]))
        for field in dataclasses.fields(kind):
            default = "missing" if _is_missing(field.default) else (field.default,)
            factory = None if _is_missing(field.default_factory) else field.default_factory
            flags = (field.init, field.repr, field.compare, field.hash, field.kw_only)
            fields.append((field.name, (default, factory, flags, dict(field.metadata) or None)))
    if hasattr(kind, "__attrs_attrs__"):  # of what it was told there is left what it wrote
        fields.append(("", [(name, _written_as(kind, name)) for name in _WRITTEN_BY_ATTRS]))
    for attribute in getattr(kind, "__attrs_attrs__", ()):
        stated = [getattr(attribute, name, None) for name in _OF_ATTRS]
        fields.append((attribute.name, [*stated, dict(attribute.metadata) or None]))
    if getattr(kind, "__pydantic_complete__", True) is False:
        # As its first use would: what its forward references name counts from the beginning.
        kind.model_rebuild(raise_errors=False)  # type: ignore[attr-defined]
    for name, field in getattr(kind, "__pydantic_fields__", {}).items():
        undefined = type(field.default).__name__ == "PydanticUndefinedType"
        about = [field.annotation, () if undefined else (field.default,), field.default_factory]
        about += [getattr(field, name, None) for name in _OF_PYDANTIC]
        fields.append((name, [*about, tuple(field.metadata)]))
    fields.extend(_decorators_of(kind))
    if hasattr(kind, "__struct_fields__"):
        fields.extend(_struct_fields_of(kind))
    return fields


_OF_ATTRS: Final = (
    *("default", "validator", "converter", "eq", "order", "hash", "init", "repr", "kw_only"),
    *("alias", "on_setattr", "eq_key", "order_key"),
)
_WRITTEN_BY_ATTRS: Final = (
    *("__init__", "__repr__", "__str__", "__eq__", "__lt__", "__hash__", "__setattr__"),
    *("__attrs_init__", "__match_args__"),
)


def _written_as(kind: type, name: str) -> str:
    if name not in vars(kind):
        return "not"
    return "none" if vars(kind)[name] is None else "written"


_OF_PYDANTIC: Final = (
    *("alias", "validation_alias", "serialization_alias", "exclude", "validate_default"),
    *("frozen", "repr", "init", "kw_only", "discriminator", "description"),
)
_PLAIN: Final = (str, bool, int, type(None))


def _decorators_of(kind: type) -> Iterator[tuple[str, Sequence[Any]]]:
    """Give what pydantic's decorators were told: which fields a validator is of, and when it runs."""
    decorators = getattr(kind, "__pydantic_decorators__", None)
    if decorators is None:
        return
    for group in dataclasses.fields(decorators):
        found = getattr(decorators, group.name)
        for name, decorator in found.items() if isinstance(found, dict) else ():
            info = decorator.info
            told = tuple(
                (one.name, value)
                for one in dataclasses.fields(info)
                if isinstance(value := getattr(info, one.name), _PLAIN)
                or (type(value) is tuple and all(isinstance(part, str) for part in value))
            )
            yield f"{group.name} {name}", [told]


def _struct_fields_of(kind: Any) -> Iterator[tuple[str, Sequence[Any]]]:
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
