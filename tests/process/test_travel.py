"""Cached functions travel: to loky, Dask and Ray, by name and by value, with no client and no secret."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from s3kv_flow.stores.connection import Connection

COMMON = """
import json, os, pickle, sys, time
import cloudpickle
import s3kv_flow as s3kv

FACTOR = 3

def helper(x):
    return x * FACTOR

@s3kv.cached
def work(x):
    return {"value": helper(x), "pid": os.getpid()}

def told(results):
    values = [one["value"] for one in results]
    assert values == [3 * n for n in range(len(values))], values
    return len({one["pid"] for one in results} - {os.getpid()})

def again(results):
    # All of it is stored by the workers, and found here.
    before = work.cache_info().miss_count
    assert [work(n) for n in range(len(results))] == results
    return work.cache_info().miss_count - before
"""

JOBLIB = """
if __name__ == "__main__":
    from joblib import Parallel, delayed

    results = Parallel(n_jobs=2)(delayed(work)(n) for n in range(12))
    print(json.dumps({"elsewhere": told(results) > 0, "misses": again(results)}))
"""

DASK = """
if __name__ == "__main__":
    from distributed import Client, LocalCluster

    with LocalCluster(n_workers=2, threads_per_worker=1, dashboard_address=None, silence_logs=50) as cluster:
        with Client(cluster) as client:
            results = client.gather(client.map(work, range(6)))
            mapped = work.map(range(12), pool=client)
            assert mapped[:6] == results
            executor = client.get_executor()
            assert work.map(range(12), pool=executor) == mapped
    print(json.dumps({"elsewhere": told(mapped) > 0, "misses": again(mapped)}))
"""

RAY = """
if __name__ == "__main__":
    import ray

    ray.init(num_cpus=2, include_dashboard=False, logging_level="error", log_to_driver=False,
             _node_ip_address="127.0.0.1")
    remote = ray.remote(work)
    results = ray.get([remote.remote(n) for n in range(12)])
    ray.shutdown()
    print(json.dumps({"elsewhere": told(results) > 0, "misses": again(results)}))
"""

PICKLE = """
if __name__ == "__main__":
    work(1)
    secret = os.environ["AWS_SECRET_ACCESS_KEY"].encode()
    for data in (pickle.dumps(work), cloudpickle.dumps(work)):
        assert secret not in data
        assert pickle.loads(data)(1) == work(1)
    print(json.dumps({"elsewhere": True, "misses": 0}))
"""


@pytest.mark.parametrize("bucket", ["seaweed"], indirect=True)
@pytest.mark.parametrize(
    "way", [JOBLIB, DASK, RAY, PICKLE], ids=["joblib", "dask", "ray", "pickle"]
)
def test_workers_compute_and_share(bucket: Connection, tmp_path: Path, way: str) -> None:
    script = tmp_path / "script.py"
    script.write_text(COMMON + way)
    done = subprocess.run(
        [sys.executable, str(script)],
        env={**os.environ, "RAY_DISABLE_IMPORT_WARNING": "1", "RAY_USAGE_STATS_ENABLED": "0"},
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    assert json.loads(done.stdout.splitlines()[-1]) == {"elsewhere": True, "misses": 0}
