"""Which code is the user's, and the syntax tree it was compiled from.

A tree is trusted only if compiling its text gives the very code object that runs; so a file that
was edited since cannot lend its new text to old code. Texts are kept from the moment they were
first read (at decoration), and read again only for code they do not explain.
"""

from __future__ import annotations
import __future__

import ast
import dataclasses
import functools
import importlib.util
import linecache
import os
import re
import sys
import tokenize
import types
import warnings
from collections.abc import Iterator, Mapping
from importlib.machinery import ModuleSpec, PathFinder
from pathlib import Path
from typing import Any, Final

from s3kv_flow.keys.deep import is_deep

_FUTURE_FLAGS: Final = functools.reduce(
    int.__or__,
    (getattr(__future__, name).compiler_flag for name in __future__.all_feature_names),
)
#: Where cloudpickle 3.1.3 says that code comes from which travelled by value.
BY_VALUE: Final = "<dynamic-code>"
#: What IPython calls the code of a cell that begins with ``%%time``; it keeps no text under that name.
_TIMED: Final = "<timed exec>"
_DAG_FILE: Final = re.compile(r"unusual_prefix_[0-9a-f]{40}_")
_PACKAGE: Final = str(Path(__file__).resolve().parents[1]) + os.sep
_PACKAGE_FOLDERS: Final = (f"{os.sep}site-packages{os.sep}", f"{os.sep}dist-packages{os.sep}")


@functools.lru_cache(maxsize=1)
def _not_users() -> tuple[str, ...]:
    import sysconfig  # slow to import, and asked for at the first key only

    kinds = ("stdlib", "platstdlib", "purelib", "platlib")
    paths = {sysconfig.get_paths().get(kind) for kind in kinds}
    return (_PACKAGE, *{os.path.realpath(path) + os.sep for path in paths if path})


@functools.lru_cache(maxsize=4096)
def is_user_file(filename: str) -> bool:
    """Whether a file is neither the standard library's, an installed package's, nor ours."""
    if filename.startswith("<frozen"):
        return False
    path = os.path.realpath(filename)
    return not path.startswith(_not_users()) and not any(part in path for part in _PACKAGE_FOLDERS)


def is_user_module(name: object) -> bool:
    """Whether a module is the user's own, wherever the process was started."""
    if name in ("__main__", "__mp_main__", None):
        return True
    if not isinstance(name, str):
        return False
    module = sys.modules.get(name)
    if module is None:
        return True
    file = getattr(module, "__file__", None)
    if isinstance(file, str):  # a module may have a __getattr__ that gives anything
        return is_user_file(file)
    origin = getattr(getattr(module, "__spec__", None), "origin", None)
    return (
        name not in sys.builtin_module_names
        and origin not in ("built-in", "frozen")
        and "__path__" not in getattr(module, "__dict__", ())
    )


def is_user_function(function: types.FunctionType) -> bool:
    """Whether a function is the user's own; one compiled from text goes by its module."""
    filename = function.__code__.co_filename
    return is_user_module(function.__module__) or (filename != BY_VALUE and is_user_file(filename))


def module_name(name: object, namespace: Mapping[str, Any] | None = None) -> str:
    """Give a module's name as any process would call it.

    ``namespace`` is the module's own, where it is at hand: while a spawned process loads the
    script, what it calls ``__main__`` is still something else. A script is known by the name a sibling would import it under, a module run with ``-m`` by its
    own; a notebook or a prompt stays ``__main__``.
    """
    if name not in ("__main__", "__mp_main__"):
        if not isinstance(name, str):  # Cython's classes have a descriptor there
            return ""
        # Airflow loads a file of DAGs under a name with the digest of its path.
        return _DAG_FILE.sub("", name)
    if namespace is None:
        namespace = vars(sys.modules.get("__main__", sys))
    spec = namespace.get("__spec__")
    if spec is not None and spec.name and spec.name not in ("__main__", "__mp_main__"):
        package = str(spec.name)
        return package[: -len(".__main__")] if package.endswith(".__main__") else package
    file = namespace.get("__file__")
    if file and file.endswith(".py") and not _is_launcher(file):
        return Path(file).stem
    return "__main__"


