"""Keys follow what changes while a process lives, and let go of what is gone."""

from __future__ import annotations

import functools
import gc
import importlib
import operator
import sys
import threading
import types
import weakref
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import wrapt

import s3kv_flow as s3kv
from s3kv_flow.adapters import CachedCalls
from s3kv_flow.testing import memory_store
from tests.fresh_interpreter import printed_by

kv: s3kv.S3KV = memory_store(local_cache="off")


class Service:
    def __init__(self, scale: int) -> None:
        self.lock, self.scale, self.held = threading.Lock(), scale, [scale]


class Slotted:
    __slots__ = ("lock", "scale")

    def __init__(self, scale: int) -> None:
        self.lock, self.scale = threading.Lock(), scale


def follows(body: Callable[[int], Any], change: Callable[[], object]) -> bool:
    """Whether a key and a result follow a change."""
    function = kv.cached(body)
    before, _ = function.key(1), function(1)
    change()
    return bool(function.key(1) != before and function(1) == body(1))


@pytest.mark.filterwarnings("ignore::s3kv_flow.UnstableKeyWarning")
@pytest.mark.parametrize(
    "make", [Service, Slotted, lambda n: types.SimpleNamespace(lock=threading.Lock(), scale=n)]
)
def test_attributes_of_an_object_with_a_lock_are_looked_at_in_each_call(make: Any) -> None:
    service = make(1)
    assert follows(lambda x: x * service.scale, lambda: setattr(service, "scale", 5))
    changed = kv.cached(lambda x: x * service.scale).key(1)
    service.scale = 1
    assert kv.cached(lambda x: x * service.scale).key(1) != changed


@pytest.mark.filterwarnings("ignore::s3kv_flow.UnstableKeyWarning")
def test_what_an_object_with_a_lock_holds_is_looked_at_however_deep() -> None:
    service = Service(1)
    outer = types.SimpleNamespace(service=service, lock=threading.Lock())
    assert follows(lambda x: x * service.held[0], lambda: service.held.__setitem__(0, 7))
    assert follows(lambda x: x * len(vars(service)), lambda: setattr(service, "new", 1))
    assert follows(lambda x: x * outer.service.scale, lambda: setattr(service, "scale", 9))
    table = {"lock": threading.Lock(), "scale": 1}
    assert follows(lambda x: x * len(table), lambda: table.update(scale=2, more=1))


def scaled(number: int) -> Callable[[Any], Any]:
    def decorate(function: Any) -> Any:
        @functools.wraps(function)
        def wrapper(x: int) -> Any:
            return function(x) * number

        return wrapper

    return decorate


@kv.cached
def clean(x: int) -> int:
    return x


def test_a_decorator_over_a_cached_function_counts() -> None:
    def reads(helper: Any) -> str:
        return str(kv.cached(lambda x: helper(x) + 1).key(1))

    assert len({reads(clean), reads(scaled(2)(clean)), reads(scaled(3)(clean))}) == 3
    assert reads(scaled(2)(clean)) == reads(scaled(2)(clean))


def test_a_proxy_of_a_cached_function_is_none() -> None:
    @wrapt.decorator
    def doubling(function: Any, instance: Any, args: Any, kwargs: Any) -> Any:
        return function(*args, **kwargs) * 2

    doubled = doubling(clean)
    calls = CachedCalls(doubled, store=kv)
    assert calls.run(calls.call(21), lambda: doubled(21)).value == 42
    assert clean(21) == 21


class Answers:
    def __getattr__(self, name: str) -> Any:
        raise RuntimeError(name)

    def __reduce__(self) -> Any:
        return Answers, ()


def test_what_code_reads_is_asked_for_nothing_to_see_whether_it_is_cached() -> None:
    answers = Answers()
    assert kv.cached(lambda x: answers and x).key(1)


def test_what_is_cached_twice_counts_as_its_function_whatever_its_store(
    recwarn: pytest.WarningsRecorder,
) -> None:
    decorated = scaled(3)(clean)
    assert kv.cached(decorated)(2) == 6
    assert clean(2) == 2
    other = memory_store(local_cache="off")
    assert kv.cached(clean).key(1) == kv.cached(other.cached(clean.__wrapped__)).key(1)
    assert kv.cached(clean)(4) == 4
    assert [str(one.message) for one in recwarn] == []


def test_functions_that_are_changed_in_place_are_seen() -> None:
    def helper(x: int, *, more: int = 0) -> Any:
        return x * getattr(helper, "scale", 1) + more

    assert follows(lambda x: helper(x) + 1, lambda: setattr(helper, "__dict__", {"scale": 5}))

    def named(x: int, *, y: Any = None) -> Any:
        return y

    keywords: dict[str, Any] = {}
    named.__kwdefaults__ = keywords
    assert follows(lambda x: [named.__kwdefaults__ and x], lambda: keywords.update(y=6))


@pytest.mark.parametrize("options", [{}, {"version": 1}, {"code": "none"}, {"code": "shallow"}])
def test_other_defaults_are_other_arguments(options: Any) -> None:
    def body(x: int, y: Any = 1, *, z: Any = 1) -> str:
        return f"{y!r} {z!r}"

    function = kv.cached(**options)(body)
    assert function(2) == "1 1"
    for default in (1.0, True, 2):
        body.__defaults__ = (default,)
        assert function(2) == f"{default!r} 1"
    body.__kwdefaults__ = {"z": 3}
    assert function(2) == "2 3"
    body.__kwdefaults__["z"] = 4
    assert function(2) == "2 4"


