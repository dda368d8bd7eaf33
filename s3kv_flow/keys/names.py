"""The names that a piece of code reads: globals, attributes of modules, imports inside of it."""

from __future__ import annotations

import ast
import collections
import dataclasses
import dis
import types
from itertools import chain
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
    counters: frozenset[tuple[str, str]]
    imports: tuple[tuple[int, str], ...]

    def asks_of(self, name: str) -> list[str]:
        """Give what is read of a function or class under a name, by itself or by `inspect` and `typing`."""
        called = {*self.globals, *chain.from_iterable(chain.from_iterable(self.chains.values()))}
        return [
            attribute
            for attribute, askers in _ASKERS.items()
            if (attribute,) in self.chains.get(name, ()) or (name in self.bare and called & askers)
        ]

    def imports_in(self, namespace: dict[str, Any]) -> list[str]:
        """Give the user modules that are imported inside of the function."""
        found = set()
        for level, name in self.imports:
            module = absolute(level, name, namespace.get("__package__") or "")
            if module and source.module_tree(module)[0] is not None:
                found.add(module)
        return sorted(found)


#: What does not count by itself, and who reads it.
_ASKERS: Final = {
    "__doc__": {"getdoc"},
    "__annotations__": {"get_annotations", "get_type_hints", "getfullargspec", "signature"},
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
            if instruction.opname in ("LOAD_GLOBAL", "LOAD_NAME"):
                read.add(instruction.argval)
        pending.extend(each for each in one.co_consts if isinstance(each, types.CodeType))
    chains: dict[str, set[tuple[str, ...]]] = {}
    imports: set[tuple[int, str]] = set()
    under_attribute: set[int] = set()
    bare: set[str] = set()
    for part in ast.walk(node) if node is not None else ():
        if isinstance(part, ast.Attribute):
            chain, value = [part.attr], part.value
            while isinstance(value, ast.Attribute):
                chain.append(value.attr)
                value = value.value
            if isinstance(value, ast.Name):
                chains.setdefault(value.id, set()).add(tuple(reversed(chain)))
                under_attribute.add(id(value))
        elif isinstance(part, ast.ImportFrom):
            imports.update((part.level, dotted(part.module, alias.name)) for alias in part.names)
            imports.add((part.level, part.module or ""))
        elif isinstance(part, ast.Import):
            imports.update((0, alias.name) for alias in part.names)
    for part in ast.walk(node) if node is not None else ():
        if isinstance(part, ast.Name) and id(part) not in under_attribute:
            bare.add(part.id)
    if node is not None:
        read -= _only_annotated(node)
    return Names(
        tuple(sorted(read)),
        {name: tuple(sorted(found)) for name, found in chains.items()},
        frozenset(bare),
        _only_written(node) if node is not None else frozenset(),
        _stored(node) if node is not None else frozenset(),
        _counters(node) if node is not None else frozenset(),
        tuple(sorted(imports)),
    )


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


def _counters(node: ast.AST) -> frozenset[tuple[str, str]]:
    """Give the attributes that a function only adds to, with the names under which it has their owners."""
    added: set[tuple[str, str]] = set()
    read: set[tuple[str, str]] = set()
    for part in ast.walk(node):
        target = part.target if isinstance(part, ast.AugAssign) else part
        if isinstance(target, ast.Attribute) and isinstance(target.value, ast.Name):
            found = added if target is not part else read
            if found is added or not isinstance(target.ctx, ast.Store):
                found.add((target.value.id, target.attr))
    return frozenset(added - read)


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
