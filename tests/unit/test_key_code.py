"""Edits of code that change what it gives, and so the key; each beside the edit."""

from __future__ import annotations

import importlib
import inspect
import linecache
import subprocess
import sys
import types
import uuid
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from s3kv_flow.errors import UnstableKeyWarning
from s3kv_flow.keys.call import CallKey
from s3kv_flow.keys.identity import Identity
from s3kv_flow.keys.token import Encoder


def compiled(text: str, filename: str | None = None) -> Any:
    """Give ``f`` of a text, as a module or a cell would have it."""
    name = filename or f"<test {uuid.uuid4()}>"
    linecache.cache[name] = (len(text), None, text.splitlines(keepends=True), name)
    sys.modules.setdefault("module_of_the_test", types.ModuleType("module_of_the_test"))
    namespace: dict[str, Any] = {"__name__": "module_of_the_test"}
    exec(compile(text, name, "exec", dont_inherit=True), namespace)
    return namespace["f"]


def key(function: Any, *args: Any) -> str:
    return CallKey(function, Identity(function)).of(args, {})


EDITS = [
    # What a dataclass has beside what was generated.
    (
        "import dataclasses\nn = 1\n@dataclasses.dataclass\nclass C:\n    x: int = 0\n"
        "    def __post_init__(self): self.x = 1\n    def _own(self): return 1\n"
        "    def __call__(self): return 1\ndef f(): return C().x",
        ["self.x = 1|self.x = 2", "_own(self): return 1|_own(self): return 2"],
    ),
    (
        "import dataclasses\n@dataclasses.dataclass()\nclass C:\n"
        "    x: int = dataclasses.field(default=0)\ndef f(): return C()",
        [
            "dataclass()|dataclass(repr=False)",
            "default=0|default=0, repr=False",
            "default=0|default=0, metadata={'a': 1}",
            "dataclass()|dataclass(unsafe_hash=True)",
        ],
    ),
    # Members that somebody else wrote, and the kinds of descriptors.
    (
        "import math, statistics\nclass C:\n    a = min\n    b = math.floor\n"
        "    c = statistics.mean\n    d = staticmethod(statistics.mean)\ndef f(): return C",
        [
            "a = min|a = max",
            "math.floor|math.ceil",
            "c = statistics.mean|c = statistics.median",
            "(statistics.mean)|(statistics.median)",
        ],
    ),
    (
        "import functools\nclass C:\n    @staticmethod\n    def m(x=None): return x\n"
        "    @property\n    def p(self): return 1\n"
        "    def __hash__(self): return 1\ndef f(): return C",
        [
            "@staticmethod|@classmethod",
            "    @staticmethod\n|",
            "@property|@functools.cached_property",
            "__hash__(self): return 1|__hash__(self): return 2",
        ],
    ),
    (
        "import enum\nclass C(enum.Enum):\n    A = 1\n    B = 2\n    @classmethod\n"
        "    def _missing_(cls, value): return cls.A\n    @property\n"
        "    def _own(self): return 1\ndef f(): return C",
        ["return cls.A|return cls.B", "return 1|return 2"],
    ),
    # What models were told.
    (
        "import msgspec\nclass C(msgspec.Struct, order=False):\n    a: int\n    x: int = 1\n"
        "    y: list = msgspec.field(default_factory=list)\ndef f(): return C",
        [
            "x: int = 1|x: int = 2",
            "a: int|a: float",
            "order=False|order=True",
            "factory=list|factory=set",
            "order=False|rename='upper'",
        ],
    ),
    (
        "import attrs\n@attrs.define\nclass C:\n    x: int = attrs.field(default=1)\ndef f(): return C",
        [
            "default=1|default=1, repr=False",
            "default=1|default=1, metadata={'a': 1}",
            "default=1|default=1, on_setattr=attrs.setters.frozen",
        ],
    ),
    (
        "import pydantic\nfrom typing import Annotated, Optional\n"
        "class I(pydantic.BaseModel):\n    x: int\n"
        "class C(pydantic.BaseModel):\n    a: int = pydantic.Field(1)\n    b: int = 2\n    i: list[I] = []\n"
        "    o: Optional[Annotated[int, pydantic.Field(gt=0)]] = None\n"
        "    @pydantic.field_validator('a')\n    def check(cls, value): return value\n"
        "def f(): return C",
        [
            "x: int|x: str",
            "validator('a')|validator('b')",
            "validator('a')|validator('a', mode='before')",
            "Field(1)|Field(1, alias='c')",
            "Field(1)|Field(1, exclude=True)",
            "gt=0|gt=1",
        ],
    ),
    (
        "import msgspec, threading\nfrom typing import Annotated\n"
        "class C(msgspec.Struct):\n    a: Annotated[int, msgspec.Meta(gt=0)] = 1\n    b: int = 2\n"
        "def f(): return C",
        ["gt=0|ge=0", "gt=0|gt=1", "= 1|= 3", "b: int|b: float"],
    ),
    # Annotations that something reads.
    (
        "from dataclasses import dataclass\n@dataclass\nclass C:\n    a: int = 1\ndef f(): return C",
        ["a: int|a: float"],
    ),
    (
        "from typing import NamedTuple, TypedDict\nclass N(NamedTuple):\n    a: int\n"
        "class T(TypedDict):\n    b: 'int'\ndef f(): return N, T",
        ["a: int|a: float", "b: 'int'|b: 'str'"],
    ),
    ("import typing\ndef g(x: int): pass\ndef f(): return typing.get_type_hints(g)", ["int|str"]),
    ("import inspect\ndef g(x: int): pass\ndef f(): return inspect.signature(g)", ["int|str"]),
    ("def g(x: int): pass\ndef f(): return g.__annotations__", ["int|str"]),
    (
        "import functools, inspect\ndef d(g):\n    @functools.wraps(g)\n    def w():\n"
        "        return inspect.signature(g)\n    return w\n@d\ndef h(x: int): pass\n"
        "def f(): return h()",
        ["int|str"],
    ),
    (
        "import typing, pydantic\ndef f(d):\n    class M(pydantic.BaseModel):\n"
        "        x: typing.Literal['a']\n    @pydantic.validate_call\n"
        "    def g(y: int = 0): return y\n    return M(x=d), g(d)",
        ["Literal['a']|Literal['b']", "y: int|y: float"],
    ),
]


