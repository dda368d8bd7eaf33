"""The hash under all keys, and the version of the scheme it is part of."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final, Protocol

import xxhash

#: Hashed first, everywhere: a change of the encoding is a clean miss. Change it with the golden keys.
SCHEME: Final = b"s3kv-key/3\0"


class Incremental(Protocol):
    """A hash that is fed in pieces."""

    def update(self, data: Any, /) -> object: ...
    def digest(self) -> bytes: ...


@dataclass(frozen=True, slots=True)
class Digest:
    """One hash algorithm: of 128 bits at least, for 64 collide within a few billion keys."""

    name: str
    of: Callable[[bytes], bytes]
    begin: Callable[[bytes], Incremental]


#: XXH3 (https://github.com/Cyan4973/xxHash): as fast as memory, not built against an adversary.
XXH3_128: Final = Digest("xxh3_128", xxhash.xxh3_128_digest, xxhash.xxh3_128)


def _blake3(data: bytes) -> bytes:
    from blake3 import blake3

    return bytes(blake3(data).digest())


def _blake3_begin(data: bytes) -> Incremental:
    from blake3 import blake3

    running: Incremental = blake3(data)
    return running


#: BLAKE3 (https://github.com/BLAKE3-team/BLAKE3): for inputs that an adversary writes, who could
#: make two of them with one XXH3.
BLAKE3: Final = Digest("blake3", _blake3, _blake3_begin)

DIGESTS: Final = {digest.name: digest for digest in (XXH3_128, BLAKE3)}
