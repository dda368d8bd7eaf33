"""What a function is: its own code, and all user code and data it reaches.

The functions and classes that one function reaches form a graph, with cycles. It is walked from
the root, breadth first; each part is encoded once, referring to others by a label, their own text. So a
walk is linear, recursion needs no special care, and equal graphs get equal tokens, in whatever order
they are walked. Where parts look alike, what was found of each is its label in another round, until
no round tells more of them apart: the refinement of partitions, as automata are minimised (Moore 1956).

A walk leaves *guards*: all that it read and that could change while the process lives. The next
call only checks them, mostly by identity, and walks again when one has changed.
"""

from __future__ import annotations

import ast
import builtins
import dataclasses
import enum
import inspect
import logging
import operator
import sys
import types
import warnings
from collections import Counter, defaultdict, deque
from collections.abc import Collection, Iterable, Iterator
from typing import Any, Final

from s3kv_flow.errors import UnhashableArgumentError, UnstableKeyWarning
from s3kv_flow.keys import source
from s3kv_flow.keys.classes import MARKS, cache_of, written
from s3kv_flow.keys.digest import Digest
from s3kv_flow.keys.fields import fields_of
from s3kv_flow.keys.guards import (
    ANYTHING,
    CONTAINERS,
    MISSING,
    Guards,
    by_identity,
    contents,
    is_constant,
    registry_of,
)
from s3kv_flow.keys.names import ANY_NAME, THE_CLASS, WRITABLE, Names, names_in_text, names_of
from s3kv_flow.keys.qualified import name_of
from s3kv_flow.keys.repeated import Repeated
from s3kv_flow.keys.state import state_of
from s3kv_flow.keys.token import SCALARS, Encoder
from s3kv_flow.keys.trees import Sources, bytecode_token, module_sources, tree_token

#: Parts that look alike are told apart in so many rounds: each costs a walk.
MOST_ROUNDS: Final = 16

#: A global of more bytes than this is hashed at each call, and a warning says so.
LARGE_GLOBAL_BYTES: Final = 16 * 1024 * 1024


@dataclasses.dataclass(frozen=True, slots=True)
class Walked:
    """What a walk has found: a token, and what tells whether it would find it again."""

    token: bytes
    guards: Guards
    digest: str
    parts: dict[str, bytes] = dataclasses.field(default_factory=dict)


def note(parts: dict[str, bytes], what: str, token: bytes, encoder: Encoder) -> None:
    """Note a part under its name; several of one name, as two lambdas are, together."""
    known = parts.get(what)
    if known is None:
        parts[what] = token
    elif known != token:
        parts[what] = encoder.node(b"several", known, token)


#: Walks of functions and classes that were met as values, by identity. A walk holds what it has read:
#: of one name, which may be that of ever new lambdas, only so many are kept.
_walks: dict[int, tuple[Any, Walked]] = {}
_walks_of_a_name: defaultdict[str, deque[int]] = defaultdict(deque)
MOST_OF_A_NAME: Final = 8


def code_token(value: Any, encoder: Encoder) -> bytes:
    """Give the token of a user's function or class met among values."""
    if encoder.code is not None:
        return encoder.code(value, encoder)
    known = _walks.get(id(value))
    if known is not None:
        walked = known[1]
        if walked.digest == encoder.digest.name and walked.guards.hold(encoder.digest):
            return walked.token
    walk = Walk(encoder.digest, deep=True, root=None)
    walk.refer(value, encoder)
    walked = walk.walked()
    if known is None:
        of_its_name = _walks_of_a_name[name_of(value)]
        of_its_name.append(id(value))
        if len(of_its_name) > MOST_OF_A_NAME:
            _walks.pop(of_its_name.popleft(), None)
    _walks[id(value)] = value, walked
    return walked.token


@dataclasses.dataclass(frozen=True, slots=True)
class _Defaults:
    """The defaults of the root, where something reaches it."""

    function: types.FunctionType


