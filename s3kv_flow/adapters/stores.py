"""Which store, and whose key: what the adapters have in common."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Final

from s3kv_flow._backend import Backend
from s3kv_flow._kv import S3KV
from s3kv_flow._runtime import default_store

#: The key of a memoized result.
ENTRY_KEY: Final = re.compile(r"cache/(?P<name>.+)/(?P<h2>[0-9a-f]{2})/(?P=h2)[0-9a-f]+\Z")


def backend_of(store: S3KV | None) -> Callable[[], Backend]:
    """Give the blocks of a store, or of the default one, whichever that is at each call."""
    if store is None:
        return lambda: default_store()._backend
    return lambda: store._backend
