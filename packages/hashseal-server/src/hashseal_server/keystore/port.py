"""What every key store does. Keys are named by an opaque reference and never leave the store."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

from hashseal_core.algorithms import Digest, KeyAlgorithm, SignatureAlgorithm
from hashseal_server.keystore.purpose import Purpose


class KeyStore(Protocol):
    """The port; each method raises `KeystoreUnavailable` when the store does not answer."""

    def generate(
        self, algorithm: KeyAlgorithm, purpose: Purpose = Purpose.SEAL, account: str = ""
    ) -> str:
        """Make a key for an account, or for the operator; the reference is usable at once."""

    def public_key(self, key: str) -> bytes:
        """SubjectPublicKeyInfo, DER."""

    def sign(self, key: str, to_be_signed: bytes, algorithm: SignatureAlgorithm) -> bytes:
        """The signature value as the key made it; `keystore.verified` is how callers get one."""

    def sign_request(self, key: str, subject: bytes, algorithm: SignatureAlgorithm) -> bytes:
        """The signature value over a request for a certificate that the store built itself."""

    def destroy(self, key: str) -> None:
        """Forget the key; no error when it is not there."""

    def health(self) -> None:
        """Make and verify a real signature."""


class DigestKeys(Protocol):
    """A key store at hand that signs digests, with keys that are made for that and no others."""

    def sign_digest(self, key: str, digest: Digest, algorithm: SignatureAlgorithm) -> bytes:
        """The signature value as the key made it; raises as `KeyStore` does."""


@dataclass(frozen=True, slots=True)
class DocumentOrder:
    """What an account wants signed; `certificate` is DER and its key is `key`.

    With `signing_time`, in whole seconds, the attributes say it.
    """

    account: str
    key: str
    certificate: bytes
    algorithm: SignatureAlgorithm
    digests: Sequence[Digest]
    signing_time: datetime | None = None


class Signers(Protocol):
    """A key store that is told what a signature is for, and builds what is signed by itself.

    Each method raises `KeystoreUnavailable` when nobody answers, and `KeystoreRefused` for what is
    never signed. `keystore.verified` is how callers get a signature value.
    """

    async def sign_documents(self, order: DocumentOrder) -> list[bytes]:
        """The signature values over the signed attributes of each digest."""

    async def sign_digests(self, order: DocumentOrder) -> list[bytes]:
        """The signature values over the digests themselves, with a key that is made for that."""

    async def sign_timestamp(
        self, key: str, tst_info: bytes, certificate: bytes, algorithm: SignatureAlgorithm
    ) -> bytes:
        """The signature value over the signed attributes of a token."""


@dataclass(frozen=True, slots=True)
class PurposeKeys:
    """A key store for somebody who has one purpose and does not know of others."""

    keystore: KeyStore
    purpose: Purpose

    def generate(self, algorithm: KeyAlgorithm) -> str:
        """Make a key of the purpose."""
        return self.keystore.generate(algorithm, self.purpose)

    def public_key(self, key: str) -> bytes:
        """SubjectPublicKeyInfo, DER."""
        return self.keystore.public_key(key)

    def sign(self, key: str, to_be_signed: bytes, algorithm: SignatureAlgorithm) -> bytes:
        """The signature value as the key made it."""
        return self.keystore.sign(key, to_be_signed, algorithm)
