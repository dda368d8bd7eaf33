"""What a hit, a key and a store cost, beside peers, in one run: only the ratios count.

Rounds of ours and of the peer's take turns; each figure is a median. Prints a table a group, and
writes ``benchmarks/results/<group>.json`` and a plot. Never a test: nothing here fails a build.
"""

from __future__ import annotations

import gc
import itertools
import json
import logging
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

FOLDER = tempfile.mkdtemp(prefix="s3kv-bench-")
for _name in ("CACHE", "CONFIG", "DATA"):
    os.environ[f"XDG_{_name}_HOME"] = str(Path(FOLDER) / _name.lower())

import diskcache
import joblib
import matplotlib as mpl
import numpy as np
import obstore
import pandas as pd
import xxhash
from cachier import cachier
from dask.base import tokenize
from obstore.store import S3Store
from rich.console import Console
from rich.table import Table

import s3kv_flow as s3kv
from s3kv_flow._model import ANY
from s3kv_flow._parallel import in_parallel
from s3kv_flow._server import LocalServer
from s3kv_flow.keys import handlers  # noqa: F401 - teaches the encoder all types
from s3kv_flow.keys.token import Encoder

RESULTS = Path(__file__).with_name("results")


@dataclass
class Row:
    """One line: the work, the peer and its seconds, ours, their ratio, and the mark for it."""

    work: str
    peer: str
    peer_seconds: float
    our_seconds: float
    mark: float

    @property
    def ratio(self) -> float:
        return self.our_seconds / self.peer_seconds


def compare(
    work: str,
    peer: str,
    theirs: Callable[[], Any],
    ours: Callable[[], Any],
    mark: float,
    *,
    times: int = 1,
    rounds: int = 7,
    before: Callable[[], Any] = lambda: None,
) -> Row:
    """Time the two in turns."""
    seconds: tuple[list[float], list[float]] = ([], [])
    for _ in range(rounds):
        for call, each in zip((theirs, ours), seconds, strict=True):
            before()
            started = time.perf_counter()
            for _ in range(times):
                call()
            each.append((time.perf_counter() - started) / times)
    return Row(work, peer, *map(statistics.median, seconds), mark)


def add(a: int, b: int) -> int:
    return a + b


def same(value: dict[str, int]) -> dict[str, int]:
    return {f"x{n}": n for n in range(100)}


def numbers(size: int) -> np.ndarray[Any, Any]:
    return np.arange(size, dtype="f8")


def hits() -> list[Row]:
    memory, disk = s3kv.default_store()._backend.chain.local
    chain = s3kv.default_store()._backend.chain
    raw = diskcache.Cache(f"{FOLDER}/raw", eviction_policy="least-recently-stored")
    argument = {f"key{n}": "abc" for n in range(80)}
    raw["int"], raw["dict"] = 7, same(argument)
    store = joblib.Memory(f"{FOLDER}/joblib", verbose=0)
    rows = []
    for name, function, args in (("int", add, (3, 4)), ("dict", same, (argument,))):
        ours, theirs = s3kv.cached(function), store.cache(function)
        ours(*args), theirs(*args)
        what = "f(3, 4) -> int" if name == "int" else "1 KB dict -> 1 KB dict"
        chain.local = (memory, disk)
        rows.append(
            compare(
                f"hit from memory, {what}",
                "raw diskcache.get",
                lambda name=name: raw.get(name),
                lambda ours=ours, args=args: ours(*args),
                0.5 if name == "int" else 0.6,
                times=2000,
            )
        )
        for peer, call, mark, times in (
            ("raw diskcache.get", lambda name=name: raw.get(name), 2.0, 1000),
            ("joblib", lambda theirs=theirs, args=args: theirs(*args), 0.17, 200),
        ):
            chain.local = (disk,)
            mark = 0.07 if peer == "joblib" and name == "dict" else mark
            call_ours = lambda ours=ours, args=args: ours(*args)
            rows.append(compare(f"hit from disk, {what}", peer, call, call_ours, mark, times=times))
    chain.local = (memory, disk)
    cachier_add = cachier(cache_dir=f"{FOLDER}/cachier")(add)
    cachier_add(3, 4)
    ours = s3kv.cached(add)
    ours(3, 4)
    rows.append(
        compare(
            "hit, f(3, 4)",
            "cachier",
            lambda: cachier_add(3, 4),
            lambda: ours(3, 4),
            0.05,
            times=200,
        )
    )
    ours, theirs = s3kv.cached(numbers), store.cache(numbers)
    ours(12_500_000), theirs(12_500_000)
    plain = Path(FOLDER, "plain")
    numbers(12_500_000).tofile(plain)
    for peer, call, mark in (
        ("joblib", lambda: theirs(12_500_000), 0.01),
        ("a copy-on-write map", lambda: np.memmap(plain, "f8", "c"), 3.4),
    ):
        call_ours = lambda: ours(12_500_000)
        rows.append(compare("hit from disk, 100 MB array", peer, call, call_ours, mark, times=20))
    return rows


