"""How each type is encoded. Importing this package fills the tables of `token`.

A handler is a function of (value, encoder) that gives a token. `standard` is for the standard
library, `objects` for instances of any class, `code` for functions, classes and modules; every other module is for one package (`values`, for some of the standard library), is found by its name,
and is imported when a value of that package is met.
"""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module
from typing import Any, Final, TypeVar

from s3kv_flow.errors import ConfigurationError
from s3kv_flow.keys.handlers import code as code
from s3kv_flow.keys.handlers import standard as standard
from s3kv_flow.keys.token import BY_PACKAGE, EXACT, REGISTERED, SCALARS, Encoder

T = TypeVar("T")


def register_key(kind: type[T] | str, key: Callable[[T], Any]) -> None:
    """Teach the key of a type that cannot be given a ``__s3kv_key__`` method.

    Parameters
    ----------
    kind : type or str
        The exact type, or its full name, such as ``"package.module.Type"``, so that its
        package need not be imported.
    key : callable
        Gives a value to hash in place of an object of the type: all that matters of it.

    Raises
    ------
    ConfigurationError
        The type is encoded by the library itself.

    Examples
    --------
    >>> class Client:
    ...     def __init__(self, url):
    ...         self.url, self._lock = url, __import__("threading").Lock()
    >>> register_key(Client, lambda client: client.url)
    """
    package = (kind if isinstance(kind, str) else kind.__module__).partition(".")[0]
    if package in OF_THE_STANDARD_LIBRARY:
        BY_PACKAGE[package]()
    own = {**EXACT, **SCALARS}
    if kind in own or kind in {f"{one.__module__}.{one.__qualname__}" for one in own}:
        raise ConfigurationError(
            f"the key of {kind!r} is part of the library's scheme",
            way_out="Wrap the value in a type of your own, or use key=.",
        )
    REGISTERED[kind] = key


#: Packages that have a module here.
WITH_A_MODULE: Final = (
    *("dask", "msgspec", "numba", "numpy", "pandas", "polars", "pyarrow", "pydantic"),
    *("rpds", "scipy", "sklearn", "sympy", "torch", "wrapt", "xarray"),
)
#: Packages of which `values` has some types.
OF_THE_STANDARD_LIBRARY: Final = ("decimal", "fractions", "ipaddress", "random", "uuid")


def _family(package: str, module: str) -> Callable[[], Callable[[Any, Encoder], bytes | None]]:
    def load() -> Callable[[Any, Encoder], bytes | None]:
        encode: Callable[[Any, Encoder], bytes | None] = import_module(
            f"{__name__}.{module}"
        ).encode
        BY_PACKAGE[package] = lambda: encode
        return encode

    return load


for _package in WITH_A_MODULE:
    BY_PACKAGE[_package] = _family(_package, _package)
BY_PACKAGE["_wrappers"] = _family("_wrappers", "wrapt")  # as its compiled part calls itself
for _package in OF_THE_STANDARD_LIBRARY:
    BY_PACKAGE[_package] = _family(_package, "values")
