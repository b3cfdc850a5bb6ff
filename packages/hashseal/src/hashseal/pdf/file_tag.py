"""Recognises a file that this process hashed before, at a tenth of the price of hashing it again.

The tag is GMAC (NIST SP 800-38D) under a key that is made for one file and never leaves the
process. Other octets than those that were hashed have the same tag with a chance of about 2⁻¹⁰⁰ for
a file of a gigabyte, even if somebody chose them who may write the file: without the key it is a
guess.
"""

from __future__ import annotations

import hmac
import secrets

from cryptography.hazmat.primitives.ciphers import Cipher
from cryptography.hazmat.primitives.ciphers.algorithms import AES128
from cryptography.hazmat.primitives.ciphers.modes import GCM

_NONCE = bytes(12)
"""May be the same always: a key is for one file, and its tags are shown to nobody."""


class FileTag:
    """The tag of a file. It is of this process: copied, pickled or stored it becomes None."""

    __slots__ = ("_key", "_value")

    def __init__(self, key: bytes, value: bytes) -> None:
        self._key = key
        self._value = value

    def __reduce__(self) -> tuple[type[None], tuple[()]]:
        return type(None), ()

    def again(self) -> RunningTag:
        """Begin to make the tag of what may be the same file."""
        return RunningTag(self._key)

    def fits(self, running: RunningTag) -> bool:
        """What was begun with `again` and went through the file found the same octets."""
        return hmac.compare_digest(self._value, running.finish()._value)  # noqa: SLF001 - same class


class RunningTag:
    """A tag that grows with the file."""

    __slots__ = ("_gmac", "_key", "update")

    def __init__(self, key: bytes | None = None) -> None:
        self._key = key or secrets.token_bytes(16)
        self._gmac = Cipher(AES128(self._key), GCM(_NONCE)).encryptor()
        self.update = self._gmac.authenticate_additional_data

    def finish(self) -> FileTag:
        """The tag; no more can follow."""
        self._gmac.finalize()
        return FileTag(self._key, self._gmac.tag)
