"""What cached tasks do in a DAG: computed once, and a hit is a success with the same XCom."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import s3kv_flow as s3kv
from s3kv_flow.testing import CountingStore, FailingStore, ManualClock, memory_store
from s3kv_flow.testing.stores import MemoryStore

DAG = """
from __future__ import annotations

import threading
from airflow.sdk import Asset, dag, task, task_group, setup, teardown
from airflow.providers.standard.operators.bash import BashOperator
from airflow_provider_s3kv import CachePolicy, S3KVCachingMixin

WEEKLY = CachePolicy(tags={"team": "ml"}, max_age_days=7)
RAN = []


class CachedBash(S3KVCachingMixin, BashOperator):
    pass


@dag(schedule=None, catchup=False, params={"days": 3, "version": "1"})
def everything():
    @task.s3kv_cached(policy=WEEKLY, outlets=[Asset("s3kv://cache/build")])
    def build(day: str, cfg: dict):
        return {"day": day, "cfg": cfg}

    @task.s3kv_cached(multiple_outputs=True)
    def many():
        return {"a": 1, "b": [1, 2]}

    @task.s3kv_cached
    def inferred() -> dict[str, int]:
        return {"x": 1}

    @task.s3kv_cached
    def double(x: int, y: int):
        return x * 2 + y

    @task.s3kv_cached(outlets=[Asset("s3kv://cache/aio")])
    async def aio(x):
        return x + 1

    @task.s3kv_cached
    def nothing():
        return None

    @task.s3kv_cached
    def asks(day, ds=None, ti=None, params=None, **context):
        return [day, ds, params["days"], ti.task_id]

    @task.s3kv_cached(tags={"day": "{{ params.days }}"}, max_age_days="{{ params.days }}", version="{{ params.version }}")
    def templated():
        return "templated"

    @task.s3kv_cached(on_hit="skip")
    def skipping():
        return 1

    @task.s3kv_cached
    def total(xs):
        return sum(xs)

    @task.s3kv_cached
    def returns_asset():
        return Asset("s3kv://cache/returned")

    @task.s3kv_cached(retries=1, retry_delay=0)
    def unhashable(lock):
        return 5

    @task.s3kv_cached
    def large():
        return "x" * 100_000

    @task(outlets=[Asset("s3kv://cache/returned")])
    def makes_active():
        return 1

    @setup
    @task.s3kv_cached
    def prepare():
        return "ready"

    @teardown
    @task.s3kv_cached
    def clean_up():
        return "clean"

    @task_group
    def group():
        double.override(task_id="in_group")(5, 5)

    @task
    def use(p, xs, a, b, inf, big):
        return {"p": p, "xs": list(xs), "a": a, "b": b, "inf": inf, "big": len(big)}

    m = many()
    d = double.partial(y=100).expand(x=[1, 2, 3])
    double.override(task_id="again", outlets=[])(aio(4), 0)
    nothing(); templated(); skipping(); total(d); group()
    makes_active() >> returns_asset()
    asks("{{ dag_run.conf.get('day', 'd0') }}")
    unhashable(threading.Lock())
    prepare() >> CachedBash(task_id="bash", bash_command="echo {{ params.days }}") >> clean_up()
    use(build("{{ dag_run.conf.get('day', 'd0') }}", {"k": 3}), d, m["a"], m["b"], inferred(), large())


DAG = everything()
"""

pytestmark = pytest.mark.usefixtures("kv")

Run = Callable[..., Any]


def test_a_second_run_is_all_hits_with_the_same_xcoms(run: Run, counting: CountingStore) -> None:
    first, second = run("everything", DAG), run("everything")
    assert first.state == second.state == "success"
    hits = {
        where: told["hit"]
        for where, told in second.xcoms.items()
        if where[2] == "s3kv"
        for told in [told]
    }
    assert hits
    assert all(hits.values()), hits
    assert not any(told["hit"] for where, told in first.xcoms.items() if where[2] == "s3kv")
    of_tasks = [
        {k: v for k, v in one.xcoms.items() if k[2] != "s3kv" and not k[2].startswith("_link")}
        for one in (first, second)
    ]
    of_tasks[0].pop(("skipping", -1, "return_value"))
    assert of_tasks[0] == of_tasks[1]
    assert second.value("use") == {
        "p": {"day": "d0", "cfg": {"k": 3}},
        "xs": [102, 104, 106],
        "a": 1,
        "b": [1, 2],
        "inf": {"x": 1},
        "big": 100_000,
    }
    # A hit updates no asset, and is a success, but where it was asked to be skipped.
    assert {task for _, task in first.events} >= {"build", "aio", "returns_asset", "makes_active"}
    assert {task for _, task in second.events} == {"makes_active"}
    assert second.states["skipping", -1] == "skipped"
    assert first.value("total") == 312
    assert second.hit("total")
    assert second.value("bash") == "3"
    assert second.hit("bash")
    # What has no key runs, and is not stored.
    assert second.value("unhashable") == 5
    assert second.hit("unhashable") is None
    # `None` is a result; large values go to the store, and the database has where.
    assert second.hit("nothing")
    assert str(first.stored["large", -1, "return_value"]).startswith("s3kv-xcom://xcom/everything/")
    assert second.xcoms["build", -1, "s3kv"]["seconds_saved"] >= 0


def test_what_a_task_asks_of_the_context_counts_and_handles_do_not(run: Run) -> None:
    first = run("everything", DAG, day="d1")
    assert first.value("asks")[0] == "d1"
    other = run("everything", day="d2")
    assert [other.hit(task) for task in ("asks", "build", "many")] == [False, False, True]
    same = run("everything", day="d2")
    assert same.hit("asks")


def test_a_run_can_ask_for_a_refresh_of_all_or_of_some(run: Run, caplog) -> None:
    run("everything", DAG)
    all_again = run("everything", s3kv_refresh=True)
    assert not any(told["hit"] for where, told in all_again.xcoms.items() if where[2] == "s3kv")
    assert ("s3kv://cache/build", "build") in all_again.events
    some = run("everything", s3kv_refresh=["many"])
    assert [some.hit("many"), some.hit("build")] == [False, True]
    assert "no tasks of this DAG" not in caplog.text
    run("everything", s3kv_refresh=["mny"])
    assert "s3kv_refresh names mny, which are no tasks of this DAG" in caplog.text


def test_options_may_be_templates(run: Run, kv: s3kv.S3KV) -> None:
    first = run("everything", DAG)
    key = first.xcoms["templated", -1, "s3kv"]["key"]
    assert kv.get_tags(key) == {"day": "3"}
    assert run("everything", version="1").hit("templated")
    assert not run("everything", version="2").hit("templated")


def test_an_entry_is_that_of_the_plain_function_and_back(run: Run, kv: s3kv.S3KV) -> None:
    text = """
