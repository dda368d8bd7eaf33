"""Values of JSON's own types as MessagePack, which C writes faster than Python looks at them.

Such bytes say what the values are only where they are nothing else: MessagePack has one way for
bytes and a bytearray, and a NaN as it happens to be. So the types are looked at first, level by
level, and what has others is left to the caller.
"""

from __future__ import annotations

import gc
import sys
from collections.abc import Sequence
from itertools import chain
from typing import Any, Final

import ormsgpack

CONTAINERS: Final = frozenset({dict, list})
PLAIN: Final = CONTAINERS | {str, int, float, bool, type(None)}

#: What it costs to look into a container, beside what it holds.
CONTAINER: Final = 8

#: Refuses whatever is not exactly of one of these types, and of MessagePack's other own ones.
_EXACT: Final = (
    ormsgpack.OPT_SORT_KEYS
    | ormsgpack.OPT_PASSTHROUGH_DATACLASS
    | ormsgpack.OPT_PASSTHROUGH_DATETIME
    | ormsgpack.OPT_PASSTHROUGH_ENUM
    | ormsgpack.OPT_PASSTHROUGH_SUBCLASS
    | ormsgpack.OPT_PASSTHROUGH_TUPLE
    | ormsgpack.OPT_PASSTHROUGH_UUID
)

#: No more is packed at once.
LARGEST: Final = 1 << 22

#: A sample of texts: so many of the first, and as many of all, for what repeats in some rhythm.
SAMPLES: Final = 16

#: So many texts are joined at a time to see that they are.
JOINED: Final = 128

#: Containers of one size that hold several types are taken apart by place, for what stands at one
#: place is of one type as a rule: at most so many places of at least so many containers.
WIDE: Final = 64
TALL: Final = 16


def pack(
    values: list[Any] | dict[str, Any], deepest: int, most: int, largest: int = LARGEST
) -> tuple[bytes | None, int]:
    """Give the bytes of plain values, or None where they would not tell what the values are.

    Parameters
    ----------
    values : list or dict
        Of anything.
    deepest : int
        They are looked into so many levels deep.
    most : int
        They are looked into while this costs no more: 1 for a value, `CONTAINER` for a container.
    largest : int
        Their texts have no more characters, and what is packed no more bytes.

    Returns
    -------
    tuple of (bytes or None, int)
        The bytes, and what it has cost to look at their values.
    """
    look = _Look(deepest, most, largest)
    if not look.finds_plain(values):
        return None, look.cost
    try:
        packed = ormsgpack.packb(values, option=_EXACT)
    except TypeError:  # another type, a name that is no text, a lone surrogate, a large number
        return None, look.cost
    return (packed if len(packed) <= largest else None), look.cost


class _Look:
    """What is seen while values are looked through."""

    __slots__ = ("columns", "cost", "deepest", "largest", "most", "text")

    def __init__(self, deepest: int, most: int, largest: int) -> None:
        self.deepest = deepest
        self.largest = largest
        self.most = most
        self.cost = self.text = 0
        self.columns: list[tuple[Sequence[Any], int]] = []

    def finds_plain(self, values: list[Any] | dict[str, Any]) -> bool:
        """Whether there is nothing but what MessagePack tells apart, and not too much of it."""
        self.columns.append((list(values.values()) if isinstance(values, dict) else values, 0))
        while self.columns:
            column, depth = self.columns.pop()
            if type(column[0]) is str:
                size = _size_of_texts(column, self.largest - self.text)
                self.text += size or 0
                if self.text > self.largest:
                    return False
                if size is not None:
                    continue
            types = list(map(type, column))
            kinds = {types[0]}
            if types.count(types[0]) < len(types):
                kinds = set(types)
            if not kinds <= PLAIN or (float in kinds and _has_nan(column, kinds)):
                return False
            if str in kinds:
                self.text += sum([len(one) for one in column if type(one) is str])
                if self.text > self.largest:
                    return False
            if kinds & CONTAINERS and not self._takes_apart(column, kinds, depth):
                return False
        return True

    def _takes_apart(self, column: Sequence[Any], kinds: set[type], depth: int) -> bool:
        """Whether the containers of a column hold not too much; what they hold is looked at next."""
        inner = column if kinds <= CONTAINERS else _containers(column)
        sizes = list(map(len, inner))
        size, width = sum(sizes), sizes[0]
        self.cost += CONTAINER * len(inner) + size
        if self.cost > self.most or depth == self.deepest:
            return False
        if size:
            held = _held(inner, size, kinds)
            tall = width <= WIDE and len(inner) >= TALL and sizes.count(width) == len(inner)
            if tall and len(set(map(type, held[:width]))) > 1:
                self.columns += [(held[place::width], depth + 1) for place in range(width)]
            else:
                self.columns.append((held, depth + 1))
        return True


def sample(values: Sequence[Any]) -> list[Any]:
    """Give a few of many values."""
    return [*values[:SAMPLES], *values[:: len(values) // SAMPLES + 1]]


def _size_of_texts(column: Sequence[Any], most: int) -> int | None:
    """Give the characters of all texts, or more than ``most``; None where there is something else.

    Subclasses of text, which ormsgpack refuses, pass for it.
    """
    few = [len(one) for one in sample(column) if type(one) is str]
    if sum(few) * len(column) // (2 * SAMPLES) > 2 * most:  # as it seems: they are not to be joined
        types = set(map(type, column))
        return sum(map(len, column)) if types == {str} else None
    size = 0
    try:
        for at in range(0, len(column), JOINED):
            size += len("".join(column[at : at + JOINED]))
            if size > most:
                break
    except TypeError:
        return None
    return size


def _has_nan(column: Sequence[Any], kinds: set[type]) -> bool:
    if len(kinds) == 1:
        total = sum(column)
        if total == total:  # no NaN, nor infinities of both signs
            return False
    return bool([None for value in column if type(value) is float and value != value])


def _containers(column: Sequence[Any]) -> list[Any]:
    return [value for value in column if type(value) in CONTAINERS]


def _held(containers: Sequence[Any], size: int, kinds: set[type]) -> list[Any]:
    """Give all values of dicts and lists, each container's side by side."""
    # From Python 3.13 on the dict that is an object's own does not tell the collector of its values.
    if sys.version_info < (3, 13) or dict not in kinds:
        held = gc.get_referents(*containers)
        if len(held) == size:  # else some dict, which once had other names, told of its names, too
            return held
    return list(
        chain.from_iterable(one if type(one) is list else one.values() for one in containers)
    )
