"""Which codec takes which value."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, Final

from s3kv_flow.codecs.arrow import ArrowCodec, PolarsCodec
from s3kv_flow.codecs.base import Codec, Encoded
from s3kv_flow.codecs.numpy import NumpyCodec
from s3kv_flow.codecs.pandas import PandasCodec
from s3kv_flow.codecs.pickle import PickleCodec
from s3kv_flow.codecs.plain import BytesCodec, JSONCodec
from s3kv_flow.errors import ConfigurationError, EncodingError

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


class Codecs:
    """The codecs a store knows, by name, and the choice that ``auto`` makes.

    Parameters
    ----------
    more : iterable of Codec
        Codecs beside our own; one of the same name takes the place of ours.
    """

    def __init__(self, more: Iterable[Codec] = ()) -> None:
        ours: Iterable[Codec] = (*_BY_TYPE.values(), *_BY_PACKAGE.values(), _PICKLE)
        self._by_name = {codec.name: codec for codec in (*ours, *more)}

    def named(self, name: str) -> Codec:
        """Give a codec by its name.

        Raises
        ------
        ConfigurationError
            There is none.
        """
        try:
            return self._by_name[name]
        except KeyError:
            raise ConfigurationError(
                f"there is no codec {name!r}",
                way_out=f"Known are {', '.join(sorted(self._by_name))}.",
            ) from None

    def encode(self, value: Any, codec: str | Codec = AUTO) -> tuple[Codec, Encoded]:
        """Encode a value with a codec, or with the first that gives it back as it was.

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
    except ImportError:  # a data frame without pyarrow: pickle takes it
        return None


def _package(kind: type) -> str:
    return kind.__module__.partition(".")[0]


def _name(kind: type) -> str:
    return (
        f"{kind.__module__}.{kind.__qualname__}" if kind.__module__ != "builtins" else kind.__name__
    )
