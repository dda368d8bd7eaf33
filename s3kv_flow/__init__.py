"""Memoization for data pipelines on S3, and the key-value store beneath it.

>>> import s3kv_flow as s3kv

What it gives is imported when it is first asked for: importing this package costs next to nothing.
"""

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
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

#: Where each name comes from, below this package.
_MODULES = {
    "_decorator": "CachedCoroutineFunction CachedFunction",
    "_events": "CacheInfo Event on_event",
    "_kv": "S3KV",
    "_mode": "mode",
    "_model": "Cleared Deleted Entry Lock",
    "_policy": "Policy",
    "_runtime": "cached configure default_store",
    "_secret": "Secret",
    "codecs.base": "Codec Encoded",
    "codecs.model": "ModelCodec",
    "codecs.registry": "register_codec",
    "envelope.keyring": "KeyProvider Keyring",
    "errors": "AccessDeniedError BucketNotFoundError ConfigurationError ConflictError EncodingError InvalidKeyError InvalidTagError KeyLockedError KeyNotFoundError LockingUnavailableError MapError MergeError MissError S3KVError SealError StoreUnavailableError UnhashableArgumentError UnsafeCodecError UnsafeCodecWarning UnstableKeyWarning",
    "keys.depends": "Env File Package",
    "keys.handlers": "register_key",
    "stores.probe": "Capabilities",
}
_WHERE = {name: module for module, names in _MODULES.items() for name in names.split()}


def __getattr__(name: str) -> object:
    if name in ("adapters", "testing"):
        return import_module(f"s3kv_flow.{name}")
    if name not in _WHERE:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module(f"s3kv_flow.{_WHERE[name]}"), name)
    globals()[name] = value  # the next time it is an attribute like any other
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__, "adapters", "testing"})


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
