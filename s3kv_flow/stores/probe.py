"""What a bucket's server can do, found out by deliberately stale conditions on a scratch object.

Servers that ignore a condition answer 200 as if it had held (Ceph before Reef on versioned
buckets, for one), so only the effect tells. The answer is data: features ask it, in one way.
"""

from __future__ import annotations

import os
from dataclasses import dataclass

from s3kv_flow._layout import Layout
from s3kv_flow._model import ABSENT, ANY, ETag, Precondition
from s3kv_flow.errors import StoreUnavailableError
from s3kv_flow.stores.protocols import ObjectStore, PreconditionFailedError


@dataclass(frozen=True, slots=True)
class Capabilities:
    """What conditional writes are worth on one bucket.

    Attributes
    ----------
    create_only : bool
        ``If-None-Match: *`` is kept: a create never replaces.
    compare_and_swap : bool
        ``If-Match`` is kept: a stale write is refused and a current one succeeds.
    """

    create_only: bool
    compare_and_swap: bool


def probe(store: ObjectStore, layout: Layout) -> Capabilities:
    """Find out what ``store`` can do; six small requests, nothing left behind."""
    name = layout.scratch(os.urandom(8).hex())
    etag = store.put(name, [b"one"], expect=ANY)
    try:
        create_only = _refused(store, name, ABSENT)
        stale_refused = _refused(store, name, ETag("0" * 32))
        found = store.head(name)
        current = found.etag if found is not None else etag
        return Capabilities(create_only, stale_refused and not _refused(store, name, current))
    finally:
        store.delete([name])


def _refused(store: ObjectStore, name: str, expect: Precondition) -> bool:
    """Whether the condition was kept, not ignored; a server that knows no conditions keeps none."""
    try:
        store.put(name, [os.urandom(8)], expect=expect)
    except PreconditionFailedError:
        return True
    except StoreUnavailableError as error:
        if "NotImplemented" not in str(error):
            raise
    return False
