"""What every key store does. Keys are named by an opaque reference and never leave the store."""

from __future__ import annotations

from typing import Protocol

from hashseal_core.algorithms import KeyAlgorithm, SignatureAlgorithm


class KeyStore(Protocol):
    """The port; each method raises `KeystoreUnavailable` when the store does not answer."""

    def generate(self, algorithm: KeyAlgorithm) -> str:
        """Make a key; the reference is usable at once."""

    def public_key(self, key: str) -> bytes:
        """SubjectPublicKeyInfo, DER."""

    def sign(self, key: str, to_be_signed: bytes, algorithm: SignatureAlgorithm) -> bytes:
        """The signature value as the key made it; `keystore.verified` is how callers get one."""

    def destroy(self, key: str) -> None:
        """Forget the key; no error when it is not there."""

    def health(self) -> None:
        """Make and verify a real signature."""
