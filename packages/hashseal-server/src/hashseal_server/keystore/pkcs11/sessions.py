"""Sessions with the tokens of one module: opened when needed, opened again when lost.

python-pkcs11 tells the module that the application has one thread, and a module must not live
through a fork: everything here belongs to the thread and the process that made it.
"""

from __future__ import annotations

import contextlib
import os
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol, TypeVar

import pkcs11

from hashseal_core.errors import KeystoreRefused, KeystoreUnavailable
from hashseal_server.keystore.pkcs11.objects import MAPPER
from hashseal_server.keystore.purpose import Purpose

Result = TypeVar("Result")
Opened = Callable[["Token", pkcs11.Session], None]

_PAUSE_SECONDS = 1.0
_FRESH_SECONDS = 5.0
_ARGUMENTS = (
    pkcs11.ArgumentsBad,
    pkcs11.AttributeReadOnly,
    pkcs11.AttributeTypeInvalid,
    pkcs11.AttributeValueInvalid,
    pkcs11.DataInvalid,
    pkcs11.DataLenRange,
    pkcs11.DomainParamsInvalid,
    pkcs11.KeySizeRange,
    pkcs11.KeyTypeInconsistent,
    pkcs11.KeyUnextractable,
    pkcs11.MechanismInvalid,
    pkcs11.MechanismParamInvalid,
    pkcs11.MultipleObjectsReturned,
    pkcs11.TemplateIncomplete,
    pkcs11.TemplateInconsistent,
)
"""The module works, and this it does not do: trying again would not help."""
_BAD_PIN = (pkcs11.PinIncorrect, pkcs11.PinLocked, pkcs11.PinExpired, pkcs11.PinInvalid)


class Unseen(KeystoreRefused):
    """The token shows no such key, or shows it to others only."""


class Neighbours(Protocol):
    """The other signer processes of this machine; see `hashseal_server.keystore.folder`."""

    def exclusive(self) -> AbstractContextManager[None]: ...
    def pin_refused(self, label: str, pin: str) -> bool: ...
    def note_refused_pin(self, label: str, pin: str) -> None: ...


@dataclass(frozen=True, slots=True)
class TokenAccess:
    """A token by its label, the user's PIN, and the purposes of the keys in it."""

    label: str
    pin: str = field(repr=False)
    purposes: frozenset[Purpose]


@dataclass(slots=True)
class Token:
    """A token and its session; `generation` counts the sessions, handles die with theirs."""

    access: TokenAccess
    session: pkcs11.Session | None = None
    generation: int = 0
    tidied: bool = False
    written: bool = False
    opened_at: float = 0.0
    retry_at: float = 0.0

    @property
    def may_be_outdated(self) -> bool:
        """Other processes may have made keys that are not seen here.

        SoftHSM loses track of others' changes when it makes some itself.
        """
        return self.written or time.monotonic() - self.opened_at > _FRESH_SECONDS

    def forget(self) -> None:
        """Close the session as far as that is possible."""
        session, self.session = self.session, None
        self.generation += 1
        if session is not None:
            with contextlib.suppress(pkcs11.PKCS11Error):
                session.close()


class Sessions:
    """The sessions of one process; `first` is called when a token is opened for the first time."""

    def __init__(
        self, module: Path, tokens: Sequence[TokenAccess], neighbours: Neighbours, first: Opened
    ) -> None:
        self._module = str(module)
        self.tokens = [Token(access) for access in tokens]
        self._neighbours = neighbours
        self._first = first
        self._here = os.getpid(), threading.get_ident()
        self._depth = 0

    def token(self, purpose: Purpose) -> Token:
        """The token that holds keys of this purpose.

        Raises:
            KeystoreRefused: there is none.
        """
        for token in self.tokens:
            if purpose in token.access.purposes:
                return token
        raise KeystoreRefused(f"this signer has no keys for the purpose {purpose}")

    def run(self, token: Token, work: Callable[[pkcs11.Session], Result]) -> Result:
        """Run `work`; once more in a new session when the first was lost: nothing had been signed.

        Raises:
            KeystoreRefused: the token does not do this.
            KeystoreUnavailable: the token does not answer.
        """
        if self._here != (os.getpid(), threading.get_ident()):
            raise RuntimeError("a PKCS#11 session belongs to one thread of one process")
        for _ in range(2):
            session = token.session or self._open(token)
            try:
                return work(session)
            except Unseen:
                if not token.may_be_outdated:
                    raise
                self._reinitialise()
            except _ARGUMENTS as error:
                raise KeystoreRefused(f"the token refuses this: {type(error).__name__}") from error
            except pkcs11.PKCS11Error:
                token.forget()
        raise KeystoreUnavailable("the token does not answer")

    @contextmanager
    def exclusive(self) -> Iterator[None]:
        """No other signer process of the machine starts, makes keys or tidies up meanwhile."""
        with contextlib.ExitStack() as stack:
            if not self._depth:
                stack.enter_context(self._neighbours.exclusive())
            self._depth += 1
            try:
                yield
            finally:
                self._depth -= 1

    def close(self) -> None:
        """Log out everywhere."""
        for token in self.tokens:
            token.forget()

    def _open(self, token: Token) -> pkcs11.Session:
        access = token.access
        if time.monotonic() < token.retry_at:
            raise KeystoreUnavailable("the token does not answer")
        with self.exclusive():
            # Each wrong attempt brings a token nearer to locking its user out.
            if self._neighbours.pin_refused(access.label, access.pin):
                raise KeystoreUnavailable("the token refused the PIN; give the right one")
            for again in (False, True):
                try:
                    if again:
                        self._reinitialise()
                    found = pkcs11.lib(self._module).get_token(token_label=access.label)
                    session = found.open(rw=True, user_pin=access.pin, attribute_mapper=MAPPER)
                    token.session, token.written = session, False
                    token.opened_at = time.monotonic()
                    if not token.tidied:
                        self._first(token, session)
                        token.tidied = True
                except _BAD_PIN as error:
                    self._neighbours.note_refused_pin(access.label, access.pin)
                    raise KeystoreUnavailable("the token refuses the PIN") from error
                except pkcs11.PKCS11Error:
                    token.forget()
                else:
                    return session
        token.retry_at = time.monotonic() + _PAUSE_SECONDS
        raise KeystoreUnavailable("the token does not answer")

    def _reinitialise(self) -> None:
        """Leave the module and enter it again; that ends the sessions of every token."""
        for token in self.tokens:
            token.forget()
        with contextlib.suppress(pkcs11.PKCS11Error):
            pkcs11.lib(self._module).finalize()
