"""Customers' keys that live outside the token, wrapped under a key of the token.

The wrapping key is trusted: the token's security officer made it. It wraps and unwraps and does
nothing else, and whatever it unwraps is sensitive, not extractable, and only signs: the token
itself insists on that (CKA_UNWRAP_TEMPLATE). A customer's key can be wrapped by a trusted key only,
exists in the token as a session object that no other process can see, and is bound to its owner by
a MAC of the token.
"""

from __future__ import annotations

import contextlib
import hmac
import secrets
from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pkcs11
from pkcs11 import Attribute, KeyType, MechanismFlag, ObjectClass
from pkcs11.constants import DEFAULT
from pkcs11.mechanisms import Mechanism

from hashseal_core.algorithms import KeyAlgorithm, SignatureAlgorithm
from hashseal_core.errors import KeystoreRefused
from hashseal_server.keystore.pkcs11.objects import (
    MAPPER,
    REQUIRED,
    PrivateObject,
    PublicObject,
    SecretObject,
    key_pair,
    public_key_of,
    self_test,
    signature,
    weak_attributes,
)
from hashseal_server.keystore.pkcs11.sessions import Sessions, Token
from hashseal_server.keystore.purpose import Purpose
from hashseal_server.keystore.reference import BoundKey, WrappedKey, owner_of

WRAPPING, BINDING = "hashseal:wrapping", "hashseal:binding"
_PAD = Mechanism.AES_KEY_WRAP_PAD
_UNWRAPPED: Mapping[Attribute, bool] = {
    Attribute.PRIVATE: True,
    Attribute.SENSITIVE: True,
    Attribute.EXTRACTABLE: False,
    Attribute.SIGN: True,
    Attribute.DECRYPT: False,
    Attribute.UNWRAP: False,
    Attribute.DERIVE: False,
}
"""What the token makes of everything that the wrapping key unwraps."""
_WRAPPING: Mapping[Attribute, bool] = {
    Attribute.TOKEN: True,
    Attribute.TRUSTED: True,
    Attribute.SENSITIVE: True,
    Attribute.EXTRACTABLE: False,
    Attribute.NEVER_EXTRACTABLE: True,
    Attribute.MODIFIABLE: False,
    Attribute.COPYABLE: False,
    Attribute.WRAP: True,
    Attribute.UNWRAP: True,
    Attribute.ENCRYPT: False,
    Attribute.DECRYPT: False,
    Attribute.SIGN: False,
    Attribute.VERIFY: False,
    Attribute.DERIVE: False,
}
_BINDING: Mapping[Attribute, bool] = {
    Attribute.PRIVATE: True,
    Attribute.SENSITIVE: True,
    Attribute.EXTRACTABLE: False,
    Attribute.MODIFIABLE: False,
    Attribute.COPYABLE: False,
}
_HELD = 1_000
"""Session objects of customers' keys that are kept in the token at a time."""


def make_wrapping_key(module: Path, label: str, officer_pin: str) -> None:
    """Make the wrapping key of a token, as its security officer; run once, in a process of its own.

    A security officer cannot make private objects: the key is seen without the user's PIN, but
    neither read nor used without it.

    Raises:
        KeystoreRefused: there is one, or the token does not make it.
    """
    try:
        token = pkcs11.lib(str(module)).get_token(token_label=label)
        with token.open(rw=True, so_pin=officer_pin, attribute_mapper=MAPPER) as session:
            if list(session.get_objects({Attribute.LABEL: WRAPPING})):
                raise KeystoreRefused("the token has a wrapping key")
            template = {name: _WRAPPING[name] for name in _BINDING if name in _WRAPPING}
            session.generate_key(
                KeyType.AES,
                256,
                label=WRAPPING,
                store=True,
                capabilities=MechanismFlag.WRAP | MechanismFlag.UNWRAP,
                template={
                    **template,
                    Attribute.PRIVATE: False,
                    Attribute.TRUSTED: True,
                    Attribute.UNWRAP_TEMPLATE: _UNWRAPPED,
                },
            )
    except pkcs11.PKCS11Error as error:
        raise KeystoreRefused(
            f"the token does not make a trusted wrapping key: {type(error).__name__}"
        ) from error


@dataclass(frozen=True, slots=True)
class _Keys:
    """The token's two keys for wrapping, checked; `generation` is that of their session."""

    generation: int
    wrapping: SecretObject
    binding: SecretObject


