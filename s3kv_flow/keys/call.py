"""A call to its digest: the function, and every argument by name, kind and value.

An argument given by position, by keyword or by default is one key.
"""

from __future__ import annotations

import inspect
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Final, Union

from s3kv_flow.errors import ConfigurationError, UnhashableArgumentError
from s3kv_flow.keys import handlers as handlers
from s3kv_flow.keys.deep import on_a_deep_stack
from s3kv_flow.keys.digest import SCHEME, XXH3_128, Digest
from s3kv_flow.keys.identity import Identity
from s3kv_flow.keys.parts import Parts, of_call
from s3kv_flow.keys.repeated import Repeated
from s3kv_flow.keys.stream import FRAME, TREES, stream_digest
from s3kv_flow.keys.token import SCALARS, Encoder

_Kind = inspect.Parameter

#: Values of these types are equal only where their tokens are; floats are not of them (0.0, -0.0).
_PLAIN: Final = frozenset({int, str, bytes, bool, type(None)})
_SIZED: Final = TREES | {str, bytes}
_STREAMED: Final = _PLAIN | TREES | {float}


#: See `CallKey.quick`.
Quick = Union[bytes, tuple[bytes, tuple[type, ...], tuple[Any, ...]], None]
#: Longer arguments are not kept for the sake of a look-up.
LONGEST_KEPT: Final = 256


class BindingError(TypeError):
    """The arguments do not fit the function."""


