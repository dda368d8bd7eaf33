"""Edits of a module after which a function gives something else: its key is another, and by any Python the same."""

from __future__ import annotations

import functools
import importlib
import json
import py_compile
import re
import subprocess
import sys
import textwrap
import warnings
import zipfile
from pathlib import Path
from typing import Any

import pytest

from s3kv_flow.keys.call import CallKey
from s3kv_flow.keys.identity import Identity
from s3kv_flow.testing import assert_different_keys, assert_same_key, memory_store
from tests.fresh_interpreter import printed_by

#: By name: the text of a module with a function `f`, what stands in it before, and what after.
#: Further files begin with a line ``# file: NAME``.
EDITS: dict[str, tuple[str, str, str]] = {
    "a function of a package under a private name": (
        """
        import statistics
        class C:
            _mean = staticmethod(statistics.mean)
        def f(x): return C._mean([1, 2, 9])
        """,
        "statistics.mean",
        "statistics.median",
    ),
    "a builtin under a private name": (
        """
        class C:
            _of = staticmethod(sum)
        def f(x): return C._of([1, 2, 9])
        """,
        "(sum)",
        "(max)",
    ),
    "a builtin under a name of Python's": (
        """
        import math
        class C:
            __call__ = staticmethod(math.sin)
        def f(x): return C()(x)
        """,
        "sin",
        "cos",
    ),
    "a method that wraps a function of a package": (
        """
        import json, functools
        class C:
            @functools.wraps(json.dumps)
            def _dump(self, x): return json.dumps(x) + "!"
        def f(x): return C()._dump(x)
        """,
        '"!"',
        '"?"',
    ),
    "a constructor that wraps its base's": (
        """
        import argparse, functools
        class N(argparse.Namespace):
            @functools.wraps(argparse.Namespace.__init__)
            def __init__(self, **k): super().__init__(**k); self.z = 1
        def f(x): return N().z
        """,
        "z = 1",
        "z = 2",
    ),
    "what attrs calls after the constructor": (
        """
        import attrs
        @attrs.define
        class C:
            a: int = 1
            def __attrs_post_init__(self): self.a = 5
        def f(x): return C().a
        """,
        "= 5",
        "= 6",
    ),
    "what pydantic calls for subclasses": (
        """
        from pydantic import BaseModel
        class B(BaseModel):
            @classmethod
            def __pydantic_init_subclass__(cls, **k): cls.made = 5
        def f(x):
            class D(B): pass
            return D.made
        """,
        "= 5",
        "= 6",
    ),
    "what attrs was told": (
        """
        import attrs
        @attrs.define(eq=True)
        class C:
            a: int = 1
        def f(x): return C() == C()
        """,
        "eq=True",
        "eq=False",
    ),
    "how attrs compares a field": (
        """
        import attrs
        @attrs.define
        class C:
            a: str = attrs.field(eq=str.lower)
        def f(x): return C("a") == C("A")
        """,
        "eq=str.lower",
        "eq=str",
    ),
    "what pydantic was told of a dataclass": (
        """
        import pydantic
        @pydantic.dataclasses.dataclass(config=pydantic.ConfigDict(str_strip_whitespace=True))
        class C:
            a: str = ""
        def f(x): return C(" a ").a
        """,
        "=True",
        "=False",
    ),
    "a property of one's own kind": (
        """
        class Doubled(property):
            def __get__(self, o, t=None): return self.fget(t) * 2
        class C:
            @Doubled
            def v(cls): return 1
        def f(x): return C.v
        """,
        "* 2",
        "* 3",
    ),
    "what a property of one's own kind holds": (
        """
        class Unit(property):
            def __init__(self, fget, factor): super().__init__(fget); self.factor = factor
            def __get__(self, o, t=None): return self.fget(o) * self.factor
        class C:
            v = Unit(lambda self: 1, 10)
        def f(x): return C().v
        """,
        "10",
        "1000",
    ),
    "a cached property of one's own kind": (
        """
        import functools
        class Doubled(functools.cached_property):
            def __get__(self, o, t=None): return self.func(o) * 2
        class C:
            @Doubled
            def v(self): return 1
        def f(x): return C().v
        """,
        "* 2",
        "* 3",
    ),
    "a class method of one's own kind": (
        """
        class Doubled(classmethod):
            def __get__(self, o, t=None): return lambda: self.__func__(t) * 2
        class C:
            @Doubled
            def v(cls): return 1
        def f(x): return C.v()
        """,
        "* 2",
        "* 3",
    ),
    "what a match takes by place": (
        """
        class C:
            __match_args__ = ("a", "b")
            a, b = 1, 2
        def f(x):
            match C():
                case C(p): return p
        """,
        '("a", "b")',
        '("b", "a")',
    ),
    "slots": (
        """
        class C:
            __slots__ = ("a", "b")
            def __init__(self): self.a = 1; self.b = 2
        def f(x): c = C(); return [getattr(c, s) for s in c.__slots__]
        """,
        '("a", "b")',
        '("b", "a")',
    ),
    "what a base was given in brackets": (
        """
        from typing import Generic, TypeVar, get_args
        T = TypeVar("T")
        class B(Generic[T]):
            def parse(self, x): return get_args(type(self).__orig_bases__[0])[0](x)
        class C(B[int]): pass
        def f(x): return [C().parse(x)]
        """,
        "B[int]",
        "B[str]",
    ),
    "a private constant of an enum": (
        """
        import enum
        class C(enum.Enum):
            A = 1
            __k__ = 3
            def v(self): return self.value * self.__k__
        def f(x): return C.A.v()
        """,
        "__k__ = 3",
        "__k__ = 4",
    ),
    "how members of an enum are shown": (
        """
        import enum
        class C(str, enum.Enum):
            A = "a"
            __str__ = str.__str__
        def f(x): return str(C.A)
        """,
        "    __str__ = str.__str__\\n",
        "",
    ),
    "the order of annotations": (
        """
        class C:
            a: int
            b: int
        def f(x): return list(C.__annotations__)
        """,
        "a: int\\n    b: int",
        "b: int\\n    a: int",
    ),
    "a decorator that adds methods": (
        """
        import functools
        @functools.total_ordering
        class C:
            def __lt__(self, other): return True
        def f(x):
            try: return C() <= C()
            except TypeError: return "no"
        """,
        "@functools.total_ordering\\n",
        "",
    ),
    "a helper that a lambda beside another calls": (
        """
        import hh
        f = lambda x, key=lambda v: v: hh.g(key(x))
        # file: hh.py
        def g(x): return x + 1
        """,
        "x + 1",
        "x + 2",
    ),
    "a helper of a lambda that is put under what another gives": (
        """
        import hh
        T = {}
        T[max([1, 2], key=lambda v: v)] = lambda x: hh.g(x)
        f = T[2]
        # file: hh.py
        def g(x): return x + 1
        """,
        "x + 1",
        "x + 2",
    ),
    "a lambda in a comprehension over another": (
        """
        f = [(lambda x, i=i: x * 3) for i in filter(lambda v: v, [1, 2])][0]
        """,
        "x * 3",
        "x * 4",
    ),
    "a module of a package without an init": (
        """
        import ns.hh
        def f(x): return ns.hh.g(x)
        # file: ns/hh.py
        def g(x): return x + 1
        """,
        "x + 1",
        "x + 2",
    ),
    "a package of which a module is imported inside": (
        """
        def f(x):
            import pk.sub
            return pk.C
        # file: pk/__init__.py
        C = 1
        # file: pk/sub.py
        D = 1
        """,
        "C = 1",
        "C = 2",
    ),
    "the same, further away": (
        """
        def f(x):
            import mid
            return mid.q()
        # file: mid.py
        import pk.sub
        def q(): return pk.C
        # file: pk/__init__.py
        C = 1
        # file: pk/sub.py
        D = 1
        """,
        "C = 1",
        "C = 2",
    ),
    "the names of a module as a dict": (
        """
        import hh
        def f(x): return hh.__dict__["C"]
        # file: hh.py
        C = 1
        """,
        "C = 1",
        "C = 2",
    ),
    "a default with which a function calls itself": (
        """
        def f(x, n=2): return n if x == 0 else n + f(x - 1)
        """,
        "n=2",
        "n=3",
    ),
    "a default with which a helper calls the function": (
        """
        def h(x): return f(x)
        def f(x, n=2): return n if x == 0 else n + h(x - 1)
        """,
        "n=2",
        "n=3",
    ),
    "the docstring of the module": (
        """
        '''Usage: A'''
        def f(x): return __doc__
        """,
        "Usage: A",
        "Usage: B",
    ),
    "the docstring of a class that reads its own": (
        """
        class C:
            '''one'''
            def d(self): return self.__doc__
        def f(x): return C().d()
        """,
        "one",
        "two",
    ),
    "a docstring that a helper reads of another": (
        """
        def doc(fn): return fn.__doc__
        def h():
            '''one'''
        def f(x): return doc(h)
        """,
        "one",
        "two",
    ),
    "annotations that a helper reads of another": (
        """
        import typing
        def conv(fn, v): return [typing.get_type_hints(fn)["a"](v)]
        def h(a: int): pass
        def f(x): return conv(h, x)
        """,
        "a: int",
        "a: str",
    ),
    "annotations by which a function inside is chosen": (
        """
        import functools
        def f(x):
            @functools.singledispatch
            def g(a): return 0
            def h(a: int): return 1
            g.register(h)
            return g(x)
        """,
        "a: int",
        "a: str",
    ),
    "a class that is named in annotations as text": (
        """
        from __future__ import annotations
        import typing
        class Out:
            i: list[In]
        class In: k = 5
        def f(x): return typing.get_args(typing.get_type_hints(Out)["i"])[0].k
        """,
        "k = 5",
        "k = 6",
    ),
    "a class that is named inside of an annotation": (
        """
        import typing
        class Out:
            i: typing.List["In"]
        class In: k = 5
        def f(x): return typing.get_args(typing.get_type_hints(Out)["i"])[0].k
        """,
        "k = 5",
        "k = 6",
    ),
    "a field of a class that a call made": (
        """
        import dataclasses
        C = dataclasses.make_dataclass("D", [("a", int, 5)], namespace={"m": lambda self: self.a})
        def f(x): return C().m()
        """,
        "5)",
        "6)",
    ),
    "a method of a class that a call made": (
        """
        import types
        C = types.new_class("D", (), {}, lambda names: names.update(m=lambda self: 5))
        def f(x): return C().m()
        """,
        "5",
        "6",
    ),
    "a function under a decorator with a lock": (
        """
        import threading, functools
        class D:
            def __init__(self, fn):
                functools.update_wrapper(self, fn)
                self.lock = threading.Lock()
            def __call__(self, *a):
                with self.lock: return self.__wrapped__(*a)
        @D
        def f(x): return 5
        """,
        "return 5",
        "return 6",
    ),
    "a helper under a decorator with a lock": (
        """
        import threading
        class D:
            def __init__(self, fn): self.function = fn; self.lock = threading.Lock()
            def __call__(self, *a):
                with self.lock: return self.function(*a)
        @D
        def h(x): return 5
        def f(x): return h(x)
        """,
        "return 5",
        "return 6",
    ),
    "what a currying decorator has taken": (
        """
        import toolz
        @toolz.curry
        def add(k, x): return x + k
        def f(x): return add(3, x)
        """,
        "x + k",
        "x - k",
    ),
    "a method with a cache of a package": (
        """
        import cachetools, operator
        class K:
            def __init__(self): self.c = {}
            @cachetools.cachedmethod(operator.attrgetter("c"))
            def m(self, x): return x * 5
        def f(x): return K().m(x)
        """,
        "* 5",
        "* 6",
    ),
    **{
        f"a task that is pickled {how}": (
            f"""
            def lookup(name): return globals()[name]
            class Task:
                def __init__(self, run): self.run, self.__name__ = run, run.__name__
                def __call__(self, *given): return self.run(*given)
                def __reduce__(self): return {reduced}
            @Task
            def h(x): return x + 1
            def f(x): return h(x)
            """,
            "x + 1",
            "x + 2",
        )
        for how, reduced in (
            ("by name", "self.__name__"),
            ("to be looked up", "lookup, (self.__name__,)"),
        )
    },
    **{
        f"{what} of a decorator of wrapt": (
            """
            import wrapt
            K = 2
            def deco(n):
                @wrapt.decorator
                def w(g, i, a, k): return g(*a, **k) * n + K
                return w
            @deco(3)
            def f(x): return x + 1
            """,
            old,
            new,
        )
        for what, old, new in (
            ("an argument", "deco(3)", "deco(4)"),
            ("a global", "K = 2", "K = 3"),
            ("the code", "* n + K", "* n - K"),
        )
    },
    "the class of a proxy": (
        """
        import wrapt
        class P(wrapt.ObjectProxy):
            def go(self): return self.__wrapped__ + 1
        V = P(5)
        def f(x): return V.go()
        """,
        "+ 1",
        "+ 2",
    ),
    "a cached property of a class with slots": (
        """
        import attrs, functools
        @attrs.define
        class A:
            a: int = 2
            @functools.cached_property
            def cp(self): return self.a * 3
        def f(x): return A(x).cp
        """,
        "* 3",
        "* 4",
    ),
    **{
        f"{what} of a context as a decorator": (
            """
            import contextlib
            LEVEL = 0
            @contextlib.contextmanager
            def at(level):
                global LEVEL
                LEVEL = level * 2
                yield
                LEVEL = 0
            @at(3)
            def h(x): return LEVEL
            def f(x): return h(x)
            """,
            old,
            new,
        )
        for what, old, new in (
            ("the code", "* 2", "* 3"),
            ("the argument", "at(3)", "at(4)"),
        )
    },
    **{
        f"{what} of retries of a coroutine": (
            """
            import tenacity, asyncio
            @tenacity.retry(stop=tenacity.stop_after_attempt(3), retry_error_callback=lambda s: s.attempt_number)
            async def h(x): raise ValueError
            async def g(x): return await h(x)
            def f(x): return asyncio.run(g(x))
            """,
            old,
            new,
        )
        for what, old, new in (
            ("the end", "_number", "_number + 1"),
            ("the number", "attempt(3)", "attempt(4)"),
        )
    },
    "a class that beartype checks": (
        """
        from beartype import beartype
        @beartype
        class C:
            def m(self, x: int) -> int: return x
        def f(x): return C().m(x)
        """,
        "return x\n",
        "return -x\n",
    ),
    "what another text constant reads of a class": (
        """
        class Config:
            scale = 1
        def configure(v): Config.scale = v
        def f(x):
            return x * getattr(Config, "scale") if x else configure(x)
        """,
        "scale = 1",
        "scale = 5",
    ),
}