def mixed(rows: int) -> pd.DataFrame:
    chance = np.random.default_rng(0)
    return pd.DataFrame(
        {
            "id": np.arange(rows),
            "price": chance.random(rows),
            "count": chance.integers(0, 100, rows).astype("i2"),
            "when": pd.Timestamp("2026-01-01") + pd.to_timedelta(np.arange(rows), unit="s"),
            "city": pd.Series([f"city {n % 500}" for n in range(rows)], dtype=object),
            "kind": pd.Categorical.from_codes(chance.integers(0, 3, rows), ["a", "b", "c"]),
            "good": chance.random(rows) < 0.5,
        }
    )


def large() -> list[Row]:
    """A gigabyte that is read through, and a frame of a million rows: from this machine's disk."""
    chain = s3kv.default_store()._backend.chain
    tiers, chain.local = chain.local, chain.local[1:]
    store = joblib.Memory(f"{FOLDER}/joblib-large", verbose=0)
    array, plain = s3kv.cached(numbers), Path(FOLDER, "gigabyte")
    array(125_000_000).tofile(plain)
    frame = mixed(1_000_000)
    ours, theirs = s3kv.cached(mixed), store.cache(mixed)
    ours(1_000_000), theirs(1_000_000)
    stored = s3kv.cached(lambda: frame, name="stored", version=1)
    rows = [
        compare(
            "hit from disk, 1 GB array, then summed",
            "a copy-on-write map",
            lambda: np.memmap(plain, "f8", "c").sum(),
            lambda: array(125_000_000).sum(),
            1.11,
        ),
        compare(
            "hit from disk, mixed frame of 1M rows",
            "joblib",
            lambda: theirs(1_000_000),
            lambda: ours(1_000_000),
            0.6,
        ),
        compare(
            "store on disk, mixed frame of 1M rows",
            "its own to_pickle",
            lambda: frame.to_pickle(f"{FOLDER}/frame.pickle"),
            stored.refresh,
            1.15,
        ),
    ]
    chain.local = tiers
    return rows


def keys() -> list[Row]:
    array = np.random.default_rng(0).random(32_000_000)
    strided = np.random.default_rng(0).random((512, 512))[::2, ::2]
    frame = pd.DataFrame(np.random.default_rng(0).random((1_000_000, 9)))
    texts = pd.Series([f"text {n % 5000}" for n in range(1_000_000)], dtype=object)
    nested = {
        f"k{n}": {
            "name": f"item {n}",
            "weight": n / 7,
            "tags": ["a", str(n)],
            "place": {"x": n / 3, "y": n / 11, "of": None},
        }
        for n in range(10_000)
    }
    from prefect.utilities.hashing import hash_objects  # here: it takes seconds to import

    def token(value: Any) -> Callable[[], bytes]:
        return lambda: Encoder().token(value)

    return [
        compare(
            "key of a 256 MB array",
            "xxh3",
            lambda: xxhash.xxh3_128(array).digest(),
            token(array),
            1.18,
        ),
        compare(
            "key of a strided array",
            "dask",
            lambda: tokenize(strided),
            token(strided),
            0.7,
            times=20,
        ),
        compare("key of a frame, 1M x 9", "dask", lambda: tokenize(frame), token(frame), 0.6),
        compare("key of 1M Python strings", "dask", lambda: tokenize(texts), token(texts), 1.0),
        compare(
            "key of a nested dict, 10,000 items",
            "Prefect",
            lambda: hash_objects(nested),
            token(nested),
            0.15,
            before=gc.collect,  # what one leaves behind is not the other's to clear away
        ),
        compare(
            "key of the same",
            "joblib",
            lambda: joblib.hash(nested),
            token(nested),
            1.0,
            before=gc.collect,
        ),
    ]


def bucket(server: LocalServer) -> tuple[s3kv.S3KV, S3Store]:
    """Make a bucket, and give it to us and to bare obstore."""
    server.create_bucket("bench", object_lock=False)
    connection = server.connection("bench")
    kv = s3kv.S3KV(
        connection.endpoint_url,
        "bench",
        connection.access_key_id,
        connection.secret_access_key,
        enable_local_cache=False,
    )
    plain = S3Store(
        "bench",
        endpoint=connection.endpoint_url,
        access_key_id=connection.access_key_id,
        secret_access_key=connection.secret_access_key,
        region="us-east-1",
        client_options={"allow_http": True, "timeout": "1h"},
    )
    return kv, plain