class WrappedKeys:
    """Customers' keys under the wrapping key; the ones used last are kept unwrapped."""

    def __init__(self, sessions: Sessions, *, held: int = _HELD) -> None:
        self._sessions = sessions
        self._limit = held
        self._keys: _Keys | None = None
        self._held: OrderedDict[BoundKey, PrivateObject] = OrderedDict()

    @property
    def held(self) -> int:
        """How many keys are unwrapped now."""
        return len(self._held)

    def generate(self, algorithm: KeyAlgorithm, account: str) -> tuple[str, bytes]:
        """Make a key: its reference, which is all there is of it, and SubjectPublicKeyInfo, DER.

        Raises:
            KeystoreRefused: the token has no trusted wrapping key, or does not make such keys.
            KeystoreUnavailable: the token does not answer; nothing is left.
            FaultySignature: the new key failed its test and is gone.
        """
        token = self._sessions.token(Purpose.SEAL)

        def work(session: pkcs11.Session) -> tuple[str, bytes]:
            keys = self._ready(token, session)
            public, private = _fresh(session, algorithm)
            spki = public_key_of(public)
            try:
                self_test(private, spki)
                blob = keys.wrapping.wrap_key(private, mechanism=_PAD)
            finally:
                for one in (private, public):
                    one.destroy()
            key = WrappedKey(owner_of(account), algorithm, spki, blob)
            mac = _mac(keys, key)
            self_test(self._use(token, session, BoundKey(key, mac)), spki)
            return key.text(mac), spki

        return self._sessions.run(token, work)

    def open(self, bound: BoundKey) -> None:
        """Check a reference against the token.

        Raises:
            KeystoreRefused: another token's, or changed.
            KeystoreUnavailable: the token does not answer.
        """
        token = self._sessions.token(Purpose.SEAL)
        self._sessions.run(token, lambda session: self._use(token, session, bound))

    def sign(self, bound: BoundKey, to_be_signed: bytes, algorithm: SignatureAlgorithm) -> bytes:
        """The signature value; the caller verifies it.

        Raises:
            KeystoreRefused: another token's key, a changed one, or one of another kind.
            KeystoreUnavailable: the token does not answer.
        """
        token = self._sessions.token(Purpose.SEAL)

        def work(session: pkcs11.Session) -> bytes:
            return signature(self._use(token, session, bound), to_be_signed, algorithm)

        return self._sessions.run(token, work)

    def _use(self, token: Token, session: pkcs11.Session, bound: BoundKey) -> PrivateObject:
        keys = self._ready(token, session)
        if (known := self._held.get(bound)) is not None:
            self._held.move_to_end(bound)
            return known
        if not hmac.compare_digest(_mac(keys, bound.key), bound.mac):
            raise KeystoreRefused("the key store has no such key")
        private = _unwrap(keys.wrapping, bound.key.algorithm, bound.key.blob, _UNWRAPPED)
        wanted = {name: value for name, value in REQUIRED.items() if name in _UNWRAPPED}
        if weakness := weak_attributes(private, wanted):
            raise KeystoreRefused(f"the key is weaker than it must be: {weakness}")
        while len(self._held) >= self._limit:
            _, oldest = self._held.popitem(last=False)
            oldest.destroy()
        self._held[bound] = private
        return private

    def _ready(self, token: Token, session: pkcs11.Session) -> _Keys:
        """The token's own keys, checked once in each session."""
        if self._keys is not None and self._keys.generation == token.generation:
            return self._keys
        self._held.clear()
        found = list(session.get_objects(_named(WRAPPING)))
        if len(found) != 1:
            raise KeystoreRefused("the token has no wrapping key; make one first")
        if weakness := weak_attributes(found[0], _WRAPPING):
            raise KeystoreRefused(f"the wrapping key is weaker than it must be: {weakness}")
        _require_strict(session, found[0])
        self._keys = _Keys(token.generation, found[0], self._binding(session))
        return self._keys

    def _binding(self, session: pkcs11.Session) -> SecretObject:
        with self._sessions.exclusive():
            found = list(session.get_objects(_named(BINDING)))
            if not found:
                found = [
                    session.generate_key(
                        KeyType.GENERIC_SECRET,
                        256,
                        label=BINDING,
                        store=True,
                        capabilities=MechanismFlag.SIGN,
                        template=dict(_BINDING),
                    )
                ]
        if len(found) != 1 or weak_attributes(found[0], _BINDING):
            raise KeystoreRefused("the key that binds wrapped keys is weaker than it must be")
        return found[0]


def _named(label: str) -> dict[Attribute, Any]:
    return {Attribute.CLASS: ObjectClass.SECRET_KEY, Attribute.LABEL: label}


def _mac(keys: _Keys, key: WrappedKey) -> bytes:
    value: bytes = keys.binding.sign(key.bound(), mechanism=Mechanism.SHA256_HMAC)
    return value


def _fresh(session: pkcs11.Session, algorithm: KeyAlgorithm) -> tuple[PublicObject, PrivateObject]:
    """A pair of session objects; the private one can be wrapped, by a trusted key only."""
    return key_pair(
        session,
        algorithm,
        store=False,
        identifier=secrets.token_bytes(16),
        label="hashseal:wrapped",
        private={**REQUIRED, Attribute.EXTRACTABLE: True, Attribute.WRAP_WITH_TRUSTED: True},
        public={},
    )


def _unwrap(
    wrapping: SecretObject,
    algorithm: KeyAlgorithm,
    blob: bytes,
    template: Mapping[Attribute, bool],
) -> PrivateObject:
    absent = dict.fromkeys((Attribute.ENCRYPT, Attribute.WRAP, Attribute.VERIFY), DEFAULT)
    return wrapping.unwrap_key(
        ObjectClass.PRIVATE_KEY,
        KeyType.RSA if algorithm.is_rsa else KeyType.EC,
        blob,
        mechanism=_PAD,
        capabilities=MechanismFlag.SIGN,
        template={**absent, **template},
    )


def _require_strict(session: pkcs11.Session, wrapping: SecretObject) -> None:
    """Try to unwrap a throw-away key in a weaker form; the token must not do that."""
    public, private = _fresh(session, KeyAlgorithm.P256)
    try:
        blob = wrapping.wrap_key(private, mechanism=_PAD)
        for weaker in ({Attribute.EXTRACTABLE: True}, {Attribute.SENSITIVE: False}):
            with contextlib.suppress(pkcs11.TemplateInconsistent, pkcs11.AttributeValueInvalid):
                made = _unwrap(wrapping, KeyAlgorithm.P256, blob, {**_UNWRAPPED, **weaker})
                weak = weak_attributes(made, _UNWRAPPED)
                made.destroy()
                if weak:
                    raise KeystoreRefused("the wrapping key gives keys out in a weaker form")
    finally:
        for one in (private, public):
            one.destroy()
