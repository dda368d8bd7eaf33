"""Logical key to object name, and back: the only place that knows how a bucket is laid out.

::

    <root>/<key>.json                          a KV key
    <root>/cache/<name>/<h2>/<digest>.s3kv     a memoized result; h2 = the digest's first byte
    <root>/index/<tag>=<value>/<name>          a tag marker; name = what follows the root in
                                               the object's name, or its digest if that is too long
    <root>/lease/<h2>/<digest>                 a lease, or a scratch object of the probe
"""

from __future__ import annotations

import re
from typing import Final, Protocol
from urllib.parse import unquote

from s3kv_flow.errors import InvalidKeyError

#: S3's own limit on an object's name
#: (https://docs.aws.amazon.com/AmazonS3/latest/userguide/object-keys.html).
MAX_NAME_BYTES: Final = 1024
#: SeaweedFS stores path segments as a file system does, and calls the versions of one
#: ``<segment>.versions``: a longer one is answered 400, and on a versioned bucket 500.
MAX_SEGMENT_BYTES: Final = 255 - len(".versions")

#: The first segments that hold something else than the user's keys.
RESERVED: Final = ("cache", "index", "lease")

DOCUMENT_SUFFIX: Final = ".json"
ENTRY_SUFFIX: Final = ".s3kv"

#: Before a digest that takes the place of a name that is too long.
HASHED: Final = "~"

_ENTRY_KEY: Final = re.compile(r"cache/[^/]+(/[^/]+)*/([0-9a-f]{2})/\2[0-9a-f]+\Z")

# Control characters and the backslash break listings or gets on some server; a percent sign is
# escaped only where it would otherwise read as an escape, so that old names stay as they are.
# The last two are no characters for XML, in which servers list.
_STUMBLES = re.compile(r"[\x00-\x1f\x7f\\\ufffe\uffff]|%(?=[0-9A-Fa-f]{2})")
#: Short object names that are keys as they stand; others are looked at more closely.
_PLAIN = re.compile(r"(?:[A-Za-z0-9_\- =+:@]+(?:\.[A-Za-z0-9_\- ]+)?(?:/(?!\Z)|\Z))+\Z")
#: Where SeaweedFS keeps versions and parts: what lies there is not listed.
_UNLISTED = re.compile(r".*\.versions\Z|\.uploads\Z")
_TAG_STUMBLES = re.compile(r"[\x00-\x1f\x7f\\%/=]")
_VALUE_STUMBLES = re.compile(r"[\x00-\x1f\x7f\\%/]")
_MEMO_STUMBLES = re.compile(r"[^A-Za-z0-9._\-/]")


def _escape(match: re.Match[str]) -> str:
    return "".join(f"%{byte:02X}" for byte in match.group().encode())


def _encode(key: str, stumbles: re.Pattern[str]) -> str:
    return stumbles.sub(_escape, key)


def check_root(root: str) -> str:
    """Give ``root`` without edge slashes, or refuse it."""
    root = root.strip("/")
    _check_segments(root, root)
    return root


def check_key(key: object) -> str:
    """Give ``key`` back if it can be stored under its own name, else say why not.

    Raises
    ------
    InvalidKeyError
        Empty, not a string, with an edge slash, with an empty, ``.`` or ``..`` segment, not
        encodable, or reserved for the library.
    """
    if not isinstance(key, str):
        raise InvalidKeyError(
            f"a key is a string, not {type(key).__name__}",
            key=repr(key)[:80],
            way_out="Format it as a string.",
        )
    _check_segments(key, key)
    if key.split("/", 1)[0] in RESERVED and "/" in key:
        raise InvalidKeyError(
            f"keys under {key.split('/', 1)[0]}/ belong to the library",
            key=key,
            way_out="Choose another first segment.",
        )
    return key


def _check_segments(text: str, key: str) -> None:
    if not text:
        raise InvalidKeyError("the key is empty", key=key, way_out="Give it a name.")
    try:
        text.encode()
    except UnicodeEncodeError:
        raise InvalidKeyError(
            "the key has a lone surrogate, which UTF-8 cannot write",
            key=key.encode("utf-8", "replace").decode(),
            way_out="Remove it.",
        ) from None
    for segment in text.split("/"):
        if segment in ("", ".", ".."):
            what = "an edge or double slash" if not segment else f"a {segment!r} segment"
            raise InvalidKeyError(
                f"the key has {what}, which servers drop or refuse",
                key=key,
                way_out="Remove it from the key.",
            )
        if _UNLISTED.match(segment):
            raise InvalidKeyError(
                f"the key has a part {segment!r}, which some servers never list",
                key=key,
                way_out="Call it something else.",
            )


