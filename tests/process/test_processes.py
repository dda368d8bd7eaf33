"""The same key and the same entry in every kind of process: fresh, forked, spawned, -m, killed."""

from __future__ import annotations

import json
import multiprocessing
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterable
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import forkserver
from pathlib import Path

import pytest

import s3kv_flow as s3kv
from s3kv_flow.stores.connection import Connection
from s3kv_flow.stores.control import Boto3Objects

MODULE = """
import sys
import s3kv_flow as s3kv
from helpers import double

FACTOR = 10

@s3kv.cached
def step(x, options=None):
    print("computed", file=sys.stderr)
    return {"value": double(x) * FACTOR, "options": options}

if __name__ == "__main__":
    result = step(4)
    print(step.key(4), step.key({"x", "y", "z"}), result["value"], sep="\\n")
"""

HELPERS = '''
def double(x):
    """Twice."""
    return twice(x)


def twice(x):
    return 2 * x
'''


@pytest.fixture
def project(tmp_path: Path) -> Path:
    folder = tmp_path / "project"
    folder.mkdir()
    (folder / "steps.py").write_text(MODULE)
    (folder / "helpers.py").write_text(HELPERS)
    (folder / "importer.py").write_text(
        "import steps\n"
        "print(steps.step.key(4), steps.step.key({'x', 'y', 'z'}), steps.step(4)['value'], sep='\\n')"
    )
    return folder


def run(
    project: Path, *arguments: str, cwd: Path | None = None, **environment: str
) -> tuple[list[str], bool]:
    """Give what was printed, and whether the step was computed."""
    done = subprocess.run(
        [sys.executable, *arguments],
        cwd=cwd or project,
        # Python itself takes a .pyc of the same second and size for current.
        env={**os.environ, "PYTHONDONTWRITEBYTECODE": "1", **environment},
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines(), "computed" in done.stderr


def test_one_key_however_the_code_is_run(project: Path, tmp_path: Path) -> None:
    first, computed = run(project, "steps.py", PYTHONHASHSEED="1")
    assert computed
    assert first[0].startswith("cache/steps.step/")
    assert first[2] == "80"
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    for arguments, cwd, environment in [
        (["steps.py"], project, {"PYTHONHASHSEED": "2"}),
        (["-O", "steps.py"], project, {}),
        (["-OO", "steps.py"], project, {}),
        (["-m", "steps"], project, {}),
        (["importer.py"], project, {}),
        ([str(project / "steps.py")], elsewhere, {}),
        (["-m", "steps"], elsewhere, {"PYTHONPATH": str(project)}),
        (["steps.py"], project, {"TZ": "Asia/Tokyo", "LC_ALL": "C"}),
    ]:
        again, computed = run(project, *arguments, cwd=cwd, **environment)
        assert (again, computed) == (first, False), (arguments, cwd, environment)


def test_another_checkout_hits(project: Path, tmp_path: Path) -> None:
    first, _ = run(project, "steps.py")
    copy = tmp_path / "checkout" / "deep"
    copy.mkdir(parents=True)
    for file in project.glob("*.py"):
        (copy / file.name).write_text(file.read_text())
    assert run(copy, "steps.py") == (first, False)


@pytest.mark.parametrize(
    ("file", "old", "new", "computes"),
    [
        ("helpers.py", '"""Twice."""', '"""Double it."""  # said better', False),
        ("helpers.py", "    return 2 * x", "\n    return 2*x  # the same", False),
        (
            "steps.py",
            "def step(x, options=None)",
            "def step(x: int, options: object = None)",
            False,
        ),
        ("helpers.py", "2 * x", "3 * x", True),
        ("steps.py", "FACTOR = 10", "FACTOR = 11", True),
        ("steps.py", "double(x) *", "double(x) +", True),
    ],
)
def test_an_edit_counts_when_it_changes_what_runs(
    project: Path, file: str, old: str, new: str, computes: bool
) -> None:
    first, _ = run(project, "steps.py")
    path = project / file
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new))
    edited, computed = run(project, "steps.py")
    assert computed == computes
    assert (edited[0] != first[0]) == computes
    path.write_text(text)
    assert run(project, "steps.py") == (first, False)  # reverting hits again


INNER = """
import s3kv_flow as s3kv

@s3kv.cached
def step(x):
    from tools.numbers import double
    import math
    return double(x) + math.floor(0.5)

if __name__ == "__main__":
    before = step.key(4)
    print(step(4), dict(step.cache_info().hits), before == step.key(4))
"""


