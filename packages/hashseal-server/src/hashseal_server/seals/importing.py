"""Seals with certificates of other authorities: request, check, import, confirm.

A key is made here and never leaves; its request goes out, a certificate and its chain come back.
Nothing of what comes back is trusted: it is checked as a whole, and the addresses of revocation
data in it are called only after the operator has confirmed them.
"""

from __future__ import annotations

import contextlib
import secrets
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import NoReturn, Protocol

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from hashseal_core.algorithms import (
    DigestAlgorithm,
    KeyAlgorithm,
    SignatureAlgorithm,
    SignatureScheme,
)
from hashseal_core.errors import (
    CertificateRefused,
    EvidenceUnavailable,
    HashsealError,
    InvalidValue,
    KeystoreRefused,
    OutboundRefused,
    StorageUnavailable,
)
from hashseal_server.accounts.model import AccountId
from hashseal_server.infra.destination import require_permitted_form
from hashseal_server.keystore import pkcs12, verified
from hashseal_server.keystore.port import KeyStore
from hashseal_server.keystore.purpose import Purpose
from hashseal_server.pki import imported
from hashseal_server.pki.foreign_status import Revoked
from hashseal_server.pki.foreign_store import USABLE, Kept, Member, digest_of
from hashseal_server.pki.imported import Addresses, Checked
from hashseal_server.pki.model import RequestedSubject
from hashseal_server.seals.model import (
    Request,
    Seal,
    SealId,
    require_kind,
    scheme_of,
)

_DIGESTS = {KeyAlgorithm.P384: DigestAlgorithm.SHA384, KeyAlgorithm.P521: DigestAlgorithm.SHA512}
"""With which a request is signed: as strong as its key; SHA-256 for all others."""
_SUSPENDED = "certificateHold"
SOFTWARE = "the key is kept in software, where whoever captures this machine can use it"


class Requests(Protocol):
    """See `hashseal_server.seals.request_store`."""

    async def add(self, request: Request) -> None: ...
    async def find(self, request_id: str) -> Request: ...
    async def all(self) -> list[Request]: ...
    async def bring(
        self,
        seal: Seal,
        checked: Checked,
        confirmed: Sequence[Addresses] | None,
        request_id: str | None,
        at: datetime,
    ) -> None: ...
    async def confirm(
        self, chain: Sequence[bytes], addresses: Sequence[Addresses], at: datetime
    ) -> None: ...


class SealBook(Protocol):
    """See `hashseal_server.seals.store`."""

    async def find(self, account_id: AccountId, seal_id: str) -> Seal: ...


class StatusData(Protocol):
    """See `hashseal_server.pki.foreign_status`."""

    async def look(self, member: Member) -> Kept | Revoked: ...


class StatusStore(Protocol):
    """See `hashseal_server.pki.foreign_store`."""

    async def keep(self, digest: str, kept: Kept) -> None: ...
    async def learn(
        self, chain: Sequence[bytes], revoked: Mapping[str, str], at: datetime
    ) -> None: ...


class Adopting(Protocol):
    """A key store that takes keys made elsewhere; see `hashseal_server.keystore.software`."""

    def adopt(self, private: ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey) -> str: ...
    def destroy(self, key: str) -> None: ...


@dataclass(frozen=True, slots=True)
class Brought:
    """A seal that was just imported, or confirmed.

    Attributes:
        addresses: of revocation data, in the chain, without repetitions.
        confirmed: they may be called from now on.
        complete: each certificate of the chain has one; else B-LT cannot be had, ever.
        reached: each certificate's status data came and is good.
        warnings: what the operator should know.
    """

    seal: Seal
    addresses: tuple[str, ...]
    complete: bool
    confirmed: bool
    reached: bool
    warnings: tuple[str, ...]