#: Edits after which nothing is different.
SAME: dict[str, tuple[str, str, str]] = {
    "the docstring under a decorator": (
        """
        import functools
        class D:
            def __init__(self, fn): functools.update_wrapper(self, fn); self.fn = fn
            def __call__(self, *a): return self.fn(*a)
        @D
        def h(x: int):
            '''one'''
            return x
        def f(x): return h(x)
        """,
        "x: int):\n    '''one",
        "x: float):\n    '''two",
    ),
    "a docstring that nobody reads": (
        """
        class C:
            '''one'''
        def f(x): return C.__name__
        """,
        "one",
        "two",
    ),
}


def _key(folder: Path, text: str) -> tuple[str, Any]:
    folder.mkdir()
    for part in re.split(r"(?m)^# file: ", "steps_edited.py\n" + textwrap.dedent(text)):
        name, _, body = part.partition("\n")
        file = folder / name
        file.parent.mkdir(exist_ok=True, parents=True)
        file.write_text(body)
    known = set(sys.modules)
    sys.path.insert(0, str(folder))
    importlib.invalidate_caches()
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            f = importlib.import_module("steps_edited").f
            key = CallKey(f, Identity(f)).of((1,), {})
            return key, f(1)
    finally:
        sys.path.remove(str(folder))
        for name in set(sys.modules) - known:
            if name.partition(".")[0] in ("steps_edited", "hh", "pk", "ns", "mid"):
                del sys.modules[name]


