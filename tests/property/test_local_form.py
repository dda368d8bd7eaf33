"""The form of local copies: quick to read, bound to one key, and no way in for a pickle."""

from __future__ import annotations

import contextlib
import struct
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from s3kv_flow._model import Blob
from s3kv_flow._pack import Pack, UntrustedError
from s3kv_flow.envelope.keyring import Keyring
from s3kv_flow.envelope.local import dump_local, open_local
from s3kv_flow.envelope.seal import seal
from s3kv_flow.errors import SealError

PACK = Pack("store", Keyring.generate())


def local(value: Any, pack: Pack = PACK, key: str = "key") -> bytes:
    packed = pack.pack(key, value, {"name": "n", "created": 12.5, "compute": 0.25})
    return b"".join(map(bytes, pack.local(packed, etag=None, now=0.0).parts))


def opened(data: bytes, pack: Pack = PACK, key: str = "key", *, known: bool = False) -> Any:
    found = pack.open_local(key, Blob([data], None, 0.0, known))
    return pack.value(found)


def test_what_hits_ask_for_is_there_without_reading_the_header() -> None:
    bind, found = open_local(local({"a": 1}), known=False)
    assert (found.codec, found.created, found.compute_seconds) == ("json", 12.5, 0.25)
    assert bytes(found.payload) == b'{"a": 1}'
    assert bind.decode() == found.header["bind"] == PACK.bind("key")
    assert found.header["name"] == "n"


@given(st.binary(max_size=300))
def test_payloads_begin_aligned(value: bytes) -> None:
    data = local(value)
    assert (len(data) - len(value)) % 64 == 0
    assert opened(data) == value


def test_every_flipped_bit_and_every_truncation_is_refused() -> None:
    data = local({"a": [1, 2], "b": "text"})
    for position in range(len(data)):
        for bit in range(8):
            flipped = bytearray(data)
            flipped[position] ^= 1 << bit
            with pytest.raises(SealError):
                opened(bytes(flipped))
        with pytest.raises(SealError):
            opened(data[:position])


@given(st.binary(max_size=200))
def test_any_bytes_at_all_raise_nothing_but_a_refusal(tail: bytes) -> None:
    for known in (False, True):
        for data in (tail, b"S3KL" + tail, local(1)[:60] + tail):
            with contextlib.suppress(SealError):
                opened(data, known=known)


def test_a_copy_of_another_key_or_store_is_refused() -> None:
    with pytest.raises(SealError, match="another key"):
        opened(local(1), key="other")
    with pytest.raises(SealError, match="another key"):
        opened(local(1), Pack("other store"))


def test_lengths_beyond_the_bytes_are_refused_though_a_tier_vouches_for_them() -> None:
    data = bytearray(local(1))
    for at, form in ((22, ">H"), (24, ">H"), (26, ">I")):
        wrong = bytearray(data)
        struct.pack_into(form, wrong, at, 2 ** (8 * struct.calcsize(form)) - 1)
        with pytest.raises(SealError):
            opened(bytes(wrong), known=True)


def test_a_pickle_never_takes_this_form_and_is_not_read_from_it() -> None:
    packed = PACK.pack("key", {1, 2}, {})
    assert packed.codec.name == "pickle"
    assert local({1, 2}).startswith(b"S3KV")
    forged = b"".join(map(bytes, dump_local(packed.header, packed.payload)))
    with pytest.raises(UntrustedError):
        opened(forged)


def test_copies_that_an_older_version_left_are_read() -> None:
    packed = PACK.pack("key", {"a": 1}, {"created": 1.0})
    older = b"".join(map(bytes, seal(packed.header, packed.payload, None)))
    assert opened(older) == {"a": 1}
