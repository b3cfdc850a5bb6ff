"""Keys that live in a token. Making one is a state machine; see `keystore.reference`."""

from __future__ import annotations

import contextlib
import secrets
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime

import pkcs11
from pkcs11 import Attribute, ObjectClass

from hashseal_core.algorithms import Digest, KeyAlgorithm, SignatureAlgorithm
from hashseal_core.errors import FaultySignature, KeystoreRefused
from hashseal_server.keystore.pkcs11.objects import (
    BORN,
    REQUIRED,
    PrivateObject,
    PublicObject,
    digest_signature,
    every,
    is_shell,
    key_pair,
    objects,
    pair,
    public_key_of,
    self_test,
    signature,
    weak_attributes,
)
from hashseal_server.keystore.pkcs11.sessions import Sessions, Token, Unseen
from hashseal_server.keystore.purpose import Purpose
from hashseal_server.keystore.reference import (
    IDENTIFIER_OCTETS,
    TRANSITIONS,
    Event,
    Label,
    State,
    TokenKey,
    owner_of,
    read_label,
    read_state,
    state_label,
)

_HEALTH = b"hashseal:health"
_NEW_SECONDS = 600
_CRASH_SECONDS = 24 * 3600
"""A private object without its public one is what a crash left only if it is younger than this."""
_HELD = 10_000
_WANTED = {**REQUIRED, **BORN}


@dataclass(frozen=True, slots=True)
class Held:
    """A key that can be used now; `label` is what the token says of it."""

    private: PrivateObject
    spki: bytes
    label: Label