class Walk:
    """One walk over a function, or over what is met as a value, and all that it reaches."""

    def __init__(
        self, digest: Digest, *, deep: bool, root: Any, left_out: Collection[tuple[int, str]] = ()
    ) -> None:
        self.guards = Guards()
        self._left_out = left_out
        #: Attributes of functions and classes, by identity, that are written; and those that are read.
        self._kept: set[tuple[int, str]] = set()
        self._attributes: set[str] = set()
        self._kept_of_classes: set[str] = set()
        self._whole: set[int] = set()
        self._deep = deep
        self._encoder = Encoder(digest, self.refer)
        self._guarded: set[int] = set()
        self._labels: dict[int, bytes] = {}
        self._parts: list[Any] = []
        #: What each function and class is made of, without what it refers to.
        self.parts: dict[str, bytes] = {}
        self._root = root
        self._asks: set[str] = set()
        self._opaque_now: set[int] = set()
        # The root's arguments, defaults included, are bound at each call; what it reaches may call it.
        self._defaults_aside = type(root) is types.FunctionType
        # The root's name is in the key's path: it does not count, nor those of what it wraps.
        self._unnamed: set[int] = set()
        inner = root
        while type(inner) is types.FunctionType and id(inner) not in self._unnamed:
            self._unnamed.add(id(inner))
            inner = inner.__dict__.get("__wrapped__")
        if root is not None:
            self._add(root, self._encoder.node(b"root"))

    def walked(self) -> Walked:
        """Walk: once more without what code only keeps in functions and classes, such as a count of calls."""
        token = self.run()
        classes = [part for part in self._parts if isinstance(part, type)]
        of_classes = {
            (id(kind), name)
            for kind in classes
            for name in self._kept_of_classes & vars(kind).keys()
        }
        written = self._kept | (set() if id(THE_CLASS) in self._whole else of_classes)
        kept = {
            (owner, name)
            for owner, name in written
            if name not in self._attributes and owner not in self._whole
        }
        if kept and not self._left_out and ANY_NAME not in self._attributes:
            again = Walk(self._encoder.digest, deep=self._deep, root=self._root, left_out=kept)
            if self._root is None:
                again.refer(self._parts[0], again._encoder)
            return again.walked()
        return Walked(token, self.guards, self._encoder.digest.name, self.parts)

    def refer(self, value: Any, encoder: Encoder) -> bytes:
        """Give a reference to a part of the graph, which is visited in its turn."""
        if value is self._root and self._defaults_aside:
            self._defaults_aside = False
            self._add(_Defaults(value), self._encoder.node(b"defaults"))
        label = self._labels.get(id(value))
        if label is None:
            label = self._add(value, self._own(value))
        return label

    def _add(self, part: Any, own: bytes) -> bytes:
        label = self._labels[id(part)] = b"u" + own
        self._parts.append(part)
        return label

    def _own(self, value: Any) -> bytes:
        """Give what can be seen of a function or a class in itself."""
        own = _label(value, self._encoder.digest)
        return self._encoder.node(b"label", self._called(value), own)

    def _called(self, value: Any) -> bytes:
        return b"" if id(value) in self._unnamed else self._encoder.token(value.__name__)

    def run(self) -> bytes:
        walk: Walk = self
        found = walk.found()
        for following in (*[_Refining] * MOST_ROUNDS, _Numbering):
            if len(set(found)) == len(set(walk._labels.values())):
                break
            walk = following(walk, found)
            found = walk.found()
        return self._encoder.node(b"code", *found[:1], *sorted(set(found[1:])))

    def found(self) -> list[bytes]:
        """Encode each part, referring to the others by their labels."""
        made_of: list[list[bytes]] = []
        while len(made_of) < len(self._parts):
            part = self._parts[len(made_of)]
            made_of.append([self._labels[id(part)], self._made_of(part)])
            if len(made_of) == len(self._parts):
                asked = [[*self._asked(part)] for part in self._parts[:]]
        return [self._encoder.node(b"part", *one, *more) for one, more in zip(made_of, asked)]

    def _made_of(self, part: Any) -> bytes:
        if isinstance(part, _Defaults):
            return b"".join(self._defaults(part.function))
        if type(part) is types.FunctionType:  # a proxy would say that it is one
            return self._function(part)
        if issubclass(type(part), type):
            return self._class(part)
        token = self._data(part, "function")  # a callable object at the root
        self._note("what the callable object holds", token)
        return token

    def _asked(self, part: Any) -> Iterator[bytes]:
        """Give what any code that was met reads of a part that does not count by itself."""
        for what in sorted(self._asks):
            read = _read(part, what)
            if read is not None:
                yield self._encoder.token(what) + self._data(read, f"{name_of(part)}.{what}")

    # Functions

    def _function(self, function: types.FunctionType) -> bytes:
        encoder = self._encoder
        self.guards.watch(function)
        if cache_of(function) is not None:  # the root is cached already
            return encoder.node(b"cached", encoder.token(function))
        registry = registry_of(function)
        if registry is not None:  # by what it dispatches to, and not by what it was asked
            plain = encoder.token(inspect.unwrap(function))
            return encoder.node(b"singledispatch", plain, self._data(registry, name_of(function)))
        node = source.node_of(function)
        code = function.__code__
        root = function is self._root
        if "__wrapped__" in function.__dict__ and _is_made_by_package(function):
            return self._wrapper(function, node)
        names = names_of(code, node)
        self._asks |= names.asks
        self._note_kept(function, names)
        counted = {
            name: one
            for name, one in function.__dict__.items()
            if name not in MARKS and (id(function), name) not in self._left_out
        }
        self.guards.names.extend((function.__dict__, *one) for one in counted.items())
        copied = getattr(counted.get("__wrapped__"), "__dict__", {})  # by `functools.wraps`
        own_attributes = {
            name: one for name, one in counted.items() if copied.get(name, MISSING) is not one
        }
        own = name_of(function)
        parts = [
            self._called(function),
            _text(function, encoder),
        ]
        self._note(f"code of {own}", parts[1])
        if not root:
            defaults = self._defaults(function)
            self._note(f"defaults of {own}", encoder.node(b"defaults", *defaults))
            parts += defaults
        for name, cell in zip(code.co_freevars, function.__closure__ or ()):
            value = contents(cell)
            if name in names.written and type(value) in WRITABLE:
                continue
            self.guards.cells.append((cell, value))
            held = self._data(value, name)
            self._note(f"{name}, which {own} closes over", held)
            parts.append(encoder.token(name) + held)
        if self._deep:
            for label, token in self._references(function, node):
                self._note(f"{label}, which {own} reads", token)
                parts.append(encoder.token(label) + token)
        kept = self._each(b"attributes", sorted(own_attributes.items()))
        if own_attributes:
            self._note(f"attributes of {own}", *kept)
        return encoder.node(b"function", *parts, *kept)

    def _note_kept(self, function: types.FunctionType, names: Names) -> None:
        self._attributes |= names.attributes
        if names.kept or names.whole:
            cells = zip(function.__code__.co_freevars, map(contents, function.__closure__ or ()))
            known = {**function.__globals__, **dict(cells)}
            self._whole |= {id(known.get(name, name)) for name in names.whole}
            for name, attribute in names.kept:
                owner = known.get(name)
                if attribute.startswith("__"):  # Python itself reads those
                    continue
                if name == THE_CLASS:
                    self._kept_of_classes.add(attribute)
                elif isinstance(owner, (types.FunctionType, type)):
                    self._kept.add((id(owner), attribute))

    def _defaults(self, function: types.FunctionType) -> list[bytes]:
        return [
            *self._each(b"defaults", enumerate(function.__defaults__ or ())),
            *self._each(b"keyword defaults", (function.__kwdefaults__ or {}).items()),
        ]

    def _wrapper(self, function: types.FunctionType, node: ast.AST | None) -> bytes:
        """Give what a decorator of a package made of a user's function.

        What it keeps for itself does not count: attributes with statistics, a memo that it fills.
        """
        code, wrapped = function.__code__, function.__dict__["__wrapped__"]
        self.guards.names.append((function.__dict__, "__wrapped__", wrapped))
        own = self._data(wrapped, name_of(function))
        if "_torchdynamo_orig_callable" in function.__dict__:  # it keeps what it compiled
            return self._encoder.node(b"compiled", own)
        if "__beartype_wrapper" in function.__dict__:
            checked = self._data(getattr(wrapped, "__annotations__", None), name_of(function))
            return self._encoder.node(b"checked", own, checked)
        made_by = f"{function.__globals__.get('__name__')}:{code.co_name}"
        parts = [self._encoder.token(made_by), own]
        names = names_of(code, node)
        for name, cell in zip(code.co_freevars, function.__closure__ or ()):
            if name not in names.stored:
                value = contents(cell)
                self.guards.cells.append((cell, value))
                held = self._data(value, name)
                self._note(f"{name}, which the decorator of {name_of(function)} has", held)
                parts.append(self._encoder.token(name) + held)
        return self._encoder.node(b"wrapper", *parts)

    def _note(self, what: str, token: bytes) -> None:
        if not token.startswith(b"u"):  # a reference: what it refers to has notes of its own
            note(self.parts, what, token, self._encoder)

    def _each(self, tag: bytes, items: Iterable[tuple[Any, Any]]) -> list[bytes]:
        encoder = self._encoder
        tokens = [encoder.token(name) + self._data(value, str(name)) for name, value in items]
        return [encoder.node(tag, *tokens)]

    def _references(
        self, function: types.FunctionType, node: ast.AST | None
    ) -> Iterator[tuple[str, bytes]]:
        """Give what a function reads by name, following attributes through user modules."""
        encoder, namespace = self._encoder, function.__globals__
        names = names_of(function.__code__, node)
        for name in names.globals:
            if name in _OF_EVERY_MODULE:
                continue
            value = namespace.get(name, MISSING)
            if name in names.written and type(value) in WRITABLE:
                continue
            self.guards.names.append((namespace, name, value))
            if value is MISSING:
                yield name, b"builtin" if hasattr(builtins, name) else b"missing"
            elif isinstance(value, logging.Logger) and value.name == namespace.get("__name__"):
                # The function may have come from another process, where a script has another name.
                own = source.module_name(value.name, namespace)
                yield name, encoder.record(b"logger", own)
            elif isinstance(value, types.ModuleType) and source.is_user_module(value.__name__):
                if name in names.bare or node is None:
                    self._watch(module_sources(value.__name__, encoder))
                    yield name, encoder.token(value)
                for chain in names.chains.get(name, ()):
                    yield self._through_modules(name, value, chain)
            else:
                yield name, self._data(value, name)
        for module in names.imports_in(namespace):
            sources = module_sources(module, encoder)
            self._watch(sources)
            yield f"import {module}", encoder.token(sources.tokens)

    def _watch(self, sources: Sources) -> None:
        """Walk again when one of these modules has been loaded, or loaded anew, or edited before."""
        self.guards.files.extend((file, source.stamp_of(file)) for file in sources.unloaded)
        for name, _ in sources.tokens:
            module = sys.modules.get(name)
            self.guards.names.append((sys.modules, name, MISSING if module is None else module))
            if module is not None:
                self.guards.names.append((vars(module), "__spec__", module.__spec__))

    def _through_modules(
        self, name: str, module: types.ModuleType, chain: tuple[str, ...]
    ) -> tuple[str, bytes]:
        value: Any = module
        path = name
        for attribute in chain:
            if not isinstance(value, types.ModuleType):
                break
            if attribute == "__dict__":  # whatever is in there
                self._watch(module_sources(value.__name__, self._encoder))
                return f"{path}.__dict__", self._encoder.token(value)
            namespace = vars(value)
            value = namespace.get(attribute, MISSING)
            self.guards.names.append((namespace, attribute, value))
            path += "." + attribute
            if value is MISSING:  # then the module's own function gives it (PEP 562)
                value = namespace.get("__getattr__", MISSING)
                self.guards.names.append((namespace, "__getattr__", value))
        return path, b"missing" if value is MISSING else self._data(value, path)

    def _named_in_annotations(self, kind: type) -> Iterator[bytes]:
        """Give what annotations name that are text: libraries look it up in the class's module."""
        namespace = getattr(sys.modules.get(kind.__module__), "__dict__", {})
        for name in sorted(names_in_text(inspect.get_annotations(kind).values())):
            value = namespace.get(name, MISSING)
            self.guards.names.append((namespace, name, value))
            if isinstance(value, type):
                yield self._encoder.token(name) + self._data(value, name)

    def _annotation(self, stated: Any) -> bytes:
        try:
            return self._encoder.token(stated)
        except UnhashableArgumentError:
            return self._encoder.record(b"opaque", name_of(type(stated)))

    def _data(self, value: Any, name: str) -> bytes:
        """Give the token of a value that code reads; one without a key counts by its type."""
        if value is MISSING:
            return b"missing"
        try:
            token = self._encoder.token(value)
        except UnhashableArgumentError as error:
            kind = type(value)
            if kind in CONTAINERS and id(value) not in self._opaque_now:
                self.guards.watch_opaque(value)
                return self._members(value, f"{name}[...]")
            self._warn(
                f"{name!r}, which a cached function reads, counts in its key only by its type "
                f"{kind.__module__}.{kind.__qualname__}: {error.what}"
            )
            return self._opaque(value)
        if cache_of(value) is not None:
            self.guards.watch(value)
        if type(value) is operator.attrgetter:
            self._attributes.update(*(one.split(".") for one in value.__reduce__()[1]))
        if id(value) not in self._guarded and not is_constant(value):
            self._guarded.add(id(value))  # many functions may read one registry
            self._guard(value, name)
        return token

    def _members(self, value: Any, name: str) -> bytes:
        """Give the token of a container of which some members have no key: of each by itself."""
        self._opaque_now.add(id(value))
        try:
            if isinstance(value, dict):
                pairs = value.items()
                held = [self._data(key, name) + self._data(one, name) for key, one in pairs]
            else:
                held = [self._data(one, name) for one in value]
        finally:
            self._opaque_now.remove(id(value))
        if not isinstance(value, (list, tuple)):
            held.sort()
        return self._encoder.node(b"members", self._encoder.token(type(value)), *held)

    def _opaque(self, value: Any) -> bytes:
        """Give the token of an object without a key: its type, and what it holds that has one."""
        kind = type(value)
        token = self._encoder.record(b"opaque", name_of(kind))
        is_users = kind is types.SimpleNamespace or source.is_user_module(kind.__module__)
        if not is_users or id(value) in self._opaque_now:
            return token
        self._opaque_now.add(id(value))
        self.guards.watch_opaque(value)
        try:
            held = [
                self._encoder.token(name) + self._data(one, f"{kind.__qualname__}.{name}")
                for name, one in sorted(state_of(value).items())
            ]
        finally:
            self._opaque_now.remove(id(value))
        return self._encoder.node(b"partly opaque", token, self._encoder.token(kind), *held)

    def _guard(self, value: Any, name: str) -> None:
        """Look at a value again in each call."""
        size = _bytes_of(value)
        if size > LARGE_GLOBAL_BYTES:
            self._warn(
                f"{name!r}, which a cached function reads, is hashed at each call and has "
                f"{size >> 20} MB; pass it as an argument, or give version="
            )
        repeated = Repeated()
        token = repeated.token(value, Encoder(self._encoder.digest, by_identity))
        self.guards.data.append((value, repeated, token))

    def _warn(self, text: str) -> None:
        warnings.warn(text, UnstableKeyWarning, stacklevel=source.outside())

    # Classes

    def _class(self, kind: type) -> bytes:
        encoder = self._encoder
        members = {
            name: ANYTHING if (id(kind), name) in self._left_out else member
            for name, member in vars(kind).items()
        }
        self.guards.classes.append((kind, members, kind.__bases__))
        parts = [encoder.token(name_of(kind)), *map(encoder.token, kind.__bases__)]
        bases = [encoder.token(name_of(base)) for base in (*kind.__bases__, type(kind))]
        self._note(f"bases of class {name_of(kind)}", encoder.node(b"bases", *bases))
        for name, descriptor, plain in written(kind):
            if members.get(name) is ANYTHING:
                continue
            held = self._data(plain, f"{kind.__qualname__}.{name}")
            self._note(f"{name} of class {name_of(kind)}", held)
            parts.append(encoder.token(name) + encoder.token(descriptor) + held)
        # Libraries make fields of annotations: they count, though they change no method.
        fields = [
            encoder.token(name) + self._annotation(stated)
            for name, stated in inspect.get_annotations(kind).items()
        ]
        fields += self._named_in_annotations(kind)
        if issubclass(kind, enum.Enum):
            values = tuple((name, member.value) for name, member in kind.__members__.items())
            parts.append(self._data(values, kind.__qualname__))
            self._note(f"members of {name_of(kind)}", parts[-1])
        for name, stated in fields_of(kind):
            # Each by itself: one without a key does not hide what was said beside it.
            about = [self._data(one, f"{kind.__qualname__}.{name}") for one in stated]
            fields.append(encoder.token(name) + encoder.node(b"field", *about))
        if fields:
            parts.append(encoder.node(b"fields", *fields))
            self._note(f"fields of class {name_of(kind)}", parts[-1])
        if type(kind) is not type:
            parts.append(encoder.token(type(kind)))
        return encoder.node(b"class", *parts)