def test_modules_imported_inside_of_a_function_count_with_what_they_import(tmp_path: Path) -> None:
    (tmp_path / "tools").mkdir()
    (tmp_path / "script.py").write_text(INNER)
    (tmp_path / "tools" / "__init__.py").write_text("")
    (tmp_path / "tools" / "numbers.py").write_text(
        "from .factors import TWO\n\ndef double(x):\n    return TWO * x\n"
    )
    factors = tmp_path / "tools" / "factors.py"
    factors.write_text("TWO = 2\n")
    assert run(tmp_path, "script.py")[0] == ["8 {} True"]
    factors.write_text("# a comment\nTWO = 2\n")
    assert run(tmp_path, "script.py")[0] == ["8 {'disk': 1} True"]
    factors.write_text("TWO = 3\n")
    assert run(tmp_path, "script.py")[0] == ["12 {} True"]


SPAWNED = """
import multiprocessing as mp, sys
import s3kv_flow as s3kv

@s3kv.cached
def f(x):
    return x * 2

def work(x):
    return f.key(x), f(x), dict(f.cache_info().hits)

if __name__ == "__main__":
    f(1)
    with mp.get_context(sys.argv[1]).Pool(1) as pool:
        print(f.key(1), pool.map(work, [1])[0])
"""


@pytest.mark.parametrize("method", ["fork", "spawn", "forkserver"])
@pytest.mark.parametrize("way", [["script.py"], ["-m", "script"]])
def test_workers_of_a_script_share_its_entries(tmp_path: Path, method: str, way: list[str]) -> None:
    (tmp_path / "script.py").write_text(SPAWNED)
    (line,), _ = run(tmp_path, *way, method)
    key, _, rest = line.partition(" ")
    assert rest.startswith(f"('{key}', 2, ")
    assert "'disk': 1" in rest or "'memory': 1" in rest


CLASSES = """
import dataclasses, enum, typing
import s3kv_flow as s3kv

class Colour(enum.Enum):
    RED = 1

@dataclasses.dataclass
class Point:
    x: int

class Pair(typing.NamedTuple):
    a: int

@s3kv.cached
def make(x):
    return {"colour": Colour.RED, "point": Point(x), "pair": Pair(x), "kind": Point}

if __name__ == "__main__":
    make(1)
    found = make(1)
    print(dict(make.cache_info().hits))
    print(found["colour"] is Colour.RED, found["point"] == Point(1), type(found["pair"]) is Pair)
    print(found["kind"] is Point)
"""


def test_objects_of_a_scripts_classes_come_back_as_of_that_class(tmp_path: Path) -> None:
    (tmp_path / "script.py").write_text(CLASSES)
    (tmp_path / "other.py").write_text(
        "import script\nfound = script.make(1)\n"
        "print(found['point'] == script.Point(1), found['colour'] is script.Colour.RED, "
        "dict(script.make.cache_info().hits))"
    )
    first, _ = run(tmp_path, "script.py")
    again, _ = run(tmp_path, "-m", "script")
    assert first == ["{'memory': 1}", "True True True", "True"]
    assert again == ["{'disk': 1, 'memory': 1}", "True True True", "True"]
    assert run(tmp_path, "other.py")[0] == ["True True {'disk': 1}"]


TRAVELS = """
import cloudpickle, pickle, subprocess, sys
import s3kv_flow as s3kv

FACTOR = 2

@s3kv.cached
def f(x):
    return x * FACTOR

def work(x):
    return f(x), f.key(x), dict(f.cache_info().hits)

if __name__ == "__main__":
    f(1)
    data = cloudpickle.dumps(work)
    code = "import pickle, sys; print(pickle.load(sys.stdin.buffer)(1)[0::2])"
    sys.stdout.write(subprocess.run([sys.executable, "-c", code], input=data, capture_output=True, check=True).stdout.decode())
    copy = pickle.loads(cloudpickle.dumps(f))
    print(copy(1), copy.key(1) == f.key(1), b"Lock" in data)
"""


def test_a_cached_function_travels_by_value(tmp_path: Path) -> None:
    (tmp_path / "script.py").write_text(TRAVELS)
    lines, _ = run(tmp_path, "script.py")
    assert lines[0].startswith("(2, ")
    assert lines[1] == "2 True False"


# Processes of one program


@s3kv.cached(name="square", version=1)
def square(x: int) -> dict[str, int]:
    time.sleep(0.05)
    return {"x": x * x, "pid": os.getpid()}


def _squares(numbers: Iterable[int]) -> list[int]:
    return [square(x)["x"] for x in numbers]


