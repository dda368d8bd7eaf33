"""JSON as the standard library reads it: by orjson, in half the time, wherever that gives the same."""

from __future__ import annotations

import json
from typing import Any, Final

import orjson

#: So many digits in a row may be an integer that orjson gives as a float.
_LONG_NUMBER: Final = b"0" * 19
_DIGITS_AS_ZERO: Final = bytes(48 if 48 <= byte < 58 else 32 for byte in range(256))


def loads(text: bytes) -> Any:
    """Read a JSON text.

    Raises
    ------
    ValueError
        It is none, or no UTF-8.
    RecursionError
        It is nested too deep.

    Examples
    --------
    >>> loads(b'[1, 18446744073709551616, NaN]')
    [1, 18446744073709551616, nan]
    """
    if len(text) < len(_LONG_NUMBER) or _LONG_NUMBER not in text.translate(_DIGITS_AS_ZERO):
        try:
            return orjson.loads(text)
        except orjson.JSONDecodeError:
            pass  # a lone surrogate, or something wrong, which `json.loads` tells
    return json.loads(str(text, "utf-8"))