class _Refining(Walk):
    """A walk over the parts of another, by what that has found of each; guards and notes are the other's."""

    def __init__(self, walk: Walk, found: list[bytes]) -> None:
        digest = walk._encoder.digest
        super().__init__(digest, deep=walk._deep, root=None, left_out=walk._left_out)
        self._root, self._unnamed = walk._root, walk._unnamed
        for part, label in zip(walk._parts, found):
            self._add(part, label)

    def _guard(self, value: Any, name: str) -> None:
        pass

    def _warn(self, text: str) -> None:
        pass

    def _note(self, what: str, token: bytes) -> None:
        pass


class _Numbering(_Refining):
    """The last walk over a graph that so many did not suffice for: what looks alike has numbers as it is met."""

    def __init__(self, walk: Walk, found: list[bytes]) -> None:
        super().__init__(walk, found[:1])
        self._defaults_aside = type(self._root) is types.FunctionType
        self._found = {id(part): label for part, label in zip(walk._parts, found)}
        self._met: Counter[bytes] = Counter()

    def _own(self, value: Any) -> bytes:
        found = self._found.get(id(value)) or super()._own(value)
        self._met[found] += 1
        return self._encoder.node(b"numbered", found, SCALARS[int](self._met[found]))


def _read(part: Any, what: str) -> Any:
    """Give what does not count by itself of a function or a class, if it has such."""
    if isinstance(part, type):
        return source.docstring_of(part) if what == "__doc__" else None
    if not isinstance(part, types.FunctionType):
        return None
    inner: Any = inspect.unwrap(part)
    node = source.node_of(inner) if isinstance(inner, types.FunctionType) else None
    if what == "__doc__" and isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
        return ast.get_docstring(node, clean=False)  # whether or not Python has left it out
    return getattr(inner, what, None) or None


