"""What a codec is."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from s3kv_flow._model import Body


@dataclass(frozen=True, slots=True)
class Encoded:
    """A value as buffers, and what its codec must be told to read them again.

    Parameters
    ----------
    buffers : Sequence of buffers
        Kept apart and aligned, so that a large one is never copied.
    arguments : Mapping
        Anything JSON can say.
    """

    buffers: Body
    arguments: Mapping[str, Any] = field(default_factory=dict)


class Codec(Protocol):
    """Turns values of some kinds into buffers and back.

    The rule for :meth:`encode`: give None for a value that would not come back equal, of the
    same type, with everything a user can see of it. Another codec is asked then.

    Attributes
    ----------
    name : str
        Stored with each entry.
    safe : bool
        Decoding cannot run code, whatever the bytes.
    aliases : bool
        A decoded value may be a view of the buffers it was decoded from.
    """

    @property
    def name(self) -> str: ...
    @property
    def safe(self) -> bool: ...
    @property
    def aliases(self) -> bool: ...

    def encode(self, value: Any) -> Encoded | None:
        """Give the value as buffers, or None where it would not come back as it is."""

    def decode(self, arguments: Mapping[str, Any], buffers: Sequence[memoryview]) -> Any:
        """Give the value again. Malformed arguments or buffers may raise anything."""
