"""The values that travel between the layers."""

from __future__ import annotations

import mmap
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import Enum
from typing import Any, Final, Generic, Literal, NewType, TypeVar, Union

from s3kv_flow._json import loads
from s3kv_flow.errors import SealError

V = TypeVar("V")

#: An entity tag as S3 gives it, without the quotes (some servers refuse it quoted).
ETag = NewType("ETag", str)

#: Anything with the buffer protocol that the standard library has a name for on Python 3.10.
Buffer = Union[bytes, bytearray, memoryview, mmap.mmap]

#: A body in pieces, so that a header and a gigabyte need not be joined. It can be gone through
#: again, and may make its pieces as it goes.
Body = Collection[Buffer]

Tags = Mapping[str, str]


#: Who may end a retention: those with a right of their own, or nobody.
Mode = Literal["GOVERNANCE", "COMPLIANCE"]


class Expect(Enum):
    """A precondition of a write that is not an ETag."""

    ANY = "any"
    ABSENT = "absent"


#: Write whatever is there.
ANY: Final = Expect.ANY
#: Write only where nothing is.
ABSENT: Final = Expect.ABSENT

Precondition = Union[ETag, Expect]

#: The year 10,000, which no clock of ours can tell (Unix seconds).
END_OF_TIME: Final = 253_402_300_800

#: In place of a value that was not decoded yet; None is a value.
UNDECODED: Final[Any] = object()


class NotModified(Enum):
    """The answer to a conditional read whose ETag still holds."""

    NOT_MODIFIED = "not modified"


NOT_MODIFIED: Final = NotModified.NOT_MODIFIED


# Made for each name of a listing and for each hit from S3; a frozen one takes three times as long.
@dataclass(slots=True)
class ObjectMeta:
    """What a listing or a HEAD tells of an object."""

    name: str
    size_bytes: int
    etag: ETag
    modified: datetime
    metadata: Mapping[str, str] = field(default_factory=dict)
    version: str | None = None
    """The bucket keeps versions, and this is the one; None where it keeps none, or did not say."""


@dataclass(slots=True)
class StoredObject:
    """An object with its body."""

    meta: ObjectMeta
    body: memoryview


@dataclass(frozen=True, slots=True)
class Tagged:
    """The tags of one object, and which version of it has them."""

    tags: Mapping[str, str]
    version: str | None = None


@dataclass(frozen=True, slots=True)
class Lock:
    """What protects a key.

    Attributes
    ----------
    mode : {"GOVERNANCE", "COMPLIANCE"} or None
        The mode of its retention; None where there is none.
    retain_until : datetime or None
        When the retention ends (UTC).
    legal_hold : bool
        Whether it is held.

    Examples
    --------
    >>> bool(Lock()), bool(Lock(legal_hold=True))
    (False, True)
    """

    mode: Mode | None = None
    retain_until: datetime | None = None
    legal_hold: bool = False

    def __bool__(self) -> bool:
        return self.mode is not None or self.legal_hold

    def __or__(self, other: Lock) -> Lock:
        """Give a lock that protects from all that either does."""
        modes = {self.mode, other.mode} - {None}
        ends = [end for end in (self.retain_until, other.retain_until) if end is not None]
        return Lock(
            min(modes, default=None, key=str),  # COMPLIANCE before GOVERNANCE
            max(ends, default=None),
            self.legal_hold or other.legal_hold,
        )


@dataclass(frozen=True, slots=True)
class Protection:
    """An object, its lock, and the server's time: no other clock says whether a lock holds."""

    meta: ObjectMeta
    lock: Lock
    now: datetime

    @property
    def holding(self) -> Lock:
        """The lock as it holds now: a retention that has ended is none."""
        if self.lock.retain_until is not None and self.lock.retain_until > self.now:
            return self.lock
        return Lock(legal_hold=self.lock.legal_hold)


@dataclass(frozen=True, slots=True)
class Version:
    """One version of an object, or a delete marker."""

    name: str
    version: str
    is_latest: bool
    is_delete_marker: bool


@dataclass(slots=True)
class Opened:
    """An entry whose bytes were verified: its payload in the clear, and what its header says.

    ``shared`` says that a tier holds the same payload, so that a value must not alias it.
    ``value`` is kept where it cannot be changed, so that a hit from memory decodes it once;
    ``copy`` gives an own one of what is small and flat, once it has been decoded twice.
    """

    suite: int
    codec: str
    created: float
    compute_seconds: float
    payload: memoryview = field(repr=False)
    text_or_header: memoryview | dict[str, Any]
    """The header as JSON, until somebody asks for more than stands here."""
    is_one_buffer: bool = False
    """The payload is one buffer as it stands, and the codec said nothing more of the value."""
    shared: bool = False
    value: Any = field(default=UNDECODED, repr=False)
    copy: Callable[[], Any] | None = field(default=None, repr=False)
    decoded: bool = False

    @classmethod
    def of(cls, suite: int, header: dict[str, Any], payload: memoryview) -> Opened:
        """Take from a header what is asked for at every hit.

        Raises
        ------
        SealError
            Something of it is of another type.
        """
        codec, created = header.get("codec", ""), header.get("created", 0.0)
        compute = header.get("compute", 0.0)
        if (
            not isinstance(codec, str)
            or not isinstance(created, (int, float))
            or not isinstance(compute, (int, float))
            or not 0 <= created < END_OF_TIME
            or not 0 <= compute < END_OF_TIME
        ):
            raise SealError("the entry's header says something else than it should")
        return cls(suite, codec, created, compute, payload, header)

    @property
    def header(self) -> dict[str, Any]:
        """All that the header says.

        Raises
        ------
        SealError
            It cannot be read.
        """
        header = self.text_or_header
        if not isinstance(header, dict):
            header = self.text_or_header = read_header(header)
        return header

    def parts(self) -> tuple[dict[str, Any], list[memoryview]]:
        """Give what the codec said of the value, and its buffers.

        Raises
        ------
        SealError
            A buffer lies outside of the payload.
        """
        if self.is_one_buffer:
            return {}, [self.payload]
        index = self.header
        if "index" in index:
            index = loads(bytes(self._cut(*index["index"])))
        return index.get("arguments", {}), [self._cut(*span) for span in index["buffers"]]

    def _cut(self, offset: int, length: int) -> memoryview:
        if offset < 0 or length < 0 or offset + length > self.payload.nbytes:
            raise SealError("a buffer of the entry lies outside of its body")
        return self.payload[offset : offset + length]


