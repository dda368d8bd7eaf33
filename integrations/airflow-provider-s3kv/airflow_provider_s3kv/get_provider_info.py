"""What Airflow reads of the provider; it imports nothing, for every process of Airflow does so."""

from __future__ import annotations

from typing import Any


def get_provider_info() -> dict[str, Any]:
    """Give the provider's description."""
    package, name = "airflow_provider_s3kv", "S3KV"
    text = {"type": ["string", "null"]}
    secret = {"type": ["string", "null"], "format": "password"}
    return {
        "package-name": "airflow-provider-s3kv",
        "name": name,
        "description": "The task result cache for Airflow: computed once by anybody, on S3.\n",
        "state": "ready",
        "source-date-epoch": 1795564800,
        "versions": ["0.1.0"],
        "integrations": [
            {
                "integration-name": name,
                "external-doc-url": "https://pypi.org/project/airflow-provider-s3kv/",
                "tags": ["software"],
            }
        ],
        "operators": [
            {
                "integration-name": name,
                "python-modules": [f"{package}.operators", f"{package}.decorators"],
            }
        ],
        "sensors": [{"integration-name": name, "python-modules": [f"{package}.sensors"]}],
        "triggers": [{"integration-name": name, "python-modules": [f"{package}.triggers"]}],
        "hooks": [{"integration-name": name, "python-modules": [f"{package}.hooks"]}],
        "connection-types": [
            {
                "connection-type": "s3kv",
                "hook-class-name": f"{package}.hooks.S3KVHook",
                "hook-name": name,
                "ui-field-behaviour": {
                    "hidden-fields": ["schema"],
                    "relabeling": {
                        "host": "Endpoint",
                        "login": "Access key",
                        "password": "Secret key",
                    },
                    "placeholders": {
                        "host": "https://s3.example.org, or nothing for AWS",
                        "login": "nothing for the AWS chain",
                        "bucket": "my-bucket",
                        "root": "s3kv",
                    },
                },
                "conn-fields": {
                    "bucket": {
                        "label": "Bucket",
                        "description": "Where results are kept.",
                        "schema": text,
                    },
                    "region": {"label": "Region", "schema": text},
                    "root": {
                        "label": "Root",
                        "description": "The prefix of all objects.",
                        "schema": text,
                    },
                    # Airflow masks what is called so, in its API and in logs.
                    "keyring_secret": {
                        "label": "Keyring",
                        "description": "The text that `s3kv keys generate` prints, with commas in the "
                        "place of line breaks; it seals all entries.",
                        "schema": secret,
                    },
                    "allow_unsigned_pickle": {
                        "label": "Unsigned pickles",
                        "description": "Only if you trust everybody who can write to the bucket.",
                        "schema": {"type": ["boolean", "null"], "default": False},
                    },
                },
            }
        ],
        "task-decorators": [
            {"name": "s3kv_cached", "class-name": f"{package}.decorators.s3kv_cached_task"}
        ],
        "extra-links": [f"{package}.caching.S3KVEntryLink"],
        "asset-uris": [
            {
                "schemes": ["s3kv"],
                "handler": f"{package}.assets.sanitize_uri",
                "factory": f"{package}.assets.create_asset",
            }
        ],
        "config": {
            "s3kv": {
                "description": "The cache of s3kv-flow.",
                "options": {
                    "xcom_threshold_bytes": {
                        "description": "XComs of so many bytes and more go to S3.",
                        "version_added": "0.1.0",
                        "type": "integer",
                        "example": "1024",
                        "default": "32768",
                    },
                    "xcom_conn_id": {
                        "description": "The connection of the XCom backend.",
                        "version_added": "0.1.0",
                        "type": "string",
                        "example": "s3kv_xcom",
                        "default": "",
                    },
                },
            }
        },
    }
