"""Why a call hits or misses: the deepest difference, in words a person understands at once."""

from __future__ import annotations

import dataclasses
import importlib
import sys
import textwrap
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

import s3kv_flow as s3kv
from s3kv_flow.keys import parts as key_parts
from s3kv_flow.stores.memory import MemoryStore
from s3kv_flow.testing import ManualClock, memory_store


@dataclasses.dataclass
class Config:
    depth: int
    names: dict


@pytest.fixture(params=["bucket", "local only"])
def kv(request):
    if request.param == "bucket":
        return memory_store(keyring=s3kv.Keyring.generate())
    return s3kv.S3KV._local_only()


def told(function, *args, **kwargs):
    explanation = function.explain(*args, **kwargs)
    return [str(difference) for difference in explanation.differences]


def test_a_hit_is_a_hit(kv):
    @kv.cached
    def step(x):
        return x

    step(1)
    explanation = step.explain(1)
    assert (explanation.hit, explanation.key) == (True, step.key(1))
    assert str(explanation).startswith("hit: a valid result is stored\n")
    assert explanation.entry.key == step.key(1)


def test_nothing_stored_yet(kv):
    @kv.cached(name="fresh")
    def step(x):
        return x

    assert str(step.explain(1)).startswith("miss: nothing of fresh is stored yet")


def test_the_argument_that_differs_is_named_as_deep_as_it_lies(kv):
    @kv.cached
    def step(cfg, day="mon", *rest, **options):
        return day

    step({"a": {"b": [1, 2, {"c": 3}]}, "z": 0})
    assert told(step, {"a": {"b": [1, 2, {"c": 3}]}, "z": 0}, "tue") == ["argument day differs"]
    assert told(step, {"a": {"b": [1, 5, {"c": 3}]}, "z": 0}) == [
        "argument cfg['a']['b'][1] differs"
    ]
    assert told(step, {"a": {"b": [1, 2, {"c": 4}]}, "z": 0}) == [
        "argument cfg['a']['b'][2] differs"
    ]
    assert told(step, {"a": {"b": [1, 2, {"c": 3}]}, "z": 0, "new": 1}) == [
        "argument cfg['new'] is new"
    ]
    assert told(step, {"a": {"b": [1, 2, {"c": 3}]}}) == ["argument cfg['z'] is gone"]


def test_fields_and_columns_are_named(kv):
    @kv.cached
    def step(config, frame):
        return 1

    def frame(last):
        return pd.DataFrame({"a": [1, 2], "b": ["x", last]})

    step(Config(3, {"x": 1}), frame("y"))
    assert told(step, Config(4, {"x": 1}), frame("y")) == ["argument config.depth differs"]
    assert told(step, Config(3, {"x": 2}), frame("y")) == ["argument config.names['x'] differs"]
    assert told(step, Config(3, {"x": 1}), frame("z")) == ["argument frame['b'] differs"]


def test_the_nearest_entry_is_the_one_compared(kv):
    @kv.cached
    def step(a, b, c):
        return a

    step(1, 1, 1)
    step(2, 2, 2)
    step(9, 9, 9)
    explanation = step.explain(2, 2, 7)
    assert explanation.nearest.key == step.key(2, 2, 2)
    assert [str(one) for one in explanation.differences] == ["argument c differs"]


def test_code_that_changed_is_named(tmp_path: Path, monkeypatch):
    import importlib
    import sys

    objects = MemoryStore()
    monkeypatch.syspath_prepend(str(tmp_path))
    source = "def double(x):\n    return x * {}\n\nLIMIT = {}\n"
    main = (
        "import helpers_of_explain as helpers\n\n"
        "def step(x):\n    return helpers.double(x) + helpers.LIMIT\n"
    )
    explained = []
    for factor, limit in ((2, 10), (3, 10), (2, 11)):
        (tmp_path / "helpers_of_explain.py").write_text(source.format(factor, limit))
        (tmp_path / "steps_of_explain.py").write_text(main)
        for name in ("helpers_of_explain", "steps_of_explain"):
            sys.modules.pop(name, None)
        importlib.invalidate_caches()
        monkeypatch.setattr(sys, "dont_write_bytecode", True)
        steps = importlib.import_module("steps_of_explain")
        function = memory_store(objects).cached(steps.step)
        explained.append(told(function, 1))
        if factor == 2 and limit == 10:
            function(1)
    assert explained == [
        [],
        ["code of helpers_of_explain:double differs"],
        ["helpers.LIMIT, which steps_of_explain:step reads differs"],
    ]


def test_what_it_depends_on_is_named(kv, tmp_path, monkeypatch):
    file = tmp_path / "limits.toml"
    file.write_text("1")

    @kv.cached(depends_on=[s3kv.File(file), s3kv.Env("STAGE"), s3kv.Package("numpy")])
    def step():
        return 1

    monkeypatch.setenv("STAGE", "test")
    step()
    file.write_text("2")
    assert told(step) == ["file limits.toml differs"]
    file.write_text("1")
    monkeypatch.setenv("STAGE", "prod")
    assert told(step) == ["env STAGE differs"]