@pytest.mark.parametrize("method", ["fork", "spawn", "forkserver"])
def test_used_then_forked(bucket: Connection, method: str) -> None:
    """obstore hangs in a forked child once its parent has used it: boto3 serves there."""
    assert _squares([1, 2]) == [1, 4]  # used in the parent
    if method == "forkserver":
        forkserver._forkserver._stop()  # one that another test started has its environment
    context = multiprocessing.get_context(method)
    with ProcessPoolExecutor(2, mp_context=context) as pool:
        results = list(pool.map(_squares, [[1, 2, 3], [2, 3, 4]], timeout=60))
    assert results == [[1, 4, 9], [4, 9, 16]]
    s3kv.default_store().clear_cache()
    assert square(4)["pid"] != os.getpid()  # a child's result


def _child(queue: multiprocessing.Queue, x: int) -> None:  # type: ignore[type-arg]
    store = s3kv.default_store()
    store.add("from-child", x)
    queue.put((square(x)["x"], store.get("from-parent"), store.list_keys()))


def test_multiprocessing_children_use_keys_and_entries(bucket: Connection) -> None:
    store = s3kv.default_store()
    store.add("from-parent", "hello")
    square(1)
    context = multiprocessing.get_context("fork")
    queue = context.Queue()
    child = context.Process(target=_child, args=(queue, 5))
    child.start()
    answer = queue.get(timeout=60)
    child.join(30)
    assert child.exitcode == 0
    assert answer == (25, "hello", ["from-child", "from-parent"])
    assert store.get("from-child") == 5


@pytest.mark.parametrize("use", ["write", "read from disk"])
def test_forked_while_other_threads_use_the_store(bucket: Connection, use: str) -> None:
    """A lock that some thread holds at the fork must not stay locked in the child."""
    import threading

    stop = threading.Event()
    for x in range(8):
        square(x)
    memory, disk = s3kv.default_store()._backend.chain.local

    def busy() -> None:
        x = 0
        while not stop.is_set():
            x += 1
            if use == "write":
                square.put({"x": x * x, "pid": 0}, x % 8)
            else:
                for name in list(memory.names()):
                    assert disk.get(name) is not None

    threads = [threading.Thread(target=busy) for _ in range(3)]
    for thread in threads:
        thread.start()
    try:
        context = multiprocessing.get_context("fork")
        for number in range(6):
            queue = context.Queue()
            child = context.Process(target=_child_square, args=(queue, 1000 + number), daemon=True)
            child.start()
            assert queue.get(timeout=20) == (1000 + number) ** 2
            child.join(30)
    finally:
        stop.set()
        for thread in threads:
            thread.join()


def _child_square(queue: multiprocessing.Queue, x: int) -> None:  # type: ignore[type-arg]
    queue.put(square(x)["x"])


WRITER = """
import sys, s3kv_flow as s3kv
@s3kv.cached(name="blob", version=1)
def blob(x, size):
    return bytes([x]) * size
print("ready", flush=True)
while True:
    for x in range(8):
        blob.put(bytes([x]) * (200_000 + x), x, 1)
"""


def test_kill_9_leaves_no_torn_entry(bucket: Connection, tmp_path: Path) -> None:
    script = tmp_path / "writer.py"
    script.write_text(WRITER)
    for delay in (0.15, 0.3, 0.5):
        process = subprocess.Popen([sys.executable, str(script)], stdout=subprocess.PIPE)
        assert process.stdout is not None
        process.stdout.readline()
        time.sleep(delay)
        process.send_signal(signal.SIGKILL)
        process.wait()
        process.stdout.close()

    @s3kv.cached(name="blob", version=1, on_error="raise")
    def blob(x: int, size: int) -> bytes:
        return b""

    for _ in ("local", "bucket"):
        for x in range(8):
            found = blob.get(x, 1, default=None)
            assert found is None or found == bytes([x]) * (200_000 + x)
        s3kv.default_store().clear_cache()


FULL = """
import resource, signal
import s3kv_flow as s3kv
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)

@s3kv.cached(version=1)
def blob(x, size):
    return bytes([x]) * size

blob(1, 100_000)
resource.setrlimit(resource.RLIMIT_FSIZE, (250_000, resource.RLIM_INFINITY))  # no file may grow beyond
print([blob(x, 3_000_000) == bytes([x]) * 3_000_000 for x in (1, 2)])
print([blob(x, 10) == bytes([x]) * 10 for x in range(250)].count(True))
resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY,) * 2)
blob(3, 3_000_000)
blob(3, 3_000_000)
print(blob.cache_info().hits.get("disk"))
"""