def read_header(text: memoryview) -> dict[str, Any]:
    """Read a header, which is JSON.

    Raises
    ------
    SealError
        It is no JSON object.
    """
    try:
        header = loads(raw := bytes(text))
    except (ValueError, RecursionError) as error:
        raise SealError("the entry's header cannot be read") from error
    if not raw.isascii() or not isinstance(header, dict):
        raise SealError("the entry's header cannot be read")
    tags, producer = header.get("tags", {}), header.get("producer", {})
    if not (isinstance(tags, dict) and isinstance(producer, dict)):
        raise SealError("the entry's header says something else than it should")
    return header


@dataclass(slots=True)
class Blob:
    """Bytes of one entry as a tier holds them.

    ``opened`` is what `_pack` found when it verified these bytes; it rides along so that a
    hit from memory parses and verifies nothing a second time.
    """

    parts: Body = field(repr=False)
    etag: ETag | None
    checked: float
    """When S3 last confirmed these bytes (Unix seconds)."""
    verified: bool = False
    """The tier vouches that the bytes are the very ones that were verified when stored."""
    opened: Opened | None = None
    stored_bytes: int = 0
    """How large the object in the bucket is, where these bytes came from there."""

    @property
    def size_bytes(self) -> int:
        return size_of(self.parts)


def size_of(body: Body) -> int:
    """Give how many bytes a body has, without making it where it knows that."""
    known = getattr(body, "size_bytes", None)
    return sum(memoryview(part).nbytes for part in body) if known is None else int(known)


class MissReason(str, Enum):
    """Why a call was not served from the cache."""

    ABSENT = "absent"
    EXPIRED = "expired"
    UNREADABLE = "unreadable"
    UNTRUSTED = "untrusted"
    STORE_ERROR = "store error"
    UNHASHABLE = "unhashable"
    REFRESH = "refresh"


@dataclass(slots=True)
class Hit(Generic[V]):
    """The value was there."""

    value: V = field(repr=False)
    stale: bool = False
    """It is older than ``max_age``, and somebody should compute it again meanwhile."""
    entry: Opened | None = None
    """Its entry; None where it was just computed."""


@dataclass(frozen=True, slots=True)
class Miss:
    """The value was not there; ``replaces`` is what a publish expects to find."""

    reason: MissReason
    replaces: Precondition | None = ABSENT
    """None leaves what is there alone: another reader may hold the key to it."""
    rescue: Opened | None = None
    """What to serve if computing raises."""
    slow: bool | None = None
    """Whether it took long to compute the last time; None where nobody knows."""


@dataclass(frozen=True, slots=True)
class Entry:
    """A stored result, without its value.

    Attributes
    ----------
    key : str
        The logical key, ``cache/<name>/<h2>/<digest>``.
    name : str
        The cache's name.
    created : datetime
        When it was stored (UTC).
    age_seconds : float
        Its age when it was looked at.
    size_bytes : int
        Its size as stored.
    codec : str
        How the value was encoded.
    tags : Mapping[str, str]
        The tags it was stored with.
    compute_seconds : float
        How long the function took.
    producer : Mapping[str, str]
        Python and package versions, host and process that made it.
    """

    key: str
    name: str
    created: datetime
    age_seconds: float
    size_bytes: int
    codec: str
    tags: Mapping[str, str]
    compute_seconds: float
    producer: Mapping[str, str]


class Outcome(Enum):
    """What became of a computation that others waited for."""

    LOOK_AGAIN = "look again"
    COMPUTE_YOURSELF = "compute yourself"


@dataclass(frozen=True, slots=True)
class Deleted:
    """What a deletion of many keys did.

    Attributes
    ----------
    count : int
        How many keys it deleted.
    locked : tuple of str
        The keys it kept, because retention or a legal hold protects them.

    Examples
    --------
    >>> Deleted(2, ("report",)) + Deleted(1)
    Deleted(count=3, locked=('report',))
    """

    count: int
    locked: tuple[str, ...] = ()

    def __add__(self, other: Deleted) -> Deleted:
        return Deleted(self.count + other.count, self.locked + other.locked)


@dataclass(frozen=True, slots=True)
class Cleared:
    """How much a clearing took away.

    Examples
    --------
    >>> Cleared(entries=2, size_bytes=2048)
    Cleared(entries=2, size_bytes=2048)
    """

    entries: int
    size_bytes: int

    def __add__(self, other: Cleared) -> Cleared:
        return Cleared(self.entries + other.entries, self.size_bytes + other.size_bytes)