class CallKey:
    """Gives the digest of each call of one function.

    Parameters
    ----------
    function : callable
        Whose signature arguments are bound to.
    identity : Identity
        What the digest takes from the function itself.
    ignore : iterable of str
        Names of parameters that are left out.
    key : callable, optional
        A function of the same arguments that gives what to hash in their place.
    digest : Digest
        The hash.

    Raises
    ------
    ConfigurationError
        ``ignore`` names no parameter of the function.
    """

    def __init__(
        self,
        function: Callable[..., Any],
        identity: Identity,
        *,
        ignore: Iterable[str] = (),
        key: Callable[..., Any] | None = None,
        digest: Digest = XXH3_128,
    ) -> None:
        self.identity = identity
        self.digest = digest
        self._key = key
        self._ignore = frozenset([ignore] if isinstance(ignore, str) else ignore)
        self._function = function
        self._repeated: defaultdict[str, Repeated] = defaultdict(Repeated)
        self._walks = identity.walks
        self._look_at_signature()
        parameters = {} if self._signature is None else self._signature.parameters
        unknown = self._ignore - set(parameters)
        if unknown:
            raise ConfigurationError(
                f"ignore names {', '.join(sorted(unknown))}, which "
                f"{getattr(function, '__qualname__', function)} does not take",
                way_out=f"It takes {', '.join(parameters) or 'no arguments'}.",
            )

    def _look_at_signature(self) -> None:
        self._signature = _signature(self._function)
        parameters = {} if self._signature is None else self._signature.parameters
        self._prefixes = {
            name: Encoder(self.digest).token(name) + b"%d" % parameter.kind
            for name, parameter in parameters.items()
            if name not in self._ignore
        }
        self._simple = self._simple_prefixes()
        #: Whether equal arguments have equal keys: nobody computes them, no default can change.
        defaults = [one.default for one in parameters.values() if one.default is not one.empty]
        self._pure = self._key is None and SCALARS.keys() >= set(map(type, defaults))
        #: Other defaults make other calls of equal arguments.
        self._defaults = b"".join(map(Encoder(self.digest).token, defaults)) if self._pure else b""

    def _code(self) -> bytes:
        """Give the token of the function."""
        token = self.identity.token(self.digest)
        if self.identity.walks != self._walks:  # something has changed: its defaults, perhaps
            self._walks = self.identity.walks
            self._look_at_signature()
        return token

    def _simple_prefixes(self) -> list[bytes] | None:
        """Give the prefixes in order, where a call of that many positional arguments binds as it stands."""
        if self._signature is None or self._ignore or self._key is not None:
            return None
        parameters = self._signature.parameters.values()
        if any(
            one.kind not in (_Kind.POSITIONAL_ONLY, _Kind.POSITIONAL_OR_KEYWORD)
            for one in parameters
        ):
            return None
        return [self._prefixes[one.name] for one in parameters]

    def quick(self, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> Quick:
        """Give something that is equal for two calls of this process only where their keys are.

        None where there is nothing that is quicker to have than the key. Equal calls may well
        have several.
        """
        if not self._pure:
            return None
        types = tuple(map(type, args))
        try:
            if not kwargs and _PLAIN.issuperset(types):
                return self._code() + self._defaults, types, args
            if _STREAMED.issuperset(types) and (
                not kwargs or _STREAMED.issuperset(map(type, kwargs.values()))
            ):
                for one in (*args, *kwargs.values()):
                    if type(one) in _SIZED and len(one) > FRAME:
                        return None  # its stream is longer; a text would keep the UTF-8 it is asked for
                stream = stream_digest((args, kwargs), self.digest)
                return None if stream is None else self._code() + self._defaults + stream
        except (RecursionError, TypeError):
            # The function reaches something nested deep; see `material`. Or a type has no hash.
            pass
        return None

    def of(self, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> str:
        """Give the digest of a call, in hex.

        Raises
        ------
        UnhashableArgumentError
            An argument has no stable key.
        TypeError
            The arguments do not fit the function.
        """
        return self.digest_of(self.material(args, kwargs))

    def digest_of(self, material: bytes) -> str:
        """Give the digest of a call's material, in hex."""
        return self.digest.of(material).hex()

    def material(self, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> bytes:
        """Give what the digest of a call is made of: a few bytes for each argument.

        Raises
        ------
        UnhashableArgumentError
            An argument has no stable key.
        TypeError
            The arguments do not fit the function.
        """
        try:
            return self._material(args, kwargs)
        except RecursionError:
            return on_a_deep_stack(lambda: self._material(args, kwargs))
        except TypeError:
            if all(map(_has_hash, map(type, args))):
                raise
            raise _without_hash() from None

    def _material(self, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> bytes:
        digest = self.digest
        parts = [SCHEME, self._code()]
        simple = self._simple
        if simple is not None and not kwargs and len(args) == len(simple):
            encoder = None
            for prefix, value in zip(simple, args):
                scalar = SCALARS.get(type(value))
                if scalar is not None:
                    token = scalar(value)
                    if token:  # else it is too long to be written inline
                        parts.append(prefix + token)
                        continue
                if encoder is None:
                    encoder = Encoder(digest)
                name = list(self._prefixes)[simple.index(prefix)]
                parts.append(prefix + self._token(encoder, name, value))
        else:
            parts += self._bound(args, kwargs)
        return b"".join(parts)

    def _bound(self, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> list[bytes]:
        encoder = Encoder(self.digest)
        if self._key is not None:
            return [b"k", self._token(encoder, "key(...)", self._key(*args, **kwargs))]
        if self._signature is None:
            return [encoder.sequence(b"args", args), encoder.mapping(b"kwargs", kwargs.items())]
        parts = []
        for name, value in self.arguments(args, kwargs).items():
            prefix = self._prefixes.get(name)
            if prefix is not None:
                parts.append(prefix + self._token(encoder, name, value))
        return parts

    def _token(self, encoder: Encoder, name: str, value: Any) -> bytes:
        """Give an argument's token; whatever its own code raises, the error names the argument."""
        try:
            return self._repeated[name].token(value, encoder)
        except UnhashableArgumentError as error:
            error.within(name)
            raise
        except (RecursionError, MemoryError):
            raise  # the first is tried again on a deeper stack
        except Exception as error:
            refused = UnhashableArgumentError(
                f"hashing it raised {type(error).__name__}: {error}",
                way_out="It may have changed meanwhile, or its own code failed. Leave it out with "
                "ignore=(...), or say what to hash with key=....",
            )
            refused.within(name)
            raise refused from error

    def parts(self, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> Parts:
        """Give what a call's key is made of, by name, as digests."""
        try:
            return self._parts(args, kwargs)
        except RecursionError:
            return on_a_deep_stack(lambda: self._parts(args, kwargs))

    def _parts(self, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> Parts:
        if self._key is not None:
            counted: Mapping[str, Any] = {"key(...)": self._key(*args, **kwargs)}
        else:
            arguments = self.arguments(args, kwargs)
            counted = {name: one for name, one in arguments.items() if name not in self._ignore}
        return of_call(counted, self.identity.parts(self.digest), self.digest)

    def arguments(self, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> dict[str, Any]:
        """Bind a call's arguments to the parameters, defaults filled in."""
        if self._signature is None:
            return {"args": args, "kwargs": dict(kwargs)}
        try:
            bound = self._signature.bind(*args, **kwargs)
        except TypeError as error:
            first = next(iter(self._signature.parameters), "")
            of_a_method = "; of a method say for which object: Class.method.key(object, ...)"
            raise BindingError(f"{error}{of_a_method if first == 'self' else ''}") from None
        bound.apply_defaults()
        return bound.arguments


def _has_hash(kind: type) -> bool:
    try:
        hash(kind)
    except Exception:  # its metaclass has another idea
        return False
    return True


def _without_hash() -> UnhashableArgumentError:
    return UnhashableArgumentError(
        "the class of an argument has no hash, so it cannot be looked up",
        way_out="Its metaclass defines __eq__: give it __hash__ = type.__hash__, too.",
    )


def is_short(which: Quick) -> bool:
    """Whether what `CallKey.quick` gave takes little memory."""
    if isinstance(which, tuple):
        return sum(map(_length, which[2])) <= LONGEST_KEPT
    return which is not None


def _length(value: Any) -> int:
    if isinstance(value, int):
        return value.bit_length() >> 3
    return len(value) if isinstance(value, (str, bytes)) else 0


def _signature(function: Callable[..., Any]) -> inspect.Signature | None:
    try:
        return inspect.signature(function)
    except (ValueError, TypeError):  # some builtins do not tell
        return None
