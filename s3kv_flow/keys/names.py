"""The names that a piece of code reads: globals, attributes of modules, imports inside of it."""

from __future__ import annotations

import ast
import collections
import dataclasses
import dis
import re
import types
import typing
from collections.abc import Iterable, Iterator
from typing import Any, Final

from s3kv_flow.keys import source


@dataclasses.dataclass(frozen=True, slots=True)
class Names:
    """What a function reads, by how it reads it."""

    globals: tuple[str, ...]
    chains: dict[str, tuple[tuple[str, ...], ...]]
    bare: frozenset[str]
    written: frozenset[str]
    stored: frozenset[str]
    #: Attributes that are only written, with the names of what has them; and those that are read.
    kept: frozenset[tuple[str, str]]
    attributes: frozenset[str]
    #: The names of what any attribute may be read of.
    whole: frozenset[str]
    imports: tuple[tuple[int, str], ...]
    #: What is asked of some function or class that does not count by itself.
    asks: frozenset[str]

    def imports_in(self, namespace: dict[str, Any]) -> list[str]:
        """Give the user modules that are imported inside of the function."""
        found = set()
        for level, name in self.imports:
            module = absolute(level, name, namespace.get("__package__") or "")
            if module and source.module_text(module) is not None:
                found.add(module)
        return sorted(found)


#: What does not count by itself, and who reads it.
ASKERS: Final = {
    "__doc__": frozenset({"__doc__", "getdoc"}),
    "__annotations__": frozenset(
        {"__annotations__", "get_annotations", "get_type_hints", "getfullargspec", "signature"}
    ),
}


def absolute(level: int, name: str, package: str) -> str:
    """Give the full name of a module that was imported by a relative one."""
    if not level:
        return name
    parts = package.split(".")
    base = ".".join(parts[: len(parts) - level + 1])
    return f"{base}.{name}" if name else base


_names: dict[int, tuple[types.CodeType, Names]] = {}


def names_of(code: types.CodeType, node: ast.AST | None) -> Names:
    """Give what a piece of code reads; collected once."""
    known = _names.get(id(code))
    if known is None or known[0] is not code:
        known = _names[id(code)] = code, _collect_names(code, node)
    return known[1]


def _collect_names(code: types.CodeType, node: ast.AST | None) -> Names:
    read: set[str] = set()
    pending = [code]
    while pending:
        one = pending.pop()
        for instruction in dis.get_instructions(one):
            if instruction.opname in _LOADS:
                read.add(instruction.argval)
        pending.extend(each for each in one.co_consts if isinstance(each, types.CodeType))
    chains: dict[str, set[tuple[str, ...]]] = {}
    imports = set() if node is not None else set(_imports_of(code))
    under_attribute: set[int] = set()
    bare: set[str] = set()
    attributes: set[str] = set()
    for part in ast.walk(node) if node is not None else ():
        if isinstance(part, ast.Attribute):
            attributes.add(part.attr)
            path, value = [part.attr], part.value
            while isinstance(value, ast.Attribute):
                path.append(value.attr)
                value = value.value
            if isinstance(value, ast.Name):
                chains.setdefault(value.id, set()).add(tuple(reversed(path)))
                under_attribute.add(id(value))
        elif isinstance(part, ast.ImportFrom):
            imports.update((part.level, dotted(part.module, alias.name)) for alias in part.names)
            imports.add((part.level, part.module or ""))
        elif isinstance(part, ast.Import):
            imports.update((0, one) for alias in part.names for one in with_parents(alias.name))
    for part in ast.walk(node) if node is not None else ():
        if isinstance(part, ast.Name) and id(part) not in under_attribute:
            bare.add(part.id)
    named = bare | attributes if node is not None else set(code.co_names)
    if node is not None:
        read |= _with_dead_code(node) - _locals(code)
        read -= _only_annotated(node)
    return Names(
        tuple(sorted(read)),
        {name: tuple(sorted(found)) for name, found in chains.items()},
        frozenset(bare),
        _only_written(node) if node is not None else frozenset(),
        _stored(node) if node is not None else frozenset(),
        _kept(node) if node is not None else frozenset(),
        *(_read_attributes(node) if node is not None else (frozenset(code.co_names), frozenset())),
        tuple(sorted(imports)),
        frozenset(what for what, askers in ASKERS.items() if named & askers),
    )


