"""The second tier: diskcache in a private folder, which stores and returns bytes only.

diskcache keeps small values in SQLite and large ones as files. Its own `Disk` would unpickle
keys and values when a row says so (CVE-2025-69872); ours knows one mode for each and refuses
every other, and any file name that diskcache would not have given.

The three columns diskcache gives a row to its user carry what a blob needs beside its bytes:

- ``tag``: the ETag under which S3 has it;
- ``expire_time``: when S3 last confirmed it, plus `KEEP_SECONDS`;
- ``value`` of a file: size, inode and modification time when it was verified, so that a file
  nobody has touched since is mapped without being hashed again.
"""

from __future__ import annotations

import logging
import mmap
import os
import re
import stat
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from s3kv_flow._model import Blob, Cleared, size_of
from s3kv_flow._process import not_amid_fork, reset_after_fork

if TYPE_CHECKING:
    from diskcache import Cache

logger = logging.getLogger("s3kv_flow")

DEFAULT_LIMIT_BYTES: Final = 10 * 1024**3
#: Larger blobs are files, which map into memory; smaller ones live in SQLite.
FILE_FROM_BYTES: Final = 32 * 1024
#: A copy that S3 has not confirmed for so long goes, whatever the limit says.
KEEP_SECONDS: Final = 10 * 365 * 86400
#: How long a writer waits for other processes' writes before the copy is given up.
LOCK_TIMEOUT_SECONDS: Final = 10
#: For how long the folder is left alone once somebody has kept it locked for longer than that.
PAUSE_SECONDS: Final = 60

#: How often a folder is looked through for files that no row knows, and how old those must be:
#: a younger one may be about to get its row.
SWEEP_SECONDS: Final = 86_400
ORPHAN_SECONDS: Final = 3_600

_GET: Final = (
    "SELECT mode, filename, value, expire_time, tag FROM Cache WHERE key = ? AND raw = 1 LIMIT 1"
)
_FILE_NAME = re.compile(r"[0-9a-f]{2}/[0-9a-f]{2}/[0-9a-f]{28}\.val\Z")
_MODE_RAW: Final = 1
_MODE_BINARY: Final = 2


#: A cache, what executes SQL over a thread's connection to it, and the thread's lock against forks.
_Connection = tuple["Cache", Callable[..., Any], AbstractContextManager[Any]]


class UnsafeFolderError(Exception):
    """The folder is not this user's alone."""


