"""msgspec: constraints of fields, encoders and decoders by what they were told; structures are objects."""

from __future__ import annotations

from typing import Any, Final

from s3kv_flow.keys.handlers.objects import attributes, by_reduce
from s3kv_flow.keys.token import OBJECTS_OF, Encoder

#: What each was told. A decoder keeps more of its type than that, and an encoder a buffer.
_TOLD: Final = {
    "Meta": (
        *("gt", "ge", "lt", "le", "multiple_of", "pattern", "min_length", "max_length", "tz"),
        *("title", "description", "examples", "extra_json_schema", "extra"),
    ),
    "Encoder": ("enc_hook", "decimal_format", "uuid_format", "order"),
    "Decoder": ("type", "strict", "dec_hook", "ext_hook", "float_hook"),
}


def encode(value: Any, encoder: Encoder) -> bytes | None:
    """Give the token of what msgspec made; None for structures, which count as all objects do."""
    kind = type(value)
    if kind.__module__.startswith("msgspec") and kind.__name__ in _TOLD:
        told = {name: getattr(value, name, None) for name in _TOLD[kind.__name__]}
        return encoder.record(b"msgspec", kind, told)
    added = getattr(value, "__dict__", None)
    if not added or isinstance(value, type) or not hasattr(kind, "__struct_fields__"):
        return None
    # Its own pickles leave out what was added to it.
    return encoder.node(b"structure", by_reduce(value, encoder), attributes(added, encoder))


def _is_object(kind: type) -> bool:
    # What is added to a structure shows in no class.
    return not kind.__dictoffset__ and not (
        kind.__module__.startswith("msgspec") and kind.__name__ in _TOLD
    )


OBJECTS_OF["msgspec"] = _is_object
