"""Many values as one column: packed where they are of one kind, taken apart where they are nested.

What is nothing but JSON's own types is packed as it stands (`plain`). Of other values, records
become a column for each name, lists of one length a column for each place, other lists one column
of all they hold; so a thousand records of one shape cost a few calls a name, not a
thousand tokens each. Which way a column takes follows from its values alone. What is written
tells where it ends, once the number of values is known, and the values can be read from it: a
letter for the way, then its payload. Values that others tell, as a path's text does, become a
column of these. Values without a way here, and few of them, are written as tokens.
"""

from __future__ import annotations

import dataclasses
import struct
from bisect import bisect_right
from collections.abc import Callable, Sequence
from itertools import accumulate, chain
from typing import Any, Final

from s3kv_flow.errors import UnhashableArgumentError
from s3kv_flow.keys.plain import CONTAINER, CONTAINERS, pack, sample

#: So few values are written as tokens.
FEW: Final = 8

#: A longer column is written this many values at a time: a run stays in the processor's cache while
#: it is looked through and hashed, and costs no fresh pages.
RUN: Final = 2048

#: Nested values are taken apart so deep, and while the run yields no more than so many for each of its
#: own; a container counts as several. What holds one list many times over, or itself, so costs no more
#: than in proportion to what is really there.
DEEPEST: Final = 6
MOST: Final = 96

#: Plain values, whose look costs a twentieth, are packed so deep, and while they hold no more than so
#: many each.
DEEPEST_PLAIN: Final = 16
MOST_PLAIN: Final = 1024

#: Rows of one shape are taken apart by name or place if they are so many, else row by row.
TALL: Final = 16

#: Longer lists are no records: what one holds is of one kind as a rule, at all its places.
NARROW: Final = 16

#: Nested plain values are packed so many at first, then as many as make a piece.
FIRST: Final = 64

#: So much is joined at a time.
PIECE_CHARACTERS: Final = 1 << 17

#: A mixture of values has at most so many kinds.
MOST_KINDS: Final = 200

_count = struct.Struct("<Q").pack
_NAN: Final = float("nan")


class NotToldError(Exception):
    """A value is not told by others, though its type is as a rule."""


@dataclasses.dataclass(frozen=True, slots=True)
class Told:
    """How values of a type are told by others.

    Two types are told alike whose tokens are equal, as those of a class that was made twice.
    """

    #: Says what the type is; in a column, as a token.
    head: bytes
    #: Gives the value that tells of one: of two that are not equal, two that are not.
    tell: Callable[[Any], Any] = dataclasses.field(compare=False)
    #: It gives a tuple of so many values, each of which is a column; else one value.
    fields: int = 0
    #: So deep are they taken apart. Not as deep as others: what an object refers to is most often
    #: referred to by several, and is written once as a token.
    inside: int = 0


class Parts(list[bytes]):
    """What is written of a column, on its way into a digest.

    Parameters
    ----------
    update : callable
        Takes what was written so far.
    each : callable
        Adds the token of each of some values to a list.
    told : callable
        Gives how values of a type are told by others, or None.
    size : int
        How many values the run has.
    """

    __slots__ = ("_left_plain", "_update", "each", "left", "told")

    def __init__(
        self,
        update: Callable[[bytes], object],
        each: Callable[[Sequence[Any], list[bytes]], None],
        told: Callable[[type], Told | None],
        size: int,
    ) -> None:
        self._update = update
        self.each = each
        self.told = told
        self.left = MOST * size
        self._left_plain = MOST_PLAIN * size

    def takes(self, containers: int, values: int) -> bool:
        """Whether so many values may be taken out of so many containers; then they are."""
        count = CONTAINER * containers + values
        if count > self.left:
            return False
        self.left -= count
        return True

    def pack(self, values: list[Any]) -> bytes | None:
        """Give the bytes of plain values that may be taken out of theirs; then they are."""
        most = min(self._left_plain, MOST_PLAIN * len(values))
        packed, cost = pack(values, DEEPEST_PLAIN, most)
        if packed is not None:  # else the cost is of the order in which was looked
            self._left_plain -= cost
        return packed

    def flush(self) -> None:
        """Hand on what was written, so that it takes no more memory."""
        self._update(b"".join(self))
        self.clear()