class DiskTier:
    """Blobs in a folder of this user's, bounded in bytes, least recently stored first to go.

    Parameters
    ----------
    folder : str or Path
        Made with mode 0700 when absent; refused when it is a symlink, another user's, or open
        to others.
    limit_bytes : int
        Kept by evicting, so a moment's overshoot is possible.
    """

    name = "disk"
    shares = False

    def __init__(self, folder: str | os.PathLike[str], limit_bytes: int | None = None) -> None:
        self.folder = Path(folder)
        self._limit_bytes = DEFAULT_LIMIT_BYTES if limit_bytes is None else limit_bytes
        self._opened: Cache | None = None
        self._given_up = False
        self._paused_until = 0.0
        self._said: set[str] = set()
        self._swept = False
        self._unlock()
        reset_after_fork(self._unlock)

    def _unlock(self) -> None:
        self._opening = threading.Lock()
        self._connected = threading.local()

    def _cache(self) -> Cache | None:
        if self._paused_until and time.monotonic() < self._paused_until:
            return None
        if self._opened is None and not self._given_up:
            with self._opening, not_amid_fork():
                if self._opened is None and not self._given_up:
                    self._opened = self._open()
        return self._opened

    def _open(self) -> Cache | None:
        import diskcache

        try:
            make_private(self.folder)
            return _cache_over(self.folder, self._limit_bytes)
        except (OSError, UnsafeFolderError) as error:
            self._give_up(error)
        except (
            Exception
        ) as error:  # SQLite's, or diskcache's own: its settings are rows that it trusts
            locked = isinstance(error, diskcache.Timeout) or "locked" in str(error)
            if not locked and _set_aside(self.folder):
                self._say("was corrupt and has been begun anew", error)
                try:
                    return _cache_over(self.folder, self._limit_bytes)
                except Exception as again:
                    error = again
            self._give_up(error)
        return None

    def _give_up(self, error: Exception) -> None:
        self._given_up = True
        self._say("cannot be used; going on without it", error)

    def _say(self, what: str, error: Exception) -> None:
        if what not in self._said:
            self._said.add(what)
            logger.warning("the local cache in %s %s (%s)", self.folder, what, error)

    def _failed(self, error: Exception) -> None:
        """Go on without the local cache for this one call; heal what can be healed."""
        import sqlite3

        import diskcache

        if isinstance(error, diskcache.Timeout) or "locked" in str(error):
            # Whoever comes next need not wait as long again: somebody may have been stopped.
            self._paused_until = time.monotonic() + PAUSE_SECONDS
            self._let_go()
            self._say(f"is locked, and left alone for {PAUSE_SECONDS} s", error)
        elif isinstance(error, sqlite3.DatabaseError) and (
            "malformed" in str(error)
            or "not a database" in str(error)
            or "no such table" in str(error)
        ):
            with self._opening:
                opened = self._let_go()
                if opened is not None:
                    opened.close()
                    _set_aside(self.folder)
            self._say("was corrupt and has been begun anew", error)
        elif not self.folder.is_dir():
            self._let_go()  # somebody has cleaned up; make it anew
        else:
            self._say("failed; this entry goes without it", error)

    def _let_go(self) -> Cache | None:
        """Forget the cache, and the connections of all threads: an idle one would keep its own open."""
        opened, self._opened = self._opened, None
        self._connected = threading.local()
        return opened

    def get(self, name: str) -> Blob | None:
        connection = self._connection()
        if connection is None:
            return None
        cache, execute, gate = connection
        try:
            with gate:  # a reader, too, holds locks of SQLite's that a child inherits
                # What `cache.get` asks, without what it does for other policies and other disks.
                row = execute(_GET, (name,)).fetchone()
            if row is None:
                return None
            mode, filename, value, expires, etag = row
            found = cache._disk.fetch(mode, filename, value, False)
        except FileNotFoundError:  # evicted meanwhile
            return None
        except Exception as error:
            self._failed(error)
            return None
        if found is None or type(expires) is not float:
            return None
        data, verified = found
        return Blob([data], etag or None, expires - KEEP_SECONDS, verified)

    def _connection(self) -> _Connection | None:
        """Give what executes SQL in this thread, which diskcache looks for each time."""
        known: _Connection | None = getattr(self._connected, "known", None)
        if known is None or known[0] is not self._opened:
            cache = self._cache()
            if cache is None:
                return None
            try:
                with not_amid_fork():
                    known = self._connected.known = cache, cache._sql, not_amid_fork()
            except Exception as error:
                self._failed(error)
                return None
        return known

    def put(self, name: str, blob: Blob) -> None:
        cache = self._cache()
        if cache is None or blob.size_bytes > self._limit_bytes:
            return
        expire = KEEP_SECONDS + blob.checked - time.time()
        try:
            if not self._swept and blob.size_bytes >= FILE_FROM_BYTES:
                self._swept = True
                _sweep_orphans(self.folder, cache)
            with not_amid_fork():
                cache.set(name, blob.parts, expire=expire, tag=blob.etag)
        except Exception as error:
            self._failed(error)

    def confirm(self, name: str, blob: Blob) -> None:
        cache = self._cache()
        if cache is not None:
            try:
                with not_amid_fork():
                    cache.touch(name, expire=KEEP_SECONDS + blob.checked - time.time())
            except Exception as error:
                self._failed(error)

    def drop(self, name: str) -> None:
        cache = self._cache()
        if cache is not None:
            try:
                with not_amid_fork():
                    cache.delete(name)
            except Exception as error:
                self._failed(error)

    def names(self, prefix: str = "") -> Iterator[str]:
        cache = self._cache()
        if cache is not None:
            with not_amid_fork():
                names = list(cache.iterkeys())
            for name in names:
                if isinstance(name, str) and name.startswith(prefix):
                    yield name

    def clear(self, prefix: str = "", *, stored_before: float | None = None) -> Cleared:
        cache = self._cache()
        if cache is None:
            return Cleared(0, 0)
        cleared = Cleared(0, 0)
        try:
            for name, size in _rows(cache, prefix, stored_before):
                with not_amid_fork():
                    deleted = cache.delete(name)
                if deleted:
                    cleared += Cleared(1, size)
        except Exception as error:
            self._failed(error)
        return cleared

    def close(self) -> None:
        opened = self._let_go()
        if opened is not None:
            opened.close()


def make_private(folder: Path) -> None:
    """Make a folder nobody else can use, or refuse one that somebody else can.

    Raises
    ------
    UnsafeFolderError
        A symlink, another user's, or open to others.
    """
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    found = os.lstat(folder)
    if stat.S_ISLNK(found.st_mode):
        raise UnsafeFolderError("it is a symbolic link")
    if hasattr(os, "getuid"):
        if found.st_uid != os.getuid():
            raise UnsafeFolderError("it belongs to another user")
        if stat.S_IMODE(found.st_mode) & 0o077:
            raise UnsafeFolderError(f"other users can enter it; chmod 700 {folder}")


