"""`S3KV`: its settings, its life, and the functions it caches."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, ParamSpec, TypeVar, overload

from s3kv_flow._backend import Backend
from s3kv_flow._config import Settings
from s3kv_flow._decorator import (
    CachedCoroutineFunction,
    CachedDecorator,
    CachedFunction,
    decorate,
)
from s3kv_flow._kv.keys import Keys
from s3kv_flow._kv.local import LocalCopies
from s3kv_flow._kv.locks import LockedKeys
from s3kv_flow._kv.tags import TaggedKeys
from s3kv_flow._policy import Policy
from s3kv_flow.envelope.keyring import KeyProvider
from s3kv_flow.errors import ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Coroutine

    import boto3
    from typing_extensions import Self, Unpack

    from s3kv_flow._clock import Clock
    from s3kv_flow._config import LocalCache
    from s3kv_flow._mode import Mode
    from s3kv_flow._policy import PolicyOptions
    from s3kv_flow.stores.probe import Capabilities
    from s3kv_flow.stores.protocols import Bucket

P = ParamSpec("P")
R = TypeVar("R")


class S3KV(Keys, TaggedKeys, LockedKeys, LocalCopies):
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
        How entries lie in the local cache: in the clear, sealed (which needs a keyring), or not at all.
    keyring : Keyring (or another KeyProvider), str or Path, optional
        Seals all entries, and lets values be stored that need pickle.
    allow_unsigned_pickle : bool, optional
        Store and load pickles without a keyring: everybody who can write to the bucket can then
        run code wherever it is read.
    secrets : bool, optional
        Keep secrets: everything is sealed, names included, nothing lies on disk, and values come
        as a :class:`Secret`. Needs a keyring, and https beyond this machine. Tags stay readable.
    mode : str, optional
        What the store may do; see :func:`s3kv_flow.mode`.
    lease_seconds : int, optional
        A worker that computes for others and gives no sign for so long is taken for dead; 30.

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
        keyring: KeyProvider | str | os.PathLike[str] | None = None,
        allow_unsigned_pickle: bool | None = None,
        secrets: bool | None = None,
        mode: Mode | None = None,
        lease_seconds: int | None = None,
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
            "secrets": secrets,
            "mode": mode,
            "lease_seconds": lease_seconds,
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
    def _over(cls, objects: Bucket, clock: Clock | None = None, **given: Any) -> Self:
        """Give a store over another object store than a bucket of S3."""
        self = cls.__new__(cls)
        self._given = {"bucket": "memory", **given}
        self._backend = Backend(Settings.resolve(self._given), objects=objects, clock=clock)
        return self

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
