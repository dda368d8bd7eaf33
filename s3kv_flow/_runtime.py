"""The default store of this process, and the `cached` that uses it."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, ParamSpec, TypeVar, overload

from s3kv_flow._backend import Backend
from s3kv_flow._config import has_bucket
from s3kv_flow._decorator import (
    CachedCoroutineFunction,
    CachedDecorator,
    CachedFunction,
    decorate,
)
from s3kv_flow._kv import S3KV
from s3kv_flow._policy import Policy
from s3kv_flow._process import reset_after_fork

if TYPE_CHECKING:
    from collections.abc import Coroutine

    from typing_extensions import Unpack

    from s3kv_flow._policy import PolicyOptions

P = ParamSpec("P")
R = TypeVar("R")

logger = logging.getLogger("s3kv_flow")


class _Default:
    def __init__(self) -> None:
        self.store: S3KV | None = None
        self._unlock()
        reset_after_fork(self._unlock)

    def _unlock(self) -> None:
        self._lock = threading.Lock()

    def get(self) -> S3KV:
        store = self.store
        if store is None:
            with self._lock:
                # A store is a mapping: whether it is true is a question to its bucket.
                if self.store is None:
                    self.store = _from_environment()
                store = self.store
        return store


_default = _Default()


def _from_environment() -> S3KV:
    if has_bucket():
        return S3KV.from_env()
    logger.info(
        "no bucket is configured: results are cached on this machine only "
        "(set S3_BUCKET, or call s3kv_flow.configure)"
    )
    return S3KV._local_only()


def configure(store: S3KV | None = None, /, **settings: Any) -> S3KV:
    """Choose the default store of this process.

    Parameters
    ----------
    store : S3KV, optional
        The store itself.
    **settings
        Or what :class:`S3KV` is made from.

    Returns
    -------
    S3KV
        The store that ``s3kv_flow.cached`` uses from now on.

    Raises
    ------
    TypeError
        Both a store and settings.

    Examples
    --------
    >>> import s3kv_flow as s3kv
    >>> from s3kv_flow.testing import memory_store
    >>> store = s3kv.configure(memory_store())
    >>> s3kv.default_store() is store
    True
    """
    if store is not None and settings:
        raise TypeError("configure() takes a store or settings, not both")
    _default.store = store if store is not None else S3KV(**settings)
    return _default.store


def default_store() -> S3KV:
    """Give the store behind the module-level `cached`: as configured, else as the environment says.

    With no bucket in the environment it is the local cache alone.
    """
    return _default.get()


def _default_backend() -> Backend:
    store = _default.store
    return (store if store is not None else _default.get())._backend


@overload
def cached(  # type: ignore[overload-overlap]
    func: Callable[P, Coroutine[Any, Any, R]], /
) -> CachedCoroutineFunction[P, R]: ...
@overload
def cached(func: Callable[P, R], /) -> CachedFunction[P, R]: ...
@overload
def cached(
    func: None = None, /, *, policy: Policy | None = None, **options: Unpack[PolicyOptions]
) -> CachedDecorator: ...
def cached(func: Any = None, /, *, policy: Policy | None = None, **options: Any) -> Any:
    """Store a function's results under a key made from its arguments and its code.

    The store is the default one, looked up at the first call.

    Parameters
    ----------
    func : callable
        A function, coroutine function, method, static or class method.
    policy : Policy, optional
        Options to begin with.
    **options
        The fields of :class:`Policy`, which override it: ``tags``, ``max_age_days``, ``max_age``,
        ``name``, ``version``, ``ignore``, ``key``, ``code``,
        ``depends_on``, ``key_hash``, ``codec``, ``cache_if``, ``single_flight``,
        ``stale_while_revalidate``, ``stale_if_error``, ``retention_days``, ``legal_hold``,
        ``revalidate_after``, ``on_error``.

    Returns
    -------
    CachedFunction
        A plain function of the same signature, with ``key``, ``contains``, ``peek``, ``get``,
        ``put``, ``refresh``, ``invalidate``, ``cache_clear``, ``cache_info``, ``entries``, ``explain``
        and ``__wrapped__``.

    Raises
    ------
    TypeError
        A generator function, or an option that does not exist.
    ConfigurationError
        An option that has no meaning here.

    Examples
    --------
    >>> import s3kv_flow as s3kv
    >>> from s3kv_flow.testing import memory_store
    >>> _ = s3kv.configure(memory_store())
    >>> @s3kv.cached(max_age_days=30)
    ... def add(a, b=1):
    ...     return a + b
    >>> add(2), add(a=2, b=1)
    (3, 3)
    >>> dict(add.cache_info().hits)
    {'memory': 1}
    """
    chosen = (policy or Policy()).replace(**options)
    if func is None:
        return lambda function: decorate(function, chosen, _default_backend)
    return decorate(func, chosen, _default_backend)