@dataclass(slots=True)
class _Probed:
    """What the authority says of a chain now: status data by digest, and what has been revoked."""

    kept: dict[str, Kept] = field(default_factory=dict)
    revoked: dict[str, Revoked] = field(default_factory=dict)
    unreached: list[str] = field(default_factory=list)


class Importing:
    """What the operator does with certificates of other authorities.

    `software` is the key store if it keeps keys in software, else None.
    """

    def __init__(
        self,
        *,
        requests: Requests,
        seals: SealBook,
        keystore: KeyStore,
        software: Adopting | None,
        status: StatusData,
        status_store: StatusStore,
        now: Callable[[], datetime],
    ) -> None:
        self._requests = requests
        self._seals = seals
        self._keystore = keystore
        self._software = software
        self._status = status
        self._status_store = status_store
        self._now = now

    async def request(
        self,
        account_id: AccountId,
        subject: RequestedSubject,
        *,
        kind: str,
        algorithm: KeyAlgorithm,
        pss: bool = False,
    ) -> Request:
        """Make a key and a request for a certificate for it.

        The request of an RSA key is signed with PKCS#1 v1.5 whatever the seal will sign with:
        authorities often take no other.

        Raises:
            InvalidValue: kind, subject or algorithm is not allowed.
            KeystoreUnavailable, KeystoreRefused, StorageUnavailable: nothing was made.
        """
        require_kind(kind)
        scheme = scheme_of(algorithm, pss=pss)
        name = subject.name()
        signing = SignatureAlgorithm(
            SignatureScheme.RSA_PKCS1 if algorithm.is_rsa else SignatureScheme.ECDSA,
            _DIGESTS.get(algorithm, DigestAlgorithm.SHA256),
        )
        key = self._keystore.generate(algorithm, Purpose.SEAL, account_id)
        try:
            made = Request(
                id=secrets.token_hex(8),
                account_id=account_id,
                kind=kind,
                key_algorithm=algorithm,
                scheme=scheme,
                key=key,
                subject=name.rfc4514_string(),
                der=verified.certification_request(
                    self._keystore, key, name.public_bytes(), signing
                ),
                made_at=self._now(),
            )
            await self._requests.add(made)
        except StorageUnavailable:
            raise  # it may be recorded all the same, and a key too many does no harm
        except HashsealError:
            self._keystore.destroy(key)
            raise
        return made

    async def requests(self) -> list[Request]:
        """Every request, oldest first."""
        return await self._requests.all()

    async def find(self, request_id: str) -> Request:
        """One request.

        Raises:
            NotFound: there is none with that id.
        """
        return await self._requests.find(request_id)

    async def examine(self, request_id: str, files: Sequence[bytes]) -> Checked:
        """Check what was brought for a request; nothing is kept.

        Raises:
            NotFound: there is no such request.
            CertificateRefused: with everything that is wrong.
        """
        request = await self._requests.find(request_id)
        spki = self._keystore.public_key(request.key)
        return imported.examine(imported.read_certificates(files), spki, self._now())

    async def bring(self, request_id: str, checked: Checked, *, confirmed: bool) -> Brought:
        """Make a seal of a request and the chain that was checked for it.

        With `confirmed` the addresses of revocation data in the chain are called now, and whenever
        status data is needed. Whoever does the same again gets the same seal.

        Raises:
            NotFound: there is no such request.
            InvalidValue: another certificate was imported for it, or this one for another.
            CertificateRefused: the authority says that a certificate of the chain is revoked, or
                it is known here; whatever seals there are below it are stopped.
        """
        request = await self._requests.find(request_id)
        if request.seal_id is not None:
            seal = await self._seals.find(AccountId(request.account_id), request.seal_id)
            if seal.imported != digest_of(checked.chain[0]):
                raise InvalidValue(f"another certificate was imported before: seal {seal.id}")
            if confirmed:
                return await self.confirm(AccountId(request.account_id), seal.id)
            addresses, _ = _permitted(checked.addresses)
            return _brought(seal, addresses, checked.warnings, confirmed=seal.provable)
        software = (SOFTWARE,) if self._software is not None else ()
        return await self._make(
            checked,
            account=request.account_id,
            kind=request.kind,
            scheme=request.scheme,
            key=request.key,
            confirmed=confirmed,
            request_id=request.id,
            warnings=(*software, *checked.warnings),
        )

    async def bring_pkcs12(
        self,
        account_id: AccountId,
        content: bytes,
        password: bytes,
        more: Sequence[bytes] = (),
        *,
        kind: str,
        pss: bool,
        confirmed: bool,
    ) -> Brought:
        """Make a seal of a PKCS#12 file; `more` are files with certificates that it lacks.

        Raises:
            KeystoreRefused: keys are in a token, where none comes from outside.
            InvalidValue: the file cannot be opened, or its certificate was imported before.
            CertificateRefused: with everything that is wrong.
        """
        if self._software is None:
            raise KeystoreRefused(
                "keys are kept in a token, and a key that was in a file is not taken into it; "
                "run `hashseal-server credential csr` and have a certificate issued for that key"
            )
        require_kind(kind)
        private, beside = pkcs12.read(content, password)
        spki = private.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
        given = (*beside, *(imported.read_certificates(more) if more else ()))
        checked = imported.examine(tuple(dict.fromkeys(given)), spki, self._now())
        key = self._software.adopt(private)
        try:
            return await self._make(
                checked,
                account=account_id,
                kind=kind,
                scheme=scheme_of(checked.key_algorithm, pss=pss),
                key=key,
                confirmed=confirmed,
                request_id=None,
                warnings=(
                    "the key was in a file: whoever has a copy of it can sign",
                    SOFTWARE,
                    *checked.warnings,
                ),
            )
        except StorageUnavailable:
            raise  # the seal may be recorded all the same, and a key too many does no harm
        except HashsealError:
            self._software.destroy(key)
            raise

    async def confirm(self, account_id: AccountId, seal_id: str) -> Brought:
        """Allow the addresses in a seal's chain to be called, and ask them at once.

        Raises:
            SealNotFound: there is no such seal.
            InvalidValue: it was not imported.
            CertificateRefused: the authority says that a certificate of the chain is revoked; the
                seal is stopped, and all others below it.
        """
        seal = await self._seals.find(account_id, seal_id)
        if seal.imported is None:
            raise InvalidValue("the seal's certificate is of our own authority", field="seal_id")
        parsed = [x509.load_der_x509_certificate(one) for one in seal.chain[:-1]]
        addresses, odd = _permitted([imported.addresses_of(one) for one in parsed])
        probed = await self._probe(seal.chain, addresses)
        if probed.revoked:
            await self._refuse(seal.chain, probed.revoked)
        await self._requests.confirm(seal.chain, addresses, self._now())
        await self._keep(probed)
        return _brought(
            replace(seal, provable=all(map(any, addresses))),
            addresses,
            (*odd, *_without(seal.chain, addresses), *probed.unreached),
            confirmed=True,
            reached=not probed.unreached,
        )

    async def _make(
        self,
        checked: Checked,
        *,
        account: str,
        kind: str,
        scheme: SignatureScheme,
        key: str,
        confirmed: bool,
        request_id: str | None,
        warnings: tuple[str, ...],
    ) -> Brought:
        addresses, odd = _permitted(checked.addresses)
        probed = await self._probe(checked.chain, addresses) if confirmed else _Probed()
        if probed.revoked:
            # Whoever suspended a certificate that is not in use yet may release it; it is refused
            # now, and may be brought again.
            final = {
                digest: said for digest, said in probed.revoked.items() if said.reason != _SUSPENDED
            }
            await self._refuse(checked.chain, final, because=probed.revoked)
        seal = Seal(
            id=SealId(secrets.token_hex(8)),
            account_id=account,
            kind=kind,
            subject=checked.subject,
            key_algorithm=checked.key_algorithm,
            scheme=scheme,
            key=key,
            serial=checked.serial,
            chain=checked.chain,
            not_after=checked.not_after,
            imported=digest_of(checked.chain[0]),
            provable=confirmed and all(map(any, addresses)),
        )
        given = addresses if confirmed else None
        await self._requests.bring(seal, checked, given, request_id, self._now())
        await self._keep(probed)
        return _brought(
            seal,
            addresses,
            (*warnings, *odd, *_without(checked.chain, addresses), *probed.unreached),
            confirmed=confirmed,
            reached=confirmed and not probed.unreached,
        )

    async def _probe(self, chain: Sequence[bytes], addresses: Sequence[Addresses]) -> _Probed:
        """Ask for the status of each certificate that names an address."""
        probed = _Probed()
        for depth, found in enumerate(addresses):
            if not any(found):
                continue
            member = Member(
                digest_of(chain[depth]), chain[depth], chain[depth + 1], USABLE, found, None
            )
            try:
                said = await self._status.look(member)
            except EvidenceUnavailable as error:
                probed.unreached.append(
                    f"{_title(chain[depth])}: no status data now, so no B-LT: {error.detail}"
                )
                continue
            if isinstance(said, Revoked):
                probed.revoked[member.digest] = said
            else:
                probed.kept[member.digest] = said
        return probed

    async def _keep(self, probed: _Probed) -> None:
        """Keep status data of what is recorded; if it cannot be kept, a job fetches it again."""
        with contextlib.suppress(StorageUnavailable):
            for digest, one in probed.kept.items():
                await self._status_store.keep(digest, one)

    async def _refuse(
        self,
        chain: Sequence[bytes],
        revoked: Mapping[str, Revoked],
        *,
        because: Mapping[str, Revoked] | None = None,
    ) -> NoReturn:
        """Record what is revoked for good, so that nothing below it signs or comes in; then refuse.

        Raises:
            CertificateRefused: always, and it names each that is in `because`.
            StorageUnavailable: it is not recorded.
        """
        if revoked:
            reasons = {digest: said.reason for digest, said in revoked.items()}
            await self._status_store.learn(chain, reasons, self._now())
        titles = {digest_of(one): _title(one) for one in chain}
        raise CertificateRefused(
            "; ".join(
                f"{titles[digest]}: revoked by its authority on {said.at:%Y-%m-%d} ({said.reason})"
                for digest, said in (because or revoked).items()
            )
        )