def _imports_of(code: types.CodeType) -> Iterator[tuple[int, str]]:
    """Give what code without a text imports."""
    consts: list[Any] = []
    level, module = 0, ""
    for instruction in dis.get_instructions(code):
        if instruction.opname in ("LOAD_CONST", "LOAD_SMALL_INT"):
            consts.append(instruction.argval)
        elif instruction.opname == "IMPORT_NAME":
            level = next((one for one in consts[-2:-1] if isinstance(one, int)), 0)
            module = instruction.argval
            yield from ((level, one) for one in with_parents(module))
        elif instruction.opname == "IMPORT_FROM":
            yield level, dotted(module, instruction.argval)
    for one in code.co_consts:
        if isinstance(one, types.CodeType):
            yield from _imports_of(one)


def _with_dead_code(node: Any) -> set[str]:
    """Give all names that a function reads, where Python has no code for some of it with or without -O.

    What follows an ``if __debug__: return`` is such, too.
    """
    body = node.body if isinstance(node.body, list) else [node.body]
    parts = [part for one in body for part in ast.walk(one)]
    names = [part for part in parts if isinstance(part, ast.Name)]
    if not any(isinstance(part, ast.Assert) for part in parts) and not any(
        name.id == "__debug__" for name in names
    ):
        return set()
    stored = {name.id for name in names if not isinstance(name.ctx, ast.Load)}
    given = {part.arg for part in parts if isinstance(part, ast.arg)}
    caught = {part.name for part in parts if isinstance(part, ast.ExceptHandler)}
    defined = {part.name for part in parts if isinstance(part, _DEFINITIONS)}
    return {name.id for name in names} - stored - given - caught - defined


_DEFINITIONS: Final = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)


def _locals(code: types.CodeType) -> set[str]:
    found = {*code.co_varnames, *code.co_cellvars, *code.co_freevars}
    for one in code.co_consts:
        if isinstance(one, types.CodeType):
            found |= _locals(one)
    return found


def names_in_text(annotations: Iterable[Any]) -> set[str]:
    """Give the names that annotations read which are text, or have text inside."""
    found: set[str] = set()
    for stated in annotations:
        texts = [stated] if isinstance(stated, str) else _texts_in(stated)
        for text in texts:
            try:
                tree = ast.parse(text, mode="eval")
            except (SyntaxError, ValueError):
                continue
            found |= {part.id for part in ast.walk(tree) if isinstance(part, ast.Name)}
    return found


def _texts_in(stated: Any, depth: int = 4) -> Iterator[str]:
    for one in typing.get_args(stated) if depth else ():
        if isinstance(one, typing.ForwardRef):
            yield one.__forward_arg__
        yield from _texts_in(one, depth - 1)


_LOADS: Final = frozenset({"LOAD_GLOBAL", "LOAD_NAME", "LOAD_FROM_DICT_OR_GLOBALS"})


def with_parents(name: str) -> list[str]:
    """Give the names of a module and of all packages that it is in, which are imported with it."""
    parts = name.split(".")
    return [".".join(parts[: place + 1]) for place in range(len(parts))]


def _only_annotated(node: ast.AST) -> set[str]:
    """Give the names that only annotations of local names and of functions inside read: they do not count."""
    classes = (part for part in ast.walk(node) if isinstance(part, ast.ClassDef))
    fields = {id(part) for kind in classes for part in kind.body}
    annotations: list[ast.AST | None] = []
    for part in ast.walk(node):
        if isinstance(part, ast.AnnAssign) and id(part) not in fields:
            annotations.append(part.annotation)
        if isinstance(part, (ast.FunctionDef, ast.AsyncFunctionDef)) and not part.decorator_list:
            given = part.args
            every = (*given.posonlyargs, *given.args, *given.kwonlyargs, given.vararg, given.kwarg)
            annotations += [part.returns, *(one.annotation for one in every if one is not None)]
    inside = {
        id(name): name.id
        for annotation in annotations
        if annotation is not None
        for name in ast.walk(annotation)
        if isinstance(name, ast.Name)
    }
    names = (part for part in ast.walk(node) if isinstance(part, ast.Name))
    return set(inside.values()) - {part.id for part in names if id(part) not in inside}


#: Methods that change a container and tell nothing of it, as statements of their own.
_WRITES: Final = frozenset({"add", "append", "appendleft", "clear", "extend", "insert", "update"})
_STORES: Final = _WRITES | {"move_to_end", "pop", "popitem", "setdefault"}
#: Where such a method, or an assignment to an item, is what it looks like.
WRITABLE: Final = frozenset(
    {list, set, dict, collections.deque, collections.Counter, collections.defaultdict, int, float}
)