@pytest.mark.parametrize("name", EDITS)
def test_an_edit_that_changes_what_a_function_gives_changes_its_key(
    name: str, tmp_path: Path
) -> None:
    text, old, new = (one.replace("\\n", "\n") for one in EDITS[name])
    text = textwrap.dedent(text)
    assert old in text
    before, gave = _key(tmp_path / "before", text)
    after, gives = _key(tmp_path / "after", text.replace(old, new))
    again, gave_again = _key(tmp_path / "again", text)
    assert gave != gives
    assert before != after
    assert (again, gave_again) == (before, gave)


@pytest.mark.parametrize("name", SAME)
def test_an_edit_that_changes_nothing_changes_no_key(name: str, tmp_path: Path) -> None:
    text, old, new = (one.replace("\\n", "\n") for one in SAME[name])
    text = textwrap.dedent(text)
    assert old in text
    assert _key(tmp_path / "before", text) == _key(tmp_path / "after", text.replace(old, new))


def test_asserts_count_the_same_with_and_without_them(tmp_path: Path) -> None:
    (tmp_path / "steps_asserting.py").write_text(
        textwrap.dedent("""
            LIMIT = 3
            OTHER = [1]
            def check(x): return x < LIMIT
            def f(x):
                assert check(x) and all(one < LIMIT for one in [x])
                if not __debug__: return LIMIT
                if x > 100: raise ValueError(sum(one for one in OTHER))
                return x
        """)
    )
    script = "from steps_asserting import f; print(key(f))"
    keys = {_run(tmp_path, script, *options)[0] for options in ([], ["-O"], ["-OO"])}
    assert len(keys) == 1
    before, _ = _key(tmp_path / "a", (tmp_path / "steps_asserting.py").read_text())
    edited = (tmp_path / "steps_asserting.py").read_text().replace("= 3", "= 4")
    assert before != _key(tmp_path / "b", edited)[0]


