"""Which codec takes which value."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable
from functools import lru_cache
from typing import Any, Final

from s3kv_flow.codecs.arrow import ArrowCodec, PolarsCodec
from s3kv_flow.codecs.base import Codec, Encoded
from s3kv_flow.codecs.numpy import NumpyCodec
from s3kv_flow.codecs.pandas import PandasCodec
from s3kv_flow.codecs.pickle import PickleCodec
from s3kv_flow.codecs.plain import BytesCodec, JSONCodec
from s3kv_flow.errors import ConfigurationError, EncodingError

logger = logging.getLogger("s3kv_flow")

AUTO: Final = "auto"

_JSON: Final = JSONCodec()
_PICKLE: Final = PickleCodec()

#: `auto` asks by the exact type's package, so that no package is imported that made no value.
_BY_PACKAGE: Final[dict[str, Codec]] = {
    "numpy": NumpyCodec(),
    "pandas": PandasCodec(),
    "pyarrow": ArrowCodec(),
    "polars": PolarsCodec(),
}
_BY_TYPE: Final[dict[type, Codec]] = {
    bytes: BytesCodec(),
    **dict.fromkeys((str, int, float, bool, type(None), list, dict), _JSON),
}


_OURS: Final = {codec.name: codec for codec in (*_BY_TYPE.values(), *_BY_PACKAGE.values(), _PICKLE)}
#: What others registered, by name, in the order in which ``auto`` asks them.
_registered: dict[str, Codec] = {}
#: The group of entry points by which an installed package adds codecs.
ENTRY_POINTS: Final = "s3kv_flow.codecs"


def register_codec(codec: Codec) -> None:
    """Add a codec, for this process; an installed package does it by an entry point.

    ``auto`` asks it for values of types that no codec of ours takes, before it falls back to
    pickle. The entry point's group is ``s3kv_flow.codecs``, and its object is a codec or a class
    of one. Readers need the codec, too.

    Parameters
    ----------
    codec : Codec
        Its name is stored with each entry, and must be none of ours.

    Raises
    ------
    ConfigurationError
        It lacks something, or its name is taken.

    Examples
    --------
    >>> from s3kv_flow import Encoded, register_codec
    >>> class PointCodec:
    ...     name, safe, aliases = "example.complex", True, False
    ...     def encode(self, value):
    ...         return Encoded([repr(value).encode()]) if type(value) is complex else None
    ...     def decode(self, arguments, buffers):
    ...         return complex(bytes(buffers[0]).decode())
    >>> register_codec(PointCodec())
    """
    name = getattr(codec, "name", None)
    lacking = [part for part in ("safe", "aliases", "encode", "decode") if not hasattr(codec, part)]
    if not isinstance(name, str) or not name or lacking:
        raise ConfigurationError(
            f"{codec!r} is no codec: it lacks {', '.join(lacking) or 'a name'}",
            way_out="See s3kv_flow.Codec.",
        )
    if name in _OURS:
        raise ConfigurationError(
            f"{name!r} is the name of a codec of ours", way_out="Call yours something else."
        )
    _registered[name] = codec


@lru_cache(1)
def _load_installed() -> None:
    """Add the codecs of installed packages; looked for once, and only when none of ours serves."""
    from importlib.metadata import entry_points

    for point in entry_points(group=ENTRY_POINTS):
        try:
            found = point.load()
            codec = found() if isinstance(found, type) else found
            if codec.name not in _registered:
                register_codec(codec)
        except Exception as error:  # somebody else's package must not break ours
            logger.warning(
                "the codec %r of an installed package is left out: %s", point.name, error
            )


def _others() -> Iterable[Codec]:
    _load_installed()
    return list(_registered.values())


class Codecs:
    """The codecs by name, and the choice that ``auto`` makes."""

    def named(self, name: str) -> Codec:
        """Give a codec by its name.

        Raises
        ------
        ConfigurationError
            There is none.
        """
        found = _OURS.get(name) or _registered.get(name)
        if found is None:
            _load_installed()
            found = _registered.get(name)
        if found is None:
            raise ConfigurationError(
                f"there is no codec {name!r}",
                way_out=f"Known are {', '.join(sorted({*_OURS, *_registered}))}; "
                "others are added by register_codec.",
            )
        return found

    def encode(
        self, value: Any, codec: str | Codec = AUTO, *, declared: Codec | None = None
    ) -> tuple[Codec, Encoded]:
        """Encode a value with a codec, or with the first that gives it back as it was.

        ``declared`` is asked before those that others registered.

        Raises
        ------
        EncodingError
            The codec that was asked for declines, or no codec takes the value.
        """
        if codec != AUTO:
            chosen = self.named(codec) if isinstance(codec, str) else codec
            encoded = chosen.encode(value)
            if encoded is None:
                raise EncodingError(
                    f"codec {chosen.name!r} would not give this {_name(type(value))} back as it is",
                    way_out='Leave the choice to codec="auto".',
                )
            return chosen, encoded
        kind = type(value)
        for candidate in (_BY_TYPE.get(kind), _BY_PACKAGE.get(_package(kind))):
            if candidate is not None and (encoded := _tried(candidate.encode, value)) is not None:
                return candidate, encoded
        if kind.__module__ != "builtins":
            for candidate in (declared, *_others()):
                if candidate is not None and (encoded := _tried(candidate.encode, value)):
                    return candidate, encoded
        encoded = _PICKLE.encode(value)
        if encoded is None:
            raise EncodingError(
                f"this {_name(kind)} cannot be pickled",
                way_out="Return plain data, or give a codec for it.",
            )
        return _PICKLE, encoded


def _tried(encode: Callable[[Any], Encoded | None], value: Any) -> Encoded | None:
    try:
        return encode(value)
    except MemoryError:
        raise
    except Exception as error:
        # A data frame without pyarrow, or a value that nobody thought of: pickle takes it.
        logger.debug("a %s is pickled: %s", _name(type(value)), error)
        return None


def _package(kind: type) -> str:
    return str(kind.__module__).partition(".")[0]


def _name(kind: type) -> str:
    return (
        f"{kind.__module__}.{kind.__qualname__}" if kind.__module__ != "builtins" else kind.__name__
    )
