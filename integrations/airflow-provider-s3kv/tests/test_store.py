"""Connections, cleaning, sensors and XComs, on a real S3 server."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import s3kv_flow as s3kv
from airflow_provider_s3kv import S3KVHook, S3KVXComBackend
from airflow_provider_s3kv.triggers import S3KVEntryTrigger

Run = Callable[..., Any]

CLEANING = """
from airflow.sdk import dag, task
from airflow_provider_s3kv import S3KVEntrySensor, S3KVInvalidateOperator, clear_old_cache_dag

DAG = clear_old_cache_dag(dag_id="cleaning", schedule=None, max_days=30)
"""

SENSING = """
from airflow.sdk import dag, task
from airflow_provider_s3kv import S3KVEntrySensor, S3KVInvalidateOperator

def square(x):
    return x * x

@dag(schedule=None)
def sensing():
    @task.s3kv_cached
    def made(x):
        return x
    first = made(1)
    entry = "{{ ti.xcom_pull(task_ids='made', key='s3kv')['key'] }}"
    first >> S3KVEntrySensor(task_id="sense", key=entry, deferrable=True, poke_interval=0.1, timeout=30) \\
        >> S3KVEntrySensor(task_id="poke", key=entry, poke_interval=0.1, timeout=30) \\
        >> S3KVInvalidateOperator(task_id="forget", key=entry)

DAG = sensing()
"""


FORGETTING = """
from airflow.sdk import dag
from airflow_provider_s3kv import S3KVInvalidateOperator

@dag(schedule=None)
def forgetting():
    S3KVInvalidateOperator(task_id="forget", function="{function}")

DAG = forgetting()
"""

DEFERRING = """
from airflow.sdk import BaseOperator, dag
from airflow_provider_s3kv import S3KVCachingMixin
from airflow_provider_s3kv.triggers import S3KVEntryTrigger

class Deferring(BaseOperator):
    template_fields = ("key",)

    def __init__(self, *, key, **kwargs):
        super().__init__(**kwargs)
        self.key = key

    def execute(self, context):
        with open("{folder}/executed", "a") as file:
            file.write("x")
        self.defer(trigger=S3KVEntryTrigger(self.key, 0.1), method_name="resumed")

    def resumed(self, context, event=None):
        return ["resumed", event["key"]]

class CachedDeferring(S3KVCachingMixin, Deferring):
    pass

@dag(schedule=None)
def deferring():
    CachedDeferring(task_id="waits", key="there")

