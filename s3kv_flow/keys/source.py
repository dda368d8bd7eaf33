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
import inspect
import linecache
import os
import re
import sys
import tokenize
import types
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
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


def outside() -> int:
    """Give the level of the stack, for the caller's warning, at which somebody called the library."""
    level, frame = 1, sys._getframe(1)
    while frame.f_back is not None and frame.f_code.co_filename.startswith(_PACKAGE):
        level, frame = level + 1, frame.f_back
    return level


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
    folders = getattr(module, "__dict__", {}).get("__path__")
    if folders is not None:  # a package of several folders, none of which has an `__init__`
        return any(is_user_file(os.path.join(folder, "__init__.py")) for folder in folders)
    return name not in sys.builtin_module_names and origin not in ("built-in", "frozen")


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
        # The package tells of a module run with -m that came by cloudpickle.
        stem = Path(file).stem
        parts = (namespace.get("__package__"), stem)
        return ".".join(part for part in parts if part and part != "__main__") or stem
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
        for node in _functions(tree):
            compiled.nodes.setdefault(_place_of(node), []).append(node)
        for one in _nested(code):
            compiled.codes.setdefault((one.co_name, one.co_firstlineno), []).append(one)
        return compiled


def _functions(node: ast.AST) -> Iterator[Any]:
    """Give all functions of a tree, in the order in which Python 3.10 and 3.11 compile them."""
    is_function = isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda))
    inside: list[ast.AST] = []
    for child in _in_order(node):
        if is_function and child is not None and _is_body(node, child):
            inside.append(child)
        else:
            yield from _functions(child)
    if is_function:
        yield node
    for child in inside:
        yield from _functions(child)


def _is_body(node: Any, child: ast.AST) -> bool:
    return child is node.body or (isinstance(node.body, list) and child in node.body)


def _in_order(node: Any) -> Iterator[ast.AST]:
    """Give what a node is made of as it is compiled, where that is not as it is written."""
    first: list[ast.AST]
    if isinstance(node, (ast.Assign, ast.AnnAssign, ast.NamedExpr)):
        first = [node.value] if node.value is not None else []
    elif isinstance(node, (ast.ListComp, ast.SetComp, ast.GeneratorExp, ast.DictComp)):
        first = [  # what is inside the comprehension; then what it goes through
            *(part for one in node.generators for part in (one.target, *one.ifs)),
            *(one.iter for one in node.generators[1:]),
            *([node.key, node.value] if isinstance(node, ast.DictComp) else [node.elt]),
            node.generators[0].iter,
        ]
        yield from first
        return
    elif isinstance(node, ast.Dict):
        for key, value in zip(node.keys, node.values):
            yield from (one for one in (key, value) if one is not None)
        return
    elif isinstance(node, ast.ClassDef):
        first = [*node.decorator_list, *node.body]
    else:
        first = []
    yield from first
    yield from (one for one in ast.iter_child_nodes(node) if not any(one is each for each in first))


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
    if text is None or any(known.text == text for known in versions):
        return None
    versions.append(Text(filename, text))
    return versions[-1]


def _text(filename: str, module_globals: Mapping[str, Any] | None) -> str | None:
    try:
        with tokenize.open(filename) as file:
            return file.read()
    except (OSError, SyntaxError, UnicodeDecodeError, ValueError):
        # Notebook cells and modules in archives: whoever compiled them told linecache.
        return "".join(linecache.getlines(filename, module_globals)) or None  # type: ignore[arg-type]


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
    own = alike[alike.index(code)]  # ours, compiled from this very text
    found = _node_at(own, nodes)
    if found is None and len(alike) == len(nodes):  # in the order in which they are compiled
        found = nodes[alike.index(code)]
    return found


def _node_at(code: types.CodeType, nodes: list[ast.AST]) -> ast.AST | None:
    """Give which of several functions on one line a code is of, where it tells its columns (PEP 657)."""
    if sys.version_info < (3, 11):
        return None
    places = [
        (line, column)
        for line, _, column, end in code.co_positions()
        if line is not None and column is not None and (column or end)
    ]
    held = [node for node in nodes if places and all(map(_within(node), places))]
    return min(held, key=_extent, default=None)


def _within(node: Any) -> Callable[[tuple[int, int]], bool]:
    """Tell whether a place is in the body of a function."""
    first, last = (node.body[0], node.body[-1]) if isinstance(node.body, list) else (node.body,) * 2
    begin, end = (first.lineno, first.col_offset), (last.end_lineno, last.end_col_offset)
    return lambda place: begin <= place < end


def _extent(node: Any) -> tuple[int, int]:
    return node.end_lineno - node.lineno, node.end_col_offset - node.col_offset


@dataclasses.dataclass(frozen=True, slots=True)
class ModuleText:
    """What is known of the code of a user's module.

    The tree of its text; where there is none to be trusted, what it was compiled to.
    """

    package: str
    tree: ast.Module | None = None
    codes: tuple[types.CodeType, ...] = ()
    #: The file of a module that is not loaded yet, and may be edited before it is.
    unloaded: str = ""