@pytest.mark.parametrize(
    ("text", "edit"), [(text, edit) for text, edits in EDITS for edit in edits], ids=str
)
def test_an_edit_that_changes_what_is_given_changes_the_key(text: str, edit: str) -> None:
    before, after = edit.split("|")
    assert before in text
    function = compiled(text)
    arguments = ("a",) * function.__code__.co_argcount
    assert key(function, *arguments) == key(compiled(text), *arguments)
    assert key(compiled(text.replace(before, after)), *arguments) != key(function, *arguments)


DOCUMENTED = [
    'class A:\n    """text"""\ndef f(d): return A.__doc__',
    'def h():\n    """text"""\ndef f(d): return h.__doc__',
    'import inspect\ndef h():\n    """text"""\ndef f(d): return inspect.getdoc(h)',
    'def f(d):\n    """text"""\n    return f.__doc__',
]


@pytest.mark.parametrize("text", DOCUMENTED)
def test_a_docstring_that_is_read_counts(text: str) -> None:
    assert key(compiled(text), 1) != key(compiled(text.replace("text", "other")), 1)
    unread = text.replace("__doc__", "__name__").replace("getdoc", "isclass")
    assert key(compiled(unread), 1) == key(compiled(unread.replace("text", "other")), 1)


UNREAD = [
    (
        "def f(d):\n    x: int = d\n    def g(y: int) -> int: return y\n    return g(x)",
        "int",
        "float",
    ),
    ("class A:\n    def m(self, x: int): return x\ndef f(d): return A().m(d)", "int", "float"),
]


@pytest.mark.parametrize(("text", "before", "after"), UNREAD)
def test_annotations_that_nothing_reads_do_not_count(text: str, before: str, after: str) -> None:
    assert key(compiled(text), 1) == key(compiled(text.replace(before, after)), 1)


def test_private_methods_in_a_cell_count(tmp_path: Path) -> None:
    text, edit = EDITS[0]
    first = compiled(text, "<ipython-input-1-abc>")
    second = compiled(text.replace(*edit[0].split("|")), "<ipython-input-2-abc>")
    assert key(first) != key(second)
    without_text = "<stdin>"
    third = compiled(text, without_text)
    del linecache.cache[without_text]
    fourth = compiled(text.replace(*edit[1].split("|")), without_text)
    del linecache.cache[without_text]
    assert key(third) != key(fourth)


def changed_in_place(text: str, change: str) -> tuple[str, str]:
    function = compiled(text)
    call_key = CallKey(function, Identity(function))
    before = call_key.of((1,), {})
    exec(change, inspect.unwrap(function).__globals__)
    return before, call_key.of((1,), {})


