"""Functions, classes and modules: a user's own by the code they reach, others by name."""

from __future__ import annotations

import functools
import inspect
import os
import sys
import threading
import types
import typing
from typing import Any, Final

from s3kv_flow.keys import source
from s3kv_flow.keys.classes import cache_of, plain_member
from s3kv_flow.keys.code import code_token
from s3kv_flow.keys.depends import token_of
from s3kv_flow.keys.guards import MISSING, contents, registry_of
from s3kv_flow.keys.identity import Identity
from s3kv_flow.keys.names import names_of
from s3kv_flow.keys.qualified import name_of, public_name
from s3kv_flow.keys.token import BY_BASE, EXACT, Encoder
from s3kv_flow.keys.trees import bytecode_token, module_sources


def _function_handler(value: types.FunctionType, encoder: Encoder) -> bytes:
    cache = cache_of(value)
    if cache is not None:
        return _cached_function(cache.identity, encoder)
    registry = registry_of(value)
    if registry is not None:
        return encoder.record(b"singledispatch", inspect.unwrap(value), dict(registry))
    if not source.is_user_function(value):
        return _installed(value, encoder)
    return code_token(value, encoder)


def _installed(value: types.FunctionType, encoder: Encoder) -> bytes:
    """Give the token of a function of a package: its name, and what it was made with if that is not all."""
    name = encoder.record(b"installed", public_name(value))
    found: Any = sys.modules.get(value.__module__)
    for part in value.__qualname__.split("."):
        found = vars(found).get(part) if isinstance(found, (type, types.ModuleType)) else None
    if isinstance(found, functools._lru_cache_wrapper):
        found = found.__wrapped__
    if plain_member(found) is value:
        return name
    code = value.__code__
    # What travelled by value was of a file, most likely.
    is_text = code.co_filename == source.BY_VALUE or os.path.isfile(code.co_filename)
    parts = [] if is_text else [bytecode_token(code, encoder)]
    filled = names_of(code, source.node_of(value)).stored if value.__closure__ else ()
    for cell, held in zip(code.co_freevars, map(contents, value.__closure__ or ())):
        if cell in filled:  # a memo, most likely
            continue
        parts.append(encoder.token(cell))
        parts.append(b"missing" if held is MISSING else encoder.attribute(cell, held))
    made_with = (value.__defaults__, value.__kwdefaults__)
    return encoder.node(b"made", name, *map(encoder.token, made_with), *parts)


def _cached_function(identity: Identity, encoder: Encoder) -> bytes:
    """Give what another cached function contributes: its version where it has one, else its code."""
    if identity.version is not None:
        token = encoder.record(b"cached", name_of(identity.function), identity.version)
    elif identity.mode == "none":
        token = encoder.record(b"cached", name_of(identity.function))
    else:
        token = encoder.token(identity.function)
    if identity.depends_on:
        token = encoder.node(b"with", token, token_of(identity.depends_on, encoder))
    return token


#: Classes in some versions of Python only.
_SPECIAL: Final[tuple[Any, ...]] = (typing.Any, typing.Annotated)


def _class_handler(value: type, encoder: Encoder) -> bytes:
    if any(value is one for one in _SPECIAL):
        return encoder.record(b"typing special", f"typing.{value.__name__}")
    if value is threading.Lock:  # a builtin function before Python 3.13
        return encoder.node(b"threading.Lock")
    if not source.is_user_module(value.__module__) and not _is_nobodys(value):
        return encoder.record(b"installed", public_name(value))
    return code_token(value, encoder)


def _is_nobodys(kind: type) -> bool:
    """Whether `types.new_class` made a class, which then says to be of that module."""
    return kind.__module__ == "types" and vars(types).get(kind.__name__) is not kind


def _module_handler(value: types.ModuleType, encoder: Encoder) -> bytes:
    if not source.is_user_module(value.__name__):
        return encoder.record(b"module", value.__name__)
    sources = module_sources(value.__name__, encoder)
    return encoder.record(b"module", source.module_name(value.__name__), sources.tokens)


EXACT[types.FunctionType] = _function_handler
EXACT[type] = _class_handler
EXACT[types.ModuleType] = _module_handler
BY_BASE.insert(0, (type, _class_handler))
