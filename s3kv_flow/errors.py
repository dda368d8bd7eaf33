"""Every error this library raises, grouped by what a caller would do about it.

::

    S3KVError
    ├── mend the call
    │   ├── ConfigurationError        (ValueError)  a setting is missing or contradicts another
    │   ├── InvalidKeyError           (ValueError)  S3 or a server would refuse or alter the key
    │   ├── InvalidTagError           (ValueError)  S3 would refuse the tag
    │   ├── UnhashableArgumentError   (TypeError)   an argument has no key
    │   ├── EncodingError             (TypeError)   the codec cannot give the value back as it was
    │   ├── MergeError                (TypeError)   a value to merge is no dict
    │   └── UnsafeCodecError          (TypeError)   the value needs pickle, and pickle is not allowed
    ├── expected outcomes
    │   ├── KeyNotFoundError          (KeyError)    the key is not in the store
    │   ├── MissError                 (KeyError)    nothing is cached for these arguments
    │   ├── KeyLockedError                          retention or a legal hold protects the key
    │   └── ConflictError                           compare-and-swap gave up
    ├── mend the data
    │   └── SealError                               an entry failed its verification
    └── mend the world
        ├── StoreUnavailableError                   no answer, or no usable one
        │   └── BucketNotFoundError                 the bucket does not exist
        ├── AccessDeniedError                       403: the credentials may not do this
        └── LockingUnavailableError                 the bucket has no Object Lock

Each carries what happened, the key it happened to and the way out, and a stable ``code``.
"""

from __future__ import annotations

from typing import Any, ClassVar, Final

#: A path has no more characters.
LONGEST_PATH: Final = 1000

__all__ = [
    "AccessDeniedError",
    "BucketNotFoundError",
    "ConfigurationError",
    "ConflictError",
    "EncodingError",
    "InvalidKeyError",
    "InvalidTagError",
    "KeyLockedError",
    "KeyNotFoundError",
    "LockingUnavailableError",
    "MapError",
    "MergeError",
    "MissError",
    "S3KVError",
    "SealError",
    "StoreUnavailableError",
    "UnhashableArgumentError",
    "UnsafeCodecError",
    "UnsafeCodecWarning",
    "UnstableKeyWarning",
]


class S3KVError(Exception):
    """The root of all errors of this library.

    Parameters
    ----------
    what : str
        What happened, as a sentence without its full stop.
    key : str, optional
        The key it happened to.
    way_out : str, optional
        What the caller can do about it.

    Examples
    --------
    >>> print(S3KVError("the entry is torn", key="report", way_out="Compute it again."))
    the entry is torn (key 'report'). Compute it again.
    """

    code: ClassVar[str] = "s3kv"

    def __init__(self, what: str, *, key: str | None = None, way_out: str | None = None) -> None:
        super().__init__(what)
        self.what = what
        self.key = key
        self.way_out = way_out

    def __str__(self) -> str:
        text = self.what if self.key is None else f"{self.what} (key {self.key!r})"
        return text if self.way_out is None else f"{text}. {self.way_out}"

    def __reduce__(self) -> tuple[Any, ...]:
        # Exceptions pickle by their positional arguments; ours are keywords.
        return _rebuild, (type(self), self.what, self.key, self.way_out)


def _rebuild(kind: type[S3KVError], what: str, key: str | None, way_out: str | None) -> S3KVError:
    return kind(what, key=key, way_out=way_out)


class ConfigurationError(S3KVError, ValueError):
    """A setting is missing, malformed, or contradicts another."""

    code = "configuration"


class InvalidKeyError(S3KVError, ValueError):
    """The key has a form that S3, or a server that speaks its language, refuses or silently alters."""

    code = "invalid-key"


class InvalidTagError(S3KVError, ValueError):
    """The tags break one of S3's rules: 10 a key, 128 and 256 characters, the character set."""

    code = "invalid-tag"


class UnhashableArgumentError(S3KVError, TypeError):
    """An argument has no stable key; the message names the path to the part that has none.

    Parameters
    ----------
    what : str
        Why there is no key.
    key, way_out : str, optional
        As in :class:`S3KVError`.

    Attributes
    ----------
    path : str
        Where it sits, such as ``args['cfg'].client._lock``. Filled while the error travels up.
    """

    code = "unhashable-argument"

    def __init__(self, what: str, *, key: str | None = None, way_out: str | None = None) -> None:
        super().__init__(what, key=key, way_out=way_out)
        self.path = ""

    def within(self, step: str) -> None:
        """Note one more step of the path, from the inside out."""
        self.path = step + self.path
        if (
            len(self.path) > LONGEST_PATH
        ):  # something nested deep: where it begins, and where it ends
            half = LONGEST_PATH // 4
            self.path = f"{self.path[:half]}...{self.path[-half:]}"

    def __str__(self) -> str:
        where = f"{self.path}: " if self.path else ""
        return where + super().__str__()

    def __reduce__(self) -> tuple[Any, ...]:
        return (*super().__reduce__(), {"path": self.path})


class EncodingError(S3KVError, TypeError):
    """No codec, or not the one that was asked for, would give the value back as it was."""

    code = "encoding"


class UnsafeCodecError(S3KVError, TypeError):
    """The value can only be stored as a pickle, and nothing here vouches for pickles."""

    code = "unsafe-codec"


class MergeError(S3KVError, TypeError):
    """A value that was to be merged is no dict."""

    code = "merge"


class MapError(S3KVError):
    """Some calls of ``f.map`` raised; the others are stored.

    Attributes
    ----------
    results : list
        The results in order, None for the calls that raised.
    failures : dict[int, Exception]
        What each of those raised, by the position of its item.
    """

    code = "map"
    results: list[Any]
    failures: dict[int, Exception]


class KeyNotFoundError(S3KVError, KeyError):
    """The key is not in the store."""

    code = "key-not-found"


class MissError(S3KVError, KeyError):
    """Nothing valid is cached for these arguments, and computing was not asked for."""

    code = "miss"


class KeyLockedError(S3KVError):
    """Retention or a legal hold protects the key; nothing was changed."""

    code = "key-locked"


class ConflictError(S3KVError):
    """Compare-and-swap lost to other writers too often and gave up; nothing was changed."""

    code = "conflict"


class SealError(S3KVError):
    """An entry failed its verification: torn, altered, moved, or sealed with a key this reader lacks."""

    code = "seal"


class StoreUnavailableError(S3KVError):
    """The store gave no answer, or none that can be used.

    Attributes
    ----------
    reason : str
        What the server called it, such as ``SlowDown``; empty where it gave no answer.
    """

    code = "store-unavailable"
    reason = ""


class BucketNotFoundError(StoreUnavailableError):
    """The bucket does not exist at this endpoint."""

    code = "bucket-not-found"


class AccessDeniedError(S3KVError):
    """The store refused the credentials, or what was asked with them."""

    code = "access-denied"


class LockingUnavailableError(S3KVError):
    """The bucket was made without Object Lock, so nothing in it can be locked."""

    code = "locking-unavailable"


class UnsafeCodecWarning(UserWarning):
    """A result needs pickle and no keyring is configured: it was computed and not stored."""


class UnstableKeyWarning(UserWarning):
    """A part of a key may differ in another process: entries may not be found again."""
