"""What a bucket's server can do, found out by deliberately stale conditions on a scratch object.

Servers that ignore a condition answer 200 as if it had held (Ceph before Reef on versioned
buckets, for one), so only the effect tells. The answer is data: features ask it, in one way.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Final, Protocol

from s3kv_flow._layout import Layout
from s3kv_flow._model import ABSENT, ANY, ETag
from s3kv_flow.errors import StoreUnavailableError
from s3kv_flow.stores.protocols import Delete, DeleteIf, Head, PreconditionFailedError, Put

#: The ETag of nothing that was ever written.
_STALE: Final = ETag("0" * 32)

#: So often a write is refused before the server is taken to be unable.
SWAPS: Final = 3


class Probed(Put, Head, Delete, DeleteIf, Protocol):
    """The verbs that are put to the test."""


@dataclass(frozen=True, slots=True)
class Capabilities:
    """What conditional writes are worth on one bucket.

    Attributes
    ----------
    create_only : bool
        ``If-None-Match: *`` is kept: a create never replaces.
    compare_and_swap : bool
        ``If-Match`` is kept: a stale write is refused and a current one succeeds.
    conditional_delete : bool
        A delete is refused when another write came first.
    """

    create_only: bool
    compare_and_swap: bool
    conditional_delete: bool


def probe(store: Probed, layout: Layout) -> Capabilities:
    """Find out what ``store`` can do; eight small requests, nothing left behind."""
    name = layout.scratch(os.urandom(8).hex())
    store.put(name, [b"one"], expect=ANY)
    try:
        create_only = _refused(lambda: store.put(name, [b"two"], expect=ABSENT))
        swaps = _refused(lambda: store.put(name, [b"three"], expect=_STALE)) and _swaps(store, name)
        delete_refused = _refused(lambda: store.delete_if(name, _STALE))
        kept = delete_refused and store.head(name) is not None
        return Capabilities(create_only, swaps, kept)
    finally:
        store.delete([name])


def _swaps(store: Probed, name: str) -> bool:
    """Whether a write goes through that expects what is there.

    Where it cannot, it is refused each time; a single 412 may be that of a proxy, or of a write
    whose first answer was lost on the way.
    """
    for _ in range(SWAPS):
        found = store.head(name)
        if found is not None and not _refused(
            partial(store.put, name, [b"four"], expect=found.etag)
        ):
            return True
    return False


def _refused(attempt: Callable[[], object]) -> bool:
    """Whether the condition was kept, not ignored; a server that knows no conditions keeps none."""
    try:
        attempt()
    except PreconditionFailedError:
        return True
    except StoreUnavailableError as error:
        if "NotImplemented" not in str(error):
            raise
    return False
