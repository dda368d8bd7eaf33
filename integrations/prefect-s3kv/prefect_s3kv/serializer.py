"""Handing results from the storage to Prefect without encoding them once more, and `S3KVSerializer`.

`S3KVStorage` has a result as an object when Prefect asks for the bytes of its record. So the record
holds a pickle of a few bytes, which gives that very object when Prefect loads it, in this process and
at once: nothing large is pickled, written as text and read again. Prefect's own serializer loads it,
so that a record tells of nothing that another process would have to know.
"""

from __future__ import annotations

import base64
import pickle
import secrets
import threading
from collections import OrderedDict
from typing import Any, Final

import cloudpickle
from prefect.serializers import Serializer
from pydantic import Field

#: Records are read at once; a few more are kept for those that were only looked at.
LIMIT: Final = 64

_handed: OrderedDict[str, Any] = OrderedDict()
_lock = threading.Lock()


class _Handed:
    """Pickles as a call that gives an object of this process."""

    def __init__(self, name: str) -> None:
        self.name = name

    def __reduce__(self) -> tuple[Any, ...]:
        return take, (self.name,)


def hand_over(value: Any) -> str:
    """Give the text of a pickle that gives ``value`` back, once, in this process."""
    name = secrets.token_hex(16)
    with _lock:
        _handed[name] = value
        while len(_handed) > LIMIT:
            _handed.popitem(last=False)
    return base64.b64encode(pickle.dumps(_Handed(name))).decode()


def take(name: str) -> Any:
    """Give what was handed over.

    Raises
    ------
    ValueError
        It was so in another process, or long ago.
    """
    with _lock:
        if name not in _handed:
            raise ValueError("this record was made for a reader in the same process, at once")
        return _handed.pop(name)


class S3KVSerializer(Serializer):
    """Pickles of protocol 5, as text in one line: large arrays are copied once less.

    Results of `S3KVStorage` are entries, however they were serialized on the way; this one is for
    tasks that give large arrays, and for storages of others.

    Examples
    --------
    >>> S3KVSerializer().loads(S3KVSerializer().dumps({1, 2}))
    {1, 2}
    """

    type: str = Field(default="s3kv", frozen=True)

    def dumps(self, obj: Any) -> bytes:
        """Give a pickle, as text."""
        return base64.b64encode(cloudpickle.dumps(obj, protocol=pickle.HIGHEST_PROTOCOL))

    def loads(self, blob: bytes) -> Any:
        """Give the object."""
        return pickle.loads(base64.b64decode(blob))
