"""Keys found, deleted and changed by their tags."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

from s3kv_flow._backend import Backend
from s3kv_flow._kv.keys import not_found
from s3kv_flow._model import Deleted
from s3kv_flow._parallel import in_parallel
from s3kv_flow._tags import check_tags
from s3kv_flow.errors import ConfigurationError, KeyNotFoundError

#: Told how many are done so far; for progress bars.
Progress = Callable[[int], object]


class TaggedKeys:
    """S3 object tags of keys and of memoized results, and the index over them."""

    _backend: Backend

    def tag_key(self, key: str, tags: Mapping[str, Any], replace: bool = False) -> None:
        """Add to a key's tags; S3 takes 10 in all.

        Of two callers at the same time the later one wins: S3 cannot compare and swap tags.

        Parameters
        ----------
        key : str
            A key, or that of a memoized result.
        tags : mapping
            Texts or numbers by their names.
        replace : bool
            Put them in the place of the tags that the key has.

        Raises
        ------
        KeyNotFoundError
            There is no such key.
        InvalidTagError
            S3 would refuse them.

        Examples
        --------
        >>> from s3kv_flow.testing import memory_store
        >>> kv = memory_store()
        >>> kv["a"] = 1
        >>> kv.tag_key("a", {"team": "ml"})
        >>> kv.tag_key("a", {"stage": "test"})
        >>> kv.get_tags("a")
        {'stage': 'test', 'team': 'ml'}
        """
        backend = self._backend
        checked = check_tags(tags, key=key)
        try:
            backend.writes.tag(key, backend.layout.object(key), checked, replace=replace)
        except KeyNotFoundError:
            named = backend.layout.key(key)  # older code gives the full object name
            if named is None:
                raise
            backend.writes.tag(named, key, checked, replace=replace)

    def get_tags(self, key: str) -> dict[str, str]:
        """Give a key's tags, sorted by their names: S3 keeps no order.

        Parameters
        ----------
        key : str
            A key, that of a memoized result, or the full object name (``s3kv/test_c.json``).

        Raises
        ------
        KeyNotFoundError
            There is no such key.
        """
        layout, objects = self._backend.layout, self._backend.objects
        found = objects.tags(layout.object(key))
        if found is None and layout.key(key) is not None:
            found = objects.tags(key)
        if found is None:
            raise not_found(key)
        return dict(sorted(found.tags.items()))

    def tag_keys_with_prefix(
        self, prefix: str, tags: Mapping[str, Any], *, progress: Progress | None = None
    ) -> int:
        """Add to the tags of all keys that begin with ``prefix``, and give how many there were.

        Parameters
        ----------
        prefix : str
            With the store's root (``s3kv/test``) or without it (``test``).
        tags : mapping
            What to add.
        progress : callable, optional
            Told after each key how many are done.

        Raises
        ------
        InvalidTagError
            S3 would refuse them; those of other keys may have been changed.
        """
        backend = self._backend
        checked = check_tags(tags)
        prefix = backend.layout.without_root(prefix)

        def tag(name: str) -> int:
            try:
                backend.writes.tag(backend.layout.key(name) or name, name, checked)
            except KeyNotFoundError:
                return 0  # deleted meanwhile
            return 1

        return _counted(
            in_parallel(tag, (meta.name for _, meta in backend.listed(prefix))), progress
        )

    def find_keys_by_tag_value(self, tag: str, value: Any) -> list[str]:
        """Give all keys that have a tag with a value, memoized results included, sorted.

        The cost grows with the matches. Objects that other tools tagged are found after
        :meth:`repair_tag_index`.

        Raises
        ------
        InvalidTagError
            No object can have such a tag.

        Examples
        --------
        >>> from s3kv_flow.testing import memory_store
        >>> kv = memory_store()
        >>> kv.add("a", 1, tags={"day": 1})
        >>> kv.add("b", 2, tags={"day": 2})
        >>> kv.find_keys_by_tag_value("day", 2)
        ['b']
        """
        return sorted(self.iter_keys_by_tag_value(tag, value))

    def iter_keys_by_tag_value(self, tag: str, value: Any) -> Iterator[str]:
        """Give what :meth:`find_keys_by_tag_value` gives, lazily and in no promised order."""
        for name in self._backend.index.find(*self._checked(tag, value)):
            key = self._backend.layout.key(name)
            if key is not None:
                yield key

    def _checked(self, tag: str, value: Any) -> tuple[str, str]:
        ((name, text),) = check_tags({tag: value}).items()
        return name, text

    def delete_by_tag(self, tag: str, value: Any, *, progress: Progress | None = None) -> Deleted:
        """Delete all keys that have a tag with a value, memoized results included.

        In batches and in parallel; when it was interrupted, a second call does the rest. A key
        that is written anew meanwhile stays, where the server keeps the conditions of deletes.

        Returns
        -------
        Deleted
            How many went, and the keys that a lock kept.

        Examples
        --------
        >>> from s3kv_flow.testing import memory_store
        >>> kv = memory_store()
        >>> kv.add("a", 1, tags={"day": 1})
        >>> kv.delete_by_tag("day", 1)
        Deleted(count=1, locked=())
        """
        told = None if progress is None else lambda done: progress(done.count + len(done.locked))
        found = self._backend.writes.index.find_to_delete(*self._checked(tag, value))
        return self._backend.delete_many(((meta.name, meta.etag) for meta in found), told)

    # The index itself

    def repair_tag_index(self, prefix: str = "", *, progress: Progress | None = None) -> int:
        """Index the tags of objects that other tools tagged, and give how many tags there are.

        Costs a request a key, memoized results included.
        """
        index = self._backend.writes.index
        total = 0

        def add(number: int) -> int:
            nonlocal total
            total += number
            return 1

        _counted(map(add, index.repair(self._all_names(prefix))), progress)
        return total

    def collect_tag_index(self, *, dry_run: bool = False, progress: Progress | None = None) -> int:
        """Remove markers, older than a day, of tags that objects no longer have.

        Returns
        -------
        int
            How many went, or would go.

        Raises
        ------
        ConfigurationError
            The server ignores the conditions of a delete, so that it would not be safe. Markers
            cost storage only: every find verifies them.
        """
        backend = self._backend
        if not dry_run and not backend.capabilities().conditional_delete:
            raise ConfigurationError(
                "the server ignores the conditions of deletes, so a marker that is being written "
                "could be removed; nothing was",
                way_out="Leave the markers: they cost storage and no correctness.",
            )
        went = backend.writes.index.collect(backend.objects.server_time(), dry_run=dry_run)
        total = 0

        def add(gone: bool) -> int:
            nonlocal total
            total += gone
            return 1

        _counted(map(add, went), progress)
        return total

    def _all_names(self, prefix: str) -> Iterator[str]:
        layout = self._backend.layout
        prefix = layout.without_root(prefix)
        for found in self._backend.objects.list(layout.documents(prefix)):
            key = layout.key(found.name)
            if key is not None and key.startswith(prefix):
                yield found.name


def _counted(done: Iterable[int], progress: Progress | None) -> int:
    total = 0
    for number in done:
        total += number
        if progress is not None:
            progress(total)
    return total