def test_writes_that_fail_cost_the_copy_and_not_the_call(tmp_path: Path) -> None:
    script = tmp_path / "full.py"
    script.write_text(FULL)
    done = subprocess.run(
        [sys.executable, str(script)], capture_output=True, text=True, check=False, timeout=60
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines() == ["[True, True]", "250", "1"]
    assert "goes without it" in done.stderr


ENDING = """
import asyncio, atexit, threading, time
import s3kv_flow as s3kv

@s3kv.cached(version=1, single_flight="cluster")
def blob(x):
    return bytes([x]) * 40_000_000  # sent in parts

@s3kv.cached(version=1, single_flight="cluster")
async def coroutine(x):
    await asyncio.sleep(0.05)
    return x

async def cancelled_while_it_claims(x):
    try:
        await asyncio.wait_for(coroutine(x), 0.0001)
    except asyncio.TimeoutError:
        pass

def work(who, x):
    asyncio.run(cancelled_while_it_claims(x))
    print(who, blob(x)[0], blob.map([x, x + 1])[1][0], asyncio.run(coroutine(x)))

def last():
    work("atexit", 20)
    with s3kv.mode("require_hit"):
        print([blob(x)[0] for x in (10, 11, 20, 21)], asyncio.run(coroutine(20)))

def outlives():
    threading.main_thread().join()
    work("thread", 10)

atexit.register(last)
threading.Thread(target=outlives).start()
asyncio.run(cancelled_while_it_claims(30))
"""


def test_functions_are_cached_while_the_interpreter_ends(
    bucket: Connection, tmp_path: Path
) -> None:
    """No executor takes anything then; other threads and `atexit` go on, and so do we."""
    (tmp_path / "ending.py").write_text(ENDING)
    done = subprocess.run(
        [sys.executable, "ending.py"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.splitlines() == [
        "thread 10 11 10",
        "atexit 20 21 20",
        "[10, 11, 20, 21] 20",
    ]
    leases = [meta.name for meta in Boto3Objects(bucket).list(f"{os.environ['S3KV_ROOT']}/lease/")]
    assert [name for name in leases if "probe" not in name] == []  # what was claimed is given back


TWO = """
import json, sys, s3kv_flow as s3kv
@s3kv.cached(name="shared", version=1)
def shared(x):
    return {"x": x, "pad": "p" * 50_000}
wrong = [x for _ in range(3) for x in range(60) if shared(x)["x"] != x]
print(json.dumps({"wrong": wrong, "info": shared.cache_info().errors}))
"""


def test_processes_share_one_cache_folder(tmp_path: Path) -> None:
    script = tmp_path / "two.py"
    script.write_text(TWO)
    processes = [
        subprocess.Popen(
            [sys.executable, str(script)],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for _ in range(4)
    ]
    for process in processes:
        out, err = process.communicate(timeout=60)
        assert (json.loads(out), err) == ({"wrong": [], "info": {}}, "")


BY_VALUE = """
import dataclasses, enum, pickle, subprocess, sys
import attrs, cloudpickle
from s3kv_flow.testing.keys import token

FACTOR = 3

def helper(x):
    return x * FACTOR

class Plain:
    limit = 5
    def __init__(self, a):
        self.a = a
    def method(self):
        return helper(self.a)

@dataclasses.dataclass
class Data:
    a: int
    b: list = dataclasses.field(default_factory=list)
    def __post_init__(self):
        self.b = list(self.b)
    def _own(self):
        return helper(self.a)

@dataclasses.dataclass(frozen=True, slots=True)
class Frozen:
    a: int = 1

class Color(enum.Enum):
    RED = 1
    def method(self):
        return 1

@attrs.define
class Attrs:
    a: int = 1

def closure(n):
    return lambda x: helper(x) + n

values = [Plain(1), Data(1), Frozen(), Color.RED, Attrs(), helper, closure(4), Plain, Data]
here = [token(value) for value in values]
script = '''
import cloudpickle, sys
from s3kv_flow.testing.keys import token
for value in cloudpickle.load(sys.stdin.buffer):
    print(token(value))
'''
there = subprocess.run([sys.executable, "-c", script], input=cloudpickle.dumps(values),
                       capture_output=True, check=True).stdout.decode().split()
assert [token(value) for value in values] == here, "pickling changed them"
for value, one, other in zip(values, here, there):
    if one != other:
        print(value)
"""


def test_what_travels_by_value_has_the_same_key_there(tmp_path: Path) -> None:
    script = tmp_path / "script.py"
    script.write_text(BY_VALUE)
    assert run(tmp_path, "script.py") == ([], False)
