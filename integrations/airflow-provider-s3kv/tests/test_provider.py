"""What Airflow reads of the provider, and what it makes of it."""

from __future__ import annotations

import importlib
import json
import pkgutil
import warnings
from datetime import timedelta
from pathlib import Path

import airflow
import jsonschema
import pytest

import airflow_provider_s3kv
from airflow_provider_s3kv import CachePolicy
from airflow_provider_s3kv.get_provider_info import get_provider_info

MODULES = [
    f"airflow_provider_s3kv.{one.name}"
    for one in pkgutil.iter_modules(airflow_provider_s3kv.__path__)
]


@pytest.mark.parametrize("schema", ["provider_info.schema.json", "provider.yaml.schema.json"])
def test_the_description_is_valid(schema: str) -> None:
    text = (Path(airflow.__path__[0]) / schema).read_text()
    jsonschema.validate(get_provider_info(), json.loads(text))


def test_airflow_finds_it() -> None:
    from airflow.providers_manager import ProvidersManager

    manager = ProvidersManager()
    assert "airflow-provider-s3kv" in manager.providers
    fields = manager.connection_form_widgets
    assert fields["extra__s3kv__keyring_secret"].is_sensitive
    assert "extra__s3kv__bucket" in fields
    from airflow.sdk import task

    assert task.s3kv_cached


@pytest.mark.parametrize("name", MODULES)
def test_modules_import_without_a_deprecation_warning(name: str) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error", DeprecationWarning)
        importlib.reload(importlib.import_module(name)) if name.endswith(
            "policy"
        ) else importlib.import_module(name)


def test_everything_it_names_is_there() -> None:
    for name in airflow_provider_s3kv.__all__:
        assert getattr(airflow_provider_s3kv, name)
    with pytest.raises(AttributeError):
        airflow_provider_s3kv.nothing  # noqa: B018


def test_template_fields_are_assigned() -> None:
    from airflow.providers.standard.operators.bash import BashOperator

    from airflow_provider_s3kv import (
        S3KVCachingMixin,
        S3KVClearOldCacheOperator,
        S3KVEntrySensor,
        S3KVInvalidateOperator,
    )

    class CachedBash(S3KVCachingMixin, BashOperator):
        pass

    assert set(CachedBash.template_fields) >= {*BashOperator.template_fields, "cache_options"}
    for made in (
        S3KVClearOldCacheOperator(task_id="a"),
        S3KVInvalidateOperator(task_id="b", function="f"),
        S3KVEntrySensor(task_id="c", key="k"),
        CachedBash(
            task_id="d",
            bash_command="true",
            policy=CachePolicy(ttl=3),
            cache_options={"tags": {"a": "b"}},
        ),
    ):
        for field in type(made).template_fields:
            assert hasattr(made, field), field
    with pytest.raises(ValueError, match="exactly one"):
        S3KVInvalidateOperator(task_id="e")
    with pytest.raises(ValueError, match="not both"):
        S3KVEntrySensor(task_id="f")


def test_the_policy_has_the_names_of_airflow() -> None:
    policy = CachePolicy(ttl=3600, exclude_inputs=["session"], tags={"a": "b"})
    assert policy.age_limit == timedelta(hours=1)
    assert policy.replace(max_age_days=1).age_limit == timedelta(days=1)
    with pytest.raises(TypeError, match="not both"):
        CachePolicy(ttl=1, max_age_days=1)


def test_assets_have_a_scheme_of_their_own() -> None:
    from airflow.sdk import Asset

    assert Asset("s3kv://cache/features").uri == "s3kv://cache/features"
    with pytest.raises(ValueError, match="name"):
        Asset("s3kv:///features")