_Way = Callable[[Sequence[Any], Parts, int], None]
#: Values are alike if they are of one type that has a way here, are told alike, or are told by none.
_Kind = type | Told | None


def write(values: Sequence[Any], out: Parts, deepest: int = DEEPEST) -> None:
    """Write the values of a column.

    Raises
    ------
    UnhashableArgumentError
        Some value has no stable key; the error's path begins with the value's place.
    """
    if len(values) <= FEW:
        _tokens(values, out, deepest)
        return
    written = _plain(values if isinstance(values, list) else list(values), out)
    if written < len(values):
        try:
            _others(values[written:], out, deepest)
        except UnhashableArgumentError as error:
            place, rest = placed(error)
            error.path = f"[{written + place}]{rest}"
            raise


def _plain(values: list[Any], out: Parts) -> int:
    """Write values piece by piece as long as they are plain; give their number."""
    # A text keeps the UTF-8 that it is asked for: beyond ASCII a long list of them would grow.
    few = sample(values) if type(values[0]) is str else ()
    if not all(one.isascii() for one in few if type(one) is str):
        return 0
    at, size = 0, FIRST if type(values[0]) in CONTAINERS else len(values)
    while at < len(values):
        piece = values if size >= len(values) else values[at : at + size]  # each copy costs
        packed = out.pack(piece)
        if packed is None:
            break
        out += (b"p", packed)
        if len(packed) > PIECE_CHARACTERS:
            out.flush()
        at += len(piece)
        size = max(TALL, min(RUN, PIECE_CHARACTERS * len(piece) // len(packed)))
    return at


def _others(values: Sequence[Any], out: Parts, deepest: int) -> None:
    """Write values of which the first ones are not all plain."""
    types = list(map(type, values))
    kinds: dict[type, _Kind] = {}
    for kind in dict.fromkeys(types):
        kinds[kind] = kind if kind in _WAYS else out.told(kind)
    if len(set(kinds.values())) == 1:
        _alike(values, kinds[types[0]], out, deepest)
    else:
        _mixed(values, [kinds[kind] for kind in types], out, deepest)


def _alike(values: Sequence[Any], kind: _Kind, out: Parts, deepest: int) -> None:
    if kind is None:
        _tokens(values, out, deepest)
    elif isinstance(kind, Told):
        _told(values, kind, out, deepest)
    else:
        _WAYS[kind](values, out, deepest)


def _tokens(values: Sequence[Any], out: Parts, deepest: int) -> None:
    out.append(b"*")
    out.each(values, out)


def _floats(values: Sequence[float], out: Parts, deepest: int) -> None:
    total = sum(values)
    if total != total:  # a NaN, whose payload does not count, or infinities of both signs
        values = [value if value == value else _NAN for value in values]
    out += (b"f", struct.pack(f"<{len(values)}d", *values))


def _texts(values: Sequence[str], out: Parts, deepest: int) -> None:
    out.append(b"t")
    ends = list(accumulate(map(len, values)))
    at = done = 0
    while at < len(values):
        # Where it is cut does not show in what is written.
        end = max(at + 1, bisect_right(ends, done + PIECE_CHARACTERS, at))
        piece = values[at:end]
        at, done = end, ends[end - 1]
        if len(piece) == 1 and len(piece[0]) > PIECE_CHARACTERS:
            _long_text(piece[0], out)
            continue
        text = "\0".join(piece).encode("utf-8", "surrogatepass")
        if text.count(b"\0") != len(piece) - 1:
            # For a NUL of theirs stands FF, a byte that UTF-8 does not have.
            text = b"\0".join(
                one.encode("utf-8", "surrogatepass").replace(b"\0", b"\xff") for one in piece
            )
        out += (text, b"\0")
        if len(text) > PIECE_CHARACTERS:
            out.flush()


def _long_text(value: str, out: Parts) -> None:
    """Write what `_texts` writes of one text, without a copy of it."""
    for at in range(0, len(value), PIECE_CHARACTERS):
        text = value[at : at + PIECE_CHARACTERS].encode("utf-8", "surrogatepass")
        out.append(text.replace(b"\0", b"\xff"))
        out.flush()
    out.append(b"\0")


def _told(values: Sequence[Any], told: Told, out: Parts, deepest: int) -> None:
    tell = None
    if not told.inside:
        tell = list(map(told.tell, values))
    elif told.inside <= deepest:
        tell = _tell(values, told, out)
    if tell is None:
        _tokens(values, out, deepest)
        return
    out += (b"v", told.head)
    try:
        for column in zip(*tell) if told.fields else [tell]:
            write(column, out, told.inside)
    except UnhashableArgumentError:
        out.each(values, out)  # tells the path in terms of the values themselves
        raise


def _tell(values: Sequence[Any], told: Told, out: Parts) -> list[Any] | None:
    """Give what tells of each object, unless it is too much: many may be one that holds many values."""
    most = out.left
    rows = []
    try:
        for value in values:
            row = told.tell(value)
            most -= CONTAINER
            for one in row if told.fields else (row,):
                if type(one) in _HOLDERS:
                    most -= CONTAINER + len(one)
            if most < 0:
                return None
            rows.append(row)
    except Exception:  # what went wrong does so again where each is a token, and has its path there
        return None
    out.takes(len(values), 0)
    return rows


def _bytes(values: Sequence[bytes], out: Parts, deepest: int) -> None:
    lengths = list(map(len, values))
    if sum(lengths) > PIECE_CHARACTERS:
        _tokens(values, out, deepest)
        return
    out += (b"b", struct.pack(f"<{len(lengths)}Q", *lengths), *values)


def _mixed(values: Sequence[Any], kinds: list[_Kind], out: Parts, deepest: int) -> None:
    """Write values as one column for each kind, and which is of which."""
    codes = {kind: code for code, kind in enumerate((*_WAYS, None))}
    for kind in dict.fromkeys(kinds):
        # In a byte there is no room for more; what is left over is like what nothing tells.
        codes.setdefault(kind, len(codes) if len(codes) < MOST_KINDS else codes[None])
    which = list(map(codes.__getitem__, kinds))
    out += (b"m", bytes(which))
    present = dict(zip(which, kinds))
    for code in sorted(present):
        kind = present[code] if code != codes[None] else None
        column = [value for value, its in zip(values, which) if its == code]
        try:
            if kind in _WAYS or len(column) <= FEW:
                write(column, out, deepest)
            else:
                _alike(column, kind, out, deepest)
        except UnhashableArgumentError as error:
            place, rest = placed(error)
            error.path = f"[{_nth(which, code, place)}]{rest}"
            raise


def _sets(values: Sequence[Any], out: Parts, deepest: int) -> None:
    lengths = list(map(len, values))
    if not out.takes(len(values), sum(lengths)):
        _tokens(values, out, deepest)
        return
    # What is of one of these types has an order that depends on nothing else.
    if set(map(type, chain.from_iterable(values))) not in ({str}, {int}):
        _tokens(values, out, deepest)
        return
    out += (b"s", struct.pack(f"<{len(lengths)}Q", *lengths))
    write(list(chain.from_iterable(map(sorted, values))), out, deepest)


def _frozensets(values: Sequence[Any], out: Parts, deepest: int) -> None:
    out.append(b"z")
    _sets(values, out, deepest)


def _lists(values: Sequence[Sequence[Any]], out: Parts, deepest: int) -> None:
    lengths = list(map(len, values))
    if not deepest or not out.takes(len(values), sum(lengths)):
        _tokens(values, out, deepest)
        return
    out += (b"l", struct.pack(f"<{len(lengths)}Q", *lengths))
    same = lengths[0] <= NARROW and lengths.count(lengths[0]) == len(lengths)
    if same and len(values) >= TALL:
        for place, column in enumerate(zip(*values)):
            _column(column, place, out, deepest)
        return
    try:
        write(list(chain.from_iterable(values)), out, deepest - 1)
    except UnhashableArgumentError as error:
        place, rest = placed(error)
        row, place = _row(lengths, place)
        error.path = f"[{row}][{place}]{rest}"
        raise


def _tuples(values: Sequence[tuple[Any, ...]], out: Parts, deepest: int) -> None:
    out.append(b"u")
    _lists(values, out, deepest)


def _dicts(values: Sequence[dict[Any, Any]], out: Parts, deepest: int) -> None:
    if not deepest or not out.takes(len(values), sum(map(len, values))):
        _tokens(values, out, deepest)
        return
    names = list(chain.from_iterable(values))
    # Equal names of other types would look alike: a subclass of str, True.
    kinds = set(map(type, names))
    if kinds == {int}:
        _by_name(values, out, deepest)
        return
    if not kinds <= {str}:
        _tokens(values, out, deepest)
        return
    which, shapes = _shapes(values, names)
    if len(shapes) * FEW > len(values):
        _by_name(values, out, deepest)
        return
    out += (b"d", _count(len(shapes)))
    if len(shapes) == 1:
        _records(values, shapes[0], out, deepest)
        return
    out.append(struct.pack(f"<{len(which)}H", *which))
    groups: list[list[dict[str, Any]]] = [[] for _ in shapes]
    for value, number in zip(values, which):
        groups[number].append(value)
    for number, (shape, rows) in enumerate(zip(shapes, groups)):
        try:
            _records(rows, shape, out, deepest)
        except UnhashableArgumentError as error:
            place, rest = placed(error)
            error.path = f"[{_nth(which, number, place)}]{rest}"
            raise


def _by_name(values: Sequence[dict[Any, Any]], out: Parts, deepest: int) -> None:
    """Write dicts that have little in common: all their names, and all that these name."""
    ordered = list(map(sorted, values))
    lengths = list(map(len, ordered))
    names = list(chain.from_iterable(ordered))
    out += (b"k", struct.pack(f"<{len(lengths)}Q", *lengths))
    write(names, out, deepest - 1)
    held = [value[name] for value, its in zip(values, ordered) for name in its]
    try:
        write(held, out, deepest - 1)
    except UnhashableArgumentError as error:
        place, rest = placed(error)
        error.path = f"[{_row(lengths, place)[0]}][{names[place]!r}]{rest}"
        raise


def _shapes(
    values: Sequence[dict[str, Any]], names: list[str]
) -> tuple[list[int], list[tuple[str, ...]]]:
    """Give the number of each record's set of names, and these sets as they first appear."""
    first = tuple(values[0])
    if names == list(first) * len(values):
        return [], [tuple(sorted(first))]
    which: list[int] = []
    numbers: dict[tuple[str, ...], int] = {}
    known: dict[tuple[str, ...], int] = {}  # the same names stand in many orders
    for value in values:
        shape = tuple(value)
        number = known.get(shape)
        if number is None:
            number = known[shape] = numbers.setdefault(tuple(sorted(shape)), len(numbers))
        which.append(number)
    return which, list(numbers)


def _records(
    rows: Sequence[dict[str, Any]], names: Sequence[str], out: Parts, deepest: int
) -> None:
    out.append(_count(len(names)))
    if not names:
        return
    _texts(names, out, deepest)
    if len(rows) >= TALL:
        for name in names:
            _column([row[name] for row in rows], name, out, deepest)
        return
    try:
        write([row[name] for row in rows for name in names], out, deepest - 1)
    except UnhashableArgumentError as error:
        place, rest = placed(error)
        error.path = f"[{place // len(names)}][{names[place % len(names)]!r}]{rest}"
        raise


def _column(column: Sequence[Any], step: str | int, out: Parts, deepest: int) -> None:
    try:
        write(column, out, deepest - 1)
    except UnhashableArgumentError as error:
        row, rest = placed(error)
        error.path = f"[{row}][{step!r}]{rest}"
        raise


def placed(error: UnhashableArgumentError) -> tuple[int, str]:
    """Take the place among the values from an error's path, and what follows it."""
    place, _, rest = error.path[1:].partition("]")
    return int(place), rest


def _row(lengths: Sequence[int], place: int) -> tuple[int, int]:
    """Give in which of several containers a value lies that stands at a place of all, and where there."""
    row = 0
    while place >= lengths[row]:
        place -= lengths[row]
        row += 1
    return row, place


def _nth(values: Sequence[Any], wanted: Any, number: int) -> int:
    """Give the place of the value that is equal to the wanted one for the ``number``-th time."""
    return [place for place, value in enumerate(values) if value == wanted][number]


_HOLDERS: Final = frozenset({dict, list, tuple})
_WAYS: Final[dict[Any, _Way]] = {
    type(None): _tokens,  # these three are packed, but for large numbers
    bool: _tokens,
    int: _tokens,
    float: _floats,
    str: _texts,
    list: _lists,
    tuple: _tuples,
    dict: _dicts,
    bytes: _bytes,
    set: _sets,
    frozenset: _frozensets,
}
