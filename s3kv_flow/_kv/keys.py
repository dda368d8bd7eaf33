"""Keys and their values: each method a few lines over the blocks below."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, MutableMapping
from datetime import datetime, timezone
from typing import Any

from s3kv_flow._backend import Backend
from s3kv_flow._model import ABSENT, ANY, Blob, Body, ObjectMeta, Opened, StoredObject
from s3kv_flow._pack import Packed
from s3kv_flow._secret import Secret, revealed
from s3kv_flow._tags import check_tags
from s3kv_flow._writes import padding
from s3kv_flow.codecs.plain import dump_exact
from s3kv_flow.envelope.header import is_entry
from s3kv_flow.errors import KeyLockedError, KeyNotFoundError, MergeError, SealError
from s3kv_flow.tiers.chain import UnreadableError

_MISSING: Any = object()


class Keys(MutableMapping[str, Any]):
    """A mapping of keys to values."""

    _backend: Backend

    # One key

    def add(self, key: str, value: Any, tags: Mapping[str, Any] | None = None) -> None:
        """Store a value, in place of what is there.

        Parameters
        ----------
        key : str
            Its key; slashes make folders.
        value : object
            Anything. What JSON can say exactly is stored as plain JSON text, which any tool can
            read; other values as an entry.
        tags : mapping, optional
            At most 10 S3 object tags, written together with the value. Without them the tags of
            what was there are gone.

        Raises
        ------
        InvalidKeyError, InvalidTagError
            S3 would refuse or alter it.
        UnsafeCodecError
            The value needs pickle, and there is no keyring.
        KeyLockedError
            Retention holds; nothing was changed. A legal hold lets the value through, and holds
            the new version too.
        ConflictError
            On a bucket with Object Lock, other writers came first for too long.
        StoreUnavailableError, AccessDeniedError
            It could not be stored.

        Examples
        --------
        >>> from s3kv_flow.testing import memory_store
        >>> kv = memory_store()
        >>> kv.add("report", {"rows": 3}, tags={"team": "ml"})
        >>> kv.find_keys_by_tag_value("team", "ml")
        ['report']
        """
        name = self._backend.layout.document(key)
        checked = check_tags(tags, key=key)
        body, packed = self._body(key, revealed(value))
        etag = self._backend.writes.put(key, name, body, expect=ANY, tags=checked)
        if self._backend.chain.local:
            self._backend.chain.fill(name, self._backend.local_blob(packed, etag=etag))

    def _body(self, key: str, value: Any) -> tuple[Body, Packed]:
        """Give an object's body, and the value as the local tiers shall hold it."""
        pack = self._backend.pack
        text = None if pack.secret else dump_exact(value)
        if text is not None:
            packed = pack.pack(key, value, {}, "json")
            return [text], packed
        now = self._backend.clock.now()
        packed = pack.pack(key, value, {"created": round(now, 3)})
        return pack.seal(packed), packed

    def get(self, key: str, default: Any = None) -> Any:
        """Give the value that is in S3 now, or ``default`` where S3 says there is none.

        With the local cache, an unchanged value is not sent again: S3 is asked whether it changed.

        Raises
        ------
        SealError
            What is there is not what was stored.
        StoreUnavailableError, AccessDeniedError
            S3 did not say.

        Examples
        --------
        >>> from s3kv_flow.testing import memory_store
        >>> memory_store().get("absent", default=0)
        0
        """
        value = self._read(key)
        return default if value is _MISSING else value

    def _read(self, key: str) -> Any:
        backend = self._backend
        name = backend.layout.object(key)

        verify = backend.pack.open_local

        def admit(meta: ObjectMeta, body: memoryview) -> Blob:
            opened = backend.pack.open_object(key, body)
            return backend.admit(key, meta, _bound(backend, key, opened))

        try:
            found = None
            if backend.mode == "offline":
                found = backend.chain.look(name, key, verify, unchecked_seconds=math.inf)
            if found is None:
                _ = backend.objects  # raises if the store is local only, or offline
                found = backend.chain.get(name, key, verify, admit, unchecked_seconds=0.0)
        except UnreadableError as error:
            error.cause.key = key
            raise error.cause from error
        if found is None:
            return _MISSING
        assert found.blob.opened is not None
        value = self._value(key, found.blob.opened)
        return Secret(value) if backend.pack.secret else value

    def _value(self, key: str, opened: Opened) -> Any:
        try:
            return self._backend.pack.value(opened)
        except SealError as error:
            error.key = key
            raise

    def delete(self, key: str) -> None:
        """Delete a key; one that is absent is no error.

        Raises
        ------
        KeyLockedError
            Retention or a legal hold holds; nothing was changed.
        StoreUnavailableError, AccessDeniedError
            It could not be deleted.
        """
        name = self._backend.layout.object(key)
        self._backend.writes.delete(key, name)
        self._backend.chain.drop(name)

    def exists(self, key: str) -> bool:
        """Whether the key is there; False only where S3 says that it is absent.

        Raises
        ------
        StoreUnavailableError, AccessDeniedError
            S3 did not say.
        """
        return self._backend.objects.head(self._backend.layout.object(key)) is not None

    key_exists = exists

    def get_key_size(self, key: str) -> int:
        """Give the bytes of a key's value, as stored.

        Raises
        ------
        KeyNotFoundError
            There is no such key.
        """
        meta = self._head(key)
        return meta.size_bytes - padding(meta.metadata)

    def get_key_last_updated_time(self, key: str) -> datetime:
        """Give when a key was last written (UTC), to the second.

        Raises
        ------
        KeyNotFoundError
            There is no such key.
        """
        return self._head(key).modified.astimezone(timezone.utc)

    def _head(self, key: str) -> ObjectMeta:
        meta = self._backend.objects.head(self._backend.layout.object(key))
        if meta is None:
            raise not_found(key)
        return meta

    # Several keys

    def copy_key(self, source: str, destination: str) -> None:
        """Store the value of one key under another, in place of what is there.

        The value alone: tags and locks stay where they are.

        Raises
        ------
        KeyNotFoundError
            The source is absent.
        KeyLockedError
            Retention holds on the destination.

        Examples
        --------
        >>> from s3kv_flow.testing import memory_store
        >>> kv = memory_store()
        >>> kv["a"] = 1
        >>> kv.copy_key("a", "b")
        >>> kv["b"]
        1
        """
        backend = self._backend
        source_name, name = backend.layout.object(source), backend.layout.document(destination)
        found = backend.objects.get(source_name)
        if not isinstance(found, StoredObject):
            raise not_found(source)
        if source_name == name:
            return
        text = found.body[: found.body.nbytes - padding(found.meta.metadata)]
        body: Body = [text]
        if is_entry(found.body):
            body = backend.pack.moved(source, destination, found.body)
        backend.writes.put(destination, name, body)
        backend.chain.drop(name)

    def merge_keys(self, sources: Iterable[str] | str, destination: str) -> None:
        """Merge dicts, left to right, into the dict that the destination has, or into a new one.

        One compare-and-swap: merges at the same time lose nothing. The destination keeps its
        tags.

        Raises
        ------
        KeyNotFoundError
            A source is absent; the destination is untouched.
        MergeError
            A value is no dict; the destination is untouched.
        KeyLockedError
            Retention holds on the destination.
        ConflictError
            Other writers came first for too long.

        Examples
        --------
        >>> from s3kv_flow.testing import memory_store
        >>> kv = memory_store()
        >>> kv.update({"a": {"x": 1}, "b": {"y": 2}, "all": {"x": 0, "z": 3}})
        >>> kv.merge_keys(["a", "b"], "all")
        >>> kv["all"]
        {'x': 1, 'z': 3, 'y': 2}
        """
        backend = self._backend
        name = backend.layout.document(destination)
        merged: dict[Any, Any] = {}
        for source in [sources] if isinstance(sources, str) else sources:
            merged.update(_mapping(source, revealed(self[source])))
        packed: Packed | None = None

        def change(found: StoredObject | None) -> Body:
            nonlocal packed
            value = (
                {} if found is None else self._value(destination, self._open(destination, found))
            )
            body, packed = self._body(destination, {**_mapping(destination, value), **merged})
            return body

        etag, _ = backend.writes.update(destination, name, change)
        if packed is not None and backend.chain.local:
            backend.chain.fill(name, backend.local_blob(packed, etag=etag))

    def _open(self, key: str, found: StoredObject) -> Opened:
        return self._backend.pack.open_object(key, found.body)

    def iter_keys(self, prefix: str = "") -> Iterator[str]:
        """Give all keys that begin with ``prefix``, lazily, and in no promised order.

        Memoized results are given for a prefix that says so: ``cache/``, or one below it.

        Examples
        --------
        >>> from s3kv_flow.testing import memory_store
        >>> kv = memory_store()
        >>> kv.update({"test_a": 1, "test_b": 2, "other": 3})
        >>> list(kv.iter_keys("test"))
        ['test_a', 'test_b']
        """
        return (key for key, _ in self._backend.listed(prefix))

    def list_keys(self) -> list[str]:
        """Give all keys, sorted."""
        return sorted(self.iter_keys())

    def list_keys_with_prefix(self, prefix: str) -> list[str]:
        """Give all keys that begin with ``prefix``, sorted.

        Parameters
        ----------
        prefix : str
            With the store's root (``s3kv/test``) or without it (``test``).
        """
        return sorted(self.iter_keys(self._backend.layout.without_root(prefix)))

    # The mapping

    def __getitem__(self, key: str) -> Any:
        value = self._read(key)
        if value is _MISSING:
            raise not_found(key)
        return value

    def __setitem__(self, key: str, value: Any) -> None:
        self.add(key, value)

    def __delitem__(self, key: str) -> None:
        if not self.exists(key):
            raise not_found(key)
        self.delete(key)

    def setdefault(self, key: str, default: Any = None) -> Any:
        """Give a key's value; where it has none, store ``default`` and give that.

        Of several callers at once one stores, and all give what it stored.
        """
        name = self._backend.layout.document(key)
        while True:
            value = self._read(key)
            if value is not _MISSING:
                return value
            body, _ = self._body(key, revealed(default))
            if self._backend.writes.put(key, name, body, expect=ABSENT) is not None:
                secret = self._backend.pack.secret and not isinstance(default, Secret)
                return Secret(default) if secret else default

    def __contains__(self, key: object) -> bool:
        return isinstance(key, str) and self.exists(key)

    def __iter__(self) -> Iterator[str]:
        return self.iter_keys()

    def __len__(self) -> int:
        return sum(1 for _ in self.iter_keys())

    def __bool__(self) -> bool:
        return next(self.iter_keys(), None) is not None

    def clear(self) -> None:
        """Delete all keys but locked ones; memoized results stay.

        Raises
        ------
        KeyLockedError
            Some are locked; all others are gone.
        """
        backend = self._backend
        listed = ((meta.name, ANY) for _, meta in backend.listed(""))
        locked = backend.delete_many(listed).locked
        if locked:
            raise KeyLockedError(
                f"{len(locked)} locked keys were kept, the others deleted", key=locked[0]
            )

    __hash__ = object.__hash__

    def __eq__(self, other: object) -> bool:
        return self is other


def _bound(backend: Backend, key: str, opened: Opened) -> Opened:
    """Give a plain document the header that its local copy needs."""
    if "bind" not in opened.header:
        opened.header["bind"] = backend.pack.bind(key)
    return opened


def _mapping(key: str, value: Any) -> dict[Any, Any]:
    if not isinstance(value, dict):
        raise MergeError(
            f"only dicts can be merged, and this is a {type(value).__name__}; nothing was changed",
            key=key,
        )
    return value


def not_found(key: str) -> KeyNotFoundError:
    """Give the error for a key that is absent."""
    return KeyNotFoundError("the key is not in the store", key=key)