def _is_launcher(file: str) -> bool:
    # `python -m ipykernel_launcher` and its like: __main__ there is the notebook's namespace.
    return "ipykernel" in sys.modules and not is_user_file(file)


#: What a code object is called, and the line where it begins.
_Place = tuple[str, int]


@dataclasses.dataclass(frozen=True, slots=True)
class _Compiled:
    """What a text compiles to: its tree, and its functions and code objects in their order."""

    tree: ast.Module | None = None
    nodes: dict[_Place, list[ast.AST]] = dataclasses.field(default_factory=dict)
    codes: dict[_Place, list[types.CodeType]] = dataclasses.field(default_factory=dict)


class Text:
    """One version of a file, or of a notebook cell."""

    def __init__(self, filename: str, text: str) -> None:
        self.filename = filename
        self.text = text
        self._compiled: dict[int, _Compiled] = {}

    def compiled(self, flags: int) -> _Compiled:
        """Give what the text compiles to with these ``__future__`` flags."""
        if flags not in self._compiled:
            self._compiled[flags] = self._compile(flags)
        return self._compiled[flags]

    def _compile(self, flags: int) -> _Compiled:
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                tree = ast.parse(self.text, self.filename)
                code = compile(tree, self.filename, "exec", flags=flags, dont_inherit=True)
        except (SyntaxError, ValueError):
            return _Compiled()
        except RecursionError:
            if not is_deep():  # then it depends on how deep the caller is
                raise
            return _Compiled()
        compiled = _Compiled(tree)
        for node in sorted(_functions(tree), key=lambda node: (node.lineno, node.col_offset)):
            compiled.nodes.setdefault(_place_of(node), []).append(node)
        for one in _nested(code):
            compiled.codes.setdefault((one.co_name, one.co_firstlineno), []).append(one)
        return compiled


def _functions(tree: ast.Module) -> Iterator[Any]:
    for node in ast.walk(tree):
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda)):
            yield node


def _place_of(node: Any) -> _Place:
    if isinstance(node, ast.Lambda):
        return "<lambda>", node.lineno
    return node.name, min([node.lineno, *(one.lineno for one in node.decorator_list)])


def _nested(code: types.CodeType) -> Iterator[types.CodeType]:
    yield code
    for constant in code.co_consts:
        if isinstance(constant, types.CodeType):
            yield from _nested(constant)


_texts: dict[str, list[Text]] = {}
_nodes: dict[int, tuple[types.CodeType, ast.AST | None]] = {}


def remember(filename: str, module_globals: Mapping[str, Any] | None = None) -> None:
    """Read a file's text now, before anybody edits it."""
    if filename not in _texts:
        _read(filename, module_globals)


def _read(filename: str, module_globals: Mapping[str, Any] | None) -> Text | None:
    """Read the text as it stands; None if it is known already or there is none."""
    text = _text(filename, module_globals)
    versions = _texts.setdefault(filename, [])
    if not text or any(known.text == text for known in versions):
        return None
    versions.append(Text(filename, text))
    return versions[-1]


def _text(filename: str, module_globals: Mapping[str, Any] | None) -> str:
    try:
        with tokenize.open(filename) as file:
            return file.read()
    except (OSError, SyntaxError, UnicodeDecodeError, ValueError):
        # Notebook cells and modules in archives: whoever compiled them told linecache.
        return "".join(linecache.getlines(filename, module_globals))  # type: ignore[arg-type]


def node_of(function: types.FunctionType) -> ast.AST | None:
    """Give the tree of the ``def`` or ``lambda`` that a function was compiled from.

    None where no text is known to compile to the running code.
    """
    code = function.__code__
    known = _nodes.get(id(code))
    if known is not None and known[0] is code:
        return known[1]
    node = _find(code, function.__globals__)
    _nodes[id(code)] = code, node
    return node


