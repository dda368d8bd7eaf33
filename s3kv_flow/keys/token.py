"""The encoding of values: self-delimiting, injective, and blind to storage.

A scalar is written inline as a tag, its length and its payload. Everything else is ``#`` and a
digest of (scheme, tag, child tokens), so a token has bounded size and the walk needs memory for
one path only. Shared and copied parts look alike; a cycle is a reference back by depth, and what is
met again inside of a cycle a reference by number.
"""

from __future__ import annotations

import collections
import dataclasses
import struct
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from typing import Any, Final

from s3kv_flow.errors import UnhashableArgumentError
from s3kv_flow.keys import columns
from s3kv_flow.keys.deep import SHALLOW, check_depth
from s3kv_flow.keys.digest import SCHEME, XXH3_128, Digest
from s3kv_flow.keys.plain import CONTAINERS, pack

#: Payloads up to here are written inline; a longer one is replaced by its digest.
INLINE_BYTES: Final = 64
#: Stands for the token of a longer scalar, whose hash is the encoder's.
TOO_LONG: Final = b""

#: Dicts of no more names are packed whole: so many values stay in the processor's cache from being
#: looked at to being packed.
WHOLE: Final = 1024

#: What holds a few values, some of them containers, is packed with all below it while it costs no more
#: than so much to look at it. What holds but one is not: in a long chain each would look in vain.
SMALL_TREE: Final = 512

#: So much of what lies on cycles is visited only to find an order for what looks alike.
MOST_ASIDE: Final = 20_000

#: Values of one of these types have an order of their own, and tuples of such do.
_SORTABLE: Final = ({str}, {int})

#: What objects say themselves to be made of is followed so deep: it may go on without end.
MOST_STATED: Final = 2000

#: Longer text is encoded and hashed so many characters at a time, other buffers so many bytes: the
#: memory that a key takes does not grow with what is hashed.
PIECE: Final = 1 << 18

_pack_float = struct.Struct("<d").pack
_pack_count = struct.Struct("<Q").pack
_NAN: Final = b"f\0\0\0\0\0\0\xf8\x7f"

#: `handlers` fills these: exact type, base class, and package to a function of (value, encoder).
Handler = Callable[[Any, "Encoder"], bytes]
EXACT: Final[dict[type, Handler]] = {}
#: What users registered, by type or by "package.Type": gives a value to hash in its place.
REGISTERED: Final[dict[type | str, Callable[[Any], Any]]] = {}
#: Of some packages: whether what is of a class counts as all objects do.
OBJECTS_OF: Final[dict[str, Callable[[type], bool]]] = {}
#: Tried in order, for subclasses.
BY_BASE: Final[list[tuple[type, Handler]]] = []
#: Asked by the packages in a type's MRO, and imported only then.
BY_PACKAGE: Final[dict[str, Callable[[], Callable[[Any, Encoder], bytes | None]]]] = {}
#: How types are told by other values; what is at the head is the tag of their tokens.
TOLD: Final[dict[type, columns.Told]] = {}
#: Asked for the classes of others, like `FALLBACKS` for their instances.
TOLD_BY_CLASS: Final[list[Callable[[type, Encoder], columns.Told | None]]] = []
#: Last resort before refusing.
FALLBACKS: Final[list[Callable[[Any, Encoder], bytes | None]]] = []


def _none(value: None) -> bytes:
    return b"N"


def _bool(value: bool) -> bytes:
    return b"T" if value else b"F"


def _int(value: int) -> bytes:
    size = (value.bit_length() + 8) >> 3
    payload = value.to_bytes(size, "little", signed=True)
    return b"i%c%b" % (size, payload) if size <= INLINE_BYTES else TOO_LONG


def _float(value: float) -> bytes:
    return b"f" + _pack_float(value) if value == value else _NAN