def s3() -> list[Row]:
    server = LocalServer(f"{FOLDER}/server")
    server.start()
    try:
        kv, plain = bucket(server)
        obstore.put(plain, "small", b"x" * 1024)
        small = kv.cached(name="small", version=1)(lambda: "x" * 1024)
        small()
        rows = [
            compare(
                "hit from S3, 1 KB",
                "obstore get",
                lambda: bytes(obstore.get(plain, "small").bytes()),
                small,
                1.3,
                times=200,
            )
        ]
        each = kv.cached(name="each", version=1)(lambda number: "x" * 1024)
        each.map(range(1000))
        for number in range(1000):
            obstore.put(plain, f"each/{number}", b"x" * 1024)
        client = kv._backend.objects.control._client(retries=True)

        def by_boto3(number: int) -> bytes:
            return client.get_object(Bucket="bench", Key=f"each/{number}")["Body"].read()

        def by_obstore(number: int) -> bytes:
            return bytes(obstore.get(plain, f"each/{number}").bytes())

        def in_threads(call: Callable[[int], Any]) -> Callable[[], list[Any]]:
            return lambda: list(in_parallel(call, range(1000), workers=8))

        rows += [
            compare("1,000 hits, 8 threads", "boto3", in_threads(by_boto3), in_threads(each), 0.25),
            compare(
                "map over 1,000 hits",
                "obstore get, 16 threads",
                lambda: list(in_parallel(by_obstore, range(1000), workers=16)),
                lambda: each.map(range(1000)),
                1.25,
            ),
        ]
        array = np.random.default_rng(0).random(32_000_000)
        large = kv.cached(name="large", version=1)(lambda: array)
        rows.append(
            compare(
                "store of a 256 MB array",
                "obstore put",
                lambda: obstore.put(
                    plain, "large", memoryview(array).cast("B"), use_multipart=False
                ),
                large.refresh,
                1.15,
                rounds=3,
            )
        )
        rows.append(
            compare(
                "hit from S3, 256 MB array",
                "obstore get",
                lambda: obstore.get(plain, "large").bytes(),
                large,
                1.15,
                rounds=3,
            )
        )
        return rows
    finally:
        server.stop()


def tags() -> list[Row]:
    """Keys by tag, listings and deletions, on one bucket of 20,000 keys."""
    server = LocalServer(f"{FOLDER}/tagged")
    server.start()
    try:
        kv, plain = bucket(server)
        objects = kv._backend.objects

        def store(number: int) -> None:
            kv.add(f"keys/{number:05}", number, tags={"one": "in"} if number % 100 == 0 else None)

        for _ in in_parallel(store, range(20_000)):
            pass

        def every_keys_tags() -> list[str]:
            names = [meta.name for _, meta in kv._backend.listed("keys/")]
            found = zip(names, in_parallel(objects.tags, names), strict=True)
            return [name for name, tagged in found if tagged and tagged.tags.get("one") == "in"]

        def found() -> None:
            assert len(kv.find_keys_by_tag_value("one", "in")) == 200

        def made(prefix: str) -> list[str]:
            for _ in in_parallel(lambda number: kv.add(f"{prefix}/{number}", 1), range(5000)):
                pass
            return [kv._backend.layout.document(f"{prefix}/{number}") for number in range(5000)]

        def listed() -> None:
            assert sum(len(page) for page in obstore.list(plain, "s3kv/keys", chunk_size=1000))

        one_by_one, batch = made("one"), made("batch")
        return [
            compare(
                "find 1 % of 20,000 keys by tag",
                "every key's tags, 16 threads",
                every_keys_tags,
                found,
                1 / 30,
                rounds=1,
            ),
            compare(
                "list 20,000 keys",
                "obstore list",
                listed,
                lambda: kv.list_keys_with_prefix("keys/"),
                1.3,
                rounds=3,
            ),
            compare(
                "delete 5,000 keys",
                "one by one",
                lambda: [objects.delete([name]) for name in one_by_one],
                lambda: kv._backend.delete_many((name, ANY) for name in batch),
                0.25,
                rounds=1,
            ),
        ]
    finally:
        server.stop()


def working(milliseconds: float) -> Callable[[int], int]:
    """Give a function that keeps the processor busy for so long."""

    def work(x: int) -> int:
        until = time.perf_counter() + milliseconds / 1e3
        while time.perf_counter() < until:
            pass
        return x

    return work


