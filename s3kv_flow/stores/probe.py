"""What a bucket's server can do, found out by deliberately stale conditions on a scratch object.

Servers that ignore a condition answer 200 as if it had held (Ceph before Reef on versioned
buckets, for one), so only the effect tells. The answer is data: features ask it, in one way.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, Protocol

from s3kv_flow._layout import Layout
from s3kv_flow._model import ABSENT, ANY, ETag
from s3kv_flow.errors import StoreUnavailableError
from s3kv_flow.stores.protocols import Delete, DeleteIf, Head, PreconditionFailedError, Put

#: The ETag of nothing that was ever written.
_STALE: Final = ETag("0" * 32)


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
    etag = store.put(name, [b"one"], expect=ANY)
    try:
        create_only = _refused(lambda: store.put(name, [b"two"], expect=ABSENT))
        stale_refused = _refused(lambda: store.put(name, [b"three"], expect=_STALE))
        found = store.head(name)
        current = found.etag if found is not None else etag
        swap_refused = _refused(lambda: store.put(name, [b"four"], expect=current))
        delete_refused = _refused(lambda: store.delete_if(name, _STALE))
        kept = delete_refused and store.head(name) is not None
        return Capabilities(create_only, stale_refused and not swap_refused, kept)
    finally:
        store.delete([name])


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