def module_text(name: str) -> ModuleText | None:
    """Give what is known of a user's module, imported or not; None for any other."""
    module = sys.modules.get(name)
    try:
        spec = _spec_of(name) if module is None else getattr(module, "__spec__", None)
    except (ImportError, AttributeError, ValueError):
        return None
    file = getattr(module, "__file__", None)
    if not isinstance(file, str):
        file = spec.origin if spec is not None else None
    if not isinstance(file, str) or not is_user_file(file):
        return None
    is_package = Path(file).stem == "__init__"
    package = name if is_package else name.rpartition(".")[0]
    text = _text_of_module(name, module, file) if file.endswith(".py") else None
    if text is not None and text.compiled(0).tree is not None:
        return ModuleText(package, text.compiled(0).tree, unloaded="" if module else file)
    codes = tuple(_codes_in(module)) if module is not None else ()
    if not codes and spec is not None and hasattr(spec.loader, "get_code"):
        with suppress(ImportError, SyntaxError, OSError):
            code = spec.loader.get_code(name)  # type: ignore[union-attr]
            codes = (code,) if code is not None else ()
    return ModuleText(package, codes=codes, unloaded="" if module else file)


def docstring_of(kind: type) -> str | None:
    """Give the docstring of a class as it is written, whether or not Python has left it out.

    Python 3.13 takes the indentation away.
    """
    known = module_text(kind.__module__)
    node: Any = known.tree if known is not None else None
    for name in kind.__qualname__.split("."):
        inside = node.body if node is not None else ()
        found = (one for one in inside if isinstance(one, ast.ClassDef) and one.name == name)
        node = next(found, None)
    if node is not None:
        return ast.get_docstring(node)
    stated = getattr(kind, "__doc__", None)
    return inspect.cleandoc(stated) if isinstance(stated, str) else None


def _codes_in(module: types.ModuleType) -> Iterator[types.CodeType]:
    """Give the code of a module's functions and methods, by name."""
    for _, held in sorted(vars(module).items()):
        members = [held, *vars(held).values()] if isinstance(held, type) else [held]
        for one in members:
            function = one.__func__ if isinstance(one, (staticmethod, classmethod)) else one
            if isinstance(function, types.FunctionType) and function.__module__ == module.__name__:
                yield function.__code__


#: What tells that a file was written anew.
Stamp = tuple[int, int]
#: Of the files of loaded modules, when a function was decorated; and how many modules there were.
_stamps: dict[str, Stamp | None] = {}
_seen_modules: set[str] = set()


def stamp_of(file: str) -> Stamp | None:
    """Give what is another after a file was written anew; None where there is none."""
    try:
        found = os.stat(file)
    except OSError:
        return None
    return found.st_mtime_ns, found.st_size


def remember_loaded() -> None:
    """Note how the files of all loaded modules are now, before anybody edits them."""
    if len(sys.modules) == len(_seen_modules):
        return
    for name, module in list(sys.modules.items()):
        if name not in _seen_modules:
            _seen_modules.add(name)
            file = _file_of(module)
            if file is not None and file.endswith(".py") and is_user_file(file):
                _stamps.setdefault(file, stamp_of(file))


def _file_of(module: Any) -> str | None:
    # To ask a module that is loaded when it is first used (`importlib.util.LazyLoader`) would load it.
    try:
        file = object.__getattribute__(module, "__dict__").get("__file__")
    except AttributeError:
        return None
    return file if isinstance(file, str) else None


#: By name, the text that a module was made from, and its spec: a reload gives it another.
_loaded: dict[str, tuple[Any, Text | None]] = {}


def _text_of_module(name: str, module: types.ModuleType | None, file: str) -> Text | None:
    if module is None:
        return _text_now(file, None)
    spec = getattr(module, "__spec__", None)
    known = _loaded.get(name)
    if known is not None and known[0] is spec:
        return known[1]
    now = _text_now(file, vars(module))
    is_first = known is None
    was_edited = is_first and file in _stamps and _stamps[file] != stamp_of(file)
    # The newest that the module can have been made from; it may have been edited since.
    texts = [text for text in reversed(_texts[file]) if text is not now or not was_edited]
    if now is not None and not was_edited:
        texts.insert(0, now)
    found = next((text for text in texts if _explains(text, module)), None)
    _loaded[name] = spec, found
    return found


def _text_now(file: str, module_globals: Mapping[str, Any] | None) -> Text | None:
    _read(file, module_globals)
    now = _text(file, module_globals)
    return next((text for text in _texts[file] if text.text == now), None)


def _explains(text: Text, module: types.ModuleType) -> bool:
    """Whether the functions of a module can have been compiled from a text."""
    for code in _codes_in(module):
        if code.co_filename == text.filename:
            compiled = text.compiled(code.co_flags & _FUTURE_FLAGS)
            if code not in compiled.codes.get((code.co_name, code.co_firstlineno), ()):
                return False
    return True


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
        elif path is None:  # what is in a module that is no package is no module
            return None
        else:
            spec = PathFinder.find_spec(full, path)
        if spec is None or (spec.origin is not None and not is_user_file(spec.origin)):
            return None
        path = spec.submodule_search_locations
    return spec
