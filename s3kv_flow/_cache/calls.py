"""A function, its options and the keys of its calls."""

from __future__ import annotations

import inspect
import logging
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, Final

from s3kv_flow._backend import Backend
from s3kv_flow._events import Counters
from s3kv_flow._layout import cache_name, entry_key
from s3kv_flow._model import MissReason
from s3kv_flow._policy import Policy
from s3kv_flow._tags import check_tags, fill
from s3kv_flow.codecs.base import Codec
from s3kv_flow.codecs.model import declared_model
from s3kv_flow.codecs.registry import AUTO, Codecs, register_codec
from s3kv_flow.errors import EncodingError, S3KVError
from s3kv_flow.keys.call import BindingError, CallKey, is_short
from s3kv_flow.keys.digest import DIGESTS
from s3kv_flow.keys.identity import Identity
from s3kv_flow.keys.parts import Parts
from s3kv_flow.keys.source import module_name

logger = logging.getLogger("s3kv_flow")

#: Of so many calls the names are kept, for the same ones come again.
CALLS_KEPT: Final = 4096


# The values of a hit are made at each call, and a frozen dataclass takes several times as long.
@dataclass(slots=True)
class Call:
    """One call: its logical key, the name of its object, and its arguments."""

    key: str
    object_name: str
    args: tuple[Any, ...]
    kwargs: Mapping[str, Any]


