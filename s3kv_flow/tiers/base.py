"""What a local tier is."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Protocol

from s3kv_flow._model import Blob, Cleared


class Tier(Protocol):
    """Holds blobs by object name. May forget any of them at any time; never raises for its own sake."""

    @property
    def name(self) -> str: ...
    @property
    def shares(self) -> bool:
        """Whether it gives the same blob object again, so that no value may alias it."""

    def get(self, name: str) -> Blob | None:
        """Give what is held under the name."""

    def put(self, name: str, blob: Blob) -> None:
        """Hold it, if there is room."""

    def confirm(self, name: str, blob: Blob) -> None:
        """Note that S3 has confirmed the blob again, at ``blob.checked``."""

    def drop(self, name: str) -> None:
        """Forget it."""

    def names(self, prefix: str = "") -> Iterator[str]:
        """Give the names that are held, of those that begin with ``prefix``."""

    def clear(self, prefix: str = "", *, stored_before: float | None = None) -> Cleared:
        """Forget all that begins with ``prefix`` (and was stored before a Unix time)."""

    def close(self) -> None:
        """Let go of files and connections."""
