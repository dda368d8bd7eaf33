"""Sealing and opening: the only place that does cryptography, with `cryptography`.

Suite 0, checksum: the header ends in ``"~checksum": xxh3_128(preamble, header without it, body)``.
It finds accidents, not attackers.

Suite 2, encrypted: body = 32-byte commitment, then segments of 1 MiB of AES-256-GCM. One key an
object, from HKDF-SHA256 (RFC 5869) over the master key, a random salt in the header, and the
SHA-256 of preamble and header; so a changed header, a wrong key or another suite all fail at the
commitment, before anything is decrypted. The nonce of a segment is its number and whether it is
the last (the STREAM construction, https://eprint.iacr.org/2015/189), so segments cannot be
dropped, swapped or cut. The commitment makes GCM key-committing
(https://eprint.iacr.org/2020/1456).
"""

from __future__ import annotations

import os
import struct
from collections.abc import Collection, Iterator, Mapping
from typing import Any, Final

import xxhash

from s3kv_flow._model import Body, Buffer, Opened, size_of
from s3kv_flow.envelope.header import (
    SUITE_CHECKSUM,
    SUITE_ENCRYPTED,
    assemble,
    dump,
    load,
    split,
)
from s3kv_flow.envelope.keyring import KeyProvider
from s3kv_flow.errors import SealError

SEGMENT_BYTES: Final = 1024 * 1024
COMMITMENT_BYTES: Final = 32
SALT_BYTES: Final = 32
TAG_BYTES: Final = 16

_INFO: Final = b"s3kv envelope 1 suite 2\0"
_CHECKSUM: Final = b',"~checksum":"'  # "~" sorts after every other name, so it stands last
_CHECKSUM_BYTES: Final = len(_CHECKSUM) + 32 + len('"}')


class UnknownKeyError(SealError):
    """The entry is sealed with a key that this reader does not hold; others may."""

    code = "unknown-key"


#: A larger payload is encrypted as it is sent, for a copy of it would take as much memory.
LAZY_FROM_BYTES: Final = 8 * SEGMENT_BYTES


def seal(header: Mapping[str, Any], payload: Body, keyring: KeyProvider | None) -> Body:
    """Give a sealed entry: encrypted with a keyring, checksummed without."""
    if keyring is None:
        return _checksummed(header, payload)
    encrypted = Encrypted(header, payload, keyring)
    return encrypted if size_of(payload) > LAZY_FROM_BYTES else list(encrypted)


def open_sealed(data: memoryview, keyring: KeyProvider | None, *, consume: bool = False) -> Opened:
    """Verify an entry whole and give its payload in the clear.

    With ``consume`` the payload may take the place of the entry in ``data``, if that is writable.

    Raises
    ------
    SealError
        Anything about it is not as it was sealed.
    UnknownKeyError
        It is sealed with a key that is not in ``keyring``.
    """
    suite, head, body = split(data)
    if suite == SUITE_CHECKSUM:
        return _open_checksummed(head, body)
    return _open_encrypted(head, body, keyring, consume=consume)


def _checksummed(header: Mapping[str, Any], payload: Body) -> list[Any]:
    plain = dump(header)
    padded = assemble(SUITE_CHECKSUM, plain[:-1] + _CHECKSUM + b"0" * 32 + b'"}')
    at = padded.rindex(_CHECKSUM) + len(_CHECKSUM)
    digest = xxhash.xxh3_128(padded)
    for part in payload:
        digest.update(part)
    checksum = digest.hexdigest().encode()
    return [padded[:at] + checksum + padded[at + 32 :], *payload]


def _open_checksummed(head: memoryview, body: memoryview) -> Opened:
    raw = bytes(head)
    end = len(raw.rstrip(b" "))
    start = end - _CHECKSUM_BYTES
    if start < 0 or raw[start : start + len(_CHECKSUM)] != _CHECKSUM:
        raise SealError("the entry has no checksum")
    at = start + len(_CHECKSUM)
    digest = xxhash.xxh3_128(raw[:at] + b"0" * 32 + raw[at + 32 :])
    digest.update(body)
    if digest.hexdigest().encode() != raw[at : at + 32]:
        raise SealError("the entry's checksum does not match")
    return Opened.of(SUITE_CHECKSUM, load(head), body)


def _object_key(master: bytes, salt: bytes, head: bytes) -> tuple[bytes, bytes]:
    import hashlib  # loads OpenSSL, as `cryptography` does

    from cryptography.hazmat.primitives.hashes import SHA256
    from cryptography.hazmat.primitives.kdf.hkdf import HKDF

    info = _INFO + hashlib.sha256(head).digest()
    derived = HKDF(SHA256(), 32 + COMMITMENT_BYTES, salt, info).derive(master)
    return derived[:32], derived[32:]


def _nonce(number: int, *, last: bool) -> bytes:
    return struct.pack(">3xQ?", number, last)