def _check_name(name: str, key: str) -> str:
    size = len(name.encode())
    if size > MAX_NAME_BYTES:
        raise InvalidKeyError(
            f"the object's name would take {size} bytes, and S3 allows {MAX_NAME_BYTES}",
            key=key,
            way_out="Shorten the key or the root.",
        )
    for segment in name.split("/"):
        if len(segment.encode()) > MAX_SEGMENT_BYTES:
            raise InvalidKeyError(
                f"a part of the key between slashes would take {len(segment.encode())} bytes, "
                f"and servers that store parts as files allow {MAX_SEGMENT_BYTES}",
                key=key,
                way_out="Shorten it, or break it up with slashes.",
            )
    return name


class Layout:
    """The names of one root.

    Parameters
    ----------
    root : str
        The prefix all objects of a store share.

    Examples
    --------
    >>> layout = Layout("s3kv")
    >>> layout.document("config/prod")
    's3kv/config/prod.json'
    >>> layout.key_of("s3kv/config/prod.json")
    'config/prod'
    """

    def __init__(self, root: str) -> None:
        self.root = check_root(root)

    def document(self, key: str) -> str:
        """Give the object name of a KV key.

        Raises
        ------
        InvalidKeyError
            The key cannot be stored under its own name.
        """
        name = f"{self.root}/{_encode(check_key(key), _STUMBLES)}{DOCUMENT_SUFFIX}"
        return _check_name(name, key)

    def object(self, key: str) -> str:
        """Give the object name of a KV key or of a memoized result's.

        Raises
        ------
        InvalidKeyError
            It is neither.
        """
        if isinstance(key, str) and _ENTRY_KEY.match(key):
            return self.entry(key)
        return self.document(key)

    def key(self, name: str) -> str | None:
        """Give the key, of either kind, that an object name stands for; None for other objects."""
        return self.entry_key_of(name) or self.key_of(name)

    def without_root(self, prefix: str) -> str:
        """Give a prefix of keys that may have been written with the root, as older code does."""
        return prefix.removeprefix(self.root + "/")

    def documents(self, prefix: str = "") -> str:
        """Give an object-name prefix of all keys that begin with ``prefix``, and perhaps of more.

        How a percent sign is written depends on what follows it, so names are asked for up to
        the first character that could be written otherwise.
        """
        plain = re.split(_STUMBLES.pattern + "|%", prefix, maxsplit=1)[0]
        return f"{self.root}/{plain}"

    def key_of(self, name: str) -> str | None:
        """Give the KV key an object name stands for; None for objects that are none."""
        prefix = self.root + "/"
        if not (name.startswith(prefix) and name.endswith(DOCUMENT_SUFFIX)):
            return None
        key = name[len(prefix) : -len(DOCUMENT_SUFFIX)]
        first, slash, _ = key.partition("/")
        if not key or (slash and first in RESERVED):
            return None
        if len(name) <= MAX_SEGMENT_BYTES and ".versions" not in key and _PLAIN.match(key):
            return key
        # Another tool may have given an object a name that no key of ours has.
        found = unquote(key)
        try:
            return found if self.document(found) == name else None
        except InvalidKeyError:
            return None

    def entry(self, key: str) -> str:
        """Give the object name of a memoized result's key (``cache/<name>/<h2>/<digest>``)."""
        return f"{self.root}/{key}{ENTRY_SUFFIX}"

    def entries(self, name: str | None = None) -> str:
        """Give the object-name prefix of one cache, or of all."""
        return f"{self.root}/cache/" if name is None else f"{self.root}/cache/{name}/"

    def entry_key_of(self, name: str) -> str | None:
        """Give the key of a memoized result's object name; None for objects that are none."""
        if not (name.startswith(self.entries()) and name.endswith(ENTRY_SUFFIX)):
            return None
        return name[len(self.root) + 1 : -len(ENTRY_SUFFIX)]

    def marker(self, name: str, tag: str, value: str) -> str:
        """Give the name of the marker that says that an object has a tag.

        Names and tags too long for an object's name are hashed; the marker's body has them whole.

        Examples
        --------
        >>> Layout("s3kv").marker("s3kv/config/prod.json", "team", "ml/ops")
        's3kv/index/team=ml%2Fops/config/prod.json'
        """
        folder, rest = self.markers(tag, value), name[len(self.root) + 1 :]
        if len(folder.encode()) + len(rest.encode()) > MAX_NAME_BYTES:
            rest = HASHED + digest(rest)
        return folder + rest

    def markers(self, tag: str, value: str) -> str:
        """Give the object-name prefix of the markers of one tag with one value."""
        segment = f"{_encode(tag, _TAG_STUMBLES)}={_encode(value, _VALUE_STUMBLES)}"
        if len(segment.encode()) > MAX_SEGMENT_BYTES:
            segment = HASHED + digest(f"{tag}={value}")
        return f"{self.root}/index/{segment}/"

    def all_markers(self) -> str:
        """Give the object-name prefix of all markers."""
        return f"{self.root}/index/"

    def marked(self, marker: str) -> tuple[str, str, str] | None:
        """Give the object name, the tag and its value of a marker; None if its name is hashed."""
        segment, _, rest = marker[len(self.all_markers()) :].partition("/")
        tag, _, value = segment.partition("=")
        if (segment.startswith(HASHED) and not value) or (
            rest.startswith(HASHED) and "." not in rest
        ):
            return None
        return f"{self.root}/{rest}", unquote(tag), unquote(value)

    def lease(self, name: str) -> str:
        """Give the name of the lease on computing what an object is to hold."""
        hashed = digest(name)
        return f"{self.root}/lease/{hashed[:2]}/{hashed}"

    def scratch(self, name: str) -> str:
        """Give the name of an object that only the probe uses."""
        return f"{self.root}/lease/probe/{name}"