def _str(value: str) -> bytes:
    if len(value) > INLINE_BYTES:
        return TOO_LONG
    payload = value.encode("utf-8", "surrogatepass")
    size = len(payload)
    return b"s%c%b" % (size, payload) if size <= INLINE_BYTES else TOO_LONG


def _bytes(value: bytes) -> bytes:
    size = len(value)
    return b"b%c%b" % (size, value) if size <= INLINE_BYTES else TOO_LONG


def _complex(value: complex) -> bytes:
    return b"c" + _float(value.real) + _float(value.imag)


def _encoded(value: str) -> Iterator[bytes]:
    for at in range(0, len(value), PIECE):
        yield value[at : at + PIECE].encode("utf-8", "surrogatepass")


#: The scalars: pure functions of the value.
SCALARS: Final[dict[type, Callable[[Any], bytes]]] = {
    type(None): _none,
    bool: _bool,
    int: _int,
    float: _float,
    str: _str,
    bytes: _bytes,
    complex: _complex,
    type(...): lambda value: b"E",
    type(NotImplemented): lambda value: b"M",
}


class _NeedsOrderError(Exception):
    """What has no order holds references by number, which depend on what was visited before."""


class Encoder:
    """One walk over one call's values.

    Parameters
    ----------
    digest : Digest
        The hash.
    code : callable, optional
        Gives the token of a user's function or class that is met. By default each is walked
        with all the code it reaches.
    """

    __slots__ = (
        *("_aside", "_cyclic", "_in_cycles", "_kept", "_lowest", "_memo"),
        *("_met_cycles", "_ordered", "_stack", "_stated", "code", "comparing_took", "digest"),
    )

    def __init__(
        self,
        digest: Digest = XXH3_128,
        code: Callable[[Any, Encoder], bytes] | None = None,
    ) -> None:
        self.digest = digest
        self.code = code
        self._stack: dict[int, int] = {}
        self._memo: dict[int, bytes] = {}
        self._kept: list[Any] = []  # keeps ids in the memo from being given out again
        self._lowest = 0
        # What was met on cycles that are not closed yet: its number, and how far up it refers.
        self._in_cycles: dict[int, tuple[int, int]] = {}
        # What lies on closed cycles, or holds such: its token depends on where they were entered.
        self._cyclic: dict[int, None] = {}
        self._met_cycles = 0
        self._ordered = False
        self._aside = 0
        self._stated = 0
        #: Seconds that were spent on comparing values with copies of them.
        self.comparing_took = 0.0

    def token(self, value: Any) -> bytes:
        """Give the token of any value.

        Raises
        ------
        UnhashableArgumentError
            Some part of it has no stable key.
        """
        scalar = SCALARS.get(type(value))
        if scalar is not None:
            return scalar(value) or self.long(value)
        return self._compound(value)

    def long(self, value: int | str | bytes) -> bytes:
        """Give the token of a scalar that is too long to be written inline; it is not copied."""
        if isinstance(value, bytes):
            return self._long(b"B", len(value), [value])
        if isinstance(value, str) and len(value) > PIECE:
            size = len(value) if value.isascii() else sum(map(len, _encoded(value)))
            return self._long(b"S", size, _encoded(value))
        if isinstance(value, str):
            kind, payload = b"S", value.encode("utf-8", "surrogatepass")
        else:
            size = (value.bit_length() + 8) >> 3
            kind, payload = b"I", value.to_bytes(size, "little", signed=True)
        return self._long(kind, len(payload), [payload])

    def buffer(self, size: int, pieces: Iterable[Any]) -> bytes:
        """Give the token of so many bytes, which come in pieces; the same as that of `bytes`."""
        if size <= INLINE_BYTES:
            return _bytes(b"".join(pieces))
        return self._long(b"B", size, pieces)

    def _long(self, kind: bytes, size: int, pieces: Iterable[Any]) -> bytes:
        head = b"".join((_pack_count(1), kind, _pack_count(size)))
        if size <= PIECE:
            return self.leaf(b"long", b"".join((head, *pieces)))
        running = self.begin(b"long")
        running.update(head)
        for piece in pieces:
            running.update(piece)
        return self.end(running)

    def node(self, tag: bytes, *children: Any) -> bytes:
        """Give the token of something that is made of ``children`` (tokens or self-delimiting bytes)."""
        return b"#" + self.digest.of(
            b"".join((SCHEME, b"%c" % len(tag), tag, _pack_count(len(children)), *children))
        )

    def leaf(self, tag: bytes, payload: bytes) -> bytes:
        """Give the token that :meth:`begin`, an update with ``payload`` and :meth:`end` give."""
        return b"#" + self.digest.of(b"".join((SCHEME, b"%c" % len(tag), tag, payload)))

    def begin(self, tag: bytes) -> Any:
        """Give a running hash for something too large to join; finish with :meth:`end`."""
        return self.digest.begin(SCHEME + b"%c" % len(tag) + tag)

    def end(self, running: Any) -> bytes:
        """Finish what :meth:`begin` began."""
        return b"#" + bytes(running.digest())

    def _compound(self, value: Any) -> bytes:
        identity = id(value)
        known = self._memo.get(identity)
        if known is not None:
            if self._cyclic and identity in self._cyclic:
                if not self._ordered:
                    raise _NeedsOrderError
                self._met_cycles += 1
            return known
        stack = self._stack
        depth = stack.get(identity)
        if depth is not None:
            self._lowest = min(self._lowest, depth)
            return b"^" + _pack_count(len(stack) - depth)
        if identity in self._in_cycles:
            return self._again(identity)
        depth = len(stack)
        if depth > SHALLOW:
            check_depth(depth)
        outer, self._lowest = self._lowest, depth + 1
        before, met = len(self._in_cycles), self._met_cycles
        stack[identity] = depth
        try:
            handler = EXACT.get(type(value))
            token = handler(value, self) if handler is not None else self._inexact(value)
        except BaseException as error:
            self._lowest = outer
            self._forget(before, len(self._cyclic))
            if depth or not isinstance(error, _NeedsOrderError):
                raise
            token = b""
        finally:
            del stack[identity]
        if not token:
            self._forget(0, 0)
            self._ordered = True
            return self._compound(value)
        self._kept.append(value)
        if self._lowest > depth:  # no reference back leaves this part
            self._memo[identity] = token
            if self._met_cycles > met:
                self._cyclic[identity] = None
        elif self._lowest == depth:
            self._close(identity, token, before)
        else:
            self._in_cycles[identity] = len(self._in_cycles), self._lowest
            outer = min(outer, self._lowest)
        self._lowest = outer
        if not depth and self._cyclic:  # the token of another argument does not depend on this one
            self._forget(0, 0)
        return token

    def _again(self, identity: int) -> bytes:
        """Give a reference to what was met before on the same cycle.

        Without it, a graph would be written once for each way through it. The number depends on
        what was visited in between, so from here on everything is visited in an order of its own.
        """
        if not self._ordered:
            raise _NeedsOrderError
        number, lowest = self._in_cycles[identity]
        self._lowest = min(self._lowest, lowest)
        return b"=" + _pack_count(len(self._in_cycles) - number)

    def _close(self, identity: int, token: bytes, before: int) -> None:
        """Let what lies on the cycles through a value be known as its parts from here on."""
        self._met_cycles += 1
        self._memo[identity] = token
        self._cyclic[identity] = None
        while len(self._in_cycles) > before:
            part, (number, _) = self._in_cycles.popitem()
            self._memo[part] = self.node(b"part", token, _pack_count(number - before))
            self._cyclic[part] = None

    def _forget(self, in_cycles: int, cyclic: int) -> None:
        """Forget all but so many of what lies on cycles, and on those that are closed."""
        while len(self._in_cycles) > in_cycles:
            self._in_cycles.popitem()
        while len(self._cyclic) > cyclic:
            del self._memo[self._cyclic.popitem()[0]]

    def in_order(self, items: Iterable[tuple[Any, Any]]) -> Iterable[tuple[Any, Any]]:
        """Give pairs in the order of their first values' tokens, where it matters in which they are visited.

        Each is to be visited before the next is taken.
        """
        if self._ordered:
            return self._in_order(list(items))
        if self.code is None:
            return items
        # What has no key ends a visit: what code was met before is not to depend on the order.
        return sorted(items, key=lambda pair: self.token(pair[0]))

    def _in_order(self, held: list[tuple[Any, Any]]) -> Iterator[tuple[Any, Any]]:
        tokens = [self._outline(first) for first, _ in held]
        if len(set(tokens)) < len(tokens):
            tokens = [self._visit_aside(first) for first, _ in held]
        alike = collections.Counter(tokens)
        for place in sorted(range(len(held)), key=tokens.__getitem__):
            in_cycles, cyclic = len(self._in_cycles), len(self._cyclic)
            yield held[place]
            # Of those that look alike none is the first, and has a number before the others.
            if alike[tokens[place]] > 1:
                self._forget(in_cycles, cyclic)

    def _outline(self, value: Any) -> bytes:
        is_scalar = type(value) in SCALARS
        return self.token(value) if is_scalar else _Outline(self.digest, self.code).token(value)

    def _visit_aside(self, value: Any) -> bytes:
        """Give the token that a value has if it is visited next, and leave all as if it had not been."""
        in_cycles, cyclic = len(self._in_cycles), len(self._cyclic)
        token = self.token(value)
        self._aside += len(self._in_cycles) - in_cycles + len(self._cyclic) - cyclic
        self._forget(in_cycles, cyclic)
        if self._aside > MOST_ASIDE:
            raise UnhashableArgumentError(
                "sets of objects that look alike and refer to each other have no order",
                way_out="Say what to hash with key=..., or teach their type with __s3kv_key__.",
            )
        return token

    def stated(self, encode: Callable[[], bytes]) -> bytes:
        """Give the token of an object by what it says itself to be made of.

        Raises
        ------
        UnhashableArgumentError
            It goes on without end, as where any attribute that is asked for is made.
        """
        self._stated += 1
        try:
            if self._stated > MOST_STATED:
                raise UnhashableArgumentError(
                    "what it says itself to be made of goes on without end",
                    way_out="Leave it out with ignore=(...), say what to hash with key=..., or "
                    "teach its type with __s3kv_key__ or s3kv_flow.register_key.",
                )
            return encode()
        finally:
            self._stated -= 1

    def _inexact(self, value: Any) -> bytes:
        """Give the token of a value whose exact type has no handler."""
        kind = type(value)
        own = getattr(kind, "__s3kv_key__", None)
        if own is not None:
            try:
                return self.stated(
                    lambda: self.node(b"own", self.token(kind), self.token(own(value)))
                )
            except UnhashableArgumentError as error:
                error.within(".__s3kv_key__()")
                raise
        registered = _registered(kind)
        if registered is not None:
            return self.node(b"registered", self.token(kind), self.token(registered(value)))
        for base in kind.__mro__:
            package = _package(base)
            if package in BY_PACKAGE:
                token = BY_PACKAGE[package]()(value, self)
                if token is not None:
                    return token
        for base, inherited in BY_BASE:
            if issubclass(kind, base):  # the type itself: what is said of `__class__` may be a lie
                return inherited(value, self)
        for fallback in FALLBACKS:
            token = fallback(value, self)
            if token is not None:
                return token
        raise UnhashableArgumentError(
            f"a {kind.__module__}.{kind.__qualname__} has no stable key",
            way_out="Leave the argument out with ignore=(...), say what to hash with key=..., "
            "or teach its type with __s3kv_key__ or s3kv_flow.register_key.",
        )

    def told(self, kind: type) -> columns.Told | None:
        """Give how many values of a type are told by others, where they are."""
        packages: set[str] = set()
        if kind in SCALARS:
            return None
        if kind not in EXACT:
            if getattr(kind, "__s3kv_key__", None) is not None or _registered(kind) is not None:
                return None
            packages = BY_PACKAGE.keys() & set(map(_package, kind.__mro__))
            for package in packages:
                BY_PACKAGE[package]()  # fills the table
        known = TOLD.get(kind)
        if known is not None:
            return dataclasses.replace(known, head=self.node(known.head))
        if kind in EXACT or not all(OBJECTS_OF.get(package, _no)(kind) for package in packages):
            return None
        if any(issubclass(kind, base) for base, _ in BY_BASE):
            return None
        try:
            return next(filter(None, (ask(kind, self) for ask in TOLD_BY_CLASS)), None)
        except UnhashableArgumentError:  # of the class; as a token each says where it was met
            return None

    def sequence(self, tag: bytes, values: Sequence[Any]) -> bytes:
        """Give the token of values in order."""
        size = len(values)
        if size > columns.FEW:
            runs = (values[at : at + columns.RUN] for at in range(0, size, columns.RUN))
            return self.column(tag, size, runs)
        if size > 1 and CONTAINERS & set(map(type, values)):
            packed = self._small_tree(list(values))
            if packed is not None:
                return self.leaf(tag + b":p", packed)
        tokens: list[bytes] = []
        self._each(values, tokens)
        return self.node(tag, *tokens)

    def _small_tree(self, value: list[Any] | dict[str, Any]) -> bytes | None:
        # Texts keep the UTF-8 that they are asked for, so they are not to be long.
        return pack(value, columns.DEEPEST, SMALL_TREE, PIECE >> 4)[0]

    def column(self, tag: bytes, size: int, runs: Iterable[Sequence[Any]]) -> bytes:
        """Give the token of many values in order, which come `columns.RUN` at a time."""
        tag += b":c"
        running = self.digest.begin(SCHEME + b"%c" % len(tag) + tag + _pack_count(size))
        done = 0
        for run in runs:
            out = columns.Parts(running.update, self._each, self.told, len(run))
            try:
                columns.write(run, out)
            except UnhashableArgumentError as error:
                place, rest = columns.placed(error)
                error.path = f"[{done + place}]{rest}"
                raise
            out.flush()
            done += len(run)
        return self.end(running)

    def _each(self, values: Sequence[Any], tokens: list[bytes]) -> None:
        """Add the token of each value: `token`, inlined, for most of the time goes here."""
        compound, scalars, long = self._compound, SCALARS, self.long
        add = tokens.append
        position = 0
        try:
            for value in values:
                scalar = scalars.get(type(value))
                if scalar is None:
                    add(compound(value))
                else:
                    add(scalar(value) or long(value))
                position += 1
        except UnhashableArgumentError as error:
            error.within(f"[{position}]")
            raise

    def mapping(self, tag: bytes, items: Iterable[tuple[Any, Any]]) -> bytes:
        """Give the token of key-value pairs in no order: sorted by token, never by value."""
        token = self.token
        pairs = []
        key: Any = None
        try:
            for key, value in self.in_order(items):
                pairs.append(token(key) + token(value))
        except UnhashableArgumentError as error:
            error.within(f"[{_shown(key)}]")
            raise
        pairs.sort()
        return self.node(tag, *pairs)

    def dictionary(self, value: dict[Any, Any]) -> bytes:
        """Give the token of an exact dict.

        One with many keys is packed if it is plain, and else two columns, in the order of its keys.
        """
        if len(value) < 2:
            return self.mapping(b"dict", value.items())
        kinds = set(map(type, value))
        if len(value) <= columns.FEW:
            if kinds == {str} and CONTAINERS & set(map(type, value.values())):
                packed = self._small_tree(value)
                if packed is not None:
                    return self.leaf(b"dict:p", packed)
            return self.mapping(b"dict", value.items())
        if kinds == {str} and len(value) <= WHOLE:
            packed, _ = pack(value, columns.DEEPEST_PLAIN, columns.MOST_PLAIN * len(value))
            if packed is not None:
                return self.leaf(b"dict:p", packed)
        if _have_own_order(value, kinds):
            keys = sorted(value)
            held = list(map(value.__getitem__, keys))
            names = self.sequence(b"names", keys)
        else:
            keys, held, tokens = self._by_token(value)
            if len(set(tokens)) < len(tokens):  # several NaNs: only what they stand for tells
                return self.mapping(b"dict", value.items())
            names = self.node(b"names", *tokens)
        try:
            values = self.sequence(b"values", held)
        except UnhashableArgumentError as error:
            place, rest = columns.placed(error)
            error.path = f"[{_shown(keys[place])}]{rest}"
            raise
        return self.node(b"dict:c", names, values)

    def _by_token(self, value: dict[Any, Any]) -> tuple[list[Any], list[Any], list[bytes]]:
        """Give a dict's keys, its values and the keys' tokens, in the order of these."""
        keys, held, tokens = list[Any](), list[Any](), list[bytes]()
        for key, one in self.in_order(value.items()):
            try:
                tokens.append(self.token(key))
            except UnhashableArgumentError as error:
                error.within(f"[{_shown(key)}]")
                raise
            keys.append(key)
            held.append(one)
        places = sorted(range(len(keys)), key=tokens.__getitem__)
        return [keys[n] for n in places], [held[n] for n in places], [tokens[n] for n in places]

    def unordered(self, tag: bytes, values: Iterable[Any]) -> bytes:
        """Give the token of values in no order: many texts or integers as a column, sorted."""
        held = list(values)
        if len(held) > columns.FEW and _have_own_order(held, set(map(type, held))):
            return self.sequence(tag, sorted(held))
        if self._ordered or self.code is not None:
            pairs = self.in_order([(value, None) for value in held])
            return self.node(tag, *sorted([self.token(value) for value, _ in pairs]))
        return self.node(tag, *sorted(map(self.token, held)))

    def record(self, tag: bytes, *values: Any) -> bytes:
        """Give the token of something that is made of ``values``."""
        return self.node(tag, *map(self.token, values))

    def attribute(self, name: str, value: Any) -> bytes:
        """Give the token of an attribute's value, with its name in the path of an error."""
        try:
            return self.token(value)
        except UnhashableArgumentError as error:
            error.within(f".{name}")
            raise


