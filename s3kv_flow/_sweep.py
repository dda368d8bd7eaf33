"""Maintenance over all entries of a store: read them, and seal them anew.

One idempotent step an entry: what was interrupted is simply begun again.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from s3kv_flow._backend import Backend
from s3kv_flow._model import StoredObject
from s3kv_flow._parallel import in_parallel
from s3kv_flow.envelope import header as envelope
from s3kv_flow.errors import ConfigurationError, KeyLockedError, SealError

#: Each holds an entry whole, so fewer than for requests without bodies.
READERS = 4

Progress = Callable[[int], object]


@dataclass(frozen=True, slots=True)
class Problem:
    """An entry that was left as it is, and why."""

    key: str
    why: str


@dataclass(frozen=True, slots=True)
class Swept:
    """What a sweep did.

    Attributes
    ----------
    looked_at : int
        How many entries there were; plain documents are none.
    changed : int
        How many were written anew.
    problems : tuple of Problem
        Those that could not be read, or are locked.
    """

    looked_at: int
    changed: int
    problems: tuple[Problem, ...] = ()


def verify(backend: Backend, *, sample: float = 1.0, progress: Progress | None = None) -> Swept:
    """Open entries, or a random part of them, as a reader would.

    Parameters
    ----------
    backend : Backend
        The store.
    sample : float
        The part to look at, above 0 and up to 1.
    progress : callable, optional
        Told how many were looked at.

    Raises
    ------
    ConfigurationError
        The sample has no meaning.
    """
    if not 0 < sample <= 1:
        raise ConfigurationError(
            f"sample={sample!r} has no meaning", way_out="Give a number above 0 and up to 1."
        )

    def look(key: str, found: StoredObject) -> bool:
        opened = backend.pack.open(key, found.body)
        backend.pack.value(opened)
        return False

    return _sweep(backend, look, lambda: random.random() < sample, progress)  # noqa: S311


def reseal(backend: Backend, *, progress: Progress | None = None) -> Swept:
    """Seal all entries with the keyring's first key that are sealed with another of its keys.

    An entry that is not sealed is left alone: nobody vouches for it, and sealing it would.

    Raises
    ------
    ConfigurationError
        There is no keyring.
    """
    keyring = backend.settings.keyring
    if keyring is None:
        raise ConfigurationError(
            "there is no keyring to seal with", way_out="Set S3KV_KEYRING_FILE."
        )
    current, _ = keyring.sealing

    def seal(key: str, found: StoredObject) -> bool:
        opened = backend.pack.open(key, found.body)
        if opened.header["seal"]["key"] == current:
            return False
        name = found.meta.name
        tagged = backend.objects.tags(name, version=found.meta.version)
        body = backend.pack.seal(backend.pack.repacked(opened))
        tags = None if tagged is None else tagged.tags
        # Another writer may come first, and has then sealed with a key of its own.
        return backend.writes.put(key, name, body, expect=found.meta.etag, tags=tags) is not None

    return _sweep(backend, seal, lambda: True, progress)


def _sweep(
    backend: Backend,
    step: Callable[[str, StoredObject], bool],
    chosen: Callable[[], bool],
    progress: Progress | None,
) -> Swept:
    def one(name: str) -> Swept:
        key = backend.layout.key(name)
        start = backend.objects.get_start(name, len(envelope.MAGIC))
        if key is None or start is None or not envelope.is_entry(start.body):
            return Swept(0, 0)
        found = backend.objects.get(name)
        if not isinstance(found, StoredObject):
            return Swept(0, 0)  # deleted meanwhile
        try:
            return Swept(1, int(step(key, found)))
        except (SealError, KeyLockedError) as error:
            return Swept(1, 0, (Problem(key, error.what),))

    looked_at, changed = 0, 0
    problems: list[Problem] = []
    for swept in in_parallel(one, _names(backend, chosen), workers=READERS):
        looked_at += swept.looked_at
        changed += swept.changed
        problems.extend(swept.problems)
        if progress is not None:
            progress(looked_at)
    return Swept(looked_at, changed, tuple(problems))


def _names(backend: Backend, chosen: Callable[[], bool]) -> Iterator[str]:
    for found in backend.objects.list(backend.layout.root + "/"):
        if backend.layout.key(found.name) is not None and chosen():
            yield found.name
