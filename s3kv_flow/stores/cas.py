"""Compare-and-swap that knows whether it won, even when the answer was lost."""

from __future__ import annotations

import os
import random
from collections.abc import Callable, Mapping
from typing import Any, Final, Protocol

from s3kv_flow._model import Body, ETag, Lock, Precondition, Tags
from s3kv_flow.errors import StoreUnavailableError
from s3kv_flow.stores.failures import PASSING
from s3kv_flow.stores.protocols import Head, PreconditionFailedError, Put

#: User metadata that tells our write from another's; no underscore, which some servers rewrite.
WRITE_ID: Final = "s3kv-write"
#: How often a write is sent again that met another one, or a server that has a bad moment.
RETRIES: Final = 4
FIRST_DELAY_SECONDS: Final = 0.05
#: No write is sent again that has been tried for so long.
BUDGET_SECONDS: Final = 10


class _HeadAndPut(Head, Put, Protocol):
    pass


def cas_put(
    store: _HeadAndPut,
    name: str,
    body: Body,
    *,
    expect: Precondition,
    tags: Tags | None = None,
    metadata: Mapping[str, str] | None = None,
    lock: Lock | None = None,
) -> ETag | None:
    """Write ``name`` only if it holds what ``expect`` says; None if another write came first.

    A write whose answer was lost is looked up by its write id, so that it is never taken for
    somebody else's. With `ANY` the same holds, and nobody can come first. ``lock`` needs a store
    that can write locked versions.

    Raises
    ------
    StoreUnavailableError
        The store gave no answer, and the write is not there.
    """
    write_id = os.urandom(16).hex()
    ours = {**(metadata or {}), WRITE_ID: write_id}
    locked: dict[str, Any] = {"lock": lock} if lock else {}

    def attempt() -> ETag | None:
        try:
            return store.put(name, body, expect=expect, metadata=ours, tags=tags, **locked)
        except PreconditionFailedError:
            return _won(store, name, write_id)
        except StoreUnavailableError as error:
            won = _won_after(error, store, name, write_id)
            if won is None:
                raise
            return won

    try:
        return attempt()
    except StoreUnavailableError as error:
        if not _passes(error):
            raise
    # Safe to send again: if the first one lands late, it is ours by its write id.
    return _again(attempt)


def _passes(error: BaseException) -> bool:
    return isinstance(error, StoreUnavailableError) and error.reason in PASSING


def _again(attempt: Callable[[], ETag | None]) -> ETag | None:
    """Send a write again while what fails may pass, within a budget, spread by chance."""
    import tenacity  # brings asyncio along, and most writes succeed

    spread = tenacity.wait_random_exponential(multiplier=FIRST_DELAY_SECONDS)
    budget = tenacity.stop_after_attempt(RETRIES) | tenacity.stop_after_delay(BUDGET_SECONDS)
    retrying = tenacity.Retrying(
        wait=spread, stop=budget, retry=tenacity.retry_if_exception(_passes), reraise=True
    )
    retrying.sleep(random.random() * FIRST_DELAY_SECONDS)  # noqa: S311 - spreads, guards nothing
    return retrying(attempt)


def _won(store: Head, name: str, write_id: str) -> ETag | None:
    found = store.head(name)
    if found is not None and found.metadata.get(WRITE_ID) == write_id:
        return found.etag
    return None


def _won_after(error: Exception, store: Head, name: str, write_id: str) -> ETag | None:
    try:
        return _won(store, name, write_id)
    except StoreUnavailableError:
        raise error from None  # the first failure tells more than that of the look-up