def _title(certificate: bytes) -> str:
    return x509.load_der_x509_certificate(certificate).subject.rfc4514_string()


def _without(chain: Sequence[bytes], addresses: Sequence[Addresses]) -> tuple[str, ...]:
    """A warning for each certificate of which no address may be called."""
    return tuple(
        imported.without_addresses(x509.load_der_x509_certificate(one))
        for one, found in zip(chain[:-1], addresses, strict=True)
        if not any(found)
    )


def _permitted(found: Sequence[Addresses]) -> tuple[list[Addresses], tuple[str, ...]]:
    """The addresses whose form may be called, and a warning for each other."""
    warnings = []

    def may(url: str) -> bool:
        try:
            require_permitted_form(url)
        except OutboundRefused as error:
            warnings.append(f"{url} is never called: {error.detail}")
            return False
        return True

    kept = [Addresses(tuple(filter(may, one.ocsp)), tuple(filter(may, one.crl))) for one in found]
    return kept, tuple(dict.fromkeys(warnings))


def _brought(
    seal: Seal,
    addresses: Sequence[Addresses],
    warnings: tuple[str, ...],
    *,
    confirmed: bool = False,
    reached: bool = False,
) -> Brought:
    listed = tuple(dict.fromkeys(url for one in addresses for url in one))
    complete = all(map(any, addresses))
    told = tuple(dict.fromkeys(warnings))
    return Brought(seal, listed, complete, confirmed, complete and reached, told)
