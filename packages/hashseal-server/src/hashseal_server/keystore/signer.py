"""What a signer process does with a request. Pure but for the keys: octets in, octets out.

For documents it takes no bytes to sign: it takes an authorisation, and builds the signed attributes
from the digests in it. Digests themselves are signed with keys of the raw purpose only, under
authorisations of that kind. For timestamps it takes a TSTInfo, and builds the attributes likewise.
For everything else it looks at the outer form first. So a key of one purpose never signs another's.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from functools import lru_cache
from typing import Protocol

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from hashseal_core import tsp
from hashseal_core.algorithms import Digest, KeyAlgorithm, SignatureAlgorithm
from hashseal_core.cms import signed_attributes
from hashseal_core.errors import HashsealError, KeystoreRefused, KeystoreUnavailable
from hashseal_server.keystore.authorisation import Grant, Kind, Register
from hashseal_server.keystore.encoding import request_info
from hashseal_server.keystore.forms import (
    require_name,
    require_signing_time,
    require_structure,
    require_timestamp,
)
from hashseal_server.keystore.messages import (
    PROTOCOL,
    Answer,
    Destroy,
    Done,
    Failed,
    Generate,
    Health,
    Hello,
    Key,
    PublicKey,
    Request,
    SignDated,
    SignDigests,
    SignDocuments,
    SignRequest,
    SignStructure,
    SignTimestamp,
    Values,
    algorithm_of,
    frame,
    read_request,
)
from hashseal_server.keystore.purpose import Purpose
from hashseal_server.keystore.reference import owner_of, purpose_of


class Keys(Protocol):
    """The keys of this process; see `hashseal_server.keystore.pkcs11`."""

    @property
    def purposes(self) -> frozenset[Purpose]: ...
    def generate(
        self, purpose: Purpose, algorithm: KeyAlgorithm, account: str
    ) -> tuple[str, bytes]: ...
    def public_key(self, reference: str) -> bytes: ...
    def owner(self, reference: str) -> str: ...
    def sign(self, reference: str, to_be_signed: bytes, algorithm: SignatureAlgorithm) -> bytes: ...
    def sign_digest(
        self, reference: str, digest: Digest, algorithm: SignatureAlgorithm
    ) -> bytes: ...
    def destroy(self, reference: str, *, only_new: bool) -> None: ...
    def health(self) -> None: ...


class Signer:
    """The rules of one signer process; without a `register` it signs no documents."""

    def __init__(
        self,
        keys: Keys,
        register: Register | None,
        *,
        boot: bytes,
        now: Callable[[], datetime],
    ) -> None:
        self._keys = keys
        self._register = register
        self._boot = boot
        self._now = now

    def hello(self) -> bytes:
        """What is said to everybody who connects."""
        return frame(Hello(PROTOCOL, self._boot, tuple(sorted(self._keys.purposes))))

    def answer(self, request: bytes) -> bytes:
        """The answer to one request; whatever goes wrong is an answer too."""
        try:
            return frame(self._do(read_request(request)))
        except KeystoreUnavailable as error:
            return frame(Failed(error.code, error.detail))
        except HashsealError as error:
            return frame(Failed(KeystoreRefused.code, error.detail))

    def _do(self, request: Request) -> Answer:
        answer: Answer = Done()
        match request:
            case SignDocuments() | SignDated() | SignDigests():
                answer = self._granted(request)
            case SignTimestamp():
                answer = self._timestamp(request)
            case SignStructure():
                answer = self._structure(request)
            case SignRequest():
                answer = self._request(request)
            case Generate(purpose=purpose, algorithm=algorithm, account=account):
                answer = Key(*self._keys.generate(purpose, algorithm, account))
            case PublicKey(key=key):
                answer = Key(key, self._keys.public_key(key))
            case Destroy(key=key):
                self._keys.destroy(key, only_new=True)
            case Health():
                self._keys.health()
        return answer

    def _granted(self, request: SignDocuments | SignDated | SignDigests) -> Values:
        keys, certificate = self._keys, request.certificate
        if isinstance(request, SignDigests):
            grant = self._grant(request, Kind.RAW, Purpose.RAW)
            made = [keys.sign_digest(grant.key, one, grant.algorithm) for one in grant.digests()]
            return Values(tuple(made))
        kind = Kind.DATED if isinstance(request, SignDated) else Kind.DOCUMENTS
        grant = self._grant(request, kind, Purpose.SEAL)
        if (stated := grant.signing_time) is not None:
            require_signing_time(stated, self._now())
        attributes = [
            signed_attributes(one, certificate, signing_time=grant.signing_time)
            for one in grant.digests()
        ]
        return Values(tuple(keys.sign(grant.key, one, grant.algorithm) for one in attributes))

    def _grant(
        self, request: SignDocuments | SignDated | SignDigests, kind: Kind, purpose: Purpose
    ) -> Grant:
        """What may be signed, with a key of this purpose that is the account's."""
        if self._register is None:
            raise KeystoreRefused("this signer signs no documents")
        grant = self._register.take(request.authorisation, request.certificate, self._now(), kind)
        _require(grant.key, purpose)
        if self._keys.owner(grant.key) != owner_of(grant.account):
            raise KeystoreRefused("the key belongs to another account")
        self._require_certificate(grant.key, request.certificate)
        return grant

    def _timestamp(self, request: SignTimestamp) -> Values:
        _require(request.key, Purpose.TSU)
        require_timestamp(request.tst_info, self._now())
        self._require_certificate(request.key, request.certificate)
        attributes = tsp.signed_attributes(request.tst_info, request.certificate, request.digest)
        return Values((self._keys.sign(request.key, attributes, algorithm_of(request)),))

    def _structure(self, request: SignStructure) -> Values:
        algorithm = algorithm_of(request)
        require_structure(purpose_of(request.key), request.to_be_signed, algorithm, self._now())
        return Values((self._keys.sign(request.key, request.to_be_signed, algorithm),))

    def _request(self, request: SignRequest) -> Values:
        require_name(request.subject)
        info = request_info(request.subject, self._keys.public_key(request.key))
        return Values((self._keys.sign(request.key, info, algorithm_of(request)),))

    def _require_certificate(self, key: str, certificate: bytes) -> None:
        if _public_key_in(certificate) != self._keys.public_key(key):
            raise KeystoreRefused("the certificate is not that of the key")


def _require(key: str, purpose: Purpose) -> None:
    if purpose_of(key) is not purpose:
        raise KeystoreRefused("the key is for another purpose")


@lru_cache(maxsize=1024)
def _public_key_in(certificate: bytes) -> bytes:
    """SubjectPublicKeyInfo, DER."""
    try:
        found = x509.load_der_x509_certificate(certificate).public_key()
    except ValueError as error:
        raise KeystoreRefused("this is not a certificate") from error
    return found.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