from airflow.sdk import dag, task
import s3kv_flow as s3kv
from steps_of_airflow import square

@dag(schedule=None)
def shared():
    task.s3kv_cached(square)(7)

    @task
    @s3kv.cached(version=1)
    def stacked(x):
        return x
    stacked(3)

DAG = shared()
"""
    dags = Path(os.environ["AIRFLOW__CORE__DAGS_FOLDER"])
    sys.path.insert(0, str(dags))
    try:
        (dags / "steps_of_airflow.py").write_text("def square(x):\n    return x * x\n")
        import steps_of_airflow  # type: ignore[import-not-found]

        cached = kv.cached(steps_of_airflow.square)
        cached(7)
        assert run("shared", text).hit("square")
        cached.invalidate(7)
        assert not run("shared").hit("square")
        assert cached.contains(7)
    finally:
        sys.path.remove(str(dags))


def test_an_age_is_heard(run: Run, clock: ManualClock) -> None:
    run("everything", DAG)
    clock.advance(days=5)
    later = run("everything")
    assert [later.hit("build"), later.hit("templated")] == [True, False]


FAILS = """
import threading
from airflow.sdk import dag, task
from airflow_provider_s3kv import S3KVCachingMixin

@dag(schedule=None)
def fails():
    @task.s3kv_cached
    def flaky(x, ti=None):
        with open("{folder}/tries", "a") as file:
            file.write("x")
        if len(open("{folder}/tries").read()) < 2:
            raise OSError("not now")
        return x
    flaky.override(retries=2, retry_delay=0)(1)

    @task.s3kv_cached(s3kv_conn_id="missing")
    def without_connection():
        return 3
    without_connection()

DAG = fails()
"""


def test_a_retry_computes_and_is_stored_and_a_missing_connection_is_no_failure(
    run: Run, tmp_path, caplog: pytest.LogCaptureFixture
) -> None:
    text = FAILS.replace("{folder}", str(tmp_path))
    first, second = run("fails", text), run("fails")
    assert first.value("without_connection") == second.value("without_connection") == 3
    assert second.hit("without_connection") is None
    assert second.state == "success"
    assert second.value("flaky") == 1


def test_s3_down_computes(run: Run) -> None:
    failing = FailingStore(MemoryStore(), s3kv.StoreUnavailableError("down"))
    s3kv.configure(memory_store(failing, local_cache="off"))
    found = run("everything", DAG)
    assert found.state == "success"
    assert found.value("build") == {"day": "d0", "cfg": {"k": 3}}
    assert found.value("large") == "x" * 100_000  # the database takes it, too


MAPPED = """
from airflow.sdk import dag, task

@dag(schedule=None, max_active_tasks=4)
def mapped():
    @task.s3kv_cached
    def square(x):
        return x * x

    @task
    def total(xs):
        return sum(xs)

    total(square.expand(x=list(range({count}))))

DAG = mapped()
"""


@pytest.mark.timeout(900)
def test_mapped_over_many_items(run: Run) -> None:
    text = MAPPED.replace("{count}", "500")
    first, second = run("mapped", text), run("mapped")
    assert first.value("total") == second.value("total") == sum(x * x for x in range(500))
    assert all(second.hit("square", index) for index in range(500))


def test_a_generator_task_is_refused_with_the_way_out(run: Run) -> None:
    text = """
from airflow.sdk import dag, task

@dag(schedule=None)
def rows():
    @task.s3kv_cached
    def numbers():
        yield 1
    numbers()

DAG = rows()
"""
    with pytest.raises(TypeError, match="returns a list"):
        run("rows", text)


def test_what_xcom_does_not_take_says_so_before_the_task_is_done(monkeypatch, kv) -> None:
    from airflow.sdk.bases.xcom import BaseXCom
    from airflow.sdk.exceptions import AirflowException

    from airflow_provider_s3kv.caching import check_for_xcom

    monkeypatch.setattr("airflow.sdk.execution_time.xcom.XCom", BaseXCom)

    class Task:
        do_xcom_push = True

    class Own:
        pass

    assert check_for_xcom(Task(), {"a": 1}) == {"a": 1}
    with pytest.raises(AirflowException, match="S3KVXComBackend"):
        check_for_xcom(Task(), Own())
