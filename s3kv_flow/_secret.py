"""A value that does not show itself."""

from __future__ import annotations

import hmac
import pickle
from typing import Any, Generic, TypeVar

V = TypeVar("V")


class Secret(Generic[V]):
    """A value out of a store of secrets: logs, tracebacks and ``repr`` show ``****``.

    Parameters
    ----------
    value
        What to keep to oneself.

    Examples
    --------
    >>> token = Secret("s3cr3t")
    >>> token, f"Bearer {token}"
    (Secret('****'), 'Bearer ****')
    >>> token.reveal()
    's3cr3t'
    """

    __slots__ = ("_value",)

    def __init__(self, value: V) -> None:
        self._value = value

    def reveal(self) -> V:
        """Give the value itself."""
        return self._value

    def __repr__(self) -> str:
        return "Secret('****')"

    def __str__(self) -> str:
        return "****"

    def __format__(self, spec: str) -> str:
        return "****"

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Secret):
            return NotImplemented
        mine, theirs = self._value, other._value
        if isinstance(mine, (str, bytes)) and type(mine) is type(theirs):
            return hmac.compare_digest(_bytes(mine), _bytes(theirs))  # says nothing by its time
        return bool(mine == theirs)

    __hash__ = None  # type: ignore[assignment]

    def __s3kv_key__(self) -> Any:
        return self._value

    def __reduce__(self) -> Any:
        raise pickle.PicklingError("a Secret is not pickled: reveal() it where it is to be sent")


def revealed(value: Any) -> Any:
    """Give the value itself, of a Secret or not."""
    return value.reveal() if isinstance(value, Secret) else value


def _bytes(value: str | bytes) -> bytes:
    return value if isinstance(value, bytes) else value.encode("utf-8", "surrogatepass")