def _only_written(node: ast.AST) -> frozenset[str]:
    """Give the names that a function writes to and never reads, such as a log of its calls.

    What lies under them cannot change what the function gives, so it does not count.
    """
    written: set[int] = set()
    for part in ast.walk(node):
        target: ast.AST | None = None
        if isinstance(part, ast.Expr) and isinstance(part.value, ast.Call):
            called = part.value.func
            if isinstance(called, ast.Attribute) and called.attr in _WRITES:
                target = called.value
        elif isinstance(part, ast.AugAssign):
            target = part.target.value if isinstance(part.target, ast.Subscript) else part.target
        elif isinstance(part, ast.Assign) and len(part.targets) == 1:
            place = part.targets[0]
            target = place.value if isinstance(place, ast.Subscript) else None
        if isinstance(target, ast.Name):
            written.add(id(target))
    names = [part for part in ast.walk(node) if isinstance(part, ast.Name)]
    read = {part.id for part in names if id(part) not in written}
    return frozenset({part.id for part in names if id(part) in written} - read)


#: In place of the name of the class that a method is of, and of an attribute that has any name.
THE_CLASS: Final = "class"
ANY_NAME: Final = "*"

#: What is told an attribute's name, and what goes through all that something has.
_BY_NAME: Final = frozenset({"getattr", "getattr_static", "hasattr"})
_OF_ALL: Final = frozenset({"dir", "getmembers", "vars"})


def _kept(node: ast.AST) -> frozenset[tuple[str, str]]:
    """Give the attributes that a function writes or adds to, with the names of what has them."""
    attributes = (part for part in ast.walk(node) if isinstance(part, ast.Attribute))
    stored = (part for part in attributes if isinstance(part.ctx, ast.Store))
    owners = ((_owner(part.value), part.attr) for part in stored)
    return frozenset((owner, name) for owner, name in owners if owner is not None)


def _owner(part: ast.expr) -> str | None:
    if isinstance(part, ast.Name):
        return THE_CLASS if part.id == "cls" else part.id
    if isinstance(part, ast.Attribute):
        return THE_CLASS if part.attr == "__class__" else None
    is_type = isinstance(part, ast.Call) and getattr(part.func, "id", "") == "type"
    return THE_CLASS if is_type else None


def _read_attributes(node: ast.AST) -> tuple[frozenset[str], frozenset[str]]:
    """Give the names of attributes that a function reads, and the names of what it may read any attribute of."""
    found: set[str] = set()
    whole: set[str | None] = set()
    for part in ast.walk(node):
        if isinstance(part, ast.Attribute) and not isinstance(part.ctx, ast.Store):
            found.add(part.attr)
            if part.attr == "__dict__":
                whole.add(_owner(part.value))
        elif isinstance(part, ast.Name) and part.id in ("eval", "exec"):
            found.add(ANY_NAME)
        elif isinstance(part, ast.MatchClass):
            found.update(part.kwd_attrs)
        elif isinstance(part, ast.Constant) and isinstance(part.value, str):
            found.update(_IN_FORMAT.findall(part.value))
        elif isinstance(part, ast.Call) and part.args:
            called = getattr(part.func, "attr", None) or getattr(part.func, "id", None)
            texts = [one.value for one in part.args if isinstance(one, ast.Constant)]
            if called in _BY_NAME or called == "attrgetter":
                found.update(*(one.split(".") for one in texts if isinstance(one, str)))
            name = part.args[1] if called in _BY_NAME and len(part.args) > 1 else None
            if called in _OF_ALL or not isinstance(name, (ast.Constant, type(None))):
                whole.add(_owner(part.args[0]))
    return frozenset(found), frozenset(one for one in whole if one is not None)


#: ``{0.name}``
_IN_FORMAT: Final = re.compile(r"\{\w*\.(\w+)")


def _stored(node: ast.AST) -> frozenset[str]:
    """Give the names that a function rebinds, or puts something into."""
    found = set()
    for part in ast.walk(node):
        is_store = isinstance(getattr(part, "ctx", None), ast.Store)
        if isinstance(part, ast.Name) and is_store:
            found.add(part.id)
        changes = (
            is_store if isinstance(part, ast.Subscript) else getattr(part, "attr", "") in _STORES
        )
        holder = getattr(part, "value", None)
        if changes and isinstance(holder, ast.Name):
            found.add(holder.id)
    return frozenset(found)


def dotted(module: str | None, name: str) -> str:
    """Give the full name of what is imported from a module."""
    return f"{module}.{name}" if module else name