def _cache_over(folder: Path, limit_bytes: int) -> Cache:
    from diskcache import Cache

    return Cache(
        str(folder),
        timeout=LOCK_TIMEOUT_SECONDS,
        disk=_disk_class(),
        eviction_policy="least-recently-stored",
        size_limit=limit_bytes,
        cull_limit=16,
        statistics=0,
        tag_index=0,
    )


def _rows(cache: Cache, prefix: str, stored_before: float | None) -> list[tuple[str, int]]:
    # diskcache tells neither the size nor the time of an entry without reading its value.
    low, high = prefix, prefix + "\U0010ffff"
    query = "SELECT key, size + COALESCE(LENGTH(value), 0) FROM Cache WHERE key >= ? AND key < ?"
    values: list[Any] = [low, high]
    if stored_before is not None:
        query += " AND store_time < ?"
        values.append(stored_before)
    with not_amid_fork():
        rows: list[tuple[str, int]] = cache._sql(query, values).fetchall()
    return rows


def _sweep_orphans(folder: Path, cache: Cache) -> None:
    """Remove files without a row, left by processes that were killed; once a day and folder."""
    now, stamp = time.time(), folder / "swept"
    if stamp.exists() and now - stamp.stat().st_mtime < SWEEP_SECONDS:
        return
    stamp.touch(mode=0o600)
    files = [file for file in folder.glob("??/??/*.val") if _is_old(file, now)]
    # Read after the files were listed: what has a row by now is no orphan.
    with not_amid_fork():
        rows = cache._sql("SELECT filename FROM Cache WHERE filename IS NOT NULL").fetchall()
    known = {name for (name,) in rows}
    for file in files:
        if file.relative_to(folder).as_posix() not in known:
            file.unlink(missing_ok=True)


def _is_old(file: Path, now: float) -> bool:
    try:
        return now - file.lstat().st_mtime > ORPHAN_SECONDS
    except OSError:
        return False


def _set_aside(folder: Path) -> bool:
    """Remove a corrupt database, so that the next opening begins anew."""
    try:
        for name in ("cache.db", "cache.db-wal", "cache.db-shm"):
            (folder / name).unlink(missing_ok=True)
    except OSError:
        return False
    return True


def _disk_class() -> type[Any]:
    """Give the bytes-only `Disk`; made here, for diskcache is imported when first needed."""
    global _made
    if _made is None:
        import sqlite3

        import diskcache

        class BytesDisk(diskcache.Disk):  # type: ignore[misc]
            def __init__(self, directory: str, **settings: Any) -> None:
                # Settings are rows of the database too: what they ask for is not ours to do.
                super().__init__(directory)

            def put(self, key: str) -> tuple[str, bool]:
                return key, True

            def get(self, key: Any, raw: bool) -> Any:
                return key if raw and type(key) is str else None

            def store(self, value: Any, read: bool, key: Any = None) -> tuple[Any, ...]:
                size = size_of(value)
                if size < FILE_FROM_BYTES:
                    return 0, _MODE_RAW, None, sqlite3.Binary(b"".join(value))
                filename, full_path = self.filename()
                try:
                    self._write(full_path, iter(value), "xb")
                except BaseException:
                    self.remove(filename)
                    raise
                return size, _MODE_BINARY, filename, _record(os.stat(full_path))

            def fetch(self, mode: int, filename: Any, value: Any, read: bool) -> Any:
                if mode == _MODE_RAW and filename is None and type(value) is bytes:
                    return value, False
                if mode == _MODE_BINARY and _FILE_NAME.match(filename or ""):
                    return _mapped(os.path.join(self._directory, filename), value)
                return None

            def remove(self, file_path: str) -> None:
                if _FILE_NAME.match(file_path or ""):
                    super().remove(file_path)

        _made = BytesDisk
    return _made


_made: type[Any] | None = None


def _record(found: os.stat_result) -> str:
    return f"{found.st_size} {found.st_mtime_ns} {found.st_ino}"


def _mapped(path: str, record: Any) -> Any:
    """Map a file copy-on-write: private, writable, and no copy is made."""
    flags = getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0)  # nobody writes into a pipe
    descriptor = os.open(path, os.O_RDONLY | flags)
    try:
        found = os.fstat(descriptor)
        if not found.st_size or not stat.S_ISREG(found.st_mode):
            return None
        data = mmap.mmap(descriptor, 0, access=mmap.ACCESS_COPY)
    finally:
        os.close(descriptor)
    return data, type(record) is str and record == _record(found)
