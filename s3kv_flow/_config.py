"""Settings of a store: the only reader of the environment and of configuration files."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Literal

from s3kv_flow._mode import Mode, check_mode
from s3kv_flow.envelope.keyring import KeyProvider, Keyring
from s3kv_flow.errors import ConfigurationError

if TYPE_CHECKING:
    import boto3

DEFAULT_ROOT: Final = "s3kv"
#: A worker that gives no sign for so long is taken for dead, and another one computes.
DEFAULT_LEASE_SECONDS: Final = 30
_BUCKET = re.compile(r"[A-Za-z0-9][A-Za-z0-9._\-]{1,254}\Z")
_ENDPOINT = re.compile(r"https?://[^\s/?#@]+(?:/[^\s?#]*)?\Z")
_TRUE: Final = {"1", "true", "yes", "on"}
_FALSE: Final = {"0", "false", "no", "off", ""}

LocalCache = Literal["opened", "sealed", "off"]


@dataclass(frozen=True, kw_only=True)
class Settings:
    """Everything a store is made from.

    ``bucket`` is None for a store that is local only.
    """

    bucket: str | None
    endpoint_url: str | None = None
    region: str | None = None
    access_key_id: str | None = None
    secret_access_key: str | None = field(default=None, repr=False)
    session_token: str | None = field(default=None, repr=False)
    session: boto3.Session | None = field(default=None, repr=False)
    root: str = DEFAULT_ROOT
    cache_dir: Path
    cache_size_limit: int | None = None
    local_cache: LocalCache = "opened"
    keyring: KeyProvider | None = None
    allow_unsigned_pickle: bool = False
    secrets: bool = False
    mode: Mode = "read_write"
    lease_seconds: int = DEFAULT_LEASE_SECONDS

    @classmethod
    def resolve(
        cls,
        given: Mapping[str, Any],
        environ: Mapping[str, str] | None = None,
        *,
        local_only: bool = False,
    ) -> Settings:
        """Fill what was not given from the environment.

        Raises
        ------
        ConfigurationError
            No bucket anywhere, half of a pair of credentials, or a value with no meaning.
        """
        environ = os.environ if environ is None else environ
        have = {name: value for name, value in given.items() if value is not None}
        bucket = None if local_only else have.get("bucket") or environ.get("S3_BUCKET")
        if not bucket and not local_only:
            raise ConfigurationError(
                "no bucket is configured",
                way_out="Give bucket=..., or set S3_BUCKET. "
                "For a server of your own on this machine: `s3kv local start`.",
            )
        if bucket is not None and not _BUCKET.match(str(bucket)):
            raise ConfigurationError(
                f"{bucket!r} is no name of a bucket",
                way_out="Letters, digits, dots, dashes and underscores; no blanks, no slashes.",
            )
        keyring = _keyring(have.get("keyring"), environ)
        cache_dir = Path(
            have.get("cache_dir") or environ.get("S3KV_CACHE_DIR") or _user_cache_dir()
        )
        if local_only and keyring is None:
            keyring = _own_keyring()
        where = _where(have, environ)
        secrets = _switch("secrets", have, environ)
        if secrets:
            _check_secrets(keyring, where["endpoint_url"])
        else:
            _warn_of_clear_text(where["endpoint_url"])
        return cls(
            bucket=bucket,
            **where,
            root=have.get("root") or environ.get("S3KV_ROOT") or DEFAULT_ROOT,
            cache_dir=cache_dir.expanduser(),
            cache_size_limit=_number("cache_size_limit", have, environ),
            local_cache=_local_cache(have, environ, keyring),
            keyring=keyring,
            allow_unsigned_pickle=_switch("allow_unsigned_pickle", have, environ),
            secrets=secrets,
            mode=check_mode(have.get("mode") or environ.get("S3KV_MODE") or "read_write"),
            lease_seconds=_number("lease_seconds", have, environ) or DEFAULT_LEASE_SECONDS,
        )


def has_bucket(environ: Mapping[str, str] | None = None) -> bool:
    """Whether the environment names a bucket."""
    return bool((os.environ if environ is None else environ).get("S3_BUCKET"))


def _where(have: Mapping[str, Any], environ: Mapping[str, str]) -> dict[str, Any]:
    access, secret = have.get("access_key_id"), have.get("secret_access_key")
    if (access is None) != (secret is None):
        raise ConfigurationError(
            "only one half of the credentials was given",
            way_out="Give access_key_id and secret_access_key, or neither.",
        )
    token = None
    if access is None and have.get("session") is None and not environ.get("AWS_PROFILE"):
        # What boto3's chain would find first; taking it here spares importing boto3.
        access, secret = environ.get("AWS_ACCESS_KEY_ID"), environ.get("AWS_SECRET_ACCESS_KEY")
        token = environ.get("AWS_SESSION_TOKEN")
        if not (access and secret):
            access = secret = token = None
    endpoint = (
        have.get("endpoint_url")
        or environ.get("S3_ENDPOINT_URL")
        or environ.get("AWS_ENDPOINT_URL_S3")
        or environ.get("AWS_ENDPOINT_URL")
    )
    if endpoint and not _ENDPOINT.match(endpoint):
        raise ConfigurationError(
            f"the endpoint {endpoint!r} is no http or https URL",
            way_out="Write it as https://host:port.",
        )
    return {
        "endpoint_url": endpoint.rstrip("/") if endpoint else None,
        "region": have.get("region")
        or environ.get("AWS_REGION")
        or environ.get("AWS_DEFAULT_REGION"),
        "access_key_id": access,
        "secret_access_key": secret,
        "session_token": token,
        "session": have.get("session"),
    }


def _check_secrets(keyring: KeyProvider | None, endpoint: str | None) -> None:
    if keyring is None:
        raise ConfigurationError(
            "a store of secrets needs a keyring",
            way_out="Make one with `s3kv keys generate`, and give keyring=... or S3KV_KEYRING_FILE.",
        )
    _ = keyring.naming  # says here and now if it has none
    if _in_clear_text(endpoint):
        raise ConfigurationError(
            f"secrets would go to {endpoint} over plain http", way_out="Use https."
        )


_said_of: set[str] = set()


def _warn_of_clear_text(endpoint: str | None) -> None:
    if endpoint is not None and _in_clear_text(endpoint) and endpoint not in _said_of:
        import logging

        _said_of.add(endpoint)
        logging.getLogger("s3kv_flow").warning(
            "%s is plain http: whoever is on the way can read and change what is sent", endpoint
        )


def _in_clear_text(endpoint: str | None) -> bool:
    """Whether requests leave this machine unencrypted."""
    import ipaddress
    from urllib.parse import urlsplit

    if endpoint is None or not endpoint.startswith("http://"):
        return False
    host = urlsplit(endpoint).hostname or ""
    try:
        return not ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host != "localhost" and not host.endswith(".localhost")


def _keyring(given: Any, environ: Mapping[str, str]) -> KeyProvider | None:
    if isinstance(given, KeyProvider):
        return given
    if isinstance(given, os.PathLike):
        return Keyring.read(given)
    if isinstance(given, str):
        return Keyring.parse(given)
    if given is not None:
        raise ConfigurationError(
            f"a keyring is a Keyring or another KeyProvider, its text or a path, "
            f"not {type(given).__name__}"
        )
    if text := environ.get("S3KV_KEYRING"):
        return Keyring.parse(text)
    if path := environ.get("S3KV_KEYRING_FILE"):
        return Keyring.read(Path(path).expanduser())
    return None


def _own_keyring() -> Keyring | None:
    """Give the keyring of the local-only store, which makes itself one; None if it cannot."""
    import platformdirs

    path = Path(platformdirs.user_config_dir("s3kv", appauthor=False)) / "local.keyring"
    try:
        if not path.exists():
            Keyring.generate("local").write(path)
        return Keyring.read(path)
    except (OSError, ConfigurationError) as error:
        import logging

        logging.getLogger("s3kv_flow").warning(
            "no keyring for the local cache (%s): results that need pickle are not stored", error
        )
        return None


def _user_cache_dir() -> str:
    import platformdirs

    return str(platformdirs.user_cache_dir("s3kv", appauthor=False))


def _local_cache(
    have: Mapping[str, Any], environ: Mapping[str, str], keyring: KeyProvider | None
) -> LocalCache:
    if have.get("enable_local_cache") is False:
        return "off"
    value: Any = have.get("local_cache") or environ.get("S3KV_LOCAL_CACHE") or "opened"
    if value not in ("opened", "sealed", "off"):
        raise ConfigurationError(
            f"local_cache={value!r} has no meaning", way_out="Known are opened, sealed, off."
        )
    if value == "sealed" and keyring is None:
        raise ConfigurationError(
            "without a keyring nothing is sealed, in the local cache neither",
            way_out="Make one with `s3kv keys generate`, and give keyring=... or S3KV_KEYRING_FILE; "
            'or keep nothing on disk with local_cache="off".',
        )
    chosen: LocalCache = value
    return chosen


def _number(name: str, have: Mapping[str, Any], environ: Mapping[str, str]) -> int | None:
    value = have.get(name, environ.get(f"S3KV_{name.upper()}"))
    if value is None:
        return None
    try:
        number = int(value)
    except (TypeError, ValueError):
        number = 0
    if number <= 0:
        raise ConfigurationError(f"{name}={value!r} is no positive whole number")
    return number


def _switch(name: str, have: Mapping[str, Any], environ: Mapping[str, str]) -> bool:
    value = have.get(name, environ.get(f"S3KV_{name.upper()}", False))
    if isinstance(value, bool):
        return value
    text = str(value).strip().lower()
    if text not in _TRUE | _FALSE:
        raise ConfigurationError(f"{name}={value!r} is neither on nor off", way_out="Write 1 or 0.")
    return text in _TRUE