def _find(code: types.CodeType, module_globals: Mapping[str, Any]) -> ast.AST | None:
    filenames = _files_of(code, module_globals)
    known = [text for filename in filenames for text in _texts.get(filename, ())]
    if code.co_filename == BY_VALUE:  # a notebook's cells go by no name that is left
        known += [text for texts in _texts.values() for text in texts if text not in known]
    if code.co_filename == _TIMED:
        known += [Text(_TIMED, text) for text in _timed_cells()]
    for text in known:
        node = _node_in(text, code)
        if node is not None:
            return node
    for filename in filenames:
        fresh = _read(filename, module_globals)
        node = None if fresh is None else _node_in(fresh, code)
        if node is not None:
            return node
    return None


def _timed_cells() -> Iterator[str]:
    """Give what stands under ``%%time`` in a notebook's cells, the newest first."""
    shell: Any = sys.modules["IPython"].get_ipython() if "IPython" in sys.modules else None
    for cell in reversed(shell.history_manager.input_hist_raw if shell is not None else ()):
        magic, _, body = cell.partition("\n")
        if magic.startswith("%%time"):
            yield shell.transform_cell(body)


def _files_of(code: types.CodeType, module_globals: Mapping[str, Any]) -> list[str]:
    """Give the files that may have a code's text; code that travelled by value has lost the name of its own."""
    if code.co_filename != BY_VALUE:
        return [code.co_filename]
    found = [module_globals.get("__file__")]
    module = sys.modules.get(module_globals.get("__name__") or "")
    found.append(getattr(module, "__file__", None))
    return [file for file in found if isinstance(file, str) and file.endswith(".py")]


def _node_in(text: Text, code: types.CodeType) -> ast.AST | None:
    compiled = text.compiled(code.co_flags & _FUTURE_FLAGS)
    place = code.co_name, code.co_firstlineno
    alike = compiled.codes.get(place, [])
    nodes = compiled.nodes.get(place, [])
    if code not in alike:
        return None
    if len(nodes) == 1:
        return nodes[0]
    # Several on one line: the compiler keeps their order.
    return nodes[alike.index(code)] if len(alike) == len(nodes) else None


def module_tree(name: str) -> tuple[ast.Module | None, str | None]:
    """Give the tree and the package of a user module, imported or not; None for any other."""
    module = sys.modules.get(name)
    file = getattr(module, "__file__", None)
    if not isinstance(file, str):
        try:
            spec = _spec_of(name)
        except (ImportError, AttributeError, ValueError):
            return None, None
        file = spec.origin if spec is not None else None
    if not file or not file.endswith(".py") or not is_user_file(file):
        return None, None
    text = _text_of_module(name, module, file)
    if text is None:
        return None, None
    package = name if Path(file).name == "__init__.py" else name.rpartition(".")[0]
    return text.compiled(0).tree, package


#: By name, the text that a module was made from, and its spec: a reload gives it another.
_loaded: dict[str, tuple[Any, Text]] = {}


def _text_of_module(name: str, module: types.ModuleType | None, file: str) -> Text | None:
    spec = getattr(module, "__spec__", None)
    known = _loaded.get(name)
    if known is not None and known[0] is spec:
        return known[1]
    remember(file)
    if known is not None and known[0] is not None:  # loaded anew, from the file as it is now
        _read(file, None)
        now = _text(file, None)
        found = next((text for text in _texts[file] if text.text == now), None)
    else:
        found = next(iter(_texts[file]), None)
    if found is not None:
        _loaded[name] = spec, found
    return found


def _spec_of(name: str) -> ModuleSpec | None:
    """Find a module without importing the packages it is in, as Python's own would."""
    spec: ModuleSpec | None = None
    path: Any = None
    full = ""
    for part in name.split("."):
        full = f"{full}.{part}" if full else part
        module = sys.modules.get(full)
        if module is not None:
            spec = module.__spec__
        elif spec is None:
            spec = importlib.util.find_spec(full)
        else:
            spec = PathFinder.find_spec(full, path)
        if spec is None or (spec.origin is not None and not is_user_file(spec.origin)):
            return None
        path = spec.submodule_search_locations
    return spec