IN_PLACE = [
    ("TABLE = {'a': 1}\nget = TABLE.get\ndef f(k): return get(k)", "TABLE['a'] = 2"),
    ("TABLE = {'a': 1}\ngets = (TABLE.get,)\ndef f(k): return gets[0](k)", "TABLE['a'] = 2"),
    ("def h(): return h.factor\nh.factor = 2\ndef f(k): return h()", "h.factor = 3"),
    ("def f(k): return f.factor\nf.factor = 2", "f.factor = 3"),
    ("def h(*, k=1): return k\ndef f(k): return h()", "h.__kwdefaults__['k'] = 2"),
    (
        "import functools\n@functools.singledispatch\ndef h(x): return 1\ndef f(k): return h(k)",
        "h.register(int, lambda x: 2)",
    ),
]


@pytest.mark.parametrize(("text", "change"), IN_PLACE)
def test_what_changes_in_place_counts_at_once(text: str, change: str) -> None:
    before, after = changed_in_place(text, change)
    assert before != after


USED = [
    (IN_PLACE[-1][0], "h(1), h('a')"),
    ("import functools\n@functools.singledispatch\ndef f(k): return 1", "f(1), f('a')"),
    (
        "import functools\nclass C:\n    @functools.singledispatchmethod\n"
        "    def m(self, x): return 1\ndef f(k): return C().m(k)",
        "f(1), f('a')",
    ),
    (
        "import typing\nclass P(typing.Protocol):\n    def m(self): ...\n"
        "class C(P):\n    def m(self): return 1\ndef f(k): return C().m()",
        "f(1)",
    ),
    ("from random import randint, random\ndef f(k): return randint(0, k) + random()", "f(1)"),
    (
        "import pydantic\n@pydantic.validate_call\ndef h(x: int): return x\ndef f(k): return h(k)",
        "f(1)",
    ),
]


@pytest.mark.parametrize(("text", "use"), USED)
def test_using_a_function_changes_no_key(text: str, use: str) -> None:
    before, after = changed_in_place(text, use)
    assert before == after


FORWARD = """
import typing

import pydantic

class Node(pydantic.BaseModel):
    after: "typing.Optional[Later]" = None

class Later(pydantic.BaseModel):
    a: int = 1

def f(x):
    return Node()
"""


