"""Why a call hits or misses: what differs from the entry most like it, whoever wrote that."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timezone
from typing import Any, Final

from s3kv_flow._cache import Call, FunctionCache
from s3kv_flow._model import Buffer, Entry
from s3kv_flow._parallel import in_parallel
from s3kv_flow.envelope import header as envelope
from s3kv_flow.envelope.local import is_local, open_local
from s3kv_flow.errors import SealError
from s3kv_flow.keys import parts as key_parts

#: The entries that are compared: the newest of those that a listing gives first.
LISTED: Final = 10_000
COMPARED: Final = 100
#: So many differences are printed.
SHOWN: Final = 40
#: Preamble and header of any entry.
HEAD_BYTES: Final = envelope.PREAMBLE.size + envelope.MAX_HEADER_BYTES

_KINDS: Final = {"added": "is new", "removed": "is gone", "changed": "differs"}


@dataclass(frozen=True, slots=True)
class Difference:
    """One part of the key that is not as in another entry.

    Attributes
    ----------
    part : str
        Which, such as ``argument cfg['top']`` or ``code of steps:clean``.
    how : {"changed", "added", "removed"}
        As seen from this call.
    """

    part: str
    how: str

    def __str__(self) -> str:
        return f"{self.part} {_KINDS[self.how]}"


@dataclass(frozen=True, slots=True)
class Explanation:
    """Why a call hits or misses; print it.

    Attributes
    ----------
    key : str
        The call's key.
    hit : bool
        Whether the call would be served from the cache.
    why : str
        In one sentence.
    entry : Entry or None
        The entry of this key, valid or expired.
    nearest : Entry or None
        For a miss: the entry of the same function that is most like this call.
    differences : tuple of Difference
        What keeps that one from being this call's: the deepest parts that differ.
    """

    key: str
    hit: bool
    why: str
    entry: Entry | None = None
    nearest: Entry | None = None
    differences: tuple[Difference, ...] = ()

    def __str__(self) -> str:
        lines = [f"{'hit' if self.hit else 'miss'}: {self.why}", f"  key      {self.key}"]
        if self.entry is not None:
            lines.append(f"  entry    {_described(self.entry)}")
        if self.nearest is not None:
            lines += [f"  nearest  {self.nearest.key}", f"           {_described(self.nearest)}"]
            lines += [f"    - {difference}" for difference in self.differences[:SHOWN]]
            if len(self.differences) > SHOWN:
                lines.append(f"    - and {len(self.differences) - SHOWN} more")
        return "\n".join(lines)

    __repr__ = __str__


def _described(entry: Entry) -> str:
    made = entry.created.astimezone().strftime("%Y-%m-%d %H:%M:%S")
    by = entry.producer
    where = f" on {by['host']}" if by.get("host") else ""
    python = f" with {by['python']}" if by.get("python") else ""
    return f"stored {made}{where}{python}"


@dataclass(frozen=True, slots=True)
class _Stored:
    entry: Entry
    parts: key_parts.Parts | None


def explain(cache: FunctionCache, call: Call) -> Explanation:
    """Say why a call hits or misses.

    Raises
    ------
    StoreUnavailableError, AccessDeniedError
        The store could not be asked.
    """
    valid = cache.peek(call)
    if valid is not None:
        return Explanation(call.key, True, "a valid result is stored", valid)
    own = _stored(cache, call.object_name)
    if own is not None:
        limit = cache.policy.age_limit
        if limit is not None and own.entry.age_seconds >= limit.total_seconds():
            why = f"it was stored {_shown(own.entry.age_seconds)} ago, and max_age is {limit}"
        else:
            why = "what is stored cannot be read or is not trusted here"
        return Explanation(call.key, False, why, own.entry)
    found = _newest(cache)
    if not found:
        return Explanation(call.key, False, f"nothing of {cache.name} is stored yet")
    ours = cache.parts(call)

    def unlikeness(one: _Stored) -> tuple[float, int]:
        if one.parts is None:
            return float("inf"), 0
        theirs = one.parts
        same = sum(theirs.get(name) == digest for name, digest in ours.items())
        return len(compare(ours, theirs)), -same

    nearest = min(found, key=unlikeness)  # of equals, the newest: they come newest first
    differences = () if nearest.parts is None else compare(ours, nearest.parts)
    why = "nothing is stored for this call"
    if nearest.parts is None:
        why += "; the nearest entry has no record of what its key is made of"
    elif not differences:
        why += "; the nearest entry differs in something that has no part of its own in its record"
    return Explanation(call.key, False, why, None, nearest.entry, differences)


def compare(ours: key_parts.Parts, theirs: key_parts.Parts) -> tuple[Difference, ...]:
    """Give the deepest parts that differ: of ``cfg`` and ``cfg['a']`` only the latter.

    Examples
    --------
    >>> [str(one) for one in compare({"argument x": "1", "code": "2"}, {"argument x": "3"})]
    ['argument x differs', 'code is new']
    """
    differing = {}
    for name in {**ours, **theirs}:
        if ours.get(name) != theirs.get(name):
            how = "changed" if name in ours and name in theirs else "added"
            differing[name] = how if name in ours else "removed"
    by_another_scheme = [name for name in ("scheme", "hash") if name in differing]
    if by_another_scheme:  # then everything has another digest
        return tuple(Difference(name, differing[name]) for name in by_another_scheme)
    if any(_has_cut_code(parts) for parts in (ours, theirs)):
        differing = {
            name: how
            for name, how in differing.items()
            if how == "changed" or name.startswith("argument ")
        }
    above = {
        name[:place]
        for name in differing
        for place, character in enumerate(name)
        if character in "[."
    }
    return tuple(Difference(name, how) for name, how in differing.items() if name not in above)


def _has_cut_code(parts: key_parts.Parts) -> bool:
    code = [name for name in parts if not name.startswith("argument ")]
    return len(code) >= key_parts.CODE_LIMIT


# Entries, by their headers alone


def entries(cache: FunctionCache) -> Iterator[Entry]:
    """Give all entries of a function, lazily, newest or not; reads the head of each.

    Raises
    ------
    StoreUnavailableError, AccessDeniedError
        The store could not be asked.
    """
    names = _names(cache)
    for stored in in_parallel(lambda name: _stored(cache, name), names):
        if stored is not None:
            yield stored.entry


def _names(cache: FunctionCache) -> Iterator[str]:
    backend = cache.backend
    prefix = backend.layout.entries(cache.name)
    if backend.local_only:
        held = {name: None for tier in backend.chain.local for name in tier.names(prefix)}
        return iter(held)
    return (found.name for found in backend.objects.list(prefix))


def _newest(cache: FunctionCache) -> list[_Stored]:
    backend = cache.backend
    if backend.local_only:
        names = list(_names(cache))[:LISTED]
    else:
        listing = backend.objects.list(backend.layout.entries(cache.name))
        metas = [meta for meta, _ in zip(listing, range(LISTED))]
        metas.sort(key=lambda meta: meta.modified, reverse=True)
        names = [meta.name for meta in metas[:COMPARED]]
    found = in_parallel(lambda name: _stored(cache, name), names)
    return sorted(
        (one for one in found if one is not None),
        key=lambda one: one.entry.created,
        reverse=True,
    )


def _stored(cache: FunctionCache, name: str) -> _Stored | None:
    """Read the head of an entry. It tells of the entry and is not verified: nothing is decoded."""
    backend = cache.backend
    if backend.local_only:
        blobs = [blob for tier in backend.chain.local if (blob := tier.get(name)) is not None]
        if not blobs:
            return None
        head, size = next(iter(blobs[-1].parts)), blobs[-1].size_bytes
    else:
        found = backend.objects.get_start(name, HEAD_BYTES)
        if found is None:
            return None
        head, size = found.body, found.meta.size_bytes
    try:
        header = _header(head)
        return _Stored(_entry(cache, name, header, size), key_parts.load(header.get("parts")))
    except (SealError, ValueError, TypeError, KeyError, OverflowError, OSError):
        return None


def _header(data: Buffer) -> dict[str, Any]:
    if is_local(data):
        return open_local(data, known=True)[1].header
    _, start, _ = envelope.split(memoryview(data))
    return envelope.load(start)


def _entry(cache: FunctionCache, name: str, header: dict[str, Any], size: int) -> Entry:
    created = float(header.get("created", 0.0))
    return Entry(
        key=cache.backend.layout.entry_key_of(name) or name,
        name=cache.name,
        created=datetime.fromtimestamp(created, timezone.utc),
        age_seconds=cache.backend.clock.now() - created,
        size_bytes=size,
        codec=str(header["codec"]),
        tags=dict(header.get("tags", {})),
        compute_seconds=float(header.get("compute", 0.0)),
        producer=dict(header.get("producer", {})),
    )


def _shown(seconds: float) -> str:
    for unit, length in (("days", 86400), ("hours", 3600), ("minutes", 60)):
        if seconds >= 2 * length:
            return f"{seconds / length:.0f} {unit}"
    return f"{seconds:.0f} seconds"