def _adds(x: int, y: int = 1, *, z: int = 1) -> int:
    return x + y + z


def test_defaults_that_are_set_anew_count(monkeypatch: pytest.MonkeyPatch) -> None:
    f = memory_store(local_cache="off").cached(_adds)
    assert f(1) == 3
    monkeypatch.setattr(_adds, "__defaults__", (2,))
    assert f(1) == 4
    monkeypatch.setitem(_adds.__kwdefaults__, "z", 5)
    assert f(1) == 8


def _run(folder: Path, script: str, *options: str) -> list[str]:
    script = textwrap.dedent(_PRELUDE) + textwrap.dedent(script)
    return printed_by(script, *options, folder=folder)


_PRELUDE = """
import sys, os, pathlib
from s3kv_flow.keys.call import CallKey
from s3kv_flow.keys.identity import Identity
def key(f, x=1): return CallKey(f, Identity(f)).of((x,), {})
def edit(file, old, new):
    file = pathlib.Path(file)
    file.write_text(file.read_text().replace(old, new))
"""


def test_a_module_that_is_edited_after_it_was_loaded_lends_its_text_to_nobody(
    tmp_path: Path,
) -> None:
    (tmp_path / "hh.py").write_text("def g(x): return x + 1\n")
    (tmp_path / "m.py").write_text("import hh\ndef f(x):\n    from hh import g\n    return g(x)\n")
    loaded, gave = _run(
        tmp_path,
        """
        from m import f
        identity = Identity(f)
        edit("hh.py", "x + 1", "x + 2")
        print(CallKey(f, identity).of((1,), {}), f(1))
        """,
    )
    fresh, gives = _run(tmp_path, "from m import f; print(key(f), f(1))")
    assert (gave, gives) == ("2", "3")
    assert loaded != fresh