def test_an_expired_entry_is_told_with_its_age():
    clock = ManualClock()
    kv = memory_store(clock=clock)

    @kv.cached(max_age_days=1)
    def step():
        return 1

    step()
    clock.advance(days=3)
    explanation = step.explain()
    assert not explanation.hit
    assert explanation.why == "it was stored 3 days ago, and max_age is 1 day, 0:00:00"


def test_an_entry_of_another_machine_is_explained():
    objects = MemoryStore()

    def step(x):
        return x

    memory_store(objects).cached(step)(1)
    explanation = memory_store(objects).cached(step).explain(2)
    assert [str(one) for one in explanation.differences] == ["argument x differs"]
    assert explanation.nearest.producer["host"]
    assert "stored 20" in str(explanation)


def test_entries_are_listed_without_their_values(kv):
    @kv.cached(tags={"t": "v"})
    def step(x):
        return np.arange(x)

    for x in (1, 1000):
        step(x)
    entries = {entry.key: entry for entry in step.entries()}
    assert set(entries) == {step.key(1), step.key(1000)}
    assert entries[step.key(1)].codec == "numpy"
    assert entries[step.key(1)].tags == {"t": "v"}


def test_entries_made_by_put_and_refresh_have_parts_too(kv):
    @kv.cached
    def step(x):
        return x

    step.put(1, 1)
    assert told(step, 2) == ["argument x differs"]
    step.refresh(1)
    assert told(step, 2) == ["argument x differs"]


def test_parts_have_no_values_and_a_bounded_size():
    def step(x, secret):
        return 1

    kv = memory_store()
    large = {f"k{n}": {"v": [n] * 10} for n in range(5000)}
    cached = kv.cached(step)
    cached(large, "hunter2")
    (found,) = kv._backend.objects.list("s3kv/cache/")
    body = bytes(kv._backend.objects.get(found.name).body)
    assert b"hunter2" not in body
    assert len(body) < 16_000
    parts = cached_parts(kv, found.name)
    assert len(parts) <= key_parts.LIMIT
    assert not any("hunter2" in text for pair in parts.items() for text in pair)


def cached_parts(kv, name):
    from s3kv_flow.envelope import header

    _, start, _ = header.split(kv._backend.objects.get(name).body)
    return key_parts.load(header.load(start)["parts"])


@pytest.mark.parametrize("text", ["", "x", None, 7, "~" * 100, key_parts.dump({})[1:]])
def test_parts_that_cannot_be_read_are_none(text):
    assert key_parts.load(text) is None


def test_a_bomb_is_not_unpacked():
    import base64
    import zlib

    bomb = base64.b85encode(zlib.compress(b'{"a": "' + b"x" * 50_000_000 + b'"}', 9)).decode()
    assert key_parts.load(bomb) is None


def test_coroutine_functions_explain_too():
    import asyncio

    kv = memory_store()

    @kv.cached
    async def step(x):
        return x

    async def main():
        await step(1)
        return await step.explain(2), await step.entries()

    explanation, entries = asyncio.run(main())
    assert [str(one) for one in explanation.differences] == ["argument x differs"]
    assert len(entries) == 1


def test_columns_of_one_name_are_recorded_in_no_time(kv):
    @kv.cached
    def f(prices):
        return len(prices)

    column = pd.Series([1.0, 2.0], name="close")
    frame = pd.concat([column] * 60, axis=1)
    assert f(frame) == 2
    other = pd.concat([column + 1] * 60, axis=1)
    assert [one.part for one in f.explain(other).differences] == ["argument prices"]


def test_an_index_that_differs_does_not_name_the_columns(kv):
    @kv.cached
    def f(x):
        return len(x)

    frame = pd.DataFrame({"a": [1, 2], "b": [3, 4]})
    f(frame)
    shifted = frame.set_axis([5, 6])
    assert [str(one) for one in f.explain(shifted).differences] == ["argument x.index differs"]
    frame.attrs["unit"] = "kg"
    assert [str(one) for one in f.explain(frame).differences] == ["argument x.attrs['unit'] is new"]


def test_what_goes_beyond_the_limit_does_not_look_like_a_difference(kv):
    @kv.cached
    def f(x, y=None):
        return len(x)

    many = {f"k{n}": n for n in range(1000)}
    f(many)
    changed = {**dict(reversed(many.items())), "k500": -1}
    assert [str(one) for one in f.explain(changed).differences] == ["argument x differs"]
    settings = {f"c{n}": n for n in range(60)}
    f(list(range(150)), settings)
    differences = [str(one) for one in f.explain(list(range(151)), settings).differences]
    assert differences == ["argument x[150] is new"]


