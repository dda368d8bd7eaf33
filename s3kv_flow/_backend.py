"""The blocks of one store, put together: object store, tiers, pack and layout."""

from __future__ import annotations

import logging
import re
import threading
from collections.abc import Callable, Iterable, Iterator
from itertools import islice
from pathlib import Path
from typing import Final

import xxhash

from s3kv_flow._breaker import Breaker
from s3kv_flow._clock import Clock, SystemClock
from s3kv_flow._config import Settings
from s3kv_flow._layout import HiddenLayout, Layout
from s3kv_flow._lease import ClusterLease, Flight, HostLease, Lease, Leases
from s3kv_flow._mode import Mode, asked_mode
from s3kv_flow._model import Blob, Deleted, ETag, ObjectMeta, Opened, Precondition
from s3kv_flow._pack import Pack, Packed
from s3kv_flow._process import reset_after_fork
from s3kv_flow._retention import Retention
from s3kv_flow._tagindex import TagIndex
from s3kv_flow._writes import Writes
from s3kv_flow.envelope.names import HiddenNames
from s3kv_flow.errors import AccessDeniedError, StoreUnavailableError
from s3kv_flow.stores.connection import Connection
from s3kv_flow.stores.probe import Capabilities, probe
from s3kv_flow.stores.protocols import Bucket
from s3kv_flow.stores.s3 import S3Store
from s3kv_flow.tiers.base import Tier
from s3kv_flow.tiers.chain import Chain
from s3kv_flow.tiers.disk import DiskTier, UnsafeFolderError, make_private
from s3kv_flow.tiers.memory import MemoryTier

logger = logging.getLogger("s3kv_flow")

LOCAL_ONLY: Final = "local"
#: How many objects are deleted before their local copies are dropped: memory stays flat.
DELETE_SLICE: Final = 10_000
_capabilities: dict[tuple[str, str], Capabilities] = {}


