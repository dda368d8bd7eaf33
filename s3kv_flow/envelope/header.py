"""What stands before the body of an entry.

::

    "S3KV" | version u8 = 1 | suite u8 | flags u16 = 0 | header length u32 BE | header | body

The header is canonical JSON (sorted keys, no blanks), then blanks up to the next 64-byte
boundary of the file, so that buffers in the body map into memory aligned.
"""

from __future__ import annotations

import json
import struct
from collections.abc import Mapping
from typing import Any, Final

from s3kv_flow._model import read_header
from s3kv_flow.errors import SealError

MAGIC: Final = b"S3KV"
VERSION: Final = 1
SUITE_CHECKSUM: Final = 0
SUITE_ENCRYPTED: Final = 2
ALIGNMENT: Final = 64
MAX_HEADER_BYTES: Final = 64 * 1024

PREAMBLE: Final = struct.Struct(">4sBBHI")


def dump(header: Mapping[str, Any]) -> bytes:
    """Write a header as canonical JSON."""
    return json.dumps(header, sort_keys=True, separators=(",", ":"), ensure_ascii=True).encode()


def assemble(suite: int, header: bytes) -> bytes:
    """Give preamble and header, padded so that the body begins aligned.

    Raises
    ------
    SealError
        The header is larger than a reader accepts.
    """
    padding = -(PREAMBLE.size + len(header)) % ALIGNMENT
    size = len(header) + padding
    if size > MAX_HEADER_BYTES:
        raise SealError(f"the entry's header would take {size} bytes of {MAX_HEADER_BYTES}")
    return PREAMBLE.pack(MAGIC, VERSION, suite, 0, size) + header + b" " * padding


def split(data: memoryview) -> tuple[int, memoryview, memoryview]:
    """Take an entry apart into suite, preamble with header, and body; nothing is trusted yet.

    Raises
    ------
    SealError
        No envelope, one of another version, or one that is cut short.
    """
    if data.nbytes < PREAMBLE.size:
        raise SealError("the entry is cut short")
    magic, version, suite, flags, size = PREAMBLE.unpack_from(data)
    if magic != MAGIC:
        raise SealError("the object is no entry")
    if version != VERSION or flags or suite not in (SUITE_CHECKSUM, SUITE_ENCRYPTED):
        raise SealError(f"the entry has a newer format (version {version}, suite {suite})")
    if size > MAX_HEADER_BYTES or PREAMBLE.size + size > data.nbytes:
        raise SealError("the entry is cut short")
    end = PREAMBLE.size + size
    return suite, data[:end], data[end:]


def load(head: memoryview) -> dict[str, Any]:
    """Read the header out of preamble and header.

    Raises
    ------
    SealError
        It is no JSON object.
    """
    return read_header(head[PREAMBLE.size :])


def is_entry(data: memoryview) -> bool:
    """Whether an object is an entry; else it is a plain document."""
    return data.nbytes >= len(MAGIC) and bytes(data[: len(MAGIC)]) == MAGIC
