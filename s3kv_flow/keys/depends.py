"""What a result depends on beside arguments and code: files, the environment, packages.

Each is a value like others: in ``depends_on`` it is looked at before each call, and as an argument
it counts by what it stands for.
"""

from __future__ import annotations

import functools
import os
import sys
import time
import types
from dataclasses import dataclass
from typing import Any, Final

from s3kv_flow.errors import UnhashableArgumentError
from s3kv_flow.keys import source
from s3kv_flow.keys.token import EXACT, Encoder

_PIECE_BYTES: Final = 1024 * 1024
#: A file written to so recently may be written to again without its times telling.
_SETTLED_NS: Final = 2_000_000_000


@dataclass(frozen=True, slots=True)
class File:
    """A file that counts by its content; it can be opened like a path.

    Parameters
    ----------
    path : str or Path
        Where it is. The path itself does not count.

    Examples
    --------
    >>> import s3kv_flow as s3kv, tempfile, pathlib
    >>> path = pathlib.Path(tempfile.mkdtemp()) / "limits.toml"
    >>> _ = path.write_text("top = 3")
    >>> @s3kv.cached(depends_on=s3kv.File(path))
    ... def limits():
    ...     return path.read_text()
    >>> before = limits.key()
    >>> _ = path.write_text("top = 4")
    >>> limits.key() == before
    False
    """

    path: str | os.PathLike[str]

    def __fspath__(self) -> str:
        return os.fspath(self.path)


@dataclass(frozen=True, slots=True)
class Env:
    """An environment variable that counts by its value, or by being unset.

    Parameters
    ----------
    name : str
        Its name.
    """

    name: str


@dataclass(frozen=True, slots=True)
class Package:
    """An installed distribution that counts by its version.

    Parameters
    ----------
    name : str
        What pip calls it.
    """

    name: str


#: Contents by what the file system says of a file, so that one is read once.
_contents: dict[tuple[str, str], tuple[tuple[int, ...], bytes]] = {}


def _file(value: File, encoder: Encoder) -> bytes:
    path = os.path.abspath(os.fspath(value))
    known = _contents.get((path, encoder.digest.name))
    try:
        with open(path, "rb") as file:
            found = os.fstat(file.fileno())
            signature = (found.st_size, found.st_mtime_ns, found.st_ctime_ns, found.st_ino)
            if known is not None and known[0] == signature:
                return known[1]
            running = encoder.begin(b"file")
            while piece := file.read(_PIECE_BYTES):
                running.update(piece)
    except OSError as error:
        raise UnhashableArgumentError(
            f"the file {os.fspath(value)} cannot be read: {error.strerror or error}",
            way_out="Name files that are there, or leave it out.",
        ) from error
    token = encoder.end(running)
    if time.time_ns() - max(found.st_mtime_ns, found.st_ctime_ns) > _SETTLED_NS:
        _contents[path, encoder.digest.name] = signature, token
    return token


def _env(value: Env, encoder: Encoder) -> bytes:
    return encoder.record(b"env", value.name, os.environ.get(value.name))


def _package(value: Package, encoder: Encoder) -> bytes:
    from importlib import metadata

    try:
        return encoder.record(b"package", value.name, metadata.version(value.name))
    except metadata.PackageNotFoundError:
        raise UnhashableArgumentError(
            f"no package {value.name} is installed", way_out="Install it, or leave it out."
        ) from None


def token_of(depends_on: Any, encoder: Encoder) -> bytes:
    """Give the token of what a function was said to depend on; its order does not count."""
    try:
        return encoder.node(
            b"depends", *sorted(_one(each, encoder) for each in several(depends_on))
        )
    except UnhashableArgumentError as error:
        error.within("depends_on")
        raise


def several(depends_on: Any) -> list[Any]:
    """Give what is depended on, one thing or several, as a list."""
    if isinstance(depends_on, (list, tuple, set, frozenset)):
        return list(depends_on)
    return [depends_on]


def _one(value: Any, encoder: Encoder) -> bytes:
    token = encoder.token(value)
    module = _module_of(value)
    if module is None or source.is_user_module(module):
        return token
    # Named here, installed code counts by its version too.
    return encoder.node(b"installed", token, encoder.token(_version_of(module.partition(".")[0])))


def _module_of(value: Any) -> str | None:
    """Give the module of a piece of code; None for data."""
    if isinstance(value, types.ModuleType):
        return value.__name__
    module = getattr(value, "__module__", None) if callable(value) else None
    return module if isinstance(module, str) else None


@functools.lru_cache(maxsize=256)
def _version_of(package: str) -> str:
    from importlib import metadata

    found = sorted(metadata.packages_distributions().get(package, ()))
    return ", ".join(f"{name} {metadata.version(name)}" for name in found) or _python()


def _python() -> str:
    return f"{sys.implementation.name} {sys.version_info.major}.{sys.version_info.minor}"


EXACT[File] = _file
EXACT[Env] = _env
EXACT[Package] = _package