def test_a_module_that_is_edited_before_it_is_loaded_counts_as_it_is_then(tmp_path: Path) -> None:
    (tmp_path / "hh.py").write_text("def g(x): return x + 1\n")
    (tmp_path / "m.py").write_text("def f(x):\n    from hh import g\n    return g(x)\n")
    first, second, gave, third = _run(
        tmp_path,
        """
        from m import f
        keys = CallKey(f, Identity(f))
        print(keys.of((2,), {}))
        edit("hh.py", "x + 1", "x + 22")
        print(keys.of((2,), {}), f(2), keys.of((2,), {}))
        """,
    )
    assert gave == "24"
    assert first != second == third
    assert _run(tmp_path, "from m import f; print(key(f, 2), f(2))") == [second, "24"]


def test_what_code_without_a_text_imports_counts(tmp_path: Path) -> None:
    (tmp_path / "hh.py").write_text("def g(x): return x + 1\n")
    script = "def f(x):\n    from hh import g\n    return g(x)\nprint(key(f))\n"
    before = _run(tmp_path, script)
    (tmp_path / "hh.py").write_text("def g(x): return x + 2\n")
    assert _run(tmp_path, script) != before


@pytest.mark.parametrize("way", ["compiled", "archive"])
def test_a_module_without_a_file_of_text_counts(tmp_path: Path, way: str) -> None:
    def made(change: str) -> list[str]:
        folder = tmp_path / change
        folder.mkdir()
        (folder / "hh.py").write_text(f"def g(x): return x + {change}\n")
        (folder / "m.py").write_text("def f(x):\n    from hh import g\n    return g(x)\n")
        if way == "compiled":
            py_compile.compile(str(folder / "hh.py"), cfile=str(folder / "hh.pyc"))
            path = "."
        else:
            path = "lib.zip"
            with zipfile.ZipFile(folder / path, "w") as archive:
                archive.write(folder / "hh.py", "hh.py")
        (folder / "hh.py").unlink()
        return _run(folder, f"sys.path.insert(0, {path!r})\nfrom m import f\nprint(key(f), f(1))\n")

    assert made("1")[1] == "2"
    assert made("2")[0] != _only(made("3"))