_OF_EVERY_MODULE: Final = frozenset(
    [
        "__annotations__",
        "__builtins__",
        "__cached__",
        "__debug__",
        "__file__",
        "__import__",
        "__loader__",
        "__name__",
        "__package__",
        "__path__",
        "__spec__",
    ]
)


def _is_made_by_package(function: types.FunctionType) -> bool:
    """Whether the code of a function is a package's, whoever's function it says to be."""
    return "__beartype_wrapper" in function.__dict__ or not source.is_user_module(
        function.__globals__.get("__name__")
    )


def _label(value: Any, digest: Digest) -> bytes:
    """Tell functions and classes apart, as far as it can be seen in themselves."""
    encoder = Encoder(digest)
    if isinstance(value, type):
        return encoder.record(b"class", name_of(value))
    if "__beartype_wrapper" in value.__dict__:  # its code has addresses for names
        return encoder.node(b"checked", _label(inspect.unwrap(value), digest))
    code = value.__code__
    written = names_of(code, source.node_of(value)).written  # as a count of calls is
    cells = zip(code.co_freevars, map(contents, value.__closure__ or ()))
    closed_over = [one for name, one in cells if name not in written or type(one) not in WRITABLE]
    held = [*closed_over, *(value.__defaults__ or ())]
    return encoder.node(b"function", _text(value, encoder), *_seen(held, encoder))


def _seen(held: Iterable[Any], encoder: Encoder) -> Iterator[bytes]:
    for one in held:
        if type(one) in SCALARS:
            yield SCALARS[type(one)](one)
        elif isinstance(one, types.FunctionType):  # what a decorator was given
            yield encoder.token(one.__name__) + _text(one, encoder)


def _text(function: types.FunctionType, encoder: Encoder) -> bytes:
    node = source.node_of(function)
    if node is None:
        return bytecode_token(function.__code__, encoder)
    return tree_token(node, encoder)


def _bytes_of(value: Any) -> int:
    """Give the size of an array; whatever else answers to the name is none."""
    module = type(value).__module__  # no text where Cython made the type
    if str(module).partition(".")[0] not in ("numpy", "pyarrow", "torch"):
        return 0
    size = getattr(value, "nbytes", 0)
    return size if type(size) is int else 0