def test_a_model_that_is_completed_when_it_is_used_has_one_key(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(tmp_path)
    name = f"forward_{uuid.uuid4().hex}"
    (tmp_path / f"{name}.py").write_text(FORWARD)
    function = importlib.import_module(name).f
    before = key(function, 1)
    function(1)
    assert key(function, 1) == before


def test_a_validated_call_counts_by_its_function() -> None:
    text = USED[5][0]
    base = key(compiled(text), 1)
    assert key(compiled("OTHER = 1\n" + text), 1) == base
    for old, new in (("return x", "return -x"), ("x: int", "x: float")):
        assert key(compiled(text.replace(old, new)), 1) != base


def test_what_cython_made_counts_by_name() -> None:
    text = "from numpy.random import default_rng\ndef f(x): return default_rng(0).random(x)"
    assert key(compiled(text), 1) == key(compiled(text), 1)
    assert key(compiled(text.replace("default_rng", "rand")), 1) != key(compiled(text), 1)


SCRIPT = """
import logging
import multiprocessing
import pathlib
import sys

log = logging.getLogger(__name__)

def f(x):
    log.info("x")
    return x

def key_of():
    from s3kv_flow.keys.call import CallKey
    from s3kv_flow.keys.identity import Identity
    return CallKey(f, Identity(f)).of((1,), {})

if __name__ == "__main__":
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        print(key_of(), pool.apply(key_of))
"""


def test_a_logger_of_a_script_is_one_in_every_process(tmp_path: Path) -> None:
    (tmp_path / "logs.py").write_text(SCRIPT)
    run = partial(subprocess.check_output, cwd=tmp_path, text=True, timeout=60)
    own, spawned = run([sys.executable, "logs.py"]).split()
    imported = run([sys.executable, "-c", "import logs; print(logs.key_of())"]).strip()
    assert own == spawned == imported


def test_what_a_module_gives_by_a_function_of_its_own_counts(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    module = types.ModuleType("lazy_module_of_the_test")
    monkeypatch.setitem(sys.modules, module.__name__, module)
    function = compiled(f"import {module.__name__} as m\ndef f(): return m.name")
    keys = []
    for given in (1, 2):
        module.__getattr__ = compiled(f"def f(name): return {given}")  # type: ignore[method-assign]
        assert function() == given
        keys.append(key(function))
    module.name = 2
    assert len({*keys, key(function)}) == 3


def test_a_module_that_is_reloaded_counts_anew(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(tmp_path)
    name = f"reloaded_{uuid.uuid4().hex}"
    file = tmp_path / f"{name}.py"
    file.write_text("X = 1\ndef g(): return 1\n")
    function = compiled(f"def f(k):\n    from {name} import g\n    return g()")
    call_key = CallKey(function, Identity(function))
    unloaded = call_key.of((1,), {})
    module = importlib.import_module(name)
    loaded = call_key.of((1,), {})
    file.write_text("X = 1\ndef g(): return 222\n")
    assert call_key.of((1,), {}) == loaded == unloaded  # not yet loaded: the old code runs
    importlib.reload(module)
    assert call_key.of((1,), {}) != loaded


def test_a_key_imports_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(tmp_path)
    package = tmp_path / "parent_of_the_test"
    package.mkdir()
    (package / "__init__.py").write_text("raise AssertionError('imported')")
    (package / "child.py").write_text("X = 1\n")
    function = compiled(
        "def f():\n    import parent_of_the_test.child, xml.dom.pulldom\n"
        "    return parent_of_the_test.child.X"
    )
    before = key(function)
    assert "parent_of_the_test" not in sys.modules
    (package / "child.py").write_text("X = 2\n")
    assert before != key(function)  # it will be imported as it is now


def test_annotations_of_models_have_no_addresses() -> None:
    text = (
        "import pydantic\nfrom typing import Annotated, Optional\n"
        "class C(pydantic.BaseModel):\n"
        "    a: list[Annotated[int, pydantic.BeforeValidator(lambda v: 1)]] = []\n"
        "def f(): return C"
    )
    first, second = compiled(text)(), compiled(text)()
    assert Encoder().token(first) == Encoder().token(second)
    assert Encoder().token(compiled(text.replace("v: 1", "v: 2"))()) != Encoder().token(first)


SEVERAL = """
def a(x): return x + LIMIT
def b(x): return x + 2
def c(x): return x + 2
class A:
    y = 1
class B(A):
    y = 2
def made(by):
    def times(x): return x * by
    return times
LIMIT = 1
def over(g):
    def under(x): return g(x)
    return under
one = over(made(1))
two = over(made(1))
many = [over(made(n)) for n in range(12)]
again = [over(made(n)) for n in range(12)]
"""


def test_what_is_compared_with_others_is_warned_of_once() -> None:
    text = "import threading\nLOCK = threading.Lock()\n" + SEVERAL
    text = text.replace("return x * by", "return x * by, LOCK")
    text += "HELD = {over(over(made(1))), over(over(made(2)))}\ndef f(d): return HELD"
    with pytest.warns(UnstableKeyWarning) as warned:
        key(compiled(text), 1)
    assert len(warned) == 2  # each of the two functions that read it


def test_a_registry_is_looked_at_once_and_counts_however_many_read_it() -> None:
    def text(first: int) -> str:
        handlers = [f"def h{n}(x): return REGISTRY and {n}\n" for n in range(20)]
        named = ", ".join(f"h{n}" for n in range(20))
        filled = f"REGISTRY['first'] = [h{first}]\n"
        return "".join(
            ["REGISTRY = {}\n", *handlers, filled, f"def f(d): return REGISTRY, {named}"]
        )

    function = compiled(text(3))
    identity = Identity(function)
    before = CallKey(function, identity).of((1,), {})
    assert CallKey(function, identity).of((1,), {}) == before
    registry = function.__globals__["REGISTRY"]
    walked = identity._walked
    assert walked is not None
    assert [value is registry for value, *_ in walked.guards.data].count(True) == 1
    registry["first"].append(1)
    assert CallKey(function, identity).of((1,), {}) != before
    assert key(compiled(text(4)), 1) != before


def test_the_number_of_calls_that_a_function_keeps_does_not_count() -> None:
    text = (
        "import functools\ndef counted(g):\n    @functools.wraps(g)\n    def w(*a):\n"
        "        w.calls += 1\n        return g(*a)\n    w.calls = 0\n    return w\n"
        "@counted\ndef g(x): return x\ndef f(d): return g(1)"
    )
    function = compiled(text)
    before = key(function, 1)
    assert function(1) == 1
    assert function.__globals__["g"].calls == 1
    assert key(function, 1) == before
    reads = compiled(text.replace("return g(*a)", "return w.calls"))
    before = key(reads, 1)
    assert reads(1) == 1
    assert key(reads, 1) != before


def test_the_name_of_a_cached_function_counts_in_the_path_alone() -> None:
    text = (
        "import functools\ndef d(g):\n    @functools.wraps(g)\n    def w(*a): return g(*a)\n"
        "    return w\n@d\ndef %s(x): return x\nf = %s"
    )
    assert key(compiled(text % ("f", "f")), 1) == key(compiled(text % ("other", "other")), 1)


DECORATED = [
    "import tenacity\n@tenacity.retry(stop=tenacity.stop_after_attempt(3))",
    "import cachetools\n@cachetools.cached({})",
    "import cachetools\n@cachetools.cached(cachetools.LRUCache(3))",
    "import wrapt\n@wrapt.decorator\ndef d(w, i, a, k): return w(*a, **k)\n@d",
    "import beartype\n@beartype.beartype",
    "import contextlib\nclass D(contextlib.ContextDecorator):\n"
    "    def __enter__(self): pass\n    def __exit__(self, *e): pass\n@D()",
]


@pytest.mark.parametrize("decorator", DECORATED)
def test_decorators_of_packages_count_by_what_they_were_told_and_wrap(decorator: str) -> None:
    text = decorator + "\ndef g(x: int): return x + 1\ndef f(d): return g(1)"
    function = compiled(text)
    before = key(function, 1)
    assert function(1) == 2
    assert key(function, 1) == before == key(compiled(text), 1)
    assert key(compiled(text.replace("x + 1", "x + 2")), 1) != before
    cached = compiled(text.replace("def g(", "def f(").rpartition("def f(d)")[0])
    before = key(cached, 1)
    assert cached(1) == 2
    assert key(cached, 1) == before
    if "attempt" in decorator:
        assert key(compiled(text.replace("attempt(3)", "attempt(4)")), 1) != before


@pytest.mark.parametrize(
    ("held", "other", "edits"),
    [
        (
            "{a, b, c, A, B, made(1), made(2)}",
            "{made(2), made(1), B, A, c, b, a}",
            ["LIMIT = 1|LIMIT = 2", "x + 2|x + 3", "y = 1|y = 9", "made(2)|made(3)"],
        ),
        ("{'a': a, 'b': b}", "{'b': b, 'a': a}", ["x + 2|x + 3", "'b': b|'b': a"]),
        ("{A: 1, B: 2}", "{B: 2, A: 1}", ["y = 1|y = 9", "A: 1|A: 2"]),
        (
            "{'a': [made(1)], 'b': [made(2)]}",
            "{'b': [made(2)], 'a': [made(1)]}",
            ["made(2)|made(1)", "x * by|x + by"],
        ),
        (
            "{over(made(1)), over(made(2)), over(made(3))}",
            "{over(made(3)), over(made(2)), over(made(1))}",
            ["made(2)|made(3)", "x * by|x + by"],
        ),
        (
            "{'a': over(made(1)), 'b': over(made(2)), 'c': (over(made(3)), over(made(1)))}",
            "{'c': (over(made(3)), over(made(1))), 'b': over(made(2)), 'a': over(made(1))}",
            ["{'a': over(made(1)), 'b': over(made(2))|{'a': over(made(2)), 'b': over(made(1))"],
        ),
        (
            "(frozenset({(over(made(n)), over(made(n + 1))) for n in (1, 2, 3)}), over(made(2)))",
            "(frozenset({(over(made(n)), over(made(n + 1))) for n in (3, 1, 2)}), over(made(2)))",
            ["over(made(n)), over(made(n + 1))|over(made(n + 1)), over(made(n))"],
        ),
        (
            "({*many, *again}, many[3])",
            "({*again, *many}, again[3])",
            ["many[3]|many[4]"],
        ),
        ("({one, two}, one)", "({two, one}, two)", ["one = over(made(1))|one = over(made(2))"]),
    ],
)
def test_the_order_of_code_in_sets_and_dicts_does_not_count(
    held: str, other: str, edits: list[str]
) -> None:
    text = SEVERAL + "HELD = %s\ndef f(d): return HELD"
    kept, keys = [], set()
    for one in (held, other) * 3:
        kept.append((compiled(text % one), bytearray(len(kept) * 5000)))
        keys.add(key(kept[-1][0], 1))
    assert len(keys) == 1
    for edit in edits:
        edited = (text % held).replace(*edit.split("|"))
        assert key(compiled(edited), 1) not in keys
