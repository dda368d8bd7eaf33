"""`S3KVSerializer`: hands results over from the storage without encoding them once more.

`S3KVStorage` has a result as an object when Prefect asks for the bytes of its record. So the record
says where in this process the object is, and nothing large is pickled, written as text and read
again. What it writes itself is a pickle, as that of Prefect's own: only readers are spared.
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
_MARK: Final = b"s3kv-object:"

_handed: OrderedDict[bytes, Any] = OrderedDict()
_lock = threading.Lock()


def hand_over(value: Any) -> str:
    """Give the text that stands for an object of this process in a record."""
    name = _MARK + secrets.token_hex(16).encode()
    with _lock:
        _handed[name] = value
        while len(_handed) > LIMIT:
            _handed.popitem(last=False)
    return name.decode()


class S3KVSerializer(Serializer):
    """Reads what `S3KVStorage` gives, and writes pickles."""

    type: str = Field(default="s3kv", frozen=True)

    def dumps(self, obj: Any) -> bytes:
        """Give a pickle, as text."""
        return base64.b64encode(cloudpickle.dumps(obj, protocol=pickle.HIGHEST_PROTOCOL))

    def loads(self, blob: bytes) -> Any:
        """Give the object.

        Raises
        ------
        ValueError
            The text stands for an object that another process had, or that was read long ago.
        """
        if not blob.startswith(_MARK):
            return pickle.loads(base64.b64decode(blob))
        with _lock:
            if blob not in _handed:
                raise ValueError("this record was made for a reader in the same process, at once")
            return _handed.pop(blob)