def test_a_class_that_is_called_like_a_frame_is_none(kv):
    class DataFrame:
        def __init__(self, n):
            self.n = n

    @kv.cached
    def f(x):
        return x.n

    f(DataFrame(1))
    assert [one.part for one in f.explain(DataFrame(2)).differences] == ["argument x"]


def test_what_is_nested_deep_is_explained(kv):
    @kv.cached
    def f(x, y):
        return y

    deep = []
    for _ in range(3000):
        deep = [deep]
    f(deep, 1)
    assert [str(one) for one in f.explain(deep, 2).differences] == ["argument y differs"]


def _edited(tmp_path: Path, monkeypatch, edit: tuple[str, str, str]) -> list[str]:
    """Store a call of a module's `f`, edit the module, and give what then differs."""
    before, old, new = edit
    kv = memory_store(local_cache="off")
    for text in (before, before.replace(old, new)):
        folder = tmp_path / str(len(list(tmp_path.iterdir())))
        folder.mkdir()
        (folder / "steps_told.py").write_text(textwrap.dedent(text))
        monkeypatch.syspath_prepend(folder)
        sys.modules.pop("steps_told", None)
        f = kv.cached(importlib.import_module("steps_told").f, name="told")
        if text is before:
            f(1)
    sys.modules.pop("steps_told", None)
    return [str(one) for one in f.explain(1).differences]


@pytest.mark.parametrize(
    "edit",  # the text, what is in there before and after, and what is named
    [
        (
            "def h(x, s=1): return s\ndef f(x): return h(x)\n",
            "s=1",
            "s=2",
            "defaults of steps_told:h",
        ),
        (
            "import enum\nclass E(enum.Enum):\n    A = 1\ndef f(x): return E.A.value\n",
            "A = 1",
            "A = 3",
            "members of steps_told:E",
        ),
        (
            "class A: pass\nclass B: pass\nclass C(A): pass\ndef f(x): return C() and 1\n",
            "C(A)",
            "C(B)",
            "bases of class steps_told:C",
        ),
        (
            "class M(type): pass\nclass C: pass\ndef f(x): return C() and 1\n",
            "class C:",
            "class C(metaclass=M):",
            "bases of class steps_told:C",
        ),
        (
            "def h(x): return h.k\nh.k = 1\ndef f(x): return h(x)\n",
            "h.k = 1",
            "h.k = 2",
            "attributes of steps_told:h",
        ),
        (
            "a = lambda x: x + 1\nb = lambda x: x + 2\ndef f(x): return a(x) + b(x)\n",
            "x + 1",
            "x + 7",
            "code of steps_told:<lambda>",
        ),
        (
            "def mk(n):\n    def inner(): return n\n    return inner\na = mk(1); b = mk(2)\ndef f(x): return a() + b()\n",
            "mk(1)",
            "mk(7)",
            "n, which steps_told:mk.<locals>.inner closes over",
        ),
        (
            "import functools\ndef d(g):\n    @functools.wraps(g)\n    def w(*a): return g(*a)\n    return w\n"
            "@d\ndef h(x): return x\ndef f(x): return h(x)\n",
            "return g(*a)",
            "return [g(*a)]",
            "code of steps_told:h",
        ),
    ],
)
def test_whatever_is_edited_is_named(tmp_path, monkeypatch, edit):
    *text, expected = edit
    told = _edited(tmp_path, monkeypatch, tuple(text))
    assert any(one.startswith(expected) for one in told), told


def test_the_nearest_entry_is_that_with_the_fewest_differences(kv):
    @kv.cached
    def f(x):
        return len(x)

    f([1, 9])
    f([1, 2, *range(100)])
    assert [str(one) for one in f.explain([1, 2]).differences] == ["argument x[1] differs"]


def test_many_differences_are_not_all_printed(kv):
    @kv.cached
    def f(x):
        return len(x)

    f({f"k{n}": n for n in range(150)})
    lines = str(f.explain({f"k{n}": -n - 1 for n in range(150)})).splitlines()
    assert lines[-1] == "    - and 110 more"
    assert len(lines) < 50


def test_another_hash_is_the_one_difference(kv):
    def f(x):
        return x

    kv.cached(f, name="hashed")(1)
    other = kv.cached(f, name="hashed", key_hash="blake3")
    assert [str(one) for one in other.explain(1).differences] == ["hash differs"]


def test_of_a_method_the_object_is_asked_for(kv):
    class C:
        @kv.cached
        def m(self, x):
            return x

    with pytest.raises(TypeError, match=r"Class\.method\.key\(object"):
        C().m.key(1)
    assert C.m.key(C(), 1)


def test_one_global_more_among_many_is_not_called_gone(tmp_path, monkeypatch):
    names = [f"V{n}" for n in range(150)]
    text = "".join(f"{name} = {n}\n" for n, name in enumerate(names))
    text += f"W = 1\ndef f(x): return [{', '.join(names)}]\n"
    told = _edited(tmp_path, monkeypatch, (text, "[V0,", "[W, V0,"))
    assert not any("gone" in one for one in told), told
