"""The local tiers: what both promise, and what the disk does with a hostile or broken folder."""

from __future__ import annotations

import gc
import os
import pickle
import sqlite3
import threading
import time
import weakref
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import xxhash

import s3kv_flow as s3kv
from s3kv_flow._model import Blob, ETag
from s3kv_flow._pack import Pack
from s3kv_flow.envelope.keyring import Keyring
from s3kv_flow.testing import memory_store
from s3kv_flow.tiers.base import Tier
from s3kv_flow.tiers.disk import FILE_FROM_BYTES, DiskTier
from s3kv_flow.tiers.memory import MemoryTier

SIZES = [0, 10, FILE_FROM_BYTES - 1, FILE_FROM_BYTES, 200_000]


@pytest.fixture(params=["memory", "disk"])
def make(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Callable[..., Tier]]:
    made = []

    def make(limit_bytes: int = 50_000_000) -> Tier:
        tier: Tier = (
            MemoryTier(limit_bytes)
            if request.param == "memory"
            else DiskTier(tmp_path / "tier", limit_bytes)
        )
        made.append(tier)
        return tier

    yield make
    for tier in made:
        tier.close()


def blob(size: int, checked: float = 1_800_000_000.0) -> Blob:
    return Blob([b"x" * (size // 2), b"y" * (size - size // 2)], ETag("etag"), checked)


def body(tier: Tier, name: str) -> bytes | None:
    found = tier.get(name)
    return None if found is None else b"".join(map(bytes, found.parts))


@pytest.mark.parametrize("size", SIZES)
def test_what_is_put_is_got(make: Callable[..., Tier], size: int) -> None:
    tier = make()
    assert tier.get("a") is None
    tier.put("a", blob(size))
    found = tier.get("a")
    assert found is not None
    assert b"".join(map(bytes, found.parts)) == b"x" * (size // 2) + b"y" * (size - size // 2)
    assert found.etag == "etag"
    assert found.checked == pytest.approx(1_800_000_000.0, abs=0.01)
    tier.put("a", blob(5))
    assert body(tier, "a") == b"xxyyy"
    tier.drop("a")
    tier.drop("a")
    assert tier.get("a") is None


def test_a_confirmation_moves_the_time(make: Callable[..., Tier]) -> None:
    tier = make()
    tier.put("a", blob(10))
    tier.confirm("a", blob(10, checked=1_800_000_500.0))
    found = tier.get("a")
    assert found is not None
    assert found.checked == pytest.approx(1_800_000_500.0, abs=0.01)


def test_names_and_clearing_by_prefix(make: Callable[..., Tier]) -> None:
    tier = make()
    for name in ("a/1", "a/2", "ab", "b/1"):
        tier.put(name, blob(100_000))
    assert sorted(tier.names("a/")) == ["a/1", "a/2"]
    cleared = tier.clear("a/")
    assert cleared.entries == 2
    assert cleared.size_bytes >= 200_000
    assert sorted(tier.names()) == ["ab", "b/1"]
    assert tier.clear(stored_before=0.0).entries == 0
    assert tier.clear().entries == 2


def test_it_is_bounded_and_the_one_stored_first_goes_first(make: Callable[..., Tier]) -> None:
    tier = make(2_000_000)
    for number in range(60):
        tier.put(f"{number:02}", blob(100_000))
        tier.get("00")  # being read does not keep it
    names = sorted(tier.names())
    assert 5 <= len(names) <= 25
    assert names[-1] == "59"
    assert "00" not in names


def test_a_blob_larger_than_the_limit_is_not_held(make: Callable[..., Tier]) -> None:
    tier = make(1_000)
    tier.put("a", blob(2_000))
    assert tier.get("a") is None


# The disk


@pytest.fixture
def disk(tmp_path: Path) -> DiskTier:
    return DiskTier(tmp_path / "tier")


def test_a_large_blob_is_a_private_writable_map(disk: DiskTier) -> None:
    disk.put("a", blob(200_000))
    first, second = disk.get("a"), disk.get("a")
    assert first is not None
    assert second is not None
    assert first.verified
    memoryview(first.parts[0])[:5] = b"-----"
    assert bytes(memoryview(second.parts[0])[:5]) == b"xxxxx"
    assert body(disk, "a") == b"x" * 100_000 + b"y" * 100_000


def test_a_file_that_was_touched_is_not_vouched_for(disk: DiskTier) -> None:
    disk.put("a", blob(200_000))
    (file,) = disk.folder.rglob("*.val")
    os.utime(file, (1, 1))
    found = disk.get("a")
    assert found is not None
    assert not found.verified


def test_the_folder_is_private(disk: DiskTier) -> None:
    disk.put("a", blob(10))
    assert disk.folder.stat().st_mode & 0o777 == 0o700


def _symlink(folder: Path) -> None:
    (folder.parent / "real").mkdir(mode=0o700)
    folder.symlink_to(folder.parent / "real")


def _open_to_others(folder: Path) -> None:
    folder.mkdir()
    folder.chmod(0o777)


def _a_file(folder: Path) -> None:
    folder.write_text("")


@pytest.mark.parametrize("prepare", [_symlink, _open_to_others, _a_file])
def test_an_unsafe_folder_is_not_used(
    tmp_path: Path, prepare: Callable[[Path], None], caplog: pytest.LogCaptureFixture
) -> None:
    prepare(tmp_path / "tier")
    tier = DiskTier(tmp_path / "tier")
    tier.put("a", blob(10))
    assert tier.get("a") is None
    assert len(caplog.records) == 1
    assert "going on without it" in caplog.text


class Exploding:
    def __reduce__(self):
        return os._exit, (66,)


@pytest.mark.parametrize(
    "change",
    [
        "UPDATE Cache SET mode = 4, value = :pickle, filename = NULL",  # MODE_PICKLE
        "UPDATE Cache SET mode = 4, filename = '../../outside.val'",
        "UPDATE Cache SET mode = 2, filename = '../../outside.val'",
        "UPDATE Cache SET mode = 2, filename = '/etc/passwd'",
        "UPDATE Cache SET mode = 3",
        "UPDATE Cache SET value = 7, mode = 1, filename = NULL",
        "INSERT INTO Cache (key, raw, mode, value) VALUES (:pickle, 0, 1, 'x')",
        "INSERT OR REPLACE INTO Settings VALUES ('disk_pickle_protocol', 2)",
        "INSERT OR REPLACE INTO Settings VALUES ('disk_nonsense', 2)",
    ],
)
@pytest.mark.parametrize("size", [10, 200_000])
def test_a_tampered_row_is_a_miss_and_runs_nothing(tmp_path: Path, change: str, size: int) -> None:
    outside = tmp_path / "outside.val"
    outside.write_bytes(pickle.dumps(Exploding()))
    disk = DiskTier(tmp_path / "a" / "tier")
    disk.put("a", blob(size))
    disk.close()
    with sqlite3.connect(disk.folder / "cache.db") as database:
        database.execute(
            change, {"pickle": pickle.dumps(Exploding())} if ":pickle" in change else {}
        )
    database.close()
    again = DiskTier(disk.folder)
    found = again.get("a")
    untouched = "INSERT" in change
    assert (found is not None) == untouched
    assert set(again.names()) == {"a"}
    again.put("a", blob(5))
    assert body(again, "a") == b"xxyyy"
    again.drop("a")
    again.clear()
    assert outside.exists()
    again.close()


def test_a_corrupt_database_is_begun_anew(disk: DiskTier, caplog: pytest.LogCaptureFixture) -> None:
    disk.put("a", blob(10))
    disk.close()
    for file in disk.folder.glob("cache.db*"):
        file.write_bytes(b"this is no database" * 1000)
    again = DiskTier(disk.folder)
    assert again.get("a") is None
    again.put("a", blob(10))
    assert body(again, "a") == b"xxxxxyyyyy"
    assert "begun anew" in caplog.text
    again.close()


def test_settings_that_make_no_sense_are_begun_anew(tmp_path: Path) -> None:
    DiskTier(tmp_path / "tier").put("a", Blob([b"x"], None, 1.0))
    with sqlite3.connect(tmp_path / "tier" / "cache.db") as database:
        database.execute("INSERT INTO Settings VALUES (x'78', 5)")
    database.close()
    tier = DiskTier(tmp_path / "tier")
    assert tier.get("a") is None
    tier.put("a", Blob([b"y"], None, time.time()))
    assert tier.get("a") is not None


def test_a_pipe_in_the_place_of_a_file_is_a_miss(disk: DiskTier) -> None:
    disk.put("a", Blob([b"x" * FILE_FROM_BYTES], None, time.time()))
    (file,) = disk.folder.glob("??/??/*.val")
    file.unlink()
    os.mkfifo(file)
    assert disk.get("a") is None


def test_a_local_copy_whose_header_is_damaged_is_looked_for_elsewhere(tmp_path: Path) -> None:
    """A hit does not read it; whoever asks about the entry does."""
    kv = memory_store(cache_dir=tmp_path / "c")

    @kv.cached(name="step", version=1)
    def step(x: int) -> list[int]:
        return [x]

    step(1)
    chain = kv._backend.chain
    name = kv._backend.layout.entry(step.key(1))
    held = chain.local[-1].get(name)
    assert held is not None
    data = bytearray(b"".join(map(bytes, held.parts)))
    start = data.index(b'{"')  # a brace alone may stand in the checksum
    data[start : start + 1] = b"["
    data[4:20] = xxhash.xxh3_128_digest(bytes(data[20:]))
    for tier in chain.local:
        tier.put(name, Blob([bytes(data)], held.etag, held.checked))
    assert step(1) == [1]
    assert step.peek(1) is None  # and the damaged copy is gone
    assert step.contains(1)
    assert step.explain(1)


def test_where_local_copies_are_sealed_no_other_is_believed(tmp_path: Path) -> None:
    """Somebody else with this user's rights writes a copy in the clear, checksum and all."""
    kv = memory_store(keyring=Keyring.generate(), local_cache="sealed", cache_dir=tmp_path / "c")
    kv["k"] = "ours"
    chain, pack = kv._backend.chain, kv._backend.pack
    name = kv._backend.layout.object("k")
    open_pack = Pack(pack.store_id)
    for forged in (
        open_pack.local(open_pack.pack("k", "forged", {}), etag=None, now=time.time()).parts,
        open_pack.seal(open_pack.pack("k", "forged", {})),
    ):
        held = chain.local[-1].get(name)
        assert held is not None
        data = b"".join(map(bytes, forged))
        for tier in chain.local:
            tier.put(name, Blob([data], held.etag, held.checked))
        assert kv["k"] == "ours"


def test_local_copies_cannot_be_sealed_without_a_keyring() -> None:
    with pytest.raises(s3kv.ConfigurationError, match="s3kv keys generate"):
        memory_store(local_cache="sealed")


def test_a_folder_that_cannot_be_made(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    (tmp_path / "file").write_text("")
    tier = DiskTier(tmp_path / "file" / "tier")
    tier.put("a", blob(10))
    assert tier.get("a") is None
    assert "going on without it" in caplog.text


def test_a_full_disk_costs_the_copy_and_not_the_call(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    import errno

    from s3kv_flow.tiers import disk as module

    kv = memory_store(cache_dir=tmp_path)

    @kv.cached(version=1)
    def step(x: int) -> bytes:
        return bytes(x)

    step(1)
    kind = module._disk_class()

    def full(*_: object) -> int:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(kind, "_write", full)
    assert step(2_000_000) == bytes(2_000_000)
    assert "No space left" in caplog.text
    monkeypatch.undo()
    assert step(2_000_000) == bytes(2_000_000)
    assert step.cache_info().hits == {"remote": 1}
    assert step(2_000_000) == bytes(2_000_000)
    assert step.cache_info().hits == {"remote": 1, "disk": 1}


@pytest.mark.parametrize("size", [100, 200_000])
@pytest.mark.parametrize("damage", ["flip", "truncate", "remove"])
def test_a_damaged_local_copy_is_fetched_again(tmp_path: Path, size: int, damage: str) -> None:
    kv = memory_store(cache_dir=tmp_path)
    calls = []

    @kv.cached(version=1)
    def step(x: int) -> bytes:
        calls.append(x)
        return bytes(range(256)) * (x // 256 + 1)

    value = step(size)
    memory, disk = kv._backend.chain.local
    memory.clear()
    files = list(disk.folder.rglob("*.val"))  # type: ignore[attr-defined]
    if files:
        data = files[0].read_bytes()
        if damage == "remove":
            files[0].unlink()
        else:
            files[0].write_bytes(data[:-9] + (b"Y" + data[-8:] if damage == "flip" else b""))
    else:
        with sqlite3.connect(disk.folder / "cache.db") as database:  # type: ignore[attr-defined]
            ((data,),) = database.execute("SELECT value FROM Cache").fetchall()
            wrong = {"flip": data[:-9] + b"Y" + data[-8:], "truncate": data[:-9], "remove": b""}
            database.execute("UPDATE Cache SET value = ?", (wrong[damage],))
        database.close()
    assert step(size) == value
    assert step.cache_info().hits == {"remote": 1}
    memory.clear()
    assert step(size) == value
    assert step.cache_info().hits == {"remote": 1, "disk": 1}
    assert calls == [size]


def test_pickles_stay_sealed_on_disk(tmp_path: Path) -> None:
    kv = memory_store(cache_dir=tmp_path, keyring=s3kv.Keyring.generate())

    @kv.cached(version=1)
    def step(x: int) -> tuple[str, int]:
        return ("plain text", x)

    step(1)
    kv._backend.chain.local[0].clear()
    assert step(1) == ("plain text", 1)
    assert step.cache_info().hits == {"disk": 1}
    assert not any(
        b"plain text" in file.read_bytes() for file in tmp_path.rglob("*") if file.is_file()
    )


@pytest.mark.parametrize("way", ["opened", "sealed", "off"])
def test_local_cache_says_how_copies_lie_on_disk(tmp_path: Path, way: str) -> None:
    kv = memory_store(cache_dir=tmp_path, keyring=s3kv.Keyring.generate(), local_cache=way)

    @kv.cached(version=1)
    def step(x: int) -> str:
        return "plain text" * x

    assert step(10_000) == step(10_000)
    stored = [file.read_bytes() for file in tmp_path.rglob("*") if file.is_file()]
    assert bool(stored) == (way != "off")
    assert any(b"plain text" in data for data in stored) == (way == "opened")
    assert step.cache_info().hits == ({"remote": 1} if way == "off" else {"memory": 1})


def test_files_that_a_killed_writer_left_are_swept(tmp_path: Path) -> None:
    first = DiskTier(tmp_path / "cache")
    first.put("kept", Blob([b"x" * 100_000], None, time.time()))
    (held,) = (tmp_path / "cache").glob("??/??/*.val")
    orphan, young = held.with_name("0" * 28 + ".val"), held.with_name("1" * 28 + ".val")
    for file in (orphan, young):
        file.write_bytes(b"left behind")
    (tmp_path / "cache" / "swept").unlink()
    long_ago = time.time() - 7200
    for file in (orphan, held):
        os.utime(file, (long_ago, long_ago))

    second = DiskTier(tmp_path / "cache")
    second.put("other", Blob([b"y" * 100_000], None, time.time()))
    assert not orphan.exists()
    assert young.exists()
    found = second.get("kept")
    assert found is not None
    assert bytes(found.parts[0]) == b"x" * 100_000


def test_the_bound_is_kept_under_writers_at_once(tmp_path: Path) -> None:
    limit = 4_000_000
    tiers = [DiskTier(tmp_path / "cache", limit) for _ in range(4)]

    def write(tier: DiskTier) -> None:
        for number in range(60):
            tier.put(f"{id(tier)} {number}", Blob([b"x" * 100_000], None, time.time()))

    with ThreadPoolExecutor(4) as threads:
        list(threads.map(write, tiers))
    held = sum(file.stat().st_size for file in (tmp_path / "cache").rglob("*.val"))
    assert 0.4 * limit < held < 1.25 * limit


def test_a_folder_that_stays_locked_is_left_alone_for_a_while(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    import sqlite3

    from s3kv_flow.tiers import disk as module

    monkeypatch.setattr(module, "LOCK_TIMEOUT_SECONDS", 1)
    now = [1000.0]
    monkeypatch.setattr("s3kv_flow.tiers.disk.time.monotonic", lambda: now[0])
    disk = DiskTier(tmp_path / "cache")
    disk.put("a", Blob([b"1"], None, time.time()))
    other = sqlite3.connect(tmp_path / "cache" / "cache.db", isolation_level=None)
    other.execute("BEGIN EXCLUSIVE")  # somebody who was stopped in the middle of a write
    disk.put("b", Blob([b"2"], None, time.time()))
    began = time.perf_counter()
    for _ in range(5):
        disk.put("c", Blob([b"3"], None, time.time()))
        assert disk.get("c") is None
    assert time.perf_counter() - began < 1, "nobody waits as long again"
    assert caplog.text.count("is locked") == 1
    other.execute("ROLLBACK")
    other.close()
    now[0] += module.PAUSE_SECONDS + 1
    disk.put("d", Blob([b"4"], None, time.time()))
    found = disk.get("d")
    assert found is not None
    assert bytes(next(iter(found.parts))) == b"4"
    disk.close()


def test_idle_threads_keep_no_connection_to_a_cache_that_was_removed(tmp_path: Path) -> None:
    tier = DiskTier(tmp_path / "cache")
    waiting, go_on = threading.Barrier(5), threading.Event()

    def use() -> None:
        tier.get("name")
        waiting.wait(timeout=30)
        go_on.wait(timeout=30)

    threads = [threading.Thread(target=use) for _ in range(4)]
    for thread in threads:
        thread.start()
    waiting.wait(timeout=30)
    assert tier._opened is not None
    cache = weakref.ref(tier._opened)
    tier.close()
    gc.collect()
    try:
        assert cache() is None
    finally:
        go_on.set()
        for thread in threads:
            thread.join()
