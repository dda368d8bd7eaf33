"""The local cache of a store, as its users clear it."""

from __future__ import annotations

from s3kv_flow._backend import Backend
from s3kv_flow._model import Cleared
from s3kv_flow.errors import ConfigurationError


class LocalCopies:
    """What lies in memory and on disk; S3 is untouched."""

    _backend: Backend

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
        return self._backend.chain.clear_one(self._backend.layout.object(key))
