"""Everything else, as pickle protocol 5 with its large buffers out of band. Sealed entries only."""

from __future__ import annotations

import io
import pickle
from collections.abc import Mapping, Sequence
from typing import Any

from s3kv_flow._model import Buffer
from s3kv_flow.codecs.base import Encoded

#: A reference by name into one of these loads in no other process (or loads another thing).
_HOMELESS = (b"__main__", b"__mp_main__")


class PickleCodec:
    """Anything pickle or cloudpickle can write. Reading it can run code: never unless sealed."""

    name = "pickle"
    safe = False
    aliases = True

    def encode(self, value: Any) -> Encoded | None:
        if isinstance(value, (io.IOBase, memoryview)):
            return None  # cloudpickle makes something else of them
        buffers: list[pickle.PickleBuffer] = []
        try:
            stream = pickle.dumps(value, protocol=5, buffer_callback=buffers.append)
        except Exception:  # whatever a __reduce__ raises; cloudpickle knows more ways
            stream = b""
        if not stream or any(name in stream for name in _HOMELESS):
            import cloudpickle

            buffers = []
            try:
                stream = cloudpickle.dumps(value, protocol=5, buffer_callback=buffers.append)
            except Exception:
                return None
        return Encoded([stream, *map(_raw, buffers)])

    def decode(self, arguments: Mapping[str, Any], buffers: Sequence[memoryview]) -> Any:
        stream, *rest = buffers
        return pickle.loads(stream, buffers=rest)


def _raw(buffer: pickle.PickleBuffer) -> Buffer:
    try:
        return buffer.raw()
    except BufferError:  # not contiguous
        return memoryview(buffer).tobytes()