def test_a_module_that_was_dropped_and_is_imported_anew_counts_as_it_is_now(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    file = tmp_path / "s3kv_dropped.py"
    file.write_text("def h(x): return x + 1\n")

    def body(x: int) -> Any:
        from s3kv_dropped import h  # type: ignore[import-not-found]

        return h(x)

    def edit() -> None:
        file.write_text("def h(x): return x + 10_000\n")
        del sys.modules["s3kv_dropped"]
        importlib.invalidate_caches()

    assert follows(body, edit)
    del sys.modules["s3kv_dropped"]


class Config:
    scale = 1
    calls = 0


def configure(scale: int) -> None:
    Config.scale = scale


def by_name(x: int) -> Any:
    return x * getattr(Config, "scale") if x else configure(x)  # noqa: B009


def by_hasattr(x: int) -> Any:
    return x * hasattr(Config, "extra") if x else setattr(Config, "extra", 1) or configure(x)


def by_pattern(x: int) -> Any:
    match Config():
        case Config(scale=scale):
            return x * scale if x else configure(x)


def by_vars(x: int) -> Any:
    return x * vars(Config)["scale"] if x else configure(x)


get_scale = operator.attrgetter("scale")


def by_getter(x: int) -> Any:
    return x * get_scale(Config) if x else configure(x)


def by_dict(x: int) -> Any:
    return x * Config.__dict__["scale"] if x else configure(x)


def by_computed_name(x: int) -> Any:
    return x * getattr(Config, "".join(["sc", "ale"]), 1) if x else configure(x)


def by_format(x: int) -> Any:
    return f"{Config.scale}" if x else configure(x)


@pytest.mark.parametrize(
    "body", [by_name, by_pattern, by_vars, by_getter, by_dict, by_computed_name, by_format]
)
def test_an_attribute_that_is_written_counts_however_it_is_read(
    body: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Config, "scale", 1)
    assert follows(body, lambda: configure(5))


class Counted:
    made = 0
    seen = 0
    asked = 0

    def __init__(self) -> None:
        type(self).made += 1
        self.__class__.seen += 1

    @classmethod
    def ask(cls) -> None:
        cls.asked += 1


def counting(x: int) -> int:
    Counted().ask()
    return x


def test_counts_that_a_class_keeps_of_itself_change_no_key() -> None:
    function = kv.cached(counting)
    before = function.key(1)
    function(1)
    function(2)
    assert (Counted.made, Counted.seen, Counted.asked) == (2, 2, 2)
    assert function.key(1) == before == kv.cached(counting).key(1)


def named(one: Any, name: str) -> Any:
    return getattr(one, name), vars(one)


def counted(x: int) -> int:
    counted.calls += 1  # type: ignore[attr-defined]
    return x


def test_a_count_changes_no_key_where_something_else_is_read_by_a_computed_name() -> None:
    counted.calls = 0  # type: ignore[attr-defined]
    function = kv.cached(lambda x: str([named(types.SimpleNamespace(name=1), "name"), counted(x)]))
    before = function.key(1)
    function(1)
    function(2)
    assert counted.calls == 2  # type: ignore[attr-defined]
    assert function.key(1) == before


def test_functions_that_were_arguments_are_let_go_of() -> None:
    class Held:
        pass

    @kv.cached
    def applies(function: Any, x: int) -> Any:
        return function(x)

    def passes() -> weakref.ref[Held]:
        one = Held()
        applies.key(lambda x: (one, x), 1)
        return weakref.ref(one)

    held = [passes() for _ in range(100)]
    gc.collect()
    assert sum(one() is not None for one in held) < 20


def test_cached_and_decorated_helpers_follow_the_reloading_of_a_notebook(tmp_path: Path) -> None:
    decorators = {
        "cached": "@kv.cached",
        "wraps": "@wrapped",
        "over cached": "@wrapped\n@kv.cached",
        "cached over": "@kv.cached\n@wrapped",
        "version": "@kv.cached(version=NUMBER)",
    }
    text = """
import functools
from s3kv_flow.testing import memory_store
kv = memory_store(local_cache="off")
NUMBER = {number}
def wrapped(function):
    @functools.wraps(function)
    def wrapper(x):
        return function(x)
    return wrapper
"""
    for place, decorator in enumerate(decorators.values()):
        text += f"{decorator}\ndef step_{place}(x):\n    return x + {{number}}\n"
    printed = printed_by(
        f"""
        import os, sys, time
        sys.path.insert(0, ".")
        sys.dont_write_bytecode = True
        TEXT = {text!r}
        def write(number):
            with open("steps.py", "w") as file:
                file.write(TEXT.format(number=number))
            os.utime("steps.py", (time.time() + number,) * 2)
        write(1)
        from IPython.core.interactiveshell import InteractiveShell
        shell = InteractiveShell.instance()
        shell.run_cell("%load_ext autoreload")
        shell.run_cell("%autoreload 2")
        shell.run_cell("import steps")
        for place in range({len(decorators)}):
            shell.run_cell(
                f"@steps.kv.cached\\ndef report_{{place}}(x):\\n    return steps.step_{{place}}(x) * 10"
            )
            shell.run_cell(f"assert report_{{place}}(1) == 20")
        write(100)
        shell.run_cell("pass")
        for place in range({len(decorators)}):
            print(shell.user_ns[f"report_{{place}}"](1))
        """,
        folder=tmp_path,
    )
    assert printed[-len(decorators) :] == ["1010"] * len(decorators)
