"""Rules by which the bucket ends old results: ours are written, those of others stay."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from datetime import timedelta

import pytest
from click.testing import CliRunner

import s3kv_flow as s3kv
from s3kv_flow._lifecycle import MOST_RULES, apply, plan
from s3kv_flow.cli.main import commands
from s3kv_flow.keys.classes import cache_of
from s3kv_flow.stores.connection import Connection
from s3kv_flow.stores.control import Boto3Objects
from s3kv_flow.testing import memory_store
from tests.conftest import environment_of, new_bucket

FOREIGN = {
    "ID": "logs",
    "Status": "Enabled",
    "Filter": {"Prefix": "logs/"},
    "Expiration": {"Days": 7},
}


@pytest.fixture(params=["moto", "seaweed", "seaweed-lock"])
def control(request, monkeypatch) -> Boto3Objects:
    return controlled(new_bucket(request, request.param), monkeypatch)


@pytest.fixture
def kv(request, monkeypatch) -> Iterator[s3kv.S3KV]:
    """A store for what is only planned."""
    controlled(new_bucket(request, "moto"), monkeypatch)
    with s3kv.S3KV() as store:
        yield store


def controlled(connection: Connection, monkeypatch: pytest.MonkeyPatch) -> Boto3Objects:
    for name, value in environment_of(connection).items():
        monkeypatch.setenv(name, value)
    return Boto3Objects(connection)


def cache(kv: s3kv.S3KV, name: str, **options):
    return cache_of(kv.cached(lambda: 1, name=name, **options))


def rules(control: Boto3Objects) -> dict[str, dict]:
    found = control.bucket_property("get_bucket_lifecycle_configuration") or {}
    return {rule["ID"]: rule for rule in found.get("Rules", [])}


def test_rules_are_merged_with_those_of_others_and_written_once(control):
    with s3kv.S3KV() as kv:
        functions = [
            cache(kv, "daily", max_age_days=1, stale_while_revalidate=timedelta(hours=5)),
            cache(kv, "for-ever"),
        ]
        control.put_lifecycle({"Rules": [FOREIGN]})
        wanted = plan(kv._backend, functions)
        assert wanted.changed
        assert wanted.left_out == ()
        apply(kv._backend, wanted)
        written = rules(control)
        daily = written["s3kv s3kv/cache/daily/"]
        assert (daily["Filter"], daily["Expiration"]["Days"]) == (
            {"Prefix": "s3kv/cache/daily/"},
            2,
        )
        assert written["logs"]["Filter"] == {"Prefix": "logs/"}
        assert not any("for-ever" in name for name in written)
        assert not plan(kv._backend, functions).changed

        # Another project's functions, and one that has no limit any more.
        apply(kv._backend, plan(kv._backend, [cache(kv, "weekly", max_age_days=7)]))
        apply(kv._backend, plan(kv._backend, [cache(kv, "daily")]))
        written = rules(control)
        assert {"s3kv s3kv/cache/weekly/", "logs"} <= set(written)
        assert "s3kv s3kv/cache/daily/" not in written


def test_a_bucket_that_keeps_versions_ends_those_of_ours(control, request):
    with s3kv.S3KV() as kv:
        wanted = plan(kv._backend, [])
        ended = [rule["Filter"]["Prefix"] for rule in wanted.ours]
        if "seaweed-lock" not in request.node.name:
            assert ended == []
            return
        assert ended == ["s3kv/cache/", "s3kv/index/", "s3kv/lease/"]
        apply(kv._backend, wanted)
        from s3kv_flow._doctor import examine

        said = {finding.check: finding.status for finding in examine(kv._backend)}
        assert said["versions"] == "ok"


def test_the_last_rule_can_be_taken_away(control):
    control.put_lifecycle({"Rules": [FOREIGN]})
    control.put_lifecycle({"Rules": []})
    assert rules(control) == {}


@pytest.mark.parametrize(
    ("options", "days"),
    [
        ({"max_age": timedelta(seconds=1)}, 1),
        ({"max_age_days": 30}, 30),
        ({"max_age_days": 30.1}, 31),
        ({"max_age_days": 1, "stale_if_error": timedelta(days=6)}, 7),
        ({"max_age_days": 1, "retention_days": 90}, 90),
        ({"max_age_days": 1, "legal_hold": True}, None),
        ({}, None),
    ],
)
def test_a_rule_ends_nothing_that_would_still_be_served(kv, options, days):
    ours = plan(kv._backend, [cache(kv, "f", **options)]).ours
    ends = [rule["Expiration"]["Days"] for rule in ours if "Expiration" in rule]
    assert ends == ([] if days is None else [days])


def test_a_rule_that_would_end_results_of_a_function_below_is_left_out(kv):
    below = cache(kv, "etl/load", max_age_days=30)
    wanted = plan(kv._backend, [cache(kv, "etl", max_age_days=1), below])
    prefixes = [rule["Filter"]["Prefix"] for rule in wanted.ours if "Expiration" in rule]
    assert prefixes == ["s3kv/cache/etl/load/"]
    assert "etl/load too early" in wanted.left_out[0]


def test_more_rules_than_s3_takes_are_refused_and_long_names_fit(kv):
    functions = [cache(kv, f"f{n}", max_age_days=1) for n in range(MOST_RULES + 1)]
    with pytest.raises(s3kv.ConfigurationError, match="1000"):
        plan(kv._backend, functions)
    (rule, *_) = plan(kv._backend, [cache(kv, "f" * 400, max_age_days=1)]).ours
    assert len(rule["ID"]) <= 255


def test_other_stores_have_no_rules():
    with pytest.raises(s3kv.ConfigurationError, match="S3"):
        plan(memory_store()._backend, [])


STEPS = """
import s3kv_flow as s3kv

@s3kv.cached(max_age_days=3, name="steps.load")
def load(): ...

class Model:
    @staticmethod
    @s3kv.cached(max_age_days=30, name="steps.train")
    def train(): ...

@s3kv.cached(name="steps.kept")
def kept(): ...
"""


def test_the_commands(control, tmp_path, monkeypatch):
    (tmp_path / "steps_to_end.py").write_text(STEPS)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [str(tmp_path), *sys.path])
    control.put_lifecycle({"Rules": [FOREIGN]})

    def run(*arguments: str, answer: str = "") -> str:
        done = CliRunner().invoke(commands, ["lifecycle", *arguments], input=answer)
        assert done.exit_code == 0, done.output
        return done.output

    printed = json.loads(run("print", "steps_to_end"))
    ends = {rule["Filter"]["Prefix"]: rule.get("Expiration") for rule in printed["Rules"]}
    assert ends["s3kv/cache/steps.load/"] == {"Days": 3}
    assert ends["s3kv/cache/steps.train/"] == {"Days": 30}
    assert "logs/" in ends
    assert list(rules(control)) == ["logs"]  # nothing was written
    shown = run("apply", "steps_to_end", answer="y\n")
    assert "s3kv/cache/steps.load/ after 3 days" in " ".join(shown.split())
    assert "1 other rule kept" in shown
    assert shown.strip().endswith("written")
    assert len(rules(control)) == len(printed["Rules"])
    assert json.loads(run("apply", "steps_to_end", "--json", "-y"))["changed"] is False
    refused = CliRunner().invoke(commands, ["lifecycle", "print", "no_such_module"])
    assert isinstance(refused.exception, s3kv.ConfigurationError)
