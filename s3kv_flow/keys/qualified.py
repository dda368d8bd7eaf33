"""The names by which functions and classes are known: the same in every process that meets them."""

from __future__ import annotations

import enum
import sys
from typing import Any

from s3kv_flow.keys import source
from s3kv_flow.keys.classes import plain_member


def _namespace(value: Any) -> dict[str, Any] | None:
    """Give the module that code was written in, also where it came by value to another process.

    There ``__main__`` is another script, but functions bring the name of their file along, and so
    do the methods of a class.
    """
    # A copy: asking a member may change the class, as pydantic does.
    functions = list(vars(value).values()) if isinstance(value, type) else [value]
    for function in map(plain_member, functions):
        namespace = getattr(function, "__globals__", None)
        if namespace is not None and namespace.get("__name__") == value.__module__:
            found: dict[str, Any] = namespace
            return found
    return None


def name_of(value: Any) -> str:
    """Give the name of a function or a class, with that of its module."""
    if value is enum.EnumMeta:  # EnumType since Python 3.11
        return "enum:EnumMeta"
    module = source.module_name(getattr(value, "__module__", None), _namespace(value))
    return f"{module}:{getattr(value, '__qualname__', getattr(value, '__name__', ''))}"


def public_name(value: Any) -> str:
    """Give the name that others know it by: where it really lies changes from version to version."""
    name = name_of(value)
    module, _, qualified = name.partition(":")
    parts = module.split(".")
    private = next((place for place, part in enumerate(parts) if part.startswith("_")), 0)
    public = ".".join(parts[:private])
    known = vars(sys.modules[public]).get(qualified) if public in sys.modules else None
    return f"{public}:{qualified}" if known is value else name
