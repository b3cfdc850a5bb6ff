"""Secrets that the service must be able to read again, encrypted for the database.

AES-256-GCM under a key made of the service's own secret (HKDF-SHA256) for one purpose; what a
ciphertext belongs to is authenticated, so that one row's cannot be put into another's.
"""

from __future__ import annotations

import secrets

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from hashseal_core.errors import ConfigurationInvalid

_NONCE = 12
_KEY = 32


class Encryption:
    """What one purpose encrypts with; `secret` is the service's."""

    def __init__(self, secret: bytes, purpose: str) -> None:
        key = HKDF(SHA256(), _KEY, salt=None, info=b"hashseal " + purpose.encode()).derive(secret)
        self._cipher = AESGCM(key)

    def encrypt(self, plain: bytes, owner: str) -> bytes:
        """Nonce and ciphertext, which belong to `owner`."""
        nonce = secrets.token_bytes(_NONCE)
        return nonce + self._cipher.encrypt(nonce, plain, owner.encode())

    def decrypt(self, encrypted: bytes, owner: str) -> bytes:
        """What was encrypted for `owner`.

        Raises:
            ConfigurationInvalid: not under this secret, or not for this owner.
        """
        nonce, rest = encrypted[:_NONCE], encrypted[_NONCE:]
        try:
            return self._cipher.decrypt(nonce, rest, owner.encode())
        except (InvalidTag, ValueError) as error:
            raise ConfigurationInvalid(
                "a secret in the database was encrypted under another secret of the service"
            ) from error
