"""When two functions have one key."""

from __future__ import annotations

import sys
import types
import uuid
from typing import Any

import pytest

from s3kv_flow import UnstableKeyWarning
from s3kv_flow.keys.call import CallKey
from s3kv_flow.keys.identity import Identity
from tests.property.values_of_keys import key, token


def compiled(text: str, **namespace: Any) -> Any:
    """Give ``f`` of a text, as a module would have it."""
    import linecache

    name = f"<test {uuid.uuid4()}>"
    linecache.cache[name] = (len(text), None, text.splitlines(keepends=True), name)
    namespace["__name__"] = "module_of_the_test"
    sys.modules.setdefault("module_of_the_test", types.ModuleType("module_of_the_test"))
    exec(compile(text, name, "exec"), namespace)
    return namespace["f"]


BASE = """
LIMIT = 3
def helper(x, times=2):
    return x * times
def f(x):
    return helper(x) + LIMIT
"""

SAME = [
    BASE.replace("x * times", "(x  *  times)  # comment"),
    BASE.replace("    return helper", '    """Doc."""\n\n    return helper'),
    BASE.replace("def f(x)", "def f(x: int) -> int"),
    "import math\nUNUSED = 7\n" + BASE,
    BASE.replace("def helper", "\n\n\ndef helper"),
]
OTHER = [
    BASE.replace("LIMIT = 3", "LIMIT = 4"),
    BASE.replace("LIMIT = 3", "LIMIT = 3.0"),
    BASE.replace("x * times", "x + times"),
    BASE.replace("times=2", "times=3"),
    BASE.replace("+ LIMIT", "- LIMIT"),
    BASE.replace("helper(x) +", "helper(x, 2) +"),
]


@pytest.mark.parametrize("text", SAME)
def test_what_changes_nothing_does_not_count(text: str) -> None:
    assert key(compiled(text), 1) == key(compiled(BASE), 1)


@pytest.mark.parametrize("text", OTHER)
def test_what_changes_what_runs_counts(text: str) -> None:
    assert key(compiled(text), 1) != key(compiled(BASE), 1)


def test_a_change_while_the_process_runs_counts_at_once() -> None:
    function = compiled(BASE)
    call_key = CallKey(function, Identity(function))
    namespace = function.__globals__
    first = call_key.of((1,), {})
    namespace["LIMIT"] = 4
    second = call_key.of((1,), {})
    namespace["LIMIT"] = 3
    assert call_key.of((1,), {}) == first != second
    namespace["helper"].__defaults__ = (5,)
    assert call_key.of((1,), {}) != first


def test_data_that_changes_in_place_counts() -> None:
    function = compiled("TABLE = {'a': [1]}\ndef f(x):\n    return TABLE['a'][0] + x")
    call_key = CallKey(function, Identity(function))
    first = call_key.of((1,), {})
    function.__globals__["TABLE"]["a"].append(2)
    assert call_key.of((1,), {}) != first
    function.__globals__["TABLE"]["a"].pop()
    assert call_key.of((1,), {}) == first


def test_closures_defaults_and_lambdas_count_by_value() -> None:
    def make(n: int) -> Any:
        return lambda x: x + n

    assert key(make(1), 1) == key(make(1), 1) != key(make(2), 1)
    first, second = (lambda x: x + 1), (lambda x: x + 2)
    assert key(first, 1) != key(second, 1)


def test_the_class_of_an_argument_counts() -> None:
    text = "class A:\n    FACTOR = 2\n    def m(self):\n        return self.FACTOR\ndef f():\n    return A()"
    first = token(compiled(text)())
    assert token(compiled(text.replace("    def m", "    # comment\n    def m"))()) == first
    assert token(compiled(text.replace("FACTOR = 2", "FACTOR = 3"))()) != first
    assert token(compiled(text.replace("self.FACTOR", "-self.FACTOR"))()) != first
    cls = type(compiled(text)())
    value = cls()
    before = token(value)
    cls.FACTOR = 5
    assert token(value) != before