class Encrypted(Collection[Buffer]):
    """An entry of suite 2, encrypted as it is gone through: anew each time, with another salt.

    So a value that changes between two attempts to send it never meets the same nonce twice.
    """

    def __init__(self, header: Mapping[str, Any], payload: Body, keyring: KeyProvider) -> None:
        self._header = header
        self._payload = payload
        self._sealing = keyring.sealing
        self._size = size_of(payload)
        self.size_bytes = (
            len(self._head(b"\0" * SALT_BYTES))
            + COMMITMENT_BYTES
            + self._size
            + (len(self) - 1) * TAG_BYTES
        )

    def _head(self, salt: bytes) -> bytes:
        fields = {"key": self._sealing[0], "salt": salt.hex(), "size": self._size}
        return assemble(SUITE_ENCRYPTED, dump({**self._header, "seal": fields}))

    def __len__(self) -> int:
        return 1 + max(1, -(-self._size // SEGMENT_BYTES))

    def __contains__(self, part: object) -> bool:
        return False  # never the same twice

    def __iter__(self) -> Iterator[Buffer]:
        from cryptography.hazmat.primitives.ciphers.aead import AESGCM

        salt = os.urandom(SALT_BYTES)
        head = self._head(salt)
        key, commitment = _object_key(self._sealing[1], salt, head)
        encrypt = AESGCM(key).encrypt
        yield head + commitment
        last = len(self) - 2
        for number, segment in enumerate(_segments(self._payload, self._size)):
            yield encrypt(_nonce(number, last=number == last), segment, None)


def _segments(payload: Body, size: int) -> Iterator[Any]:
    """Cut the pieces of a payload into segments, copying only where a segment spans pieces."""
    if not size:
        yield b""
        return
    pending: list[memoryview] = []
    held = 0
    for part in payload:
        view = memoryview(part).cast("B") if memoryview(part).nbytes else memoryview(b"")
        while view.nbytes:
            piece = view[: SEGMENT_BYTES - held]
            view = view[piece.nbytes :]
            pending.append(piece)
            held += piece.nbytes
            if held == SEGMENT_BYTES:
                yield pending[0] if len(pending) == 1 else b"".join(pending)
                pending, held = [], 0
    if held:
        yield pending[0] if len(pending) == 1 else b"".join(pending)


def _open_encrypted(
    head: memoryview, body: memoryview, keyring: KeyProvider | None, *, consume: bool = False
) -> Opened:
    import hmac

    from cryptography.exceptions import InvalidTag
    from cryptography.hazmat.primitives.ciphers.aead import AESGCM

    header = load(head)
    key_id, salt, size = _seal_fields(header)
    master = None if keyring is None else keyring.get(key_id)
    if master is None:
        raise UnknownKeyError(
            f"the entry is sealed with key {key_id!r}, which the keyring does not hold",
            way_out="Add the key to the keyring (S3KV_KEYRING or S3KV_KEYRING_FILE).",
        )
    count = max(1, -(-size // SEGMENT_BYTES))
    if body.nbytes != COMMITMENT_BYTES + size + count * TAG_BYTES:
        raise SealError("the entry's length does not match its header")
    key, commitment = _object_key(master, salt, bytes(head))
    if not hmac.compare_digest(commitment, bytes(body[:COMMITMENT_BYTES])):
        raise SealError("the entry's header or key is not the one it was sealed with")
    decrypt_into = AESGCM(key).decrypt_into
    # In place, each segment moves down over bytes that were read before it, by way of a small
    # buffer: the ciphers take no overlapping ones.
    in_place = consume and not body.readonly
    payload = body[:size] if in_place else memoryview(bytearray(size))
    between = memoryview(bytearray(min(size, SEGMENT_BYTES))) if in_place else None
    taken, given = COMMITMENT_BYTES, 0
    for number in range(count):
        plain = min(SEGMENT_BYTES, size - given)
        segment = body[taken : taken + plain + TAG_BYTES]
        nonce = _nonce(number, last=number == count - 1)
        target = payload[given : given + plain] if between is None else between[:plain]
        try:
            decrypt_into(nonce, segment, None, target)
        except InvalidTag:
            raise SealError("the entry's body is not the one that was sealed") from None
        if between is not None:
            payload[given : given + plain] = target
        taken += plain + TAG_BYTES
        given += plain
    return Opened.of(SUITE_ENCRYPTED, header, payload)


def _seal_fields(header: dict[str, Any]) -> tuple[str, bytes, int]:
    fields = header.get("seal")
    try:
        key_id, salt, size = fields["key"], bytes.fromhex(fields["salt"]), fields["size"]  # type: ignore[index]
    except (KeyError, TypeError, ValueError):
        raise SealError("the entry does not say how it is sealed") from None
    if type(key_id) is not str or type(size) is not int or size < 0 or len(salt) != SALT_BYTES:
        raise SealError("the entry does not say how it is sealed")
    return key_id, salt, size
