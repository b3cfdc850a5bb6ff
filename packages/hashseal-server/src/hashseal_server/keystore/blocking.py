"""The key store of synchronous code: each call is one connection to one signer.

For the certificate authority, the audit log and the operator's commands. Documents and timestamps
are signed through `keystore.remote`; their keys sign no bytes that are handed in here.
"""

from __future__ import annotations

import random
import socket
import time
from pathlib import Path

from hashseal_core.algorithms import KeyAlgorithm, SignatureAlgorithm
from hashseal_core.errors import KeystoreUnavailable
from hashseal_server.keystore.folder import sockets
from hashseal_server.keystore.messages import (
    HEAD,
    MAKING_SECONDS,
    Answer,
    Destroy,
    Generate,
    Health,
    Key,
    PublicKey,
    Request,
    SignRequest,
    SignStructure,
    Values,
    frame,
    parts_of,
    read_answer,
    read_hello,
    size_of,
)
from hashseal_server.keystore.purpose import Purpose
from hashseal_server.keystore.reference import purpose_of

_KNOWN = 10_000
_PAUSE_SECONDS = 0.1


class BlockingKeyStore:
    """The signers in `folder`; `timeout` in seconds bounds each step of a call but making a key.

    A signer that is not there is waited for `patience` seconds; none in an event loop.
    """

    def __init__(self, folder: Path, *, timeout: float = 5.0, patience: float = 0.0) -> None:
        self._folder = folder
        self._timeout = timeout
        self._patience = patience
        self._public: dict[str, bytes] = {}

    def generate(
        self, algorithm: KeyAlgorithm, purpose: Purpose = Purpose.SEAL, account: str = ""
    ) -> str:
        """Make a key for an account, or for the operator; the reference is usable at once.

        Raises:
            KeystoreRefused, KeystoreUnavailable: there is none that anybody will ever name.
        """
        reference, spki = _key(self._ask(purpose, Generate(purpose, algorithm, account)))
        self._remember(reference, spki)
        return reference

    def public_key(self, key: str) -> bytes:
        """SubjectPublicKeyInfo, DER; asked once.

        Raises:
            KeystoreRefused: no such key.
            KeystoreUnavailable: no signer answered in time.
        """
        if key not in self._public:
            self._remember(key, _key(self._ask(purpose_of(key), PublicKey(key)))[1])
        return self._public[key]

    def sign(self, key: str, to_be_signed: bytes, algorithm: SignatureAlgorithm) -> bytes:
        """The signature value over a structure of the authority, not yet verified.

        Raises:
            KeystoreRefused: the key does not sign this form.
            KeystoreUnavailable: no signer answered in time.
        """
        asked = SignStructure(key, to_be_signed, *parts_of(algorithm))
        return _value(self._ask(purpose_of(key), asked))

    def sign_request(self, key: str, subject: bytes, algorithm: SignatureAlgorithm) -> bytes:
        """The signature value over a CertificationRequestInfo for the key, not yet verified.

        Raises:
            KeystoreRefused: no such key, or `subject` is not a name.
            KeystoreUnavailable: no signer answered in time.
        """
        asked = SignRequest(key, subject, *parts_of(algorithm))
        return _value(self._ask(purpose_of(key), asked))

    def destroy(self, key: str) -> None:
        """Remove a key that was made just now.

        Raises:
            KeystoreRefused: it is in use.
            KeystoreUnavailable: no signer answered in time.
        """
        self._public.pop(key, None)
        self._ask(purpose_of(key), Destroy(key))

    def health(self) -> None:
        """Make a real signature in every signer process.

        Raises:
            KeystoreUnavailable: there is none, or one of them does not sign.
        """
        until = time.monotonic() + self._patience
        while not (found := [path for path in sockets(self._folder) if self._is_there(path)]):
            if time.monotonic() >= until:
                raise KeystoreUnavailable("no signer is there")
            time.sleep(_PAUSE_SECONDS)
        for path in found:
            try:
                with self._connect(path) as connection:
                    _receive(connection)
                    self._exchange(connection, Health())
            except OSError as error:
                raise KeystoreUnavailable("a signer does not answer") from error

    def _ask(self, purpose: Purpose, request: Request) -> Answer:
        """Ask one signer; another only when the request surely did not reach the first."""
        until = time.monotonic() + self._patience
        while True:
            found = sockets(self._folder)
            random.shuffle(found)
            for path in found:
                try:
                    connection = self._connect(path)
                except OSError:
                    continue
                with connection:
                    try:
                        hello = read_hello(_receive(connection))
                    except (OSError, KeystoreUnavailable):
                        continue
                    if purpose in hello.purposes:
                        return self._exchange(connection, request)
            if time.monotonic() >= until:
                raise KeystoreUnavailable("no signer is there")
            time.sleep(_PAUSE_SECONDS)

    def _connect(self, path: Path) -> socket.socket:
        connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            connection.settimeout(self._timeout)
            connection.connect(str(path))
        except OSError:
            connection.close()
            raise
        return connection

    def _is_there(self, path: Path) -> bool:
        try:
            self._connect(path).close()
        except OSError:
            return False
        return True

    def _exchange(self, connection: socket.socket, request: Request) -> Answer:
        if isinstance(request, Generate):
            connection.settimeout(MAKING_SECONDS)
        try:
            connection.sendall(frame(request))
            return read_answer(_receive(connection))
        except OSError as error:
            raise KeystoreUnavailable("the signer ended while it was asked") from error

    def _remember(self, reference: str, spki: bytes) -> None:
        if len(self._public) >= _KNOWN:
            self._public.clear()
        self._public[reference] = spki


def _receive(connection: socket.socket) -> bytes:
    return _exactly(connection, size_of(_exactly(connection, HEAD)))


def _exactly(connection: socket.socket, size: int) -> bytes:
    parts, missing = [], size
    while missing:
        part = connection.recv(min(missing, 1 << 16))
        if not part:
            raise KeystoreUnavailable("the signer ended while it was asked")
        parts.append(part)
        missing -= len(part)
    return b"".join(parts)


def _value(answer: Answer) -> bytes:
    if not isinstance(answer, Values) or len(answer.values) != 1:
        raise KeystoreUnavailable("the signer's answer is not to what was asked")
    return answer.values[0]


def _key(answer: Answer) -> tuple[str, bytes]:
    if not isinstance(answer, Key):
        raise KeystoreUnavailable("the signer's answer is not to what was asked")
    return answer.reference, answer.spki
