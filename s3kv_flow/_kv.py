"""`S3KV`: mutable keys on S3, each method a few lines over the blocks below."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping, MutableMapping
from typing import TYPE_CHECKING, Any, ParamSpec, TypeVar, overload

from s3kv_flow._backend import Backend
from s3kv_flow._config import Settings
from s3kv_flow._decorator import (
    CachedCoroutineFunction,
    CachedDecorator,
    CachedFunction,
    decorate,
)
from s3kv_flow._model import ANY, Blob, Cleared, ObjectMeta, Opened
from s3kv_flow._pack import Packed
from s3kv_flow._policy import Policy
from s3kv_flow._tags import check_tags
from s3kv_flow.codecs.plain import dump_exact
from s3kv_flow.envelope.keyring import Keyring
from s3kv_flow.errors import ConfigurationError, KeyNotFoundError, SealError
from s3kv_flow.stores.cas import cas_put
from s3kv_flow.tiers.chain import UnreadableError

if TYPE_CHECKING:
    from collections.abc import Coroutine

    import boto3
    from typing_extensions import Self, Unpack

    from s3kv_flow._clock import Clock
    from s3kv_flow._config import LocalCache
    from s3kv_flow._policy import PolicyOptions
    from s3kv_flow.stores.probe import Capabilities
    from s3kv_flow.stores.protocols import ObjectStore

P = ParamSpec("P")
R = TypeVar("R")

_MISSING: Any = object()


class S3KV(MutableMapping[str, Any]):
    """A key-value store on one S3 bucket, and the store behind its cached functions.

    What is not given comes from the environment: ``S3_ENDPOINT_URL``, ``S3_BUCKET``, then
    ``S3KV_<NAME>`` for each keyword, and the ordinary AWS chain for credentials. Making one does
    no I/O. It is a mapping of its keys, a context manager, and pickles.

    Parameters
    ----------
    endpoint_url : str, optional
        The server's URL; AWS when neither it nor the environment names one.
    bucket : str, optional
        The bucket.
    access_key_id, secret_access_key : str, optional
        Both or neither. Given here they travel in pickles; found in the chain they do not.
    enable_local_cache : bool
        False keeps nothing in memory and on disk.
    region : str, optional
        The region to sign for.
    root : str, optional
        The prefix of all objects of this store; ``s3kv``.
    session : boto3.Session, optional
        Where credentials come from, in place of the default chain.
    cache_dir : str or Path, optional
        The folder of the local cache; the user's cache folder by default.
    cache_size_limit : int, optional
        Bytes the local cache may take; 10 GiB by default.
    local_cache : {"opened", "sealed", "off"}, optional
        How entries lie in the local cache: in the clear, sealed, or not at all.
    keyring : Keyring, str or Path, optional
        Seals all entries, and lets values be stored that need pickle.
    allow_unsigned_pickle : bool, optional
        Store and load pickles without a keyring: everybody who can write to the bucket can then
        run code wherever it is read.

    Raises
    ------
    ConfigurationError
        No bucket is named anywhere, or a setting has no meaning.

    Examples
    --------
    >>> from s3kv_flow.testing import memory_store
    >>> kv = memory_store()
    >>> kv.add("config/prod", {"workers": 8})
    >>> kv.get("config/prod")
    {'workers': 8}
    >>> "config/dev" in kv
    False
    """

    def __init__(
        self,
        endpoint_url: str | None = None,
        bucket: str | None = None,
        access_key_id: str | None = None,
        secret_access_key: str | None = None,
        enable_local_cache: bool = True,
        *,
        region: str | None = None,
        root: str | None = None,
        session: boto3.Session | None = None,
        cache_dir: str | os.PathLike[str] | None = None,
        cache_size_limit: int | None = None,
        local_cache: LocalCache | None = None,
        keyring: Keyring | str | os.PathLike[str] | None = None,
        allow_unsigned_pickle: bool | None = None,
    ) -> None:
        given = {
            "endpoint_url": endpoint_url,
            "bucket": bucket,
            "access_key_id": access_key_id,
            "secret_access_key": secret_access_key,
            "enable_local_cache": enable_local_cache,
            "region": region,
            "root": root,
            "session": session,
            "cache_dir": cache_dir,
            "cache_size_limit": cache_size_limit,
            "local_cache": local_cache,
            "keyring": keyring,
            "allow_unsigned_pickle": allow_unsigned_pickle,
        }
        self._given = {name: value for name, value in given.items() if value is not None}
        self._backend = Backend(Settings.resolve(self._given))

    @classmethod
    def from_env(cls) -> Self:
        """Give the store that the environment names.

        Raises
        ------
        ConfigurationError
            It names no bucket.
        """
        return cls()

    @classmethod
    def _local_only(cls) -> Self:
        """Give the store of a first try: the local cache alone."""
        self = cls.__new__(cls)
        self._given = {}
        self._backend = Backend(Settings.resolve({}, local_only=True))
        return self

    @classmethod
    def _over(cls, objects: ObjectStore, clock: Clock | None = None, **given: Any) -> Self:
        """Give a store over another object store than a bucket of S3."""
        self = cls.__new__(cls)
        self._given = {"bucket": "memory", **given}
        self._backend = Backend(Settings.resolve(self._given), objects=objects, clock=clock)
        return self

    # Keys

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
        StoreUnavailableError, AccessDeniedError
            It could not be stored.

        Examples
        --------
        >>> from s3kv_flow.testing import memory_store
        >>> memory_store().add("report", {"rows": 3}, tags={"team": "ml"})
        """
        name = self._backend.layout.document(key)
        checked = check_tags(tags, key=key)
        body, packed = self._body(key, value)
        etag = cas_put(self._backend.objects, name, body, expect=ANY, tags=checked)
        if self._backend.chain.local:
            self._backend.chain.fill(name, self._backend.local_blob(packed, etag=etag))

    def _body(self, key: str, value: Any) -> tuple[list[Any], Packed]:
        """Give an object's body, and the value as the local tiers shall hold it."""
        pack = self._backend.pack
        text = dump_exact(value)
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
        name = backend.layout.document(key)
        _ = backend.objects  # a store that is local only has no keys

        def verify(blob: Blob) -> None:
            backend.verify(key, blob)

        def admit(meta: ObjectMeta, body: memoryview) -> Blob:
            opened = backend.pack.open_object(key, body)
            return backend.admit(key, meta, _bound(backend, key, opened))

        try:
            found = backend.chain.get(name, verify, admit, unchecked_seconds=0.0)
        except UnreadableError as error:
            error.cause.key = key
            raise error.cause from error
        if found is None:
            return _MISSING
        assert found.blob.opened is not None
        try:
            return backend.pack.value(found.blob.opened)
        except SealError as error:
            error.key = key
            raise

    def delete(self, key: str) -> None:
        """Delete a key; one that is absent is no error.

        Raises
        ------
        StoreUnavailableError, AccessDeniedError
            It could not be deleted.
        """
        name = self._backend.layout.document(key)
        self._backend.objects.delete([name])
        self._backend.chain.drop(name)

    def exists(self, key: str) -> bool:
        """Whether the key is there; False only where S3 says that it is absent.

        Raises
        ------
        StoreUnavailableError, AccessDeniedError
            S3 did not say.
        """
        return self._backend.objects.head(self._backend.layout.document(key)) is not None

    key_exists = exists

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
        layout = self._backend.layout
        key_of = layout.entry_key_of if prefix.startswith("cache/") else layout.key_of
        for found in self._backend.objects.list(layout.documents(prefix)):
            key = key_of(found.name)
            if key is not None:
                yield key

    def list_keys(self) -> list[str]:
        """Give all keys, sorted."""
        return sorted(self.iter_keys())

    # The local cache

    def clear_cache(self) -> Cleared:
        """Clear the local cache of this store; S3 is untouched."""
        return self._backend.chain.clear()

    def clear_old_cache(self, max_days: float = 7) -> Cleared:
        """Clear what was put into the local cache more than ``max_days`` days ago.

        Raises
        ------
        ConfigurationError
            Negative days.
        """
        if max_days < 0:
            raise ConfigurationError(f"max_days={max_days!r} is negative")
        return self._backend.chain.clear(stored_before=self._backend.clock.now() - max_days * 86400)

    def clear_cache_for_key(self, key: str) -> Cleared:
        """Clear one key from the local cache."""
        name = self._backend.layout.document(key)
        return self._backend.chain.clear_one(name)

    # Memoization

    @overload
    def cached(  # type: ignore[overload-overlap]
        self, func: Callable[P, Coroutine[Any, Any, R]], /
    ) -> CachedCoroutineFunction[P, R]: ...
    @overload
    def cached(self, func: Callable[P, R], /) -> CachedFunction[P, R]: ...
    @overload
    def cached(
        self,
        func: None = None,
        /,
        *,
        policy: Policy | None = None,
        **options: Unpack[PolicyOptions],
    ) -> CachedDecorator: ...
    def cached(self, func: Any = None, /, *, policy: Policy | None = None, **options: Any) -> Any:
        """Store a function's results here; see :func:`s3kv_flow.cached` for the options.

        Examples
        --------
        >>> from s3kv_flow.testing import memory_store
        >>> kv = memory_store()
        >>> @kv.cached(tags={"team": "ml"})
        ... def square(x):
        ...     return x * x
        >>> square(3), square(3)
        (9, 9)
        >>> square.cache_info().hit_count
        1
        """
        chosen = (policy or Policy()).replace(**options)
        if func is None:
            return lambda function: decorate(function, chosen, lambda: self._backend)
        return decorate(func, chosen, lambda: self._backend)

    cache = cached

    @property
    def location(self) -> str:
        """Where the store is; with :meth:`cache` it may be a scikit-learn pipeline's ``memory``."""
        settings = self._backend.settings
        return (
            f"s3://{settings.bucket}/{settings.root}"
            if settings.bucket
            else str(settings.cache_dir)
        )

    @property
    def capabilities(self) -> Capabilities:
        """What conditional writes are worth on this bucket; asked once."""
        return self._backend.capabilities()

    # The mapping

    def __getitem__(self, key: str) -> Any:
        value = self._read(key)
        if value is _MISSING:
            raise _not_found(key)
        return value

    def __setitem__(self, key: str, value: Any) -> None:
        self.add(key, value)

    def __delitem__(self, key: str) -> None:
        if not self.exists(key):
            raise _not_found(key)
        self.delete(key)

    def __contains__(self, key: object) -> bool:
        return isinstance(key, str) and self.exists(key)

    def __iter__(self) -> Iterator[str]:
        return self.iter_keys()

    def __len__(self) -> int:
        return sum(1 for _ in self.iter_keys())

    def __bool__(self) -> bool:
        return next(self.iter_keys(), None) is not None

    def clear(self) -> None:
        """Delete all keys; memoized results stay."""
        layout = self._backend.layout
        names = [layout.document(key) for key in self.iter_keys()]
        self._backend.objects.delete(names)
        for name in names:
            self._backend.chain.drop(name)

    __hash__ = object.__hash__

    def __eq__(self, other: object) -> bool:
        return self is other

    # Its life

    def close(self) -> None:
        """Let go of connections and files; they are opened again when needed."""
        self._backend.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    def __repr__(self) -> str:
        endpoint = self._backend.settings.endpoint_url
        return f"S3KV({self.location!r}{f', endpoint_url={endpoint!r}' if endpoint else ''})"

    def __reduce__(self) -> tuple[Callable[[dict[str, Any]], S3KV], tuple[dict[str, Any]]]:
        if "session" in self._given:
            raise ConfigurationError(
                "a store with a boto3 session of its own does not pickle",
                way_out="Name the profile in AWS_PROFILE, or give keys, instead of session=.",
            )
        if self._backend.settings.bucket is not None and not _is_s3(self._backend):
            raise ConfigurationError("an in-memory store does not pickle: it is of one process")
        return _restore, (dict(self._given) if self._backend.settings.bucket else {"": True},)


def _restore(given: dict[str, Any]) -> S3KV:
    return S3KV._local_only() if "" in given else S3KV(**given)


def _is_s3(backend: Backend) -> bool:
    from s3kv_flow.stores.s3 import S3Store

    return isinstance(backend.objects, S3Store)


def _bound(backend: Backend, key: str, opened: Opened) -> Opened:
    """Give a plain document the header that its local copy needs."""
    if "bind" not in opened.header:
        opened.header["bind"] = backend.pack.bind(key)
    return opened


def _not_found(key: str) -> KeyNotFoundError:
    return KeyNotFoundError("the key is not in the store", key=key)