def _only(found: list[str]) -> str:
    return found[0]


#: Functions whose use leaves something behind that no code reads.
USED: dict[str, str] = {
    "an attribute of a helper": """
        def h(x): h.last = x; return x
        h.last = 0
        def f(x): return h(x)
        """,
    "a count of calls in a class": """
        class C:
            made = 0
            last = None
            def __init__(self, x): C.made += 1; C.last = x; self.x = x
        def f(x): return C(x).x
        """,
    "a private attribute of a model": """
        from pydantic import BaseModel
        class P(BaseModel):
            _p: int = 5
        def f(x): return P()._p
        """,
    "a count in a closure": """
        def make():
            n = 0
            def inner(x):
                nonlocal n
                n += 1
                return x
            return inner
        a = make()
        def f(x): return a(x)
        """,
    "a memo of toolz": """
        import toolz
        @toolz.memoize
        def h(x): return x
        def f(x): return h(x)
        """,
    "a memo of cachetools": """
        import cachetools.func
        @cachetools.func.ttl_cache(3)
        def h(x): return x
        def f(x): return h(x)
        """,
    "a lock of wrapt": """
        import wrapt
        @wrapt.synchronized
        def h(x): return x
        def f(x): return h(x)
        """,
    "the flags of a context of decimals": """
        import decimal
        C = decimal.Context(prec=5)
        def f(x): return C.divide(decimal.Decimal(x), 3)
        """,
    "a cached property of a class with slots": """
        import attrs, functools
        @attrs.define
        class A:
            a: int = 2
            @functools.cached_property
            def cp(self): return self.a * 3
        A_GLOBAL = A()
        def f(x): return A_GLOBAL.cp
        """,
    "a cached property of Werkzeug": """
        from werkzeug.utils import cached_property
        class A:
            @cached_property
            def cp(self): return 3
        A_GLOBAL = A()
        def f(x): return A_GLOBAL.cp
        """,
    "a validator of beartype": """
        from beartype import beartype
        from beartype.vale import Is
        from typing import Annotated
        Positive = Annotated[int, Is[lambda v: v > 0]]
        @beartype
        def h(x: Positive): return x
        def f(x): return h(x)
        """,
    "an adapter": """
        import pydantic
        class M(pydantic.BaseModel):
            n: int = 1
        adapter = pydantic.TypeAdapter(list[M])
        def f(x): return adapter.validate_python([])
        """,
}


@pytest.mark.parametrize("name", USED)
def test_use_changes_no_key_of_a_function(name: str, tmp_path: Path) -> None:
    (tmp_path / "m.py").write_text(textwrap.dedent(USED[name]))
    script = "from m import f\nprint(key(f)); f(1); f(2); print(key(f))"
    keys = {*_run(tmp_path, script), *_run(tmp_path, script)}
    assert len(keys) == 1


def test_what_is_written_and_read_counts(tmp_path: Path) -> None:
    text = """
        class C:
            made = 0
            def __init__(self): C.made += 1
        def f(x): C(); return C.made
        """
    before, gave = _key(tmp_path / "a", text)
    after, gives = _key(tmp_path / "b", text.replace("made = 0", "made = 10"))
    assert (gave, gives) == (1, 11)
    assert before != after


