"""Names that only holders of the keyring can read, for stores of secrets.

Each segment of a path is encrypted by AES-SIV (RFC 5297), with the path before it as associated
data: the same name always gives the same text, so that a key is found again and a folder can be
listed, and no other text can be made up or moved elsewhere.
"""

from __future__ import annotations

import base64
import binascii
from functools import lru_cache
from typing import Final

_INFO: Final = b"s3kv names 1\0"
_BIND_INFO: Final = b"s3kv bind 1\0"


class HiddenNames:
    """Encrypts the segments of paths.

    Parameters
    ----------
    secret : bytes
        32 random bytes, the same for all who share the store, and for all of its life.

    Examples
    --------
    >>> names = HiddenNames(b"0" * 32)
    >>> names.reveal(names.hide("clients/acme"))
    'clients/acme'
    >>> "acme" in names.hide("clients/acme")
    False
    """

    def __init__(self, secret: bytes) -> None:
        from cryptography.hazmat.primitives.ciphers.aead import AESSIV
        from cryptography.hazmat.primitives.hashes import SHA256
        from cryptography.hazmat.primitives.kdf.hkdf import HKDF

        self._siv = AESSIV(HKDF(SHA256(), 64, None, _INFO).derive(secret))
        self._mac_key = HKDF(SHA256(), 32, None, _BIND_INFO).derive(secret)
        self.hide = lru_cache(4096)(self._hide)

    def _hide(self, path: str) -> str:
        """Give a path with each segment encrypted."""
        before, slash, segment = path.rpartition("/")
        parent = self._hide(before) if slash else ""
        sealed = self._siv.encrypt(segment.encode(), [parent.encode()])
        return parent + slash + base64.urlsafe_b64encode(sealed).decode().rstrip("=")

    def reveal(self, hidden: str) -> str | None:
        """Give the path that was hidden; None for one that was not hidden with this secret."""
        from cryptography.exceptions import InvalidTag

        segments: list[str] = []
        parent = ""
        for segment in hidden.split("/"):
            try:
                sealed = base64.b64decode(segment + "=" * (-len(segment) % 4), b"-_", validate=True)
                segments.append(self._siv.decrypt(sealed, [parent.encode()]).decode())
            except (binascii.Error, InvalidTag, ValueError):
                return None
            parent = f"{parent}/{segment}" if parent else segment
        return "/".join(segments)

    def digest(self, text: str) -> str:
        """Give a digest that nobody without the secret can make."""
        import hmac

        return hmac.digest(self._mac_key, text.encode(), "sha256")[:16].hex()
