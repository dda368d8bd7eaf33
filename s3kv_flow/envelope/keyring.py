"""The keys that seal entries: where they come from, and how they are named."""

from __future__ import annotations

import base64
import binascii
import os
import re
import stat
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Final, Protocol, runtime_checkable

from s3kv_flow.errors import ConfigurationError

KEY_BYTES: Final = 32
#: In the place of an id: the key that hides names, which no rotation replaces.
NAMING: Final = "names"
_KEY_ID = re.compile(r"[A-Za-z0-9_\-]{1,64}\Z")


@runtime_checkable
class KeyProvider(Protocol):
    """Where keys come from: a `Keyring`, or something that asks a key management service.

    Keys are 32 bytes. It is asked at each entry, by several threads, so it should keep what it
    was told; and it must pickle if the store is to travel to other processes.
    """

    @property
    def sealing(self) -> tuple[str, bytes]:
        """The id and the bytes of the key that new entries are sealed with."""

    @property
    def naming(self) -> bytes:
        """The key that hides names in stores of secrets; it never changes."""

    def get(self, key_id: str, /) -> bytes | None:
        """Give a key by its id; None for one that is unknown, or not to be trusted any more."""


class Keyring:
    """Named 256-bit keys. The first one seals; all of them open.

    Parameters
    ----------
    keys : Mapping[str, bytes]
        Key id to 32 random bytes, the sealing key first.

    Raises
    ------
    ConfigurationError
        No key, a malformed id, or a key of another size.

    Examples
    --------
    >>> ring = Keyring.generate("2026-11")
    >>> Keyring.parse(ring.text()) == ring
    True
    >>> ring
    Keyring('2026-11')
    """

    def __init__(self, keys: Mapping[str, bytes]) -> None:
        keys = dict(keys)
        #: Hides names in stores of secrets. It stays the same when keys are rotated, else all
        #: that is stored would have another name: hence the first key there ever was.
        self._naming = keys.pop(NAMING, None)
        if not keys:
            raise ConfigurationError("the keyring is empty", way_out=_WAY_OUT)
        for key_id, secret in (*keys.items(), *self._naming_pair().items()):
            if not _KEY_ID.match(key_id):
                raise ConfigurationError(
                    f"key id {key_id!r} is not 1 to 64 letters, digits, - or _", way_out=_WAY_OUT
                )
            if len(secret) != KEY_BYTES:
                raise ConfigurationError(
                    f"key {key_id!r} has {len(secret)} bytes instead of {KEY_BYTES}",
                    way_out=_WAY_OUT,
                )
        self._keys: Mapping[str, bytes] = MappingProxyType(dict(keys))

    @classmethod
    def generate(cls, key_id: str | None = None) -> Keyring:
        """Make a keyring of one new random key."""
        return cls({key_id or f"k{os.urandom(4).hex()}": os.urandom(KEY_BYTES)})

    @classmethod
    def parse(cls, text: str) -> Keyring:
        """Read ``id:base64`` pairs, one a line or separated by commas; ``#`` begins a comment."""
        keys: dict[str, bytes] = {}
        for line in text.replace(",", "\n").splitlines():
            pair = line.partition("#")[0].strip()
            if not pair:
                continue
            key_id, colon, encoded = pair.partition(":")
            try:
                secret = base64.b64decode(encoded.strip(), validate=True)
            except (binascii.Error, ValueError):
                secret = b""
            if not colon or not secret or key_id in keys:
                raise ConfigurationError(
                    "a line of the keyring is not one new id:base64 pair", way_out=_WAY_OUT
                )
            keys[key_id.strip()] = secret
        return cls(keys)

    @classmethod
    def read(cls, path: str | os.PathLike[str]) -> Keyring:
        """Read a keyring file, which nobody but its owner may read.

        Raises
        ------
        ConfigurationError
            Absent, unreadable, malformed, or readable by others.
        """
        try:
            with open(path, encoding="ascii") as file:
                mode = os.fstat(file.fileno()).st_mode
                text = file.read()
        except (OSError, UnicodeDecodeError) as error:
            raise ConfigurationError(
                f"the keyring file {os.fspath(path)!r} cannot be read: {error}", way_out=_WAY_OUT
            ) from error
        if os.name == "posix" and stat.S_IMODE(mode) & 0o077:
            raise ConfigurationError(
                f"the keyring file {os.fspath(path)!r} is open to other users",
                way_out=f"chmod 600 {os.fspath(path)}",
            )
        return cls.parse(text)

    def write(self, path: str | os.PathLike[str]) -> bool:
        """Write a new file of mode 0600; False where another process wrote one first."""
        target = Path(path)
        target.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        draft = target.with_name(f".{target.name}.{os.urandom(8).hex()}")
        descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        try:
            with os.fdopen(descriptor, "w", encoding="ascii") as file:
                file.write(self.text())
            try:
                os.link(draft, target)  # unlike a rename, never replaces
            except FileExistsError:
                return False
        finally:
            os.unlink(draft)
        return True

    def replace(self, path: str | os.PathLike[str]) -> None:
        """Put this keyring in the place of the file's, whole or not at all."""
        draft = Path(path).with_name(f".{Path(path).name}.{os.urandom(8).hex()}")
        self.write(draft)
        os.replace(draft, path)

    def _naming_pair(self) -> dict[str, bytes]:
        return {} if self._naming is None else {NAMING: self._naming}

    @property
    def naming(self) -> bytes:
        """The key that names are hidden with in stores of secrets.

        Raises
        ------
        ConfigurationError
            There are several keys, and none is said to be that of the names.
        """
        if self._naming is None and len(self._keys) > 1:
            raise ConfigurationError(
                "the keyring has several keys, and does not say which one hides names",
                way_out=f"Give the key that it began with a second line, `{NAMING}:<base64>`.",
            )
        return self.sealing[1] if self._naming is None else self._naming

    def _all(self) -> dict[str, bytes]:
        """Give all keys; from the second one on, also which one hides names."""
        naming = self.naming if self._naming is not None or len(self._keys) == 1 else None
        return {**self._keys, **({} if naming is None else {NAMING: naming})}

    def adding(self, key_id: str | None = None) -> Keyring:
        """Give a keyring with one new key at the end: it opens, and does not seal yet.

        Raises
        ------
        ConfigurationError
            There is a key of this id.
        """
        new = Keyring.generate(key_id)
        (name,) = new
        if name in self._keys:
            raise ConfigurationError(f"there is a key {name!r} already", way_out="Name another.")
        return Keyring({**self._all(), **new._keys})

    def sealing_with(self, key_id: str) -> Keyring:
        """Give a keyring of the same keys that seals with this one.

        Raises
        ------
        ConfigurationError
            There is no such key.
        """
        return Keyring({key_id: self._held(key_id), **self._keys, **self._naming_pair()})

    def without(self, key_id: str) -> Keyring:
        """Give a keyring without a key: what it sealed cannot be opened any more.

        Raises
        ------
        ConfigurationError
            There is no such key, or it is the one that seals.
        """
        self._held(key_id)
        if self.sealing[0] == key_id:
            raise ConfigurationError(
                f"key {key_id!r} seals new entries", way_out="Let another one seal first."
            )
        rest = {name: key for name, key in self._keys.items() if name != key_id}
        return Keyring({**rest, **self._naming_pair()})

    def _held(self, key_id: str) -> bytes:
        secret = self._keys.get(key_id)
        if secret is None:
            raise ConfigurationError(
                f"there is no key {key_id!r}", way_out=f"There are {', '.join(self)}."
            )
        return secret

    def text(self) -> str:
        """Give the keyring as :meth:`parse` reads it. This is the secret itself."""
        return "".join(
            f"{key_id}:{base64.b64encode(secret).decode()}\n"
            for key_id, secret in (*self._keys.items(), *self._naming_pair().items())
        )

    @property
    def sealing(self) -> tuple[str, bytes]:
        """The id and the bytes of the key that new entries are sealed with."""
        return next(iter(self._keys.items()))

    def get(self, key_id: str) -> bytes | None:
        """Give a key by its id."""
        return self._keys.get(key_id)

    def __iter__(self) -> Iterator[str]:
        return iter(self._keys)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Keyring) and self.text() == other.text()

    def __hash__(self) -> int:
        return hash(self.text())

    def __repr__(self) -> str:
        return f"Keyring({', '.join(map(repr, self))})"

    def __reduce__(self) -> tuple[type[Keyring], tuple[dict[str, bytes]]]:
        return Keyring, ({**self._keys, **self._naming_pair()},)


_WAY_OUT: Final = "Make one with `s3kv keys generate`."