class Calls:
    """What all the rest stands on: the function, its options, its keys, and what it counts."""

    def __init__(
        self, function: Callable[..., Any], policy: Policy, backend: Callable[[], Backend]
    ) -> None:
        self.policy = policy
        self.identity = Identity(function, policy.code, policy.version, policy.depends_on)
        named = policy.name if policy.name is not None else _default_name(function)
        self.name = cache_name(named)
        if isinstance(policy.codec, str):
            if policy.codec != AUTO:
                Codecs().named(policy.codec)  # a misspelt one is refused here and now
        else:
            register_codec(policy.codec)  # readers look it up by its name
        self._declared: Codec | None = None
        self._undeclared = policy.codec == AUTO
        self._look_for_declared()
        self.counters = Counters(self.name)
        self._keys = CallKey(
            function,
            self.identity,
            ignore=policy.ignore,
            key=policy.key,
            digest=DIGESTS[policy.key_hash],
        )
        self._backend = backend
        #: Recent calls, by what their digests are made of or something quicker to have. Without
        #: their arguments, unless these are plain.
        self._known: dict[Any, Call] = {}
        self._named_for: Backend | None = None
        self._prefix = f"cache/{self.name}/"
        self._unchecked_seconds = policy.revalidate_after.total_seconds()
        self._max_age_seconds = _seconds(policy.age_limit)
        self._stale_seconds = _seconds(policy.stale_while_revalidate) or 0.0
        self._rescue_seconds = _seconds(policy.stale_if_error) or 0.0
        self._is_slow: bool | None = None
        self._said: set[str] = set()

    def _look_for_declared(self) -> None:
        """Learn how to read and write what the function is annotated to return."""
        if not self._undeclared:
            return
        try:
            self._declared = declared_model(self.identity.function)
        except Exception:  # not defined yet; the next miss asks again
            return
        self._undeclared = False
        if self._declared is not None:
            register_codec(self._declared)

    def named(self, name: str) -> None:
        """Take a name that is encoded already, as it stands in keys."""
        self.name = name
        self.counters = Counters(name)
        self._prefix = f"cache/{name}/"
        self._known = {}

    @property
    def backend(self) -> Backend:
        """The blocks of the store, which may be another one at each call."""
        return self._backend()

    # Keys

    def call(self, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> Call:
        """Give the call's key.

        Raises
        ------
        UnhashableArgumentError
            An argument has no stable key.
        TypeError
            The arguments do not fit the function.
        """
        return self._call(self._backend(), args, kwargs)

    def _call(self, backend: Backend, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> Call:
        if backend is not self._named_for:  # another default store, with another root perhaps
            self._known, self._named_for = {}, backend
        which = self._keys.quick(args, kwargs)
        known = self._known.get(which)
        if known is not None:
            # Plain arguments that are equal are as good as each other, and so is their call.
            return (
                known if type(which) is tuple else Call(known.key, known.object_name, args, kwargs)
            )
        material = self._keys.material(args, kwargs)
        known = self._known.get(material)
        if known is None:
            key = entry_key(self.name, self._keys.digest_of(material))
            known = Call(key, backend.layout.entry(key), (), {})
        call = Call(known.key, known.object_name, args, kwargs)
        if len(self._known) >= CALLS_KEPT:
            self._known.clear()
        # Arguments, globals or files may have changed between the two: the first tells of others then.
        if is_short(which) and self._keys.quick(args, kwargs) == which:
            self._known[which] = call if type(which) is tuple else known
        else:
            self._known[material] = known
        return call

    def key_of(self, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> str:
        """Give the call's logical key, which is the same in every store."""
        return entry_key(self.name, self._keys.of(args, kwargs))

    def call_or_none(self, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> Call | None:
        """Give the call's key; None where it has none, and the function shall just run."""
        try:
            backend = self._backend()
            if backend.mode == "off":
                return None
        except Exception as error:
            self._failed(error)
            return None
        try:
            return self._call(backend, args, kwargs)
        except BindingError:
            return None  # the function itself says it better
        except Exception as error:
            if self.policy.on_error == "raise" or backend.mode == "require_hit":
                raise
            self.counters.miss(MissReason.UNHASHABLE.value)
            self._say("key", f"computes without the cache: {self._shown(error)}")
            return None

    def parts(self, call: Call) -> Parts:
        """Give what a call's key is made of, by name."""
        return self._keys.parts(call.args, call.kwargs)

    def _tags(self, call: Call) -> dict[str, str]:
        tags = self.policy.tags
        if not tags:
            return {}
        arguments = self._keys.arguments(call.args, call.kwargs)
        given = tags(arguments) if callable(tags) else fill(tags, arguments)
        return check_tags(given, key=call.key)

    def tags_or_error(self, call: Call) -> Mapping[str, str] | Exception:
        """Fill the tags before the function runs, for it may change its arguments."""
        try:
            return self._tags(call)
        except Exception as error:
            return error

    def _failed(self, error: Exception) -> None:
        """Count what the caller is not to be bothered with, and say it once."""
        if self.policy.on_error == "raise":
            raise error
        code = error.code if isinstance(error, S3KVError) else type(error).__name__
        self.counters.error(code)
        what = "result is not stored" if isinstance(error, EncodingError) else "goes on without it"
        self._say(code, f"{what}: {self._shown(error)}")

    def _shown(self, error: Exception) -> str:
        """Give what a log may say of an error: its text may hold an argument, which may be a secret."""
        try:
            secret = self._backend().pack.secret
        except Exception:  # there is no store, so there are no secrets of its
            secret = False
        return type(error).__name__ if secret else str(error) or type(error).__name__

    def _say(self, topic: str, text: str) -> None:
        if topic not in self._said:
            self._said.add(topic)
            logger.warning("cache %s: %s", self.name, text)


def _seconds(duration: timedelta | None) -> float | None:
    return None if duration is None else duration.total_seconds()


def _default_name(function: Callable[..., Any]) -> str:
    namespace = getattr(inspect.unwrap(function), "__globals__", None)
    module = module_name(getattr(function, "__module__", None), namespace)
    if module == "__main__":
        module = _notebook_name() or module
    qualified = getattr(function, "__qualname__", None) or type(function).__qualname__
    return f"{module}.{qualified}"


def _notebook_name() -> str | None:
    """Give the name of the notebook this kernel runs, where its server tells."""
    path = os.environ.get("JPY_SESSION_NAME", "")
    stem, ending, _ = os.path.basename(path).partition(".ipynb")
    return stem if ending and stem else None