class TokenKeys:
    """The keys in the tokens of one module; what was found once is kept while its session lives."""

    def __init__(self, sessions: Sessions, machine: str, now: Callable[[], datetime]) -> None:
        self._sessions = sessions
        self._machine = machine
        self._now = now
        self._held: dict[TokenKey, tuple[int, Held]] = {}
        self._findings: dict[str, list[str]] = {}

    @property
    def findings(self) -> list[str]:
        """Keys that are not as they must be, with the reason; they do not sign."""
        return [finding for each in self._findings.values() for finding in each]

    def generate(
        self, purpose: Purpose, algorithm: KeyAlgorithm, account: str
    ) -> tuple[str, bytes]:
        """Make a key that can be used from now on: its reference and SubjectPublicKeyInfo, DER.

        Raises:
            KeystoreRefused: the token does not make such keys.
            KeystoreUnavailable: the token does not answer; what was begun is removed later.
            FaultySignature: the new key failed its test and is gone.
        """
        token = self._sessions.token(purpose)
        label = Label(purpose, owner_of(account), self._machine, int(self._now().timestamp()))
        return self._sessions.run(
            token, lambda session: self._make(token, session, label, algorithm)
        )

    def find(self, name: TokenKey) -> Held:
        """The key, checked on first use.

        Raises:
            KeystoreRefused: no such key, or a weak one.
            KeystoreUnavailable: the token does not answer.
        """
        token = self._sessions.token(name.purpose)
        return self._sessions.run(token, lambda session: self._find(token, session, name))

    def sign(self, name: TokenKey, to_be_signed: bytes, algorithm: SignatureAlgorithm) -> bytes:
        """The signature value; the caller verifies it.

        Raises:
            KeystoreRefused: no such key, a weak one, or one that does not sign like that.
            KeystoreUnavailable: the token does not answer.
        """
        token = self._sessions.token(name.purpose)

        def work(session: pkcs11.Session) -> bytes:
            return signature(self._find(token, session, name).private, to_be_signed, algorithm)

        return self._sessions.run(token, work)

    def sign_digest(self, name: TokenKey, digest: Digest, algorithm: SignatureAlgorithm) -> bytes:
        """The signature value over a digest; the caller verifies it.

        Raises:
            KeystoreRefused, KeystoreUnavailable: as `sign`.
        """
        token = self._sessions.token(name.purpose)

        def work(session: pkcs11.Session) -> bytes:
            private = self._find(token, session, name).private
            return digest_signature(private, digest.value, algorithm)

        return self._sessions.run(token, work)

    def destroy(self, name: TokenKey, *, only_new: bool) -> None:
        """Remove a key; no error when it is not there. With `only_new` an older key stays.

        Raises:
            KeystoreRefused: `only_new`, and the key is older than ten minutes.
            KeystoreUnavailable: the token does not answer.
        """
        token = self._sessions.token(name.purpose)

        def work(session: pkcs11.Session) -> None:
            for private in objects(session, ObjectClass.PRIVATE_KEY, name.identifier):
                label = read_label(private[Attribute.LABEL])
                made_at = label.made_at if label else 0
                if only_new and self._now().timestamp() - made_at > _NEW_SECONDS:
                    raise KeystoreRefused("only the operator destroys a key that is in use")
            token.written = True
            self._end(session, name.identifier, Event.DESTROYED)
            self._held.pop(name, None)

        self._sessions.run(token, work)

    def health(self) -> None:
        """Make and verify a signature with a key of its own in every token.

        Raises:
            KeystoreUnavailable, FaultySignature: a token does not sign.
        """
        for token in self._sessions.tokens:
            self._sessions.run(token, self.healthy)

    def tidy(self, token: Token, session: pkcs11.Session) -> None:
        """Remove what a crash of this machine left behind; look at every key that is there.

        `findings` then names the keys that are not as they must be; they are not used.
        """
        findings = self._findings[token.access.label] = []
        states: dict[bytes, str] = {}
        for public in _whole(session, ObjectClass.PUBLIC_KEY):
            states[bytes(public[Attribute.ID])] = str(public[Attribute.LABEL])
        for private in _whole(session, ObjectClass.PRIVATE_KEY):
            label = read_label(str(private[Attribute.LABEL]))
            if label is None:
                continue
            identifier = bytes(private[Attribute.ID])
            fault = self._fault(private, label, states.pop(identifier, None))
            if fault is None:
                self._end(session, identifier, Event.FOUND)
            elif fault:
                findings.append(f"{label.purpose}.{identifier.hex()}: {fault}")
        left = {state_label(state, self._machine) for state in (State.CREATING, State.GONE)}
        for identifier, state in states.items():
            if state in left:
                self._end(session, identifier, Event.FOUND)

    def _fault(self, private: PrivateObject, label: Label, state: str | None) -> str | None:
        """What is wrong with a key; empty when nothing is, None when a crash left it behind."""
        if state == state_label(State.ACTIVE, self._machine):
            return weak_attributes(private, _WANTED)
        age = self._now().timestamp() - label.made_at
        if label.machine != self._machine or (state is None and age > _CRASH_SECONDS):
            return "not a whole key"
        return None

    def _make(
        self, token: Token, session: pkcs11.Session, label: Label, algorithm: KeyAlgorithm
    ) -> tuple[str, bytes]:
        name = TokenKey(label.purpose, secrets.token_bytes(IDENTIFIER_OCTETS))
        creating = state_label(State.CREATING, self._machine)
        token.written = True
        with self._sessions.exclusive():
            try:
                public, private = key_pair(
                    session,
                    algorithm,
                    store=True,
                    identifier=name.identifier,
                    label=label.text(),
                    private=REQUIRED,
                    public={Attribute.LABEL: creating},
                )
                spki = public_key_of(public)
                _require_strong(private)
                self_test(private, spki)
                active = state_label(TRANSITIONS[State.CREATING, Event.PASSED], self._machine)
                public[Attribute.LABEL] = active
                _require_label(public, active)
            except (pkcs11.PKCS11Error, KeystoreRefused, FaultySignature):
                token.tidied = False  # what cannot be removed now is when the next session begins
                with contextlib.suppress(pkcs11.PKCS11Error):
                    self._end(session, name.identifier, Event.FAILED)
                raise
        return name.text(), spki

    def _end(self, session: pkcs11.Session, identifier: bytes, event: Event) -> None:
        """Remove a pair; the state is written first, so that a crash leaves nothing half alive."""
        privates, publics = pair(session, identifier)
        for public in publics:
            before = read_state(public[Attribute.LABEL])
            after = TRANSITIONS.get((before, event), State.GONE)
            public[Attribute.LABEL] = state_label(after, self._machine)
        for one in (*privates, *publics):
            one.destroy()

    def _find(self, token: Token, session: pkcs11.Session, name: TokenKey) -> Held:
        generation, known = self._held.get(name, (None, None))
        if known is not None and generation == token.generation:
            return known
        privates, publics = pair(session, name.identifier)
        if not privates and not objects(session, ObjectClass.PRIVATE_KEY, _HEALTH):
            raise pkcs11.TokenNotPresent  # not this key is gone, but all of them
        if len(privates) != 1 or len(publics) != 1:
            raise Unseen("the key store has no such key")
        label = read_label(privates[0][Attribute.LABEL])
        active = publics[0][Attribute.LABEL] == state_label(State.ACTIVE, self._machine)
        if label is None or label.purpose is not name.purpose or not active:
            raise Unseen("the key store has no such key")
        _require_strong(privates[0])
        held = Held(privates[0], public_key_of(publics[0]), label)
        if len(self._held) >= _HELD:
            self._held.clear()
        self._held[name] = token.generation, held
        return held

    def healthy(self, session: pkcs11.Session) -> None:
        """Sign with the health key; make it when it is not there.

        Raises:
            FaultySignature: the signature is wrong.
        """
        privates, publics = pair(session, _HEALTH)
        if len(privates) != 1 or len(publics) != 1:
            with self._sessions.exclusive():
                privates, publics = pair(session, _HEALTH)  # another process may have made it
                if len(privates) != 1 or len(publics) != 1:
                    for one in (*privates, *publics):
                        one.destroy()
                    public, private = key_pair(
                        session,
                        KeyAlgorithm.P256,
                        store=True,
                        identifier=_HEALTH,
                        label=_HEALTH.decode(),
                        private=REQUIRED,
                        public={},
                    )
                    privates, publics = [private], [public]
        self_test(privates[0], public_key_of(publics[0]))


def _whole(session: pkcs11.Session, kind: ObjectClass) -> list[PrivateObject | PublicObject]:
    """All objects of a class; those that hold nothing are removed."""
    found = []
    for one in every(session, kind):
        if not is_shell(one):
            found.append(one)
            continue
        with contextlib.suppress(pkcs11.PKCS11Error):  # it harms nobody
            one.destroy()
    return found


def _require_strong(private: PrivateObject) -> None:
    if weakness := weak_attributes(private, _WANTED):
        raise KeystoreRefused(f"the key is weaker than it must be: {weakness}")


def _require_label(public: PublicObject, label: str) -> None:
    if public[Attribute.LABEL] != label:
        raise KeystoreRefused("the token does not keep the state of a key")