FIELDS = [
    (
        "import dataclasses\n@dataclasses.dataclass\nclass C:\n    a: list = "
        "dataclasses.field(default_factory=list)\n    b: int = 1\ndef f(): return C",
        [("=list", "=set"), ("b: int = 1", "b: int = 2"), ("dataclass\n", "dataclass(eq=False)\n")],
    ),
    (
        "import pydantic\nclass C(pydantic.BaseModel):\n    a: int = 3\n"
        "    b: int = pydantic.Field(1, gt=0)\ndef f(): return C",
        [("a: int = 3", "a: int = 5"), ("a: int", "a: float"), ("gt=0", "gt=-1")],
    ),
    (
        "import attrs\n@attrs.define\nclass C:\n    a: int = 3\n"
        "    b: int = attrs.field(default=1, converter=int)\ndef f(): return C",
        [("a: int = 3", "a: int = 5"), ("converter=int", "converter=float"), ("    a:", "    c:")],
    ),
    (
        "class M(type):\n    def __call__(cls):\n        return 1\n"
        "class C(metaclass=M):\n    pass\ndef f(): return C",
        [("return 1", "return 2")],
    ),
]


@pytest.mark.parametrize(("text", "edits"), FIELDS)
def test_what_makes_the_methods_of_a_class_counts(text: str, edits: list[tuple[str, str]]) -> None:
    first = key(compiled(text))
    assert key(compiled(text)) == first
    for old, new in edits:
        assert old in text
        assert key(compiled(text.replace(old, new))) != first, (old, new)


def test_recursion_and_mutual_recursion_end() -> None:
    names = [f"f{n}" for n in range(30)]
    calls = "; ".join(f"{name}(x)" for name in names)
    text = "\n".join(f"def {name}(x):\n    {calls}" for name in names) + "\nf = f0"
    assert key(compiled(text), 1) == key(compiled(text), 1)
    assert key(compiled(text), 1) != key(
        compiled(text.replace("f7(x):\n", "f7(x):\n    x += 1\n")), 1
    )


def test_decorators_count_by_what_they_made() -> None:
    text = """
import functools
def times(n):
    def decorate(function):
        @functools.wraps(function)
        def wrapper(x):
            return n * function(x)
        return wrapper
    return decorate
@times(2)
def f(x):
    return x
"""
    first = key(compiled(text), 1)
    assert key(compiled(text), 1) == first
    assert key(compiled(text.replace("times(2)", "times(3)")), 1) != first
    assert key(compiled(text.replace("return x\n", "return -x\n")), 1) != first


def test_installed_code_counts_by_name() -> None:
    first = key(compiled("import numpy as np\ndef f(x):\n    return np.mean(x)"), 1)
    assert first == key(
        compiled("import numpy as np\nimport math\ndef f(x):\n    return np.mean(x)"), 1
    )
    assert first != key(compiled("import numpy as np\ndef f(x):\n    return np.median(x)"), 1)


def test_a_global_without_a_key_counts_by_its_type_and_is_named() -> None:
    text = "import threading\nLOCK = threading.Lock()\ndef f(x):\n    with LOCK:\n        return x"
    with pytest.warns(UnstableKeyWarning, match="'LOCK'"):
        first = key(compiled(text), 1)
    with pytest.warns(UnstableKeyWarning):
        assert key(compiled(text), 1) == first


def test_code_without_a_text_counts_by_its_bytecode() -> None:
    def without_text(text: str) -> Any:
        namespace: dict[str, Any] = {"__name__": "module_of_the_test"}
        exec(text, namespace)
        return namespace["f"]

    assert key(without_text(BASE), 1) == key(without_text(BASE), 1)
    assert key(without_text(BASE), 1) != key(without_text(OTHER[2]), 1)


def test_shallow_and_none_leave_out_what_they_say() -> None:
    def digest(text: str, mode: str) -> str:
        function = compiled(text)
        return CallKey(function, Identity(function, mode)).of((1,), {})

    helper, body = OTHER[2], OTHER[4]
    assert digest(helper, "shallow") == digest(BASE, "shallow") != digest(body, "shallow")
    assert digest(helper, "none") == digest(BASE, "none") == digest(body, "none")
