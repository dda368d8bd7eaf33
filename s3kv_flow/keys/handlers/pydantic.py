"""pydantic: functions whose calls it validates. Models count as all objects do."""

from __future__ import annotations

from typing import Any

from s3kv_flow.keys.token import OBJECTS_OF, Encoder


def encode(value: Any, encoder: Encoder) -> bytes | None:
    """Give the token of what `pydantic.validate_call` makes of a function; None for what else it made."""
    if _is_object(type(value)):
        return None
    # It holds on to all names of the function's module.
    function = value.function
    config = getattr(value, "config_wrapper", None)
    told = dict(getattr(config, "config_dict", None) or {})
    annotations = dict(getattr(function, "__annotations__", {}))
    returns = bool(getattr(value, "validate_return", False))
    return encoder.record(b"validated call", function, annotations, told, returns)


def _is_object(kind: type) -> bool:
    return kind.__name__ != "ValidateCallWrapper"


OBJECTS_OF["pydantic"] = _is_object
