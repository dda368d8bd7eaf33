"""What a local tier holds of an entry that was opened: quick to read, and for a private folder alone.

::

    "S3KL" | xxh3_128 of all that follows | version u8 = 1 | one buffer u8 | lengths of bind, codec
    and header u16 u16 u32 | created f64 | compute f64 | bind | codec | header | blanks | payload

All is big-endian, and the payload begins at a multiple of 64 bytes, so that it maps into memory
aligned. What every hit asks for stands in fixed places; the header is JSON, read only by whoever
asks for more. ``one buffer`` says that the codec said nothing of the value but its bytes.

The checksum finds accidents. Codecs that run code on reading are never written in this form.
"""

from __future__ import annotations

import struct
from collections.abc import Mapping
from typing import Any, Final

import xxhash

from s3kv_flow._model import END_OF_TIME, Body, Buffer, Opened, size_of
from s3kv_flow.envelope.header import ALIGNMENT, SUITE_CHECKSUM, dump
from s3kv_flow.errors import SealError

MAGIC: Final = b"S3KL"
VERSION: Final = 1

_PREAMBLE: Final = struct.Struct(">4s16sB?HHIdd")
_CHECKED_FROM: Final = len(MAGIC) + 16


def is_local(data: Buffer) -> bool:
    """Whether bytes are of this form; else they are an entry as it lies in the bucket."""
    return data[:4] == MAGIC


def dump_local(header: Mapping[str, Any], payload: Body) -> list[Buffer]:
    """Write an entry in the clear."""
    text, bind, codec = dump(header), header["bind"].encode(), header["codec"].encode()
    one_buffer = header.get("buffers") == [[0, size_of(payload)]] and not header.get("arguments")
    rest = b"".join((bind, codec, text))
    fields = (VERSION, one_buffer, len(bind), len(codec), len(text))
    times = (header.get("created", 0.0), header.get("compute", 0.0))
    padding = b" " * (-(_PREAMBLE.size + len(rest)) % ALIGNMENT)
    head = _PREAMBLE.pack(MAGIC, b"\0" * 16, *fields, *times) + rest + padding
    digest = xxhash.xxh3_128(head[_CHECKED_FROM:])
    for part in payload:
        digest.update(part)
    return [MAGIC + digest.digest() + head[_CHECKED_FROM:], *payload]


def open_local(data: Buffer, *, known: bool) -> tuple[bytes, Opened]:
    """Give to what an entry is bound, and the entry.

    Parameters
    ----------
    data : bytes-like
        What `dump_local` wrote.
    known : bool
        A tier vouches that nobody has touched it since it was verified.

    Raises
    ------
    SealError
        It is not what was written.
    """
    view = memoryview(data)
    if view.nbytes < _PREAMBLE.size:
        raise SealError("the local copy is cut short")
    _, checksum, version, one_buffer, bound, named, told, created, compute = _PREAMBLE.unpack_from(
        view
    )
    if version != VERSION:
        raise SealError(f"the local copy has another format (version {version})")
    if not known and xxhash.xxh3_128_digest(view[_CHECKED_FROM:]) != checksum:
        raise SealError("the local copy's checksum does not match")
    if not (0 <= created < END_OF_TIME and 0 <= compute < END_OF_TIME):
        raise SealError("the local copy says something else than it should")
    named_at = _PREAMBLE.size + bound
    text_at = named_at + named
    end = text_at + told
    start = end + -end % ALIGNMENT
    if start > view.nbytes:
        raise SealError("the local copy is cut short")
    codec = str(view[named_at:text_at], "utf-8", "replace")
    opened = Opened(
        SUITE_CHECKSUM, codec, created, compute, view[start:], view[text_at:end], one_buffer
    )
    return bytes(data[_PREAMBLE.size : named_at]), opened
