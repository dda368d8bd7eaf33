"""Everything else, as pickle protocol 5 with its large buffers out of band. Sealed entries only."""

from __future__ import annotations

import io
import pickle
import sys
from collections.abc import Mapping, Sequence
from typing import Any

from s3kv_flow._model import Buffer
from s3kv_flow.codecs.base import Encoded
from s3kv_flow.errors import UnhashableArgumentError
from s3kv_flow.keys import handlers as handlers
from s3kv_flow.keys.source import module_name
from s3kv_flow.keys.token import Encoder

#: A reference by name into one of these loads in no other process (or loads another thing).
_HOMELESS = (b"__main__", b"__mp_main__")


#: cloudpickle makes bytes of the one, and a text in memory of the other.
_CHANGED = (memoryview, io.IOBase)


class PickleCodec:
    """Anything pickle or cloudpickle can write. Reading it can run code: never unless sealed."""

    name = "pickle"
    safe = False
    aliases = True

    def encode(self, value: Any) -> Encoded | None:
        if isinstance(value, _CHANGED):
            return None
        buffers: list[pickle.PickleBuffer] = []
        try:
            stream = pickle.dumps(value, protocol=5, buffer_callback=buffers.append)
        except Exception:  # whatever a __reduce__ raises; cloudpickle knows more ways
            stream = b""
        if not stream or any(name in stream for name in _HOMELESS):
            buffers = []
            try:
                stream = _by_value(value, buffers)
            except Exception:
                return None
        return Encoded([stream, *map(_raw, buffers)])

    def decode(self, arguments: Mapping[str, Any], buffers: Sequence[memoryview]) -> Any:
        stream, *rest = buffers
        return pickle.loads(stream, buffers=rest)


def _by_value(value: Any, buffers: list[pickle.PickleBuffer]) -> bytes:
    """Pickle with the code of what no other process could import.

    A class of a script or notebook goes with its name and its key: a reader whose own script has
    the very same class gets that, so that ``isinstance`` and ``is`` hold; any other gets a copy.
    """
    import cloudpickle

    class Pickler(cloudpickle.Pickler):  # type: ignore[misc]
        def reducer_override(self, value: Any) -> Any:
            if isinstance(value, _CHANGED):
                raise pickle.PicklingError(f"a {type(value).__name__} would come back as another")
            named = _class_of_a_script(value) if isinstance(value, type) else None
            return super().reducer_override(value) if named is None else named

    file = io.BytesIO()
    Pickler(file, protocol=5, buffer_callback=buffers.append).dump(value)
    return file.getvalue()


def _class_of_a_script(kind: type) -> tuple[Any, ...] | None:
    import cloudpickle

    if kind.__module__ not in ("__main__", "__mp_main__") or "<locals>" in kind.__qualname__:
        return None
    try:
        token = Encoder().token(kind)
    except UnhashableArgumentError:
        return None
    name = module_name(kind.__module__)
    return restore_class, (name, kind.__qualname__, token, cloudpickle.dumps(kind))


def restore_class(module: str, name: str, token: bytes, copy: bytes) -> type:
    """Give this process's own class of a script, if it is the same, else the copy of it."""
    own = "__main__" if module == module_name("__main__") else module
    found: Any = sys.modules.get(own)
    for part in name.split("."):
        found = getattr(found, part, None)
    if isinstance(found, type) and Encoder().token(found) == token:
        return found
    kind: type = pickle.loads(copy)
    return kind


def _raw(buffer: pickle.PickleBuffer) -> Buffer:
    try:
        return buffer.raw()
    except BufferError:  # not contiguous
        return memoryview(buffer).tobytes()