WORKER = """
import sys, time
import s3kv_flow as s3kv

def slow(x):
    until = time.process_time() + 0.5
    while time.process_time() < until:
        pass
    return x

level = {"False": False}.get(sys.argv[1], sys.argv[1])
cached = s3kv.cached(slow, name="slow", version=sys.argv[2], single_flight=level)
print("ready", flush=True)
sys.stdin.readline()
cached(1)
"""


def faults() -> list[Row]:
    """What an outage costs once the breaker is open, and what a crowd on one cold key does."""
    down = s3kv.S3KV("http://127.0.0.1:9", "bucket", "key", "secret", enable_local_cache=False)
    bare = working(1)
    cached = down.cached(bare, name="outage", version=1)
    logging.getLogger("s3kv_flow").setLevel(logging.CRITICAL)
    for number in range(20):  # the breaker opens
        cached(number)
    server = LocalServer(f"{FOLDER}/crowd")
    server.start()
    try:
        server.create_bucket("bench", object_lock=False)
        numbers = itertools.count()
        environ = {**os.environ, **server.environment("bench")}

        def crowd(level: str) -> Callable[[], None]:
            def run() -> None:
                arguments = [sys.executable, "-c", WORKER, level, str(next(numbers))]
                pipes: Any = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
                workers = [subprocess.Popen(arguments, env=environ, **pipes) for _ in range(8)]
                for worker in workers:
                    worker.stdout.readline()
                began = time.perf_counter()
                for worker in workers:
                    worker.stdin.write(b"\n")
                    worker.stdin.flush()
                for worker in workers:
                    worker.communicate()
                seconds[level].append(time.perf_counter() - began)

            return run

        seconds: dict[str, list[float]] = {"False": [], "host": [], "cluster": []}
        for _ in range(3):
            for level in seconds:
                crowd(level)()
        alone = statistics.median(seconds["False"])
        return [
            compare(
                "1 ms of work, S3 down, breaker open",
                "the bare function",
                lambda: bare(1),
                lambda: cached(1),
                1.5,
                times=200,
            ),
            *(
                Row(
                    f"8 processes, one cold key of 0.5 s, {level}",
                    "each computes",
                    alone,
                    statistics.median(seconds[level]),
                    0.5,
                )
                for level in ("host", "cluster")
            ),
        ]
    finally:
        server.stop()


def imports() -> list[Row]:
    def importing(name: str) -> Callable[[], Any]:
        return lambda: subprocess.run([sys.executable, "-c", f"import {name}"], check=True)

    return [
        compare("import, whole process", peer, importing(peer), importing("s3kv_flow"), 1.0)
        for peer in ("sys", "obstore", "diskcache", "boto3", "joblib")
    ]


def show(group: str, rows: list[Row]) -> None:
    table = Table(title=group, title_justify="left")
    for heading in ("work", "peer", "peer's ms", "ours, ms", "ratio", "mark"):
        table.add_column(heading, justify="left" if heading in ("work", "peer") else "right")
    for row in rows:
        colour = "green" if row.ratio <= row.mark else "red"
        table.add_row(
            row.work,
            row.peer,
            f"{row.peer_seconds * 1e3:.4g}",
            f"{row.our_seconds * 1e3:.4g}",
            f"[{colour}]{row.ratio:.3g}[/{colour}]",
            f"{row.mark:g}",
        )
    Console(width=110).print(table)
    RESULTS.mkdir(exist_ok=True)
    data = [{**asdict(row), "ratio": row.ratio} for row in rows]
    (RESULTS / f"{group}.json").write_text(json.dumps(data, indent=1))
    plot(group, rows)


def plot(group: str, rows: list[Row]) -> None:
    mpl.use("Agg")
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(figsize=(9, 0.5 * len(rows) + 1.2), layout="constrained")
    labels = [f"{row.work}\nbeside {row.peer}" for row in rows]
    axes.barh(labels, [row.ratio for row in rows], color="tab:blue", label="ours / peer")
    axes.scatter([row.mark for row in rows], labels, color="black", marker="|", s=300, label="mark")
    axes.set_xscale("log")
    axes.invert_yaxis()
    axes.tick_params(labelsize=8)
    axes.legend()
    figure.savefig(RESULTS / f"{group}.png", dpi=110)
    plt.close(figure)


GROUPS = {
    "hits": hits,
    "large": large,
    "keys": keys,
    "s3": s3,
    "tags": tags,
    "faults": faults,
    "imports": imports,
}


def main(wanted: list[str]) -> None:
    for group in wanted or GROUPS:
        show(group, GROUPS[group]())


if __name__ == "__main__":
    main(sys.argv[1:])