def test_what_an_adapter_is_of_counts(tmp_path: Path) -> None:
    text = """
        import pydantic
        adapter = pydantic.TypeAdapter(list[int])
        def f(x): return adapter.validate_python(["1"])
        """
    assert _key(tmp_path / "a", text)[0] != _key(tmp_path / "b", text.replace("[int]", "[str]"))[0]


def test_the_docstring_of_a_class_that_is_read_counts_the_same_without_docstrings(
    tmp_path: Path,
) -> None:
    (tmp_path / "m.py").write_text(
        textwrap.dedent('''
            class C:
                """one

                    indented
                """
                class Inner:
                    """inner"""
                    def d(self): return self.__doc__
                def d(self): return self.__doc__
            def f(x): return C().d(), C.Inner().d()
        ''')
    )
    script = "from m import f\nprint(key(f))"
    assert _run(tmp_path, script) == _run(tmp_path, script, "-OO")


class _Copying:
    def __init__(self, function: Any) -> None:
        self.__doc__ = function.__doc__
        self.function = function


def test_what_an_object_copied_of_a_docstring_does_not_count() -> None:
    one, other = _Copying(_adds), _Copying(_adds)
    other.__doc__ = "as with -OO, or edited"
    assert_same_key(one, other)


def test_what_the_standard_library_keeps_results_of_counts_by_name() -> None:
    assert_same_key(functools.lru_cache(json.loads), json.loads)
    assert_different_keys(functools.lru_cache(_adds), _adds)


def test_decorating_loads_no_module_that_waits_for_its_first_use(tmp_path: Path) -> None:
    (tmp_path / "waiting.py").write_text("raise AssertionError('loaded')\n")
    script = """
        import importlib.util
        spec = importlib.util.find_spec("waiting")
        loader = importlib.util.LazyLoader(spec.loader)
        spec.loader = loader
        module = sys.modules["waiting"] = importlib.util.module_from_spec(spec)
        loader.exec_module(module)
        def f(x): return x
        print(len(key(f)))
        """
    assert _run(tmp_path, script) == ["32"]


def test_a_logger_of_a_script_is_the_same_where_the_script_sent_its_function(
    tmp_path: Path,
) -> None:
    (tmp_path / "script.py").write_text(
        """
import logging, subprocess, sys
import cloudpickle
import s3kv_flow as s3kv
log = logging.getLogger(__name__)
@s3kv.cached
def f(x):
    log.info("x")
    return x
if __name__ == "__main__":
    print(f.key(1), flush=True)
    there = "import cloudpickle, sys; print(cloudpickle.load(sys.stdin.buffer).key(1))"
    subprocess.run([sys.executable, "-c", there], input=cloudpickle.dumps(f), check=True)
"""
    )
    run = [sys.executable, "script.py"]
    done = subprocess.run(run, cwd=tmp_path, capture_output=True, text=True, check=True)
    imported = printed_by("import script; print(script.f.key(1))", folder=tmp_path)
    assert done.stdout.split() == imported * 2


@pytest.mark.parametrize("loads", ["", "import package\n"])
def test_an_empty_module_counts_by_its_text_as_any_does(tmp_path: Path, loads: str) -> None:
    (tmp_path / "package").mkdir()
    (tmp_path / "package" / "steps.py").write_text("def h(x): return x\n")
    inside = tmp_path / "package" / "__init__.py"
    (tmp_path / "m.py").write_text(
        "def f(x):\n    import package.steps\n    return package.steps.h(x)\n"
    )
    keys = []
    for text in ("", "\n", "# a comment\n", "A = 1\n"):
        inside.write_text(text)
        keys.append(_only(_run(tmp_path, f"{loads}from m import f\nprint(key(f))")))
    assert keys[0] == keys[1] == keys[2] != keys[3]


def test_a_file_named_like_what_is_imported_of_a_builtin_module_does_not_count(
    tmp_path: Path,
) -> None:
    (tmp_path / "steps.py").write_text(
        "from itertools import chain\ndef h(x): return [*chain([x])]\n"
    )
    (tmp_path / "m.py").write_text("def f(x):\n    import steps\n    return steps.h(x)\n")
    keys = []
    for text in ("A = 1\n", "A = 2\n"):
        (tmp_path / "chain.py").write_text(text)
        keys.append(_only(_run(tmp_path, "from m import f\nprint(key(f))")))
    assert keys[0] == keys[1]
