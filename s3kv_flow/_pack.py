"""Value to sealed bytes and back: the only place where codec, compression and envelope meet."""

from __future__ import annotations

import json
import os
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import lru_cache
from itertools import chain
from typing import Any, Final

import xxhash

from s3kv_flow._model import UNDECODED, Blob, Body, ETag, Opened, size_of
from s3kv_flow.codecs.base import Codec
from s3kv_flow.codecs.registry import AUTO, Codecs
from s3kv_flow.envelope.header import ALIGNMENT, SUITE_CHECKSUM, is_entry
from s3kv_flow.envelope.keyring import KeyProvider
from s3kv_flow.envelope.local import dump_local, is_local, open_local
from s3kv_flow.envelope.names import HiddenNames
from s3kv_flow.envelope.seal import open_sealed, seal
from s3kv_flow.errors import ConfigurationError, SealError, UnsafeCodecError

#: What a hit may give to several callers.
_IMMUTABLE: Final = frozenset({type(None), bool, int, float, str, bytes})
#: Objects take about ten times the bytes of their text: only so small ones are kept to be copied
#: to whoever hits again, and only so many.
COPIED_BYTES: Final = 4096
COPIES_KEPT: Final = 512
#: What ties an entry to its key is asked at each hit, and takes a microsecond to make.
BINDS_KEPT: Final = 4096
#: What a codec says of a value stands in the header up to here, else at the payload's end.
INDEX_IN_HEADER_BYTES: Final = 8192
#: Below, a frame of zstd costs more than it saves.
COMPRESS_FROM_BYTES: Final = 2048
SAMPLE_BYTES: Final = 64 * 1024
#: A sample must shrink to this part of its size, else the payload is left as it is.
WORTH_IT: Final = 0.8
#: Measured: level 1 keeps up with a fast network, higher levels do not.
LEVEL: Final = 1


#: What the header of a secret still says.
_TOLD_OF_SECRETS: Final = ("created", "compute")


class UntrustedError(SealError):
    """The entry may be whole, but this reader does not trust what made it."""

    code = "untrusted"


@dataclass(frozen=True, slots=True)
class Packed:
    """An encoded value on its way to the tiers: payload and header in the clear."""

    codec: Codec
    header: dict[str, Any]
    payload: list[Any] = field(repr=False)


