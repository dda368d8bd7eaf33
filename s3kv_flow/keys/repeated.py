"""Values that are the same in call after call: the settings of a sweep, a table of constants.

Once one has had the same token several times, it is known again by its quick stream, which is made in a
third to a tenth of the time. What differs from call to call costs nothing more.
"""

from __future__ import annotations

from typing import Any, Final

from s3kv_flow.keys.stream import TREES, long_stream_digest
from s3kv_flow.keys.token import Encoder

#: After so many equal tokens in a row a value's stream is looked at.
OFTEN: Final = 2

#: Longer streams are not made: what holds one list many times over has an endless one. A text
#: beyond ASCII keeps the UTF-8 that a stream asks it for, which is thereby bounded, too.
LONGEST: Final = 16 * 1024 * 1024

_NEVER: Final = -(1 << 62)


class Repeated:
    """Gives the tokens of the values of one place: of a parameter, or of a global that code reads."""

    __slots__ = ("_seen",)

    def __init__(self) -> None:
        #: The last token, how often in a row, and the stream of what had it.
        self._seen: tuple[bytes, int, bytes | None] = (b"", 0, None)

    def token(self, value: Any, encoder: Encoder) -> bytes:
        """Give the token of a value, as the encoder does.

        Raises
        ------
        UnhashableArgumentError
            The value has no stable key.
        """
        if type(value) not in TREES:
            return encoder.token(value)
        token, times, known = self._seen
        stream = _stream(value, encoder) if times >= OFTEN else None
        if stream is not None and stream == known:
            return token
        found = encoder.token(value)
        if found != token:
            self._seen = found, 1, None
        elif times < OFTEN:
            self._seen = found, times + 1, None
        elif stream is None:
            self._seen = found, _NEVER, None
        elif stream == _stream(value, encoder):  # else it changed while its token was made
            self._seen = found, times, stream
        return found


def _stream(value: Any, encoder: Encoder) -> bytes | None:
    return long_stream_digest(value, encoder.digest, LONGEST)