class _Outline(Encoder):
    """Gives what a value is at first sight: what is inside of its parts does not count."""

    __slots__ = ()

    def __init__(self, digest: Digest, code: Callable[[Any, Encoder], bytes] | None) -> None:
        super().__init__(digest, code)
        self._ordered = True

    def _compound(self, value: Any) -> bytes:
        return super()._compound(value) if len(self._stack) < 2 else b"~"

    def _again(self, identity: int) -> bytes:
        return b"~"

    def in_order(self, items: Iterable[tuple[Any, Any]]) -> Iterable[tuple[Any, Any]]:
        return items


def _have_own_order(values: Collection[Any], kinds: set[type]) -> bool:
    """Whether to sort values of some types gives one order, whatever they were in before."""
    if kinds != {tuple}:
        return kinds in _SORTABLE
    places = zip(*values) if len(set(map(len, values))) == 1 else [values]
    return all(set(map(type, place)) in _SORTABLE for place in places)


def _no(kind: type) -> bool:
    return False


def _registered(kind: type) -> Callable[[Any], Any] | None:
    if not REGISTERED:
        return None
    return REGISTERED.get(kind) or REGISTERED.get(f"{kind.__module__}.{kind.__qualname__}")


def _package(kind: type) -> str:
    module = kind.__module__
    return module.partition(".")[0] if isinstance(module, str) else ""


def _shown(key: Any) -> str:
    return repr(key) if type(key) in SCALARS else f"<{type(key).__name__}>"
