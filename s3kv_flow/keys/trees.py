"""Code as a token: from its syntax tree where one is trusted, else from its bytecode."""

from __future__ import annotations

import ast
import dataclasses
import sys
import types
from typing import Any, Final

from s3kv_flow.keys import source
from s3kv_flow.keys.names import ASKERS, absolute, dotted, names_of, with_parents
from s3kv_flow.keys.token import Encoder

_SKIPPED: Final = frozenset(
    [
        "ctx",
        "type_comment",
        "kind",
        "lineno",
        "col_offset",
        "end_lineno",
        "end_col_offset",
        "decorator_list",
        "returns",
        "annotation",
        "type_params",
        "type_ignores",
    ]
)
#: Fields of a decorated function under which its parameters stand.
_WITH_ANNOTATIONS: Final = frozenset(
    {"args", "posonlyargs", "kwonlyargs", "vararg", "kwarg", "annotation"}
)
_trees: dict[tuple[int, str], tuple[ast.AST, bytes]] = {}


def tree_token(node: ast.AST, encoder: Encoder) -> bytes:
    """Give the token of a syntax tree."""
    known = _trees.get((id(node), encoder.digest.name))
    if known is None:
        names = {
            getattr(part, "attr", None) or getattr(part, "id", None) for part in ast.walk(node)
        }
        keep_docstrings = bool(names & ASKERS["__doc__"])
        # Functions inside are functions that somebody may ask, `singledispatch` for one.
        asked = bool(names & (ASKERS["__annotations__"] | {"register"}))
        body: list[bytes] = []
        _write(node, keep_docstrings, encoder, body, root=True, asked=asked)
        known = _trees[id(node), encoder.digest.name] = node, encoder.node(b"tree", *body)
    return known[1]


def _write(
    node: Any,
    keep_docstrings: bool,
    encoder: Encoder,
    out: list[bytes],
    *,
    root: bool = False,
    annotated: bool = False,
    asked: bool = False,
) -> None:
    """Write a tree without what does not change what it does; the same for Python 3.10 to 3.13.

    Annotations count where something may read them: in a class of its own (``annotated``), and
    on what is decorated inside.
    """
    if isinstance(node, ast.AST):
        in_function = not isinstance(node, (ast.ClassDef, ast.Module))
        is_inside = not root and hasattr(node, "decorator_list")
        is_decorated = is_inside and bool(node.decorator_list or asked)  # type: ignore[attr-defined]
        keeps = is_decorated or (
            annotated and isinstance(node, (ast.AnnAssign, ast.arguments, ast.arg))
        )
        out.append(b"(" + type(node).__name__.encode())
        for name in node._fields:
            value = getattr(node, name, None)
            if name in _SKIPPED and not (
                (name == "decorator_list" and not root)
                or (name in ("annotation", "returns") and keeps)
            ):
                continue
            if root and name == "name" and in_function:
                continue  # the key's path has the name, or whatever the user put in its place
            if value == [] or (value is None and not isinstance(node, ast.Constant)):
                continue
            if isinstance(node, ast.arguments) and name in ("defaults", "kw_defaults") and root:
                value = len(getattr(node, name))  # counted by value, where the function is
            if name == "body" and isinstance(value, list) and not keep_docstrings:
                value = _without_docstring(node, value)
            out.append(name.encode() + b"=")
            if isinstance(node, ast.Constant) and name == "value":
                out.append(encoder.token(value))
            else:
                inside = (isinstance(node, ast.ClassDef) and name == "body") or (
                    keeps and name in _WITH_ANNOTATIONS
                )
                is_args = root and name == "args"
                _write(
                    value,
                    keep_docstrings,
                    encoder,
                    out,
                    root=is_args,
                    annotated=inside,
                    asked=asked,
                )
        out.append(b")")
    elif isinstance(node, list):
        out.append(b"[%d" % len(node))
        for one in node:
            _write(one, keep_docstrings, encoder, out, annotated=annotated, asked=asked)
    else:
        out.append(encoder.token(node))


def _without_docstring(node: ast.AST, body: list[Any]) -> list[Any]:
    if (
        isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef, ast.Module))
        and body
        and isinstance(body[0], ast.Expr)
        and isinstance(body[0].value, ast.Constant)
        and isinstance(body[0].value.value, str)
    ):
        return body[1:]
    return body


def bytecode_token(code: types.CodeType, encoder: Encoder) -> bytes:
    """Without a trusted text: the code as compiled, which differs between versions of Python."""
    constants = [
        bytecode_token(one, encoder) if isinstance(one, types.CodeType) else encoder.token(one)
        for one in code.co_consts
    ]
    shape = [code.co_argcount, code.co_posonlyargcount, code.co_kwonlyargcount, code.co_flags]
    return encoder.node(
        b"bytecode",
        *map(
            encoder.token,
            (
                tuple(sys.version_info[:2]),
                code.co_code,
                code.co_names,
                code.co_varnames,
                code.co_freevars,
                code.co_cellvars,
                shape,
                getattr(code, "co_exceptiontable", b""),
            ),
        ),
        *constants,
    )


@dataclasses.dataclass(frozen=True, slots=True)
class Sources:
    """The code of a user module and of all user modules it imports, loaded or not."""

    #: By name, in order.
    tokens: tuple[tuple[str, bytes], ...]
    #: Files of those that are not loaded yet.
    unloaded: tuple[str, ...]


def module_sources(name: str, encoder: Encoder) -> Sources:
    """Give the code of a user module and of all user modules it imports, loaded or not."""
    found: dict[str, bytes] = {}
    unloaded: list[str] = []
    pending = [name]
    while pending:
        one = pending.pop()
        if one in found:
            continue
        text = source.module_text(one)
        if text is None:
            continue
        if text.unloaded:
            unloaded.append(text.unloaded)
        if text.tree is None:
            codes = [bytecode_token(code, encoder) for code in text.codes]
            found[one] = encoder.node(b"compiled", *codes)
            imports = [names_of(code, None).imports for code in text.codes]
            pending += [absolute(*each, text.package) for held in imports for each in held]
            continue
        found[one] = tree_token(text.tree, encoder)
        for level, module, names in _imports_of(text.tree):
            base = absolute(level, module, text.package)
            pending.append(base)
            pending.extend(dotted(base, each) for each in names)
    return Sources(tuple(sorted(found.items())), tuple(unloaded))


#: What modules import, by their trees: one large package may be asked of by many functions.
_imports: dict[int, tuple[ast.AST, list[tuple[int, str, list[str]]]]] = {}


def _imports_of(tree: ast.AST) -> list[tuple[int, str, list[str]]]:
    """Give what a module imports: how many levels up, from which, and what names."""
    known = _imports.get(id(tree))
    if known is None or known[0] is not tree:
        found: list[tuple[int, str, list[str]]] = []
        for part in ast.walk(tree):
            if isinstance(part, ast.Import):
                found += [(0, one, []) for alias in part.names for one in with_parents(alias.name)]
            elif isinstance(part, ast.ImportFrom):
                found.append((part.level, part.module or "", [one.name for one in part.names]))
        known = _imports[id(tree)] = tree, found
    return known[1]
