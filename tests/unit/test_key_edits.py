"""Edits of a module after which a function gives something else: its key is another, and by any Python the same."""

from __future__ import annotations

import importlib
import re
import sys
import textwrap
import warnings
from pathlib import Path
from typing import Any

import pytest

from s3kv_flow.keys.call import CallKey
from s3kv_flow.keys.code import Identity

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
