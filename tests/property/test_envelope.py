"""Nothing but what was sealed is ever opened."""

from __future__ import annotations

import json
import struct
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from s3kv_flow._pack import Pack, UntrustedError
from s3kv_flow.envelope.header import ALIGNMENT, split
from s3kv_flow.envelope.keyring import Keyring
from s3kv_flow.envelope.seal import SEGMENT_BYTES, UnknownKeyError, open_sealed, seal
from s3kv_flow.errors import ConfigurationError, SealError

RING = Keyring({"one": b"1" * 32})
WAYS = [None, RING]


def sealed(payload: bytes, ring: Keyring | None, **header: Any) -> bytes:
    return b"".join(map(bytes, seal({"a": 1, **header}, [payload], ring)))


@given(st.lists(st.binary(max_size=100)), st.sampled_from(WAYS))
def test_what_was_sealed_is_opened(pieces: list[bytes], ring: Keyring | None) -> None:
    data = b"".join(map(bytes, seal({"name": "é~"}, pieces, ring)))
    opened = open_sealed(memoryview(data), ring)
    assert bytes(opened.payload) == b"".join(pieces)
    assert opened.header["name"] == "é~"


@pytest.mark.parametrize("ring", WAYS, ids=["checksum", "encrypted"])
@pytest.mark.parametrize("extra", [-1, 0, 1])
@pytest.mark.parametrize("segments", [1, 2])
def test_sizes_around_a_segment(ring: Keyring | None, extra: int, segments: int) -> None:
    payload = bytes(range(256)) * (segments * SEGMENT_BYTES // 256) + b"x"
    payload = payload[: segments * SEGMENT_BYTES + extra]
    parts = seal({"a": 1}, [payload[:1000], memoryview(payload)[1000:]], ring)
    opened = open_sealed(memoryview(b"".join(map(bytes, parts))), ring)
    assert bytes(opened.payload) == payload


@pytest.mark.parametrize("ring", WAYS, ids=["checksum", "encrypted"])
def test_every_flipped_bit_and_every_truncation_is_found(ring: Keyring | None) -> None:
    data = sealed(b"some payload", ring)
    for position in range(len(data)):
        for bit in range(8):
            flipped = bytearray(data)
            flipped[position] ^= 1 << bit
            with pytest.raises(SealError):
                open_sealed(memoryview(flipped), ring)
        with pytest.raises(SealError):
            open_sealed(memoryview(data[:position]), ring)
    with pytest.raises(SealError):
        open_sealed(memoryview(data + b"x"), ring)


def test_segments_cannot_be_dropped_or_swapped() -> None:
    payload = b"".join(bytes([n]) * SEGMENT_BYTES for n in range(3))
    head, *segments = seal({"a": 1}, [payload], RING)
    for wrong in ([segments[1], segments[0], segments[2]], segments[:2], [*segments, segments[2]]):
        with pytest.raises(SealError):
            open_sealed(memoryview(b"".join([head, *wrong])), RING)


def test_bodies_begin_aligned() -> None:
    for ring in WAYS:
        _, head, _ = split(memoryview(sealed(b"x", ring, name="n" * 33)))
        assert head.nbytes % ALIGNMENT == 0


def test_another_key_of_the_same_name_does_not_open() -> None:
    with pytest.raises(SealError, match="not the one"):
        open_sealed(memoryview(sealed(b"x", RING)), Keyring({"one": b"2" * 32}))


def test_an_unknown_key_is_told_apart() -> None:
    for ring in (None, Keyring({"two": b"2" * 32})):
        with pytest.raises(UnknownKeyError, match="'one'"):
            open_sealed(memoryview(sealed(b"x", RING)), ring)


def test_rotation_readers_hold_all_and_writers_use_the_first() -> None:
    rotated = Keyring({"two": b"2" * 32, "one": b"1" * 32})
    assert bytes(open_sealed(memoryview(sealed(b"x", RING)), rotated).payload) == b"x"
    with pytest.raises(UnknownKeyError, match="'two'"):
        open_sealed(memoryview(sealed(b"x", rotated)), RING)


@given(st.binary(max_size=300))
def test_noise_is_refused_and_nothing_else_raised(noise: bytes) -> None:
    for data in (noise, b"S3KV" + noise, b"S3KV\1\0\0\0" + noise, b"S3KV\1\2\0\0" + noise):
        with pytest.raises(SealError):
            open_sealed(memoryview(data), RING)


@given(st.dictionaries(st.text(max_size=8), st.integers() | st.text() | st.lists(st.integers())))
def test_hostile_headers_are_refused_and_nothing_else_raised(header: dict[str, Any]) -> None:
    text = json.dumps(header).encode()
    for suite in (0, 2):
        data = struct.pack(">4sBBHI", b"S3KV", 1, suite, 0, len(text)) + text + b"\0" * 100
        with pytest.raises(SealError):
            open_sealed(memoryview(data), RING)


def test_a_four_gigabyte_length_is_refused_at_once() -> None:
    data = struct.pack(">4sBBHI", b"S3KV", 1, 2, 0, 2**32 - 1) + b"{}"
    with pytest.raises(SealError, match="cut short"):
        open_sealed(memoryview(data), RING)
    header = json.dumps({"seal": {"key": "one", "salt": "00" * 32, "size": 2**40}}).encode()
    data = struct.pack(">4sBBHI", b"S3KV", 1, 2, 0, len(header)) + header + b"\0" * 50
    with pytest.raises(SealError, match="length"):
        open_sealed(memoryview(data), RING)


def test_an_entry_is_bound_to_its_store_and_key() -> None:
    pack = Pack("store", RING)
    data = memoryview(b"".join(map(bytes, pack.seal(pack.pack("key", 1, {})))))
    assert pack.value(pack.open("key", data)) == 1
    for other, key in ((pack, "other"), (Pack("elsewhere", RING), "key")):
        with pytest.raises(SealError, match="another"):
            other.open(key, data)


def test_downgrades_are_refused() -> None:
    trusting = Pack("store", allow_unsigned_pickle=True)
    for value in (1, (1, 2)):
        data = memoryview(b"".join(map(bytes, trusting.seal(trusting.pack("key", value, {})))))
        with pytest.raises(UntrustedError):
            Pack("store", RING).open("key", data)
    with pytest.raises(UntrustedError, match="pickle"):
        Pack("store").open("key", data)


def test_a_relabelled_codec_is_found_or_cannot_run_code() -> None:
    ours = Pack("store")
    header = {"codec": "pickle", "bind": ours.bind("key"), "buffers": [[0, 4]]}
    data = b"".join(map(bytes, seal(header, [b"junk"], None)))
    with pytest.raises(UntrustedError):
        ours.open("key", memoryview(data))
    header["codec"] = "numpy"
    header["arguments"] = {"dtype": "|O", "shape": [1]}
    data = b"".join(map(bytes, seal(header, [b"junkjunk"], None)))
    with pytest.raises(SealError, match="objects"):
        ours.value(ours.open("key", memoryview(data)))


def test_buffers_outside_of_the_body_are_refused() -> None:
    ours = Pack("store")
    for span in ([0, 5], [-1, 1], [2, -1], [9, 0]):
        header = {"codec": "bytes", "bind": ours.bind("key"), "buffers": [span]}
        data = b"".join(map(bytes, seal(header, [b"junk"], None)))
        with pytest.raises(SealError):
            ours.value(ours.open("key", memoryview(data)))


def test_a_bomb_under_the_compression_is_bounded_by_its_header() -> None:
    import zstandard

    ours = Pack("store")
    bomb = zstandard.ZstdCompressor().compress(b"\0" * 50_000_000)
    header = {"codec": "bytes", "bind": ours.bind("key"), "buffers": [[0, 10]]}
    header |= {"compression": "zstd", "size": 10}
    data = b"".join(map(bytes, seal(header, [bomb], None)))
    with pytest.raises(SealError, match="size"):
        ours.open("key", memoryview(data))


# Keyrings


def test_keyrings_are_read_from_text_and_private_files(tmp_path: Path) -> None:
    ring = Keyring.generate("a")
    path = tmp_path / "sub" / "ring"
    assert ring.write(path)
    assert not Keyring.generate("b").write(path)  # never replaces
    assert path.stat().st_mode & 0o777 == 0o600
    assert Keyring.read(path) == ring == Keyring.parse(f"# ours\n{ring.text()}\n")
    path.chmod(0o644)
    with pytest.raises(ConfigurationError, match="chmod 600"):
        Keyring.read(path)
    with pytest.raises(ConfigurationError, match="cannot be read"):
        Keyring.read(tmp_path / "absent")


@pytest.mark.parametrize("text", ["", "a", "a:", "a:!!", "a:AAAA", "a b:" + "A" * 44, "# a"])
def test_malformed_keyrings_are_refused_without_showing_them(text: str) -> None:
    with pytest.raises(ConfigurationError) as refused:
        Keyring.parse(text)
    assert "!!" not in str(refused.value)


def test_secrets_are_not_shown() -> None:
    assert repr(Keyring({"id": b"s" * 32})) == "Keyring('id')"
