"""The tag index: S3 cannot be asked which objects have a tag, so each tag has a marker object.

Writers only ever *add* markers, before the data, each with a new random body. Readers verify
what a marker says against the object's own tags. A collector removes old markers that say what
is no longer so, and only if they are still the ones it judged. So a tag that an object has is
always marked, whoever crashes after whatever request: `tests/models/test_tagindex.py` goes
through all orders of them. Writers that removed markers would lose that.

The collector judges no marker younger than `COLLECT_AFTER`, and no writer sends data later than
`ANNOUNCED_FOR` after its markers: it marks again. A request that was sent and is still under way
does not break this, for S3 refuses one signed more than 15 minutes ago
(https://docs.aws.amazon.com/AmazonS3/latest/API/ErrorResponses.html, RequestTimeTooSkewed).
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final, Protocol, TypeVar

from s3kv_flow._clock import Clock
from s3kv_flow._layout import Layout
from s3kv_flow._model import ObjectMeta, StoredObject
from s3kv_flow._parallel import in_parallel
from s3kv_flow.stores.protocols import (
    DeleteIf,
    Get,
    Head,
    List,
    PreconditionFailedError,
    Put,
    Tagging,
)

F = TypeVar("F")

#: How long the data may be written after its markers.
ANNOUNCED_FOR: Final = timedelta(hours=1)
#: How old a marker must be for the collector.
COLLECT_AFTER: Final = timedelta(days=1)
_NONCE_BYTES: Final = 16


class Indexed(Get, Head, Put, DeleteIf, List, Tagging, Protocol):
    """The verbs that the index needs."""


@dataclass(frozen=True, slots=True)
class Mark:
    """What a marker says: the object has the tag."""

    name: str
    tag: str
    value: str


class TagIndex:
    """The markers of one store.

    Parameters
    ----------
    store : Indexed
        Where they lie, beside the objects they speak of.
    layout : Layout
        Their names.
    clock : Clock
        Says how long ago a writer announced.
    """

    def __init__(self, store: Indexed, layout: Layout, clock: Clock) -> None:
        self._store = store
        self._layout = layout
        self._clock = clock

    def announce(self, name: str, tags: Mapping[str, str]) -> None:
        """Mark an object with the tags that the very next request gives it."""
        marks = [Mark(name, tag, value) for tag, value in tags.items()]
        while marks:
            began = self._clock.monotonic()
            if len(marks) == 1:
                self._mark(marks[0])
            else:
                for _ in in_parallel(self._mark, marks, workers=len(marks)):
                    pass
            if self._clock.monotonic() - began < ANNOUNCED_FOR.total_seconds():
                return  # else this process slept meanwhile, and the markers may be gone

    def _mark(self, mark: Mark) -> None:
        text = json.dumps({"name": mark.name, "tag": mark.tag, "value": mark.value})
        # A new body each time, and so a new ETag: a collector that judged the old one loses.
        body = os.urandom(_NONCE_BYTES) + text.encode()
        self._store.put(self._layout.marker(mark.name, mark.tag, mark.value), [body])

    def find(self, tag: str, value: str) -> Iterator[str]:
        """Give the names of all objects that have the tag now; costs a request a marker."""

        def verified(marker: ObjectMeta) -> str | None:
            mark = self._read(marker)
            return mark.name if mark is not None and self._says(mark, tag, value) else None

        return self._verified(verified, tag, value)

    def find_to_delete(self, tag: str, value: str) -> Iterator[ObjectMeta]:
        """Give all objects that have the tag, each as it was when it had it, for a conditional delete.

        An object that is written anew in between, perhaps without the tag, must not be deleted.
        """

        def verified(marker: ObjectMeta) -> ObjectMeta | None:
            mark = self._read(marker)
            meta = None if mark is None else self._store.head(mark.name)  # before its tags
            if mark is None or meta is None or not self._says(mark, tag, value):
                return None
            return meta

        return self._verified(verified, tag, value)

    def _verified(
        self, verified: Callable[[ObjectMeta], F | None], tag: str, value: str
    ) -> Iterator[F]:
        for found in in_parallel(verified, self._store.list(self._layout.markers(tag, value))):
            if found is not None:
                yield found

    def _says(self, mark: Mark, tag: str, value: str) -> bool:
        # Of two tags with one digest, this may be the other.
        return (mark.tag, mark.value) == (tag, value) and self._is_so(mark)

    def _read(self, marker: ObjectMeta) -> Mark | None:
        """Give what a marker says; None if it is gone, or does not speak of a key of this store."""
        said = self._layout.marked(marker.name)
        mark = self._read_whole(marker) if said is None else Mark(*said)
        return mark if mark is not None and self._layout.key(mark.name) is not None else None

    def _read_whole(self, marker: ObjectMeta) -> Mark | None:
        """Read a marker whose name is too long to say it."""
        found = self._store.get(marker.name)
        if not isinstance(found, StoredObject):
            return None
        try:
            text = json.loads(bytes(found.body[_NONCE_BYTES:]))
            mark = Mark(text["name"], text["tag"], text["value"])
        except (ValueError, KeyError, TypeError):
            return None
        # Whoever can write a marker must not make it speak of another store's objects.
        same = marker.name == self._layout.marker(mark.name, mark.tag, mark.value)
        return mark if same else None

    def _is_so(self, mark: Mark) -> bool:
        found = self._store.tags(mark.name)
        return found is not None and found.tags.get(mark.tag) == mark.value

    def collect(self, now: datetime, *, dry_run: bool = False) -> Iterator[bool]:
        """Remove old markers that say what is not so; tell of each old marker whether it went.

        Parameters
        ----------
        now : datetime
            The server's time.
        dry_run : bool
            Only tell.
        """

        def judged(marker: ObjectMeta) -> bool:
            mark = self._read(marker)
            if mark is not None and self._is_so(mark):
                return False
            try:
                if not dry_run:
                    self._store.delete_if(marker.name, marker.etag)
            except PreconditionFailedError:
                return False  # marked anew meanwhile
            return True

        markers = self._store.list(self._layout.all_markers())
        return in_parallel(judged, (one for one in markers if now - one.modified > COLLECT_AFTER))

    def repair(self, names: Iterable[str]) -> Iterator[int]:
        """Mark the tags that objects have; give the number of tags of each.

        For objects that other tools wrote. What is marked is marked anew, for a collector may be
        about to remove the marker.
        """

        def mark(name: str) -> int:
            found = self._store.tags(name)
            tags = {} if found is None else found.tags
            self.announce(name, tags)
            return len(tags)

        return in_parallel(mark, names)
