"""Dataclasses, attrs classes and models of pydantic and msgspec, as JSON, where a type is declared.

The type is the reader's own, from its code; the entry holds data only. So it is safe to read
without a keyring, where a pickle of the same value is not.
"""

from __future__ import annotations

import dataclasses
import typing
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from typing import Any, Final

from s3kv_flow.codecs.base import Codec, Encoded
from s3kv_flow.errors import ConfigurationError
from s3kv_flow.keys.source import module_name
from s3kv_flow.keys.token import Encoder


class ModelCodec:
    """Values of one declared class, and of no other.

    With `pydantic` for its own models; with `msgspec` for its structs, for dataclasses and for
    attrs classes. A value that would not come back the same, down to the types of its parts, is
    declined.

    Parameters
    ----------
    kind : type
        The class.

    Raises
    ------
    ConfigurationError
        It is no class of these kinds, or `msgspec` is not installed.

    Examples
    --------
    >>> from dataclasses import dataclass
    >>> from s3kv_flow import ModelCodec
    >>> @dataclass
    ... class Report:
    ...     rows: int
    >>> codec = ModelCodec(Report)
    >>> codec.decode({}, codec.encode(Report(3)).buffers)
    Report(rows=3)
    """

    safe = True
    aliases = False

    def __init__(self, kind: type) -> None:
        self.kind = kind
        self.name = f"model:{module_name(kind.__module__)}.{kind.__qualname__}"
        self._dump, self._load = _functions(kind)

    def encode(self, value: Any) -> Encoded | None:
        if type(value) is not self.kind:
            return None
        try:
            text = self._dump(value)
            same = Encoder().token(self._load(text)) == Encoder().token(value)
        except Exception:  # whatever a user's validators raise
            return None
        return Encoded([text]) if same else None

    def decode(self, arguments: Mapping[str, Any], buffers: Sequence[memoryview]) -> Any:
        (text,) = buffers
        return self._load(bytes(text))


def is_model(kind: Any) -> bool:
    """Whether a class is one that :class:`ModelCodec` takes."""
    return isinstance(kind, type) and (
        dataclasses.is_dataclass(kind)
        or hasattr(kind, "__attrs_attrs__")
        or hasattr(kind, "__struct_fields__")
        or hasattr(kind, "model_validate_json")
    )


def declared_model(function: Callable[..., Any]) -> Codec | None:
    """Give the codec of the class that a function is annotated to return, if there is one.

    Raises
    ------
    NameError
        The annotation names something that is not defined yet.
    """
    annotated = getattr(function, "__annotations__", {}).get("return")
    if isinstance(annotated, str):
        annotated = typing.get_type_hints(function).get("return")
    if not isinstance(annotated, type) or not is_model(annotated):
        return None
    try:
        return ModelCodec(annotated)
    except ConfigurationError:  # without msgspec it is a pickle, as before
        return None


def _functions(kind: type) -> tuple[Callable[[Any], bytes], Callable[[bytes], Any]]:
    if hasattr(kind, "model_validate_json"):
        validate: Callable[[bytes], Any] = kind.model_validate_json
        # What was left to its default is left to it again: a model remembers what was set.
        return lambda value: value.model_dump_json(exclude_unset=True).encode(), validate
    if not is_model(kind):
        raise ConfigurationError(
            f"{kind.__qualname__} is no dataclass, attrs class, or model of pydantic or msgspec"
        )
    try:
        import msgspec
    except ImportError:
        raise ConfigurationError(
            f"{kind.__qualname__} is stored by msgspec, which is not installed",
            way_out="pip install msgspec",
        ) from None
    decoder: Any = msgspec.json.Decoder(kind)
    for one in _reached(kind):
        # msgspec leaves what it learned in each class; nothing could then pickle the class by value.
        if "__msgspec_cache__" in vars(one):
            type.__delattr__(one, "__msgspec_cache__")
    return msgspec.json.encode, decoder.decode


def _reached(kind: type) -> set[type]:
    """Give a class and all classes that its fields, and theirs, are annotated with."""
    found: set[type] = set()
    pending: list[Any] = [kind]
    while pending:
        one = pending.pop()
        pending.extend(typing.get_args(one))
        pending.extend(getattr(one, name) for name in _ALIASED if hasattr(one, name))
        if isinstance(one, type) and one not in found:
            found.add(one)
            with suppress(Exception):  # whatever it takes to evaluate an annotation
                pending.extend(typing.get_type_hints(one).values())
    return found


#: Where a `NewType` and a ``type`` statement have what they are another name for.
_ALIASED: Final = ("__supertype__", "__value__")
