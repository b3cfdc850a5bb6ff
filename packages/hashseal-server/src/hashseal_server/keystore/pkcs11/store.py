"""All keys of a signer process: those that live in a token, and those that are wrapped."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import datetime
from pathlib import Path

import pkcs11

from hashseal_core.algorithms import Digest, KeyAlgorithm, SignatureAlgorithm
from hashseal_core.errors import KeystoreRefused
from hashseal_server.keystore.pkcs11.keys import TokenKeys
from hashseal_server.keystore.pkcs11.sessions import Neighbours, Sessions, Token, TokenAccess
from hashseal_server.keystore.pkcs11.wrapping import WrappedKeys
from hashseal_server.keystore.purpose import Purpose
from hashseal_server.keystore.reference import TokenKey, read_reference


class Pkcs11KeyStore:
    """Keys by their references; with `wrapped`, new keys of customers do not stay in the token.

    Every method raises `KeystoreUnavailable` while a token does not answer, and works again when
    it does; `KeystoreRefused` for what the token or our rules never do.
    """

    def __init__(
        self,
        module: Path,
        tokens: Sequence[TokenAccess],
        *,
        neighbours: Neighbours,
        machine: str,
        now: Callable[[], datetime],
        wrapped: bool = False,
    ) -> None:
        self._sessions = Sessions(module, tokens, neighbours, self._first)
        self._in_token = TokenKeys(self._sessions, machine, now)
        self.wrapped_keys = WrappedKeys(self._sessions)
        self._wrapped = wrapped

    @property
    def purposes(self) -> frozenset[Purpose]:
        """What keys are here for."""
        return frozenset[Purpose]().union(
            *(token.access.purposes for token in self._sessions.tokens)
        )

    @property
    def findings(self) -> tuple[str, ...]:
        """Keys that are not as they must be, with the reason; they do not sign."""
        return tuple(self._in_token.findings)

    def generate(
        self, purpose: Purpose, algorithm: KeyAlgorithm, account: str
    ) -> tuple[str, bytes]:
        """Make a key, test it, and only then name it: reference, SubjectPublicKeyInfo (DER)."""
        if purpose is Purpose.SEAL and self._wrapped:
            return self.wrapped_keys.generate(algorithm, account)
        return self._in_token.generate(purpose, algorithm, account)

    def public_key(self, reference: str) -> bytes:
        """SubjectPublicKeyInfo, DER."""
        name = read_reference(reference)
        if isinstance(name, TokenKey):
            return self._in_token.find(name).spki
        self.wrapped_keys.open(name)
        return name.key.spki

    def owner(self, reference: str) -> str:
        """Whose key it is, as `owner_of` writes it."""
        name = read_reference(reference)
        if isinstance(name, TokenKey):
            return self._in_token.find(name).label.owner
        self.wrapped_keys.open(name)
        return name.key.owner

    def sign(self, reference: str, to_be_signed: bytes, algorithm: SignatureAlgorithm) -> bytes:
        """The signature value; the caller verifies it."""
        name = read_reference(reference)
        if isinstance(name, TokenKey):
            return self._in_token.sign(name, to_be_signed, algorithm)
        return self.wrapped_keys.sign(name, to_be_signed, algorithm)

    def sign_digest(self, reference: str, digest: Digest, algorithm: SignatureAlgorithm) -> bytes:
        """The signature value over a digest, with a key that is made for that; not verified.

        Raises:
            KeystoreRefused: a key of another purpose.
        """
        name = read_reference(reference)
        if not isinstance(name, TokenKey) or name.purpose is not Purpose.RAW:
            raise KeystoreRefused("the key is for another purpose")
        return self._in_token.sign_digest(name, digest, algorithm)

    def destroy(self, reference: str, *, only_new: bool) -> None:
        """Remove a key, with `only_new` one that was made just now; a wrapped key is nowhere."""
        name = read_reference(reference)
        if isinstance(name, TokenKey):
            self._in_token.destroy(name, only_new=only_new)

    def health(self) -> None:
        """Make and verify a real signature in every token, with a key of its own."""
        self._in_token.health()

    def close(self) -> None:
        """Log out."""
        self._sessions.close()

    def _first(self, token: Token, session: pkcs11.Session) -> None:
        self._in_token.tidy(token, session)
        self._in_token.healthy(session)
