"""pydantic: functions whose calls it validates, adapters, private attributes. Models count as all objects do."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from s3kv_flow.keys.token import OBJECTS_OF, Encoder


def encode(value: Any, encoder: Encoder) -> bytes | None:
    """Give the token of what pydantic made; None for models and whatever else is an object like others."""
    kind = type(value)
    own = None if _is_object(kind) else _OWN[kind.__name__]
    return None if own is None else own(value, encoder)


def _validated_call(value: Any, encoder: Encoder) -> bytes:
    # It holds on to all names of the function's module.
    function = value.function
    config = getattr(value, "config_wrapper", None)
    told = dict(getattr(config, "config_dict", None) or {})
    annotations = dict(getattr(function, "__annotations__", {}))
    returns = bool(getattr(value, "validate_return", False))
    return encoder.record(b"validated call", function, annotations, told, returns)


def _adapter(value: Any, encoder: Encoder) -> bytes:
    # What it made of its type names classes by where they lie in memory.
    return encoder.record(b"type adapter", value._type, dict(value._config or {}))


def _private_attribute(value: Any, encoder: Encoder) -> bytes:
    # It also keeps what it has found out of its factory, once that is used.
    undefined = type(value.default).__name__ == "PydanticUndefinedType"
    default = () if undefined else (value.default,)
    return encoder.record(b"private attribute", default, value.default_factory)


_OWN: Final[dict[str, Callable[[Any, Encoder], bytes]]] = {
    "ValidateCallWrapper": _validated_call,
    "TypeAdapter": _adapter,
    "ModelPrivateAttr": _private_attribute,
}


def _is_object(kind: type) -> bool:
    return kind.__name__ not in _OWN or not kind.__module__.startswith("pydantic.")


OBJECTS_OF["pydantic"] = _is_object