DAG = deferring()
"""


@pytest.fixture
def conn(connection: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AIRFLOW_CONN_S3KV_DEFAULT", connection)


def test_a_connection_gives_a_store_and_is_tested(conn: None, connection: str, monkeypatch) -> None:
    store = S3KVHook().get_conn()
    store.add("airflow", 1)
    assert S3KVHook().get_conn() is store
    assert S3KVHook().test_connection() == (True, "s3://results/s3kv can be read and written")
    wrong = json.loads(connection)
    wrong["extra"]["bucket"] = "another"
    monkeypatch.setenv("AIRFLOW_CONN_WRONG", json.dumps(wrong))
    works, said = S3KVHook("wrong").test_connection()
    assert not works
    assert "another" in said
    works, said = S3KVHook("missing").test_connection()
    assert not works
    assert wrong["password"] not in repr(store)


def test_what_a_connection_says_in_vain_is_told(connection: str, monkeypatch, caplog) -> None:
    misspelt = json.loads(connection)
    misspelt["extra"]["rooot"] = "elsewhere"
    monkeypatch.setenv("AIRFLOW_CONN_MISSPELT", json.dumps(misspelt))
    for _ in range(2):
        S3KVHook("misspelt").get_conn()
    (said,) = [record.getMessage() for record in caplog.records if "rooot" in record.getMessage()]
    assert "misspelt" in said
    assert "root" in said
    assert "keyring_secret" in said


def test_a_keyring_is_masked_in_logs(conn: None, connection: str) -> None:
    from airflow.sdk._shared.secrets_masker import redact

    S3KVHook().get_conn()
    keyring = json.loads(connection)["extra"]["keyring_secret"]
    secret = keyring.strip().partition(":")[2]
    assert secret not in str(redact(f"printed by a task: {secret}"))
    # Under the name it has in a form, Airflow itself takes it for a secret.
    assert secret not in str(redact({"keyring_secret": secret}))


def test_the_link_leads_to_the_object(run: Run, conn: None) -> None:
    from urllib.parse import unquote, urlsplit

    told = run("sensing", SENSING).xcoms["made", -1, "s3kv"]
    _, bucket, name = unquote(urlsplit(told["url"]).path).split("/", 2)
    assert bucket == "results"
    assert "%3Clocals%3E" in name  # which is a part of the object's own name
    assert name.removeprefix("s3kv/").removesuffix(".s3kv") == told["key"]


def test_a_function_is_named_as_a_person_writes_it(run: Run, conn: None) -> None:
    store = S3KVHook().get_conn()

    def inner(x: int) -> int:
        return x

    cached = store.cached(inner)
    cached(1)
    text = FORGETTING.replace("{function}", f"{inner.__module__}.{inner.__qualname__}")
    assert run("forgetting", text).value("forget")["entries"] == 1
    assert not cached.contains(1)


def test_cleaning_tells_clears_and_keeps_what_is_locked(run: Run, conn: None) -> None:
    store = S3KVHook().get_conn()
    store.cached(lambda x: x, name="old")(1)
    held = store.cached(lambda x: x, name="held", legal_hold=True)
    held(1)
    store.add("xcom/dag/run/task/-1/key", "x")
    told = run("cleaning", CLEANING, max_days=0, dry_run=True).value("clear_old_cache")
    assert told["dry_run"]
    assert told["by_function"]["old"] == 1
    done = run("cleaning", max_days=0, dry_run=False).value("clear_old_cache")
    assert done["locked"] == [held.key(1)]
    assert done["entries"] >= 1
    assert done["xcoms"] == 1
    assert "local_entries" in done
    assert run("cleaning", max_days=30, dry_run=False).value("clear_old_cache")["entries"] == 0
    store.release_legal_hold(held.key(1))


def test_sensors_see_an_entry_and_it_can_be_forgotten(run: Run, conn: None) -> None:
    first = run("sensing", SENSING)
    assert first.state == "success", first.states
    assert first.value("forget") == {"entries": 1, "locked": []}
    assert not run("sensing").hit("made")


def test_a_deferred_operators_result_is_stored_when_it_resumes(
    run: Run, conn: None, tmp_path: Path
) -> None:
    S3KVHook().get_conn().add("there", 1)
    first, second = run("deferring", DEFERRING.replace("{folder}", str(tmp_path))), run("deferring")
    assert first.value("waits") == second.value("waits") == ["resumed", "there"]
    assert [first.hit("waits"), second.hit("waits")] == [False, True]
    assert (tmp_path / "executed").read_text() == "x"


def test_the_trigger_waits_and_fires(conn: None) -> None:
    store = S3KVHook().get_conn()
    store.delete("awaited")

    async def go() -> Any:
        trigger = S3KVEntryTrigger("awaited", 0.05, None)
        assert trigger.serialize()[1]["key"] == "awaited"
        waiting = asyncio.ensure_future(anext(trigger.run()))
        await asyncio.sleep(0.3)
        assert not waiting.done()
        await asyncio.to_thread(store.add, "awaited", 1)
        return (await waiting).payload

    assert asyncio.run(go())["status"] == "success"


class Stored:
    def __init__(self, value: Any) -> None:
        self.value = value


WHERE: dict[str, Any] = {
    "dag_id": "d",
    "task_id": "t",
    "run_id": "manual__2026-01-01T00:00:00+00:00",
}


def test_large_xcoms_go_to_the_store_and_small_ones_to_the_database(conn: None) -> None:
    import numpy as np
    import pandas as pd

    small = S3KVXComBackend.serialize_value({"a": 1}, key="k", map_index=-1, **WHERE)
    assert S3KVXComBackend.deserialize_value(Stored(small)) == {"a": 1}
    assert "xcom" not in str(small)
    frame = pd.DataFrame({"a": range(10_000)})
    for value, same in (
        (["x" * 100_000], lambda a, b: a == b),
        (frame, lambda a, b: a.equals(b)),
        (np.arange(100_000.0), np.array_equal),
        ({"set": {1, 2}, "tuple": (1, "x" * 50_000)}, lambda a, b: a == b),
    ):
        reference = S3KVXComBackend.serialize_value(value, key="k", map_index=3, **WHERE)
        assert str(reference).startswith(
            "s3kv-xcom://xcom/d/manual__2026-01-01T00:00:00+00:00/t/3/k"
        )
        assert same(S3KVXComBackend.deserialize_value(Stored(reference)), value)
    # A retry takes the place of what was there, and purging deletes it.
    assert len(S3KVHook().get_conn().list_keys_with_prefix("xcom/d/")) == 1
    S3KVXComBackend.purge(Stored(reference))
    with pytest.raises(Exception, match="no longer in the store"):
        S3KVXComBackend.deserialize_value(Stored(reference))
    S3KVXComBackend.purge(Stored({"a": 1}))


def test_names_that_a_path_cannot_have_are_escaped(conn: None) -> None:
    where = {"dag_id": "a/b", "task_id": "..", "run_id": "r 1"}
    reference = S3KVXComBackend.serialize_value("x" * 100_000, key="k/../v", map_index=-1, **where)
    assert S3KVXComBackend.deserialize_value(Stored(reference)) == "x" * 100_000


def test_a_later_airflow_tells_where_as_one_object(conn: None) -> None:
    class Coordinate:
        def build_path(self, base: str, key: str, *, suffix: str, max_length: int) -> str:
            return f"{base}/d2/r/t/ti-7/{key}{suffix}"

    reference = S3KVXComBackend.store_value(Coordinate(), "k", "x" * 100_000)
    assert reference == "s3kv-xcom://xcom/d2/r/t/ti-7/k"
    assert S3KVXComBackend.store_value(Coordinate(), "k", "small") == "small"


def test_a_value_that_looks_like_a_reference_is_a_value(conn: None) -> None:
    S3KVHook().get_conn().add("secret", "of somebody")
    for text in ("s3kv-xcom://secret", "s3kv-xcom://xcom/other"):
        stored = S3KVXComBackend.serialize_value(text, key="k", map_index=-1, **WHERE)
        assert stored != text
        assert S3KVXComBackend.deserialize_value(Stored(stored)) == text
    with pytest.raises(Exception, match="none of an XCom"):
        S3KVXComBackend.deserialize_value(Stored("s3kv-xcom://secret"))


def test_what_neither_takes_is_an_error_that_says_so() -> None:
    import threading

    s3kv.configure(s3kv.testing.memory_store())
    with pytest.raises(Exception, match="goes neither into the database"):
        S3KVXComBackend.serialize_value(threading.Lock(), key="k", **WHERE)