class Pack:
    """Seals and opens the entries of one store.

    Parameters
    ----------
    store_id : str
        Says which store an entry belongs to; an entry moved to another is refused.
    keyring : KeyProvider, optional
        Seals every entry. Without it entries carry a checksum, and none may be a pickle.
    allow_unsigned_pickle : bool
        Write and read pickles without a keyring all the same.
    hidden : HiddenNames, optional
        Makes it the pack of a store of secrets: all is sealed, and headers tell nothing of it.
    opens_local : bool
        Local tiers hold entries in the clear, as far as they are no pickles; else as the bucket does.
    """

    def __init__(
        self,
        store_id: str,
        keyring: KeyProvider | None = None,
        *,
        allow_unsigned_pickle: bool = False,
        hidden: HiddenNames | None = None,
        opens_local: bool = True,
    ) -> None:
        self.store_id = store_id
        self._binding = f"{len(store_id)}:{store_id}"
        self._bound = lru_cache(BINDS_KEPT)(self._bind)
        self.keyring = keyring
        self.codecs = Codecs()
        self._hidden = hidden
        self._opens_local = opens_local
        #: Whose values are kept to be copied.
        self._copied: deque[Opened] = deque()
        self._allow_unsigned_pickle = allow_unsigned_pickle
        self._seals_pickles = keyring is not None or allow_unsigned_pickle

    def pack(
        self,
        key: str,
        value: Any,
        about: Mapping[str, Any],
        codec: str | Codec = AUTO,
        *,
        declared: Codec | None = None,
    ) -> Packed:
        """Encode a value.

        Raises
        ------
        EncodingError
            No codec gives it back as it is.
        UnsafeCodecError
            It needs pickle, and nothing vouches for pickles here.
        """
        chosen, encoded = self.codecs.encode(value, codec, declared=declared)
        if not chosen.safe and not self._seals_pickles:
            raise UnsafeCodecError(
                f"a {type(value).__qualname__} can only be stored as a pickle, "
                "and whoever can write to the bucket could put another in its place",
                key=key,
                way_out="Seal entries with a keyring (`s3kv keys generate`), "
                "or trust everybody who can write with allow_unsigned_pickle=True.",
            )
        spans, payload = _lay_out(encoded.buffers)
        if self.secret:
            about = {name: about[name] for name in _TOLD_OF_SECRETS if name in about}
        header = {**about, "codec": chosen.name, "bind": self.bind(key)}
        index = {"buffers": spans, "arguments": dict(encoded.arguments)}
        text = json.dumps(index, separators=(",", ":")).encode()
        if len(text) <= INDEX_IN_HEADER_BYTES and not self.secret:
            header |= index
        else:  # a frame of thousands of columns: the header has a limit, the payload has none;
            # and of a secret, not even the names of columns stand in the clear
            header["index"] = [sum(len(part) for part in payload), len(text)]
            payload.append(text)
        return Packed(chosen, header, payload)

    @property
    def secret(self) -> bool:
        """Whether this is the pack of a store of secrets."""
        return self._hidden is not None

    def seal(self, packed: Packed) -> Body:
        """Give the bytes for the bucket: compressed where it pays, sealed with the keyring."""
        payload, header = packed.payload, packed.header
        size = size_of(payload)
        if size >= COMPRESS_FROM_BYTES and _shrinks(payload):
            header = {**header, "compression": "zstd", "size": size}
            payload = _compress(payload, size)
        return seal(header, payload, self.keyring)

    def open(self, key: str, data: memoryview) -> Opened:
        """Verify and open what came from the bucket; a writable buffer is consumed by it.

        Raises
        ------
        SealError
            It is not what was stored under ``key``.
        UntrustedError
            It is not sealed although this reader has a keyring, or is an unsealed pickle.
        """
        try:
            opened = open_sealed(data, self.keyring, consume=True)
        except SealError as error:
            error.key = error.key or key
            raise
        if opened.suite == SUITE_CHECKSUM and self.keyring is not None:
            raise UntrustedError(
                "the entry is not sealed, and this reader has a keyring",
                key=key,
                way_out="Whoever wrote it lacks the keyring; compute it again with it.",
            )
        return self._checked(key, opened)

    def open_local(self, key: str, blob: Blob) -> Opened:
        """Open what a local tier held; see :meth:`local` for what that is.

        Raises
        ------
        SealError
            It is not what was stored there.
        """
        (part,) = blob.parts
        if not is_local(part):
            found = open_sealed(memoryview(part), self.keyring)
            if found.suite == SUITE_CHECKSUM and self.keyring and not self._opens_local:
                raise SealError("the local copy is not sealed, as it was made", key=key)
            return self._checked(key, found)
        if not self._opens_local:
            raise SealError("the local copy is not sealed, as it was made", key=key)
        bound, opened = open_local(part, known=blob.verified)
        if bound != self.bind(key).encode():
            raise SealError("the local copy is of another key or another store", key=key)
        return opened

    def local(self, packed: Packed, *, etag: ETag | None, now: float) -> Blob:
        """Give what a local tier shall hold: the entry in the clear, for a private folder.

        A pickle stays sealed there, so that each read of it is verified against the keyring and
        nobody who can write to the folder can have code run.
        """
        if self._opens_local and packed.codec.safe:
            return Blob(dump_local(packed.header, packed.payload), etag, now)
        return Blob(seal(packed.header, packed.payload, self.keyring), etag, now)

    def repacked(self, opened: Opened) -> Packed:
        """Give an opened entry as if it had just been encoded."""
        header = {
            name: value
            for name, value in opened.header.items()
            if name not in ("seal", "~checksum", "compression", "size")
        }
        return Packed(self.codecs.named(header["codec"]), header, [opened.payload])

    def renewed(self, key: str, data: memoryview) -> Body:
        """Give an entry's bytes anew, with the same value and other bytes.

        Raises
        ------
        SealError
            It cannot be opened here.
        """
        packed = self.repacked(self.open(key, data))
        packed.header["write"] = os.urandom(16).hex()
        return self.seal(packed)

    def moved(self, source: str, target: str, data: memoryview) -> Body:
        """Give an entry's bytes as they are to lie under another key.

        Raises
        ------
        SealError
            It cannot be opened here.
        """
        packed = self.repacked(self.open(source, data))
        packed.header["bind"] = self.bind(target)
        return self.seal(packed)

    def document(self, data: memoryview) -> Opened:
        """Give a plain JSON document as if it were an entry."""
        header = {"codec": "json", "buffers": [[0, data.nbytes]], "arguments": {}}
        return Opened.of(SUITE_CHECKSUM, header, data)

    def open_object(self, key: str, data: memoryview) -> Opened:
        """Open an object that may be a plain document or an entry."""
        if is_entry(data) or self.secret:
            return self.open(key, data)
        return self.document(data)

    def value(self, opened: Opened) -> Any:
        """Decode the value; what comes back is the caller's alone.

        Raises
        ------
        SealError
            The payload cannot be decoded, by this version or at all.
        """
        if opened.value is not UNDECODED:
            return opened.value
        if opened.copy is not None:
            return opened.copy()
        value = self._decoded(opened)
        if type(value) in _IMMUTABLE:
            opened.value = value
        elif opened.decoded and opened.payload.nbytes <= COPIED_BYTES and _is_flat(value):
            opened.copy = value.copy().copy
            if len(self._copied) == COPIES_KEPT:
                self._copied.popleft().copy = None
            self._copied.append(opened)
        opened.decoded = True
        return value

    def _decoded(self, opened: Opened) -> Any:
        try:
            codec = self.codecs.named(opened.codec)
            if not codec.safe:
                self._check_trust(opened)
            if codec.aliases and (opened.shared or opened.payload.readonly):
                private = memoryview(bytearray(opened.payload))
                opened = replace(opened, payload=private)
            arguments, buffers = opened.parts()
            return codec.decode(arguments, buffers)
        except SealError:
            raise
        except Exception as error:
            raise SealError(
                f"the entry's {opened.codec} value cannot be decoded here: "
                f"{type(error).__name__}: {error}"
            ) from error

    def _checked(self, key: str, opened: Opened) -> Opened:
        header = opened.header
        if header.get("bind") != self.bind(key):
            raise SealError("the entry was stored under another key or in another store", key=key)
        try:
            if not self.codecs.named(opened.codec).safe:
                self._check_trust(opened)
        except ConfigurationError as error:
            raise SealError(f"{error.what}, which the entry was made with", key=key) from None
        except UntrustedError as error:
            error.key = key
            raise
        if header.get("compression"):
            opened = replace(opened, payload=_decompress(opened.payload, header))
        return opened

    def _check_trust(self, opened: Opened) -> None:
        """Refuse an entry whose reading runs code, if it is not sealed."""
        if opened.suite == SUITE_CHECKSUM and not self._allow_unsigned_pickle:
            raise UntrustedError(
                "the entry is a pickle that nobody vouches for",
                way_out="Seal entries with a keyring (`s3kv keys generate`).",
            )

    def bind(self, key: str) -> str:
        """Give what ties an entry to this store and key."""
        return self._bound(key)

    def _bind(self, key: str) -> str:
        text = self._binding + key
        if self._hidden is not None:  # a plain digest of a key could be guessed
            return self._hidden.digest(text)
        return str(xxhash.xxh3_128_hexdigest(text.encode()))


