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

import hashlib
import hmac
import os
import struct
from collections.abc import Iterator, Mapping
from typing import Any, Final

import xxhash

from s3kv_flow._model import Body, Opened
from s3kv_flow.envelope.header import (
    SUITE_CHECKSUM,
    SUITE_ENCRYPTED,
    assemble,
    dump,
    load,
    split,
)
from s3kv_flow.envelope.keyring import Keyring
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


def seal(header: Mapping[str, Any], payload: Body, keyring: Keyring | None) -> list[Any]:
    """Give the parts of a sealed entry: encrypted with a keyring, checksummed without."""
    return (
        _checksummed(header, payload) if keyring is None else _encrypted(header, payload, keyring)
    )


def open_sealed(data: memoryview, keyring: Keyring | None) -> Opened:
    """Verify an entry whole and give its payload in the clear.

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
    return _open_encrypted(head, body, keyring)


def open_known(data: memoryview, keyring: Keyring | None) -> Opened:
    """Open an entry of which a tier vouches that nobody has touched it since it was verified.

    Its checksum is not computed again; a sealed one is verified all the same.
    """
    suite, head, body = split(data)
    if suite == SUITE_CHECKSUM:
        return Opened(suite, load(head), body)
    return _open_encrypted(head, body, keyring)


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
    return Opened(SUITE_CHECKSUM, load(head), body)


def _object_key(master: bytes, salt: bytes, head: bytes) -> tuple[bytes, bytes]:
    from cryptography.hazmat.primitives.hashes import SHA256
    from cryptography.hazmat.primitives.kdf.hkdf import HKDF

    info = _INFO + hashlib.sha256(head).digest()
    derived = HKDF(SHA256(), 32 + COMMITMENT_BYTES, salt, info).derive(master)
    return derived[:32], derived[32:]


def _nonce(number: int, *, last: bool) -> bytes:
    return struct.pack(">3xQ?", number, last)


def _encrypted(header: Mapping[str, Any], payload: Body, keyring: Keyring) -> list[Any]:
    from cryptography.hazmat.primitives.ciphers.aead import AESGCM

    key_id, master = keyring.sealing
    salt = os.urandom(SALT_BYTES)
    size = sum(memoryview(part).nbytes for part in payload)
    sealed = {**header, "seal": {"key": key_id, "salt": salt.hex(), "size": size}}
    head = assemble(SUITE_ENCRYPTED, dump(sealed))
    key, commitment = _object_key(master, salt, head)
    encrypt = AESGCM(key).encrypt
    parts: list[Any] = [head + commitment]
    last = max(0, -(-size // SEGMENT_BYTES) - 1)
    for number, segment in enumerate(_segments(payload, size)):
        parts.append(encrypt(_nonce(number, last=number == last), segment, None))
    return parts


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


def _open_encrypted(head: memoryview, body: memoryview, keyring: Keyring | None) -> Opened:
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
    payload = memoryview(bytearray(size))
    taken, given = COMMITMENT_BYTES, 0
    for number in range(count):
        plain = min(SEGMENT_BYTES, size - given)
        segment = body[taken : taken + plain + TAG_BYTES]
        nonce = _nonce(number, last=number == count - 1)
        try:
            decrypt_into(nonce, segment, None, payload[given : given + plain])
        except InvalidTag:
            raise SealError("the entry's body is not the one that was sealed") from None
        taken += plain + TAG_BYTES
        given += plain
    return Opened(SUITE_ENCRYPTED, header, payload)


def _seal_fields(header: dict[str, Any]) -> tuple[str, bytes, int]:
    fields = header.get("seal")
    try:
        key_id, salt, size = fields["key"], bytes.fromhex(fields["salt"]), fields["size"]  # type: ignore[index]
    except (KeyError, TypeError, ValueError):
        raise SealError("the entry does not say how it is sealed") from None
    if type(key_id) is not str or type(size) is not int or size < 0 or len(salt) != SALT_BYTES:
        raise SealError("the entry does not say how it is sealed")
    return key_id, salt, size