class Backend:
    """What `S3KV` and the caches of functions stand on. Making one does no I/O.

    Parameters
    ----------
    settings : Settings
        Where and how to store.
    objects : ObjectStore, optional
        Takes the place of the bucket that the settings name.
    clock : Clock, optional
        Takes the place of the machine's.
    """

    def __init__(
        self, settings: Settings, *, objects: Bucket | None = None, clock: Clock | None = None
    ) -> None:
        self.settings = settings
        self._mode = settings.mode
        self.clock: Clock = clock or SystemClock()
        self.layout = Layout(settings.root)
        hidden: HiddenNames | None = None
        if settings.secrets and settings.keyring is not None:
            hidden = HiddenNames(settings.keyring.naming)
            self.layout = HiddenLayout(settings.root, hidden)
        self.flight = Flight()
        if objects is None and settings.bucket is not None:
            objects = S3Store(
                Connection(
                    settings.bucket,
                    settings.endpoint_url,
                    settings.region,
                    settings.access_key_id,
                    settings.secret_access_key,
                    settings.session_token,
                    settings.session,
                )
            )
        self._objects = objects
        self._writes: Writes | None = None
        self._said_no_cluster = False
        # Entries are bound to bucket and root, not to the endpoint: one bucket has many endpoints.
        self.pack = Pack(
            f"{settings.bucket or LOCAL_ONLY}/{settings.root}",
            settings.keyring,
            allow_unsigned_pickle=settings.allow_unsigned_pickle and not settings.secrets,
            hidden=hidden,
            opens_local=settings.local_cache == "opened",
        )
        self._unlock()
        reset_after_fork(self._unlock)
        local: list[Tier] = []
        if settings.local_cache != "off":
            local = [MemoryTier()]
            if not settings.secrets:  # nothing of them on disk
                local.append(DiskTier(self._folder(), settings.cache_size_limit))
        self.chain = Chain(local, objects, self.clock)
        self.breaker = Breaker(self.clock)

    def _unlock(self) -> None:
        self._probing = threading.Lock()

    def _folder(self) -> str:
        """Give this store's folder: two servers may well have buckets of one name."""
        settings = self.settings
        where = f"{settings.endpoint_url}|{settings.bucket}|{settings.root}"
        shown = re.sub(r"[^A-Za-z0-9._-]", "-", settings.bucket or LOCAL_ONLY)
        return str(settings.cache_dir / f"{shown}-{xxhash.xxh3_64_hexdigest(where.encode())}")

    @property
    def local_only(self) -> bool:
        """Whether there is no bucket behind the local tiers."""
        return self._objects is None

    @property
    def objects(self) -> Bucket:
        """The object store.

        Raises
        ------
        StoreUnavailableError
            The store is local only.
        """
        if self._objects is None:
            raise StoreUnavailableError(
                "this store is the local cache alone, which has memoized results and no keys",
                way_out="Set S3_BUCKET (and S3_ENDPOINT_URL), or start a server on this machine "
                "with `s3kv local start`.",
            )
        if self.mode == "offline":
            raise StoreUnavailableError(
                "the store is in mode 'offline', and its bucket is not asked",
                way_out="Leave s3kv.mode(...), or unset S3KV_MODE.",
            )
        return self._objects

    @property
    def mode(self) -> Mode:
        """What the store may do here and now."""
        return asked_mode.get() or self._mode

    @property
    def writes(self) -> Writes:
        """All writes go through it.

        Raises
        ------
        StoreUnavailableError
            The store is local only, or offline.
        AccessDeniedError
            Its mode is ``"read_only"``.
        """
        if self.mode == "read_only":
            raise AccessDeniedError(
                "the store is in mode 'read_only', and nothing was written",
                way_out="Leave s3kv.mode(...), or unset S3KV_MODE.",
            )
        return self._made_writes()

    def _made_writes(self) -> Writes:
        objects = self.objects
        if self._writes is None:
            self._writes = Writes(objects, self.layout, self.pack, self.capabilities, self.clock)
        return self._writes

    @property
    def index(self) -> TagIndex:
        """Where keys are looked up by their tags, in any mode."""
        return self._made_writes().index

    @property
    def retention(self) -> Retention:
        """Where locks are looked at, in any mode."""
        return self._made_writes().retention

    def reachable(self) -> bool:
        """Whether the bucket may be asked: not offline, and it has answered of late."""
        return self.mode != "offline" and self.breaker.allows()

    def leases(self, name: str, level: str | bool) -> Leases:
        """Give the leases on computing an object: of this machine, and of all workers."""
        wanted: list[Callable[[], Lease | None]] = []
        if level in ("host", "cluster"):
            wanted.append(lambda: self._host_lease(name))
        if level == "cluster" and not self.local_only:
            wanted.append(lambda: self._cluster_lease(name))
        return Leases(wanted)

    def _host_lease(self, name: str) -> Lease | None:
        settings = self.settings
        if settings.local_cache == "off" or settings.secrets:  # nothing of theirs on disk
            return None
        folder = Path(self._folder() + ".leases")
        try:
            make_private(folder)
        except (OSError, UnsafeFolderError) as error:
            logger.debug("no leases in %s: %s", folder, error)
            return None
        return HostLease(folder, xxhash.xxh3_128_hexdigest(name.encode()), settings.lease_seconds)

    def _cluster_lease(self, name: str) -> ClusterLease | None:
        if not self.reachable() or self.mode == "read_only":
            return None
        can = self.capabilities()
        if not (can.create_only and can.compare_and_swap):
            if not self._said_no_cluster:
                self._said_no_cluster = True
                logger.warning(
                    "the server cannot create or swap conditionally, so that workers on other "
                    "machines may compute the same call (see `s3kv doctor`)"
                )
            return None
        seconds = self.settings.lease_seconds
        return ClusterLease(self.objects, self.layout.lease(name), seconds, self.clock)

    def lease_is_held(self, name: str) -> bool:
        """Whether somebody computes an object just now, on this machine or another."""
        host = self._host_lease(name)
        if host is not None:
            if not host.acquire():
                return True
            host.release()
        cluster = None if self.local_only else self._cluster_lease(name)
        return cluster is not None and cluster.is_held()

    def listed(self, prefix: str) -> Iterator[tuple[str, ObjectMeta]]:
        """Give keys with what the listing tells of them, lazily; results for ``cache/`` only."""
        key_of = self.layout.entry_key_of if prefix.startswith("cache/") else self.layout.key_of
        for found in self.objects.list(self.layout.documents(prefix)):
            key = key_of(found.name)
            if key is not None and key.startswith(prefix):  # `.json` is no part of a key
                yield key, found

    def delete_many(
        self,
        objects: Iterable[tuple[str, Precondition]],
        progress: Callable[[Deleted], object] | None = None,
    ) -> Deleted:
        """Delete objects everywhere, each if it is what is expected; locked ones stay, and are named."""
        rest, done = iter(objects), Deleted(0)
        while some := list(islice(rest, DELETE_SLICE)):
            for deleted in self.writes.delete_many(some):
                done += deleted
                if progress is not None:
                    progress(done)
            for name, _ in some:
                self.chain.drop(name)
        return done

    def capabilities(self) -> Capabilities:
        """Tell what the bucket's server can do; asked once a bucket and process."""
        where = (self.settings.endpoint_url or "", self.settings.bucket or "")
        with self._probing:
            if where not in _capabilities:
                _capabilities[where] = probe(self.objects, self.layout)
            return _capabilities[where]

    # Between tiers and values: every blob that enters a local tier comes through here.

    def local_blob(self, packed: Packed, *, etag: ETag | None) -> Blob:
        """Give the blob that local tiers hold of an entry that was just packed."""
        blob = self.pack.local(packed, etag=etag, now=self.clock.now())
        if blob.size_bytes <= _JOIN_BYTES:
            blob.parts = [b"".join(blob.parts)]
        return blob

    def admit(self, key: str, meta: ObjectMeta, opened: Opened) -> Blob:
        """Give the blob that local tiers hold of an entry that came from S3 and was verified."""
        if self.chain.local:
            blob = self.local_blob(self.pack.repacked(opened), etag=meta.etag)
        else:  # nobody will hold it, so it need not be made
            blob = Blob([opened.payload], meta.etag, self.clock.now())
        blob.opened, blob.stored_bytes = opened, meta.size_bytes
        return blob

    def close(self) -> None:
        """Let go of connections and files; everything is opened again when it is needed."""
        self.chain.close()
        if self._objects is not None:
            self._objects.close()


#: Small enough to be joined, so that the memory tier holds one piece.
_JOIN_BYTES: Final = 1024 * 1024