def _is_flat(value: Any) -> bool:
    """Whether a shallow copy of a value shares nothing with it that can be changed."""
    if type(value) is dict:
        return _IMMUTABLE.issuperset(map(type, chain(value, value.values())))
    return type(value) is list and _IMMUTABLE.issuperset(map(type, value))


def _lay_out(buffers: Body) -> tuple[list[list[int]], list[Any]]:
    """Put buffers one behind the other, each at a multiple of the alignment."""
    spans: list[list[int]] = []
    payload: list[Any] = []
    offset = 0
    for buffer in buffers:
        padding = -offset % ALIGNMENT
        if padding:
            payload.append(b"\0" * padding)
            offset += padding
        view = memoryview(buffer)
        view = view.cast("B") if view.nbytes else memoryview(b"")  # Arrow's are of another format
        spans.append([offset, view.nbytes])
        if view.nbytes:
            payload.append(view)
            offset += view.nbytes
    return spans, payload


def _shrinks(payload: list[Any]) -> bool:
    """Try zstd on a piece of each of the largest buffers."""
    import zstandard

    largest = sorted((memoryview(part) for part in payload), key=lambda view: -view.nbytes)[:4]
    each = SAMPLE_BYTES // len(largest)
    sample = b"".join(bytes(view.cast("B")[:each]) for view in largest)
    return len(zstandard.ZstdCompressor(level=LEVEL).compress(sample)) <= WORTH_IT * len(sample)


def _compress(payload: list[Any], size: int) -> list[Any]:
    import zstandard

    compressor = zstandard.ZstdCompressor(level=LEVEL).compressobj(size=size)
    pieces = [compressor.compress(memoryview(part).cast("B")) for part in payload]
    pieces.append(compressor.flush())
    return [piece for piece in pieces if piece]


def _decompress(payload: memoryview, header: Mapping[str, Any]) -> memoryview:
    import zstandard

    size = header.get("size")
    if header["compression"] != "zstd" or type(size) is not int or size < 0:
        raise SealError("the entry is compressed in a way this version does not know")
    plain = bytearray()
    try:
        reader = zstandard.ZstdDecompressor().stream_reader(payload)
        # Never more than the header says, and no faster than the bytes come.
        while piece := reader.read(min(1 << 20, size + 1 - len(plain))):
            plain += piece
    except (zstandard.ZstdError, MemoryError) as error:
        raise SealError("the entry's compressed body cannot be read") from error
    if len(plain) != size:
        raise SealError("the entry's compressed body has another size than its header says")
    return memoryview(plain)
