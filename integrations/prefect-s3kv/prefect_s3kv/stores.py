"""The stores of this process: one for each set of settings, shared by all blocks that name it.

Prefect makes a new block for every task run that names its storage by a string; a store has
connections and a local cache, which are worth keeping.
"""

from __future__ import annotations

import threading
from typing import Any

import s3kv_flow as s3kv

_stores: dict[tuple[tuple[str, Any], ...], s3kv.S3KV] = {}
_lock = threading.Lock()


def store_of(settings: dict[str, Any]) -> s3kv.S3KV:
    """Give the store of some settings; the default store where there are none."""
    given = {name: value for name, value in settings.items() if value is not None}
    if not given:
        return s3kv.default_store()
    which = tuple(sorted(given.items()))
    with _lock:
        if which not in _stores:
            _stores[which] = s3kv.S3KV(**given)
        return _stores[which]
