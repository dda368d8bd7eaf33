"""What the package looks like from outside: its names, its weight, its older name."""

from __future__ import annotations

import importlib.metadata
import subprocess
import sys

import s3kv
import s3kv_flow

HEAVY = [
    "asyncio",
    "boto3",
    "botocore",
    "cloudpickle",
    "cryptography",
    "diskcache",
    "numpy",
    "obstore",
    "pandas",
    "polars",
    "pyarrow",
    "rich",
    "click",
    "zstandard",
]


def test_importing_the_package_imports_nothing_heavy() -> None:
    code = f"import sys, s3kv_flow; print(*[name for name in {HEAVY} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == []


def test_the_older_name_gives_the_same_things() -> None:
    assert s3kv.S3KV is s3kv_flow.S3KV
    assert s3kv.__all__ == s3kv_flow.__all__


def test_public_names_are_frozen() -> None:
    assert set(s3kv_flow.__all__) == {
        "AccessDeniedError",
        "BucketNotFoundError",
        "CacheInfo",
        "CachedCoroutineFunction",
        "CachedFunction",
        "Capabilities",
        "Cleared",
        "Codec",
        "ConfigurationError",
        "ConflictError",
        "Deleted",
        "Encoded",
        "EncodingError",
        "Entry",
        "Env",
        "Event",
        "File",
        "InvalidKeyError",
        "InvalidTagError",
        "KeyLockedError",
        "KeyNotFoundError",
        "KeyProvider",
        "Keyring",
        "Lock",
        "LockingUnavailableError",
        "MapError",
        "MergeError",
        "MissError",
        "ModelCodec",
        "Package",
        "Policy",
        "S3KV",
        "S3KVError",
        "Secret",
        "SealError",
        "StoreUnavailableError",
        "UnhashableArgumentError",
        "UnsafeCodecError",
        "UnsafeCodecWarning",
        "UnstableKeyWarning",
        "cached",
        "configure",
        "default_store",
        "mode",
        "on_event",
        "register_codec",
        "register_key",
    }
    assert all(hasattr(s3kv_flow, name) for name in s3kv_flow.__all__)


def test_the_distribution_says_its_version() -> None:
    assert importlib.metadata.version("s3kv-flow") == s3kv_flow.__version__
