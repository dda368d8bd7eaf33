"""Memoization for data pipelines on S3, and the key-value store beneath it.

>>> import s3kv_flow as s3kv
"""

from s3kv_flow._decorator import CachedCoroutineFunction, CachedFunction
from s3kv_flow._events import CacheInfo, Event, on_event
from s3kv_flow._kv import S3KV
from s3kv_flow._mode import mode
from s3kv_flow._model import Cleared, Deleted, Entry, Lock
from s3kv_flow._policy import Policy
from s3kv_flow._runtime import cached, configure, default_store
from s3kv_flow._secret import Secret
from s3kv_flow.codecs.base import Codec, Encoded
from s3kv_flow.codecs.model import ModelCodec
from s3kv_flow.codecs.registry import register_codec
from s3kv_flow.envelope.keyring import KeyProvider, Keyring
from s3kv_flow.errors import (
    AccessDeniedError,
    BucketNotFoundError,
    ConfigurationError,
    ConflictError,
    EncodingError,
    InvalidKeyError,
    InvalidTagError,
    KeyLockedError,
    KeyNotFoundError,
    LockingUnavailableError,
    MapError,
    MergeError,
    MissError,
    S3KVError,
    SealError,
    StoreUnavailableError,
    UnhashableArgumentError,
    UnsafeCodecError,
    UnsafeCodecWarning,
    UnstableKeyWarning,
)
from s3kv_flow.keys.depends import Env, File, Package
from s3kv_flow.keys.handlers import register_key
from s3kv_flow.stores.probe import Capabilities

__version__ = "0.1.0"


def __getattr__(name: str) -> object:
    # `s3kv_flow.testing` without importing it beforehand, and without its weight for all others.
    if name == "testing":
        from importlib import import_module

        return import_module("s3kv_flow.testing")
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


__all__ = [
    "S3KV",
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
    "S3KVError",
    "SealError",
    "Secret",
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
]