class Names(Protocol):
    """Hides paths, so that none but its owner reads them."""

    def hide(self, path: str, /) -> str: ...
    def reveal(self, hidden: str, /) -> str | None: ...


class HiddenLayout(Layout):
    """The names of a store of secrets: as ever, but each segment of a key is hidden.

    Parameters
    ----------
    root : str
        The prefix all objects of the store share.
    names : Names
        Hides them.
    """

    def __init__(self, root: str, names: Names) -> None:
        super().__init__(root)
        self._names = names

    def document(self, key: str) -> str:
        name = f"{self.root}/{self._names.hide(check_key(key))}{DOCUMENT_SUFFIX}"
        return _check_name(name, key)

    def documents(self, prefix: str = "") -> str:
        whole = prefix.rpartition("/")[0]
        if prefix.startswith("cache/"):
            return f"{self.entries()}{self._folder(whole.partition('/')[2])}"
        return f"{self.root}/{self._folder(whole)}"

    def _folder(self, path: str) -> str:
        return f"{self._names.hide(path)}/" if path else ""

    def key_of(self, name: str) -> str | None:
        prefix = self.root + "/"
        if not (name.startswith(prefix) and name.endswith(DOCUMENT_SUFFIX)):
            return None
        return self._names.reveal(name[len(prefix) : -len(DOCUMENT_SUFFIX)])

    def entry(self, key: str) -> str:
        rest = "/".join(map(_short, key.split("/")[1:]))
        return f"{self.entries()}{self._names.hide(rest)}{ENTRY_SUFFIX}"

    def entries(self, name: str | None = None) -> str:
        folder = "" if name is None else self._folder("/".join(map(_short, name.split("/"))))
        return f"{self.root}/cache/{folder}"

    def entry_key_of(self, name: str) -> str | None:
        prefix = self.entries()
        if not (name.startswith(prefix) and name.endswith(ENTRY_SUFFIX)):
            return None
        rest = self._names.reveal(name[len(prefix) : -len(ENTRY_SUFFIX)])
        return None if rest is None else f"cache/{rest}"


#: A longer segment would not fit once it is hidden; the names of caches may be cut.
_SHORT_BYTES: Final = 160


def _short(segment: str) -> str:
    return segment if len(segment) <= _SHORT_BYTES else HASHED + digest(segment)


def digest(text: str) -> str:
    """Give a name of fixed length for a text that is too long for one."""
    import xxhash

    return str(xxhash.xxh3_128_hexdigest(text.encode()))


def cache_name(name: str) -> str:
    """Make a cache's name fit into a path; the only name that may be shortened by hashing.

    Examples
    --------
    >>> cache_name("pipeline.load.<locals>.step")
    'pipeline.load.%3Clocals%3E.step'
    """
    _check_segments(name, name)
    encoded = _encode(name, _MEMO_STUMBLES)
    if max(len(part) for part in encoded.split("/")) <= 200 and len(encoded) <= 600:
        return encoded
    return f"{encoded[:150].replace('/', '.').rstrip('%')}{HASHED}{digest(encoded)}"


def entry_key(name: str, digest: str) -> str:
    """Give the logical key of a memoized result from its encoded name and hex digest."""
    return f"cache/{name}/{digest[:2]}/{digest}"
