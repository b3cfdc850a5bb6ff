"""The certificate authority: founds itself, issues, revokes, and keeps status data fresh.

Root → issuing authority → {seal, person, TSU}; root and issuing authority each have a delegated
OCSP responder. Every issuance: record the plan → build → lint → sign → verify → store.
"""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Protocol

from cryptography import x509
from cryptography.x509 import ocsp
from cryptography.x509.oid import NameOID

from hashseal_core.algorithms import KeyAlgorithm
from hashseal_core.errors import (
    EvidenceUnavailable,
    HashsealError,
    InvalidValue,
    MalformedRequest,
    NotFound,
)
from hashseal_core.evidence import ValidationMaterial
from hashseal_server.keystore.port import KeyStore
from hashseal_server.keystore.purpose import Purpose
from hashseal_server.pki import revocation
from hashseal_server.pki.issuance import Linter, issue, sign_and_wrap
from hashseal_server.pki.model import Issued, LegalPerson, NaturalPerson, Role
from hashseal_server.pki.profiles import PROFILES, Policies, Urls, builder
from hashseal_server.pki.responses import LEAST, SKEW, Answer, Responses
from hashseal_server.pki.revocation import Responder, Revoked

ROOT, ISSUING = "root", "issuing"
CRL_LIFETIME = timedelta(days=7)
_PUBLISHING_ATTEMPTS = 5
_PURPOSES = {
    Role.ROOT: Purpose.CA,
    Role.ISSUING: Purpose.CA,
    Role.RESPONDER: Purpose.OCSP,
    Role.TSU: Purpose.TSU,
    Role.SEAL: Purpose.SEAL,
    Role.PERSON: Purpose.SEAL,
}


class Store(Protocol):
    """What the authority keeps; see `hashseal_server.pki.store`."""

    async def plan(
        self, serial: int, role: Role, issuer: str, key: str, subject: str, at: datetime
    ) -> None: ...
    async def void(self, serial: int) -> None: ...
    async def issued(self, serial: int, der: bytes, not_after: datetime, at: datetime) -> None: ...
    async def revoke(self, serial: int, reason: str, at: datetime) -> bool: ...
    async def of_role(self, role: Role) -> list[Issued]: ...
    async def find(self, serial: int) -> Issued | None: ...
    async def issuer_label(self, serial: int) -> str | None: ...
    async def revoked(self, issuer: str) -> list[Revoked]: ...
    async def newest_list(self, issuer: str) -> tuple[int, bytes, datetime] | None: ...
    async def plan_list(self, issuer: str, number: int, content: bytes, at: datetime) -> None: ...
    async def publish(
        self, issuer: str, number: int, der: bytes, next_update: datetime
    ) -> bool: ...


@dataclass(frozen=True, slots=True)
class _Authority:
    label: str
    issued: Issued
    certificate: x509.Certificate
    responder: Responder | None = None


class CertificateAuthority:
    """The built-in authority.

    `responses` sign and keep what its responders say; `linter` is called before each other
    signature of the authority; `now` gives aware UTC times.
    """

    def __init__(
        self,
        *,
        store: Store,
        responses: Responses,
        keystore: KeyStore,
        linter: Callable[[], Linter],
        base_url: str,
        policies: Policies,
        now: Callable[[], datetime],
    ) -> None:
        self._store = store
        self._responses = responses
        self._keystore = keystore
        self._linter = linter
        self._policies = policies
        self._urls = Urls(base_url.rstrip("/"))
        self._now = now
        self._authorities: dict[str, _Authority] = {}
        self._material: dict[bytes, tuple[datetime, ValidationMaterial]] = {}
        self._gathering = asyncio.Lock()

    async def found(self, *, test: bool, organisation: str, country: str) -> None:
        """Make root, issuing authority, responders and first CRLs; what exists stays."""
        suffix = " TEST" if test else ""
        for label, role, parent in ((ROOT, Role.ROOT, None), (ISSUING, Role.ISSUING, ROOT)):
            if not await self._store.of_role(role):
                title = "Root CA" if label == ROOT else "Issuing CA"
                subject = _authority_name(organisation, f"Hashseal{suffix} {title}", country)
                await self._issue(role, subject, KeyAlgorithm.P256, parent)
            responder_name = f"Hashseal{suffix} OCSP {label}"
            if await self._responder(label) is None:
                subject = _authority_name(organisation, responder_name, country)
                await self._issue(Role.RESPONDER, subject, KeyAlgorithm.P256, label)
            self._authorities.clear()
            if await self._store.newest_list(label) is None:
                await self._publish(label)

    async def trust_anchor(self) -> bytes:
        """The root certificate, DER.

        Raises:
            NotFound: the authority has not been founded.
        """
        return (await self._authority(ROOT)).issued.certificate

    async def issue_signing(
        self, subject: LegalPerson | NaturalPerson, *, algorithm: KeyAlgorithm, account: str = ""
    ) -> Issued:
        """A certificate for signing documents, with a new key that is the account's.

        Raises:
            InvalidValue: the subject or the algorithm is not allowed.
            LintFailed, KeystoreUnavailable, FaultySignature, StorageUnavailable: nothing issued.
        """
        if algorithm is KeyAlgorithm.RSA2048:
            raise InvalidValue("RSA-2048 is for imported certificates only", field="algorithm")
        issued = await self._issue(subject.role, subject.name(), algorithm, ISSUING, account)
        return await self._with_chain(issued)

    async def issue_tsu(self, name: str, organisation: str, country: str) -> Issued:
        """A certificate for a timestamping unit, with a new key."""
        subject = _authority_name(organisation, name, country)
        issued = await self._issue(Role.TSU, subject, KeyAlgorithm.P256, ISSUING)
        return await self._with_chain(issued)

    async def units(self) -> list[Issued]:
        """The timestamping units, newest first, each with its chain."""
        return [await self._with_chain(unit) for unit in await self._store.of_role(Role.TSU)]

    async def find(self, serial: int) -> Issued:
        """A certificate by its serial number, with its chain.

        Raises:
            NotFound: never issued.
        """
        found = await self._store.find(serial)
        if found is None:
            raise NotFound("no certificate with that serial number")
        return await self._with_chain(found)

    async def revoke(self, serial: int, reason: str, *, at: datetime) -> None:
        """Revoke for good; CRL and OCSP say so from now on.

        Raises:
            InvalidValue: no such reason.
            NotFound: never issued, or revoked already.
        """
        revocation.require_reason(reason)
        at = at.replace(microsecond=0)  # as CRL and OCSP write it (RFC 5280, 4.1.2.5.2)
        label = await self._store.issuer_label(serial)
        if label is None or not await self._store.revoke(serial, reason, at):
            raise NotFound("no valid certificate with that serial number")
        self._material.clear()
        await self._publish(label)

    async def crl(self, label: str) -> bytes:
        """The newest CRL of an authority, renewed at half of its life, DER.

        Raises:
            NotFound: no such authority.
        """
        await self._authority(label)
        newest = await self._store.newest_list(label)
        if newest is None or newest[2] - self._now() < CRL_LIFETIME / 2:
            return await self._publish(label)
        return newest[1]

    async def renew_crl(self, label: str) -> None:
        """Publish a new CRL if the newest has lived half of its life, or lacks a revocation.

        It lacks one if the process that revoked died before it published.

        Raises:
            LintFailed, FaultySignature, KeystoreUnavailable, StorageUnavailable: not published.
        """
        newest = await self._store.newest_list(label)
        revoked = await self._store.revoked(label)
        if newest is not None and newest[2] - self._now() >= CRL_LIFETIME / 2:
            listed = len(x509.load_der_x509_crl(newest[1]))
            if listed == len(revoked):
                return
        await self._publish(label)

    async def renew_responses(self, ended: str | None) -> str | None:
        """Renew a batch of pre-produced OCSP responses; where the next begins, None at the end.

        Raises:
            FaultySignature, KeystoreUnavailable, StorageUnavailable: the batch is not there.
        """
        responders = {}
        for label in (ROOT, ISSUING):
            authority = await self._authority(label)
            if authority.responder is not None:
                responders[label] = authority.responder
        return await self._responses.renew(responders, ended)

    async def issuer_certificate(self, label: str) -> bytes:
        """An authority's certificate, DER.

        Raises:
            NotFound: no such authority.
        """
        return (await self._authority(label)).issued.certificate

    async def ends(self) -> list[tuple[str, datetime]]:
        """When the authorities' certificates, responders, units and newest CRLs end."""
        found = []
        for role in (Role.ROOT, Role.ISSUING, Role.RESPONDER, Role.TSU):
            for number, issued in enumerate(await self._store.of_role(role), 1):
                found.append((f"{role.value}-{number}", issued.not_after))
        for label in (ROOT, ISSUING):
            newest = await self._store.newest_list(label)
            if newest is not None:
                found.append((f"crl-{label}", newest[2]))
        return found

    async def ocsp(self, request_der: bytes) -> bytes:
        """Answer an OCSPRequest; errors are answers too (RFC 6960, 2.3)."""
        try:
            request = revocation.parse_request(request_der)
            authority = await self._asked(request)
            if authority is None:
                return revocation.ocsp_refusal(ocsp.OCSPResponseStatus.UNAUTHORIZED)
            return (await self._respond(authority, request)).der
        except MalformedRequest:
            return revocation.ocsp_refusal(ocsp.OCSPResponseStatus.MALFORMED_REQUEST)
        except HashsealError:
            return revocation.ocsp_refusal(ocsp.OCSPResponseStatus.TRY_LATER)

    async def material_for(self, certificate: bytes) -> ValidationMaterial:
        """Validation material for one certificate: chain, OCSP responses, CRLs; cached.

        Raises:
            EvidenceUnavailable: fresh status data cannot be made.
        """
        if (fresh := self._kept(certificate)) is not None:
            return fresh
        # Whoever comes while the material is being made waits for it instead of making it again.
        async with self._gathering:
            if (fresh := self._kept(certificate)) is not None:
                return fresh
            try:
                material, until = await self._gather(certificate)
            except HashsealError as error:
                raise EvidenceUnavailable("fresh status data cannot be made") from error
            self._material[certificate] = until, material
            return material

    def _kept(self, certificate: bytes) -> ValidationMaterial | None:
        until, material = self._material.get(certificate, (None, None))
        return material if until is not None and self._now() < until else None

    async def _gather(self, certificate: bytes) -> tuple[ValidationMaterial, datetime]:
        """The material, and until when it may be given."""
        leaf = x509.load_der_x509_certificate(certificate)
        root, issuing = await self._authority(ROOT), await self._authority(ISSUING)
        answers = []
        for child, parent in ((leaf, issuing), (issuing.certificate, root)):
            request = revocation.request_for(
                child.serial_number, parent.certificate, revocation.USUAL
            )
            answers.append(await self._respond(parent, request))
        material = ValidationMaterial(
            (certificate, issuing.issued.certificate, root.issued.certificate),
            tuple(answer.der for answer in answers),
            (await self.crl(ISSUING), await self.crl(ROOT)),
        )
        return material, min(answer.next_update for answer in answers) - LEAST

    async def _asked(self, request: revocation.StatusRequest) -> _Authority | None:
        """The authority that the CertID names."""
        for label in (ISSUING, ROOT):
            authority = await self._authority(label)
            if revocation.is_about(request, authority.certificate):
                return authority
        return None

    async def _respond(self, authority: _Authority, request: revocation.StatusRequest) -> Answer:
        if authority.responder is None:
            raise EvidenceUnavailable("the authority has no responder")
        return await self._responses.answer(authority.label, authority.responder, request)

    async def _publish(self, label: str) -> bytes:
        """A new CRL under the next number.

        The number is read before the revocations: whoever loses the race for it begins again and
        sees what the winner saw, so no later list can lack an earlier revocation.
        """
        authority = await self._authority(label)
        for _ in range(_PUBLISHING_ATTEMPTS):
            newest = await self._store.newest_list(label)
            number = newest[0] + 1 if newest else 1
            now = self._now().replace(microsecond=0)
            content = revocation.crl_content(
                authority.certificate,
                await self._store.revoked(label),
                number=number,
                this_update=now - SKEW,
                next_update=now + CRL_LIFETIME,
                linter=self._linter(),
            )
            await self._store.plan_list(label, number, content, self._now())
            encoded = sign_and_wrap(self._keystore, authority.issued.key, content)
            if await self._store.publish(label, number, encoded, now + CRL_LIFETIME):
                return encoded
        raise EvidenceUnavailable("other processes are publishing revocation lists all the time")

    async def _issue(
        self,
        role: Role,
        subject: x509.Name,
        algorithm: KeyAlgorithm,
        parent: str | None,
        account: str = "",
    ) -> Issued:
        issuer = await self._authority(parent) if parent else None
        key = self._keystore.generate(algorithm, _PURPOSES[role], account)
        serial = 1 << 128 | secrets.randbits(128)
        now = self._now().replace(microsecond=0)
        label = parent or ROOT
        await self._store.plan(serial, role, label, key, subject.rfc4514_string(), now)
        try:
            built = builder(
                PROFILES[role],
                subject=subject,
                public_key=self._keystore.public_key(key),
                serial=serial,
                issuer=issuer.certificate if issuer else None,
                issuer_label=label,
                urls=self._urls,
                policies=self._policies,
                not_before=now - SKEW,
            )
            encoded = issue(
                built,
                role,
                keystore=self._keystore,
                key=issuer.issued.key if issuer else key,
                linter=self._linter(),
            )
        except HashsealError:
            await self._store.void(serial)
            self._keystore.destroy(key)
            raise
        not_after = x509.load_der_x509_certificate(encoded).not_valid_after_utc
        await self._store.issued(serial, encoded, not_after, self._now())
        return Issued(serial, role, encoded, key, (encoded,), not_after)

    async def _with_chain(self, issued: Issued) -> Issued:
        root, issuing = await self._authority(ROOT), await self._authority(ISSUING)
        chain = (issued.certificate, issuing.issued.certificate, root.issued.certificate)
        return replace(issued, chain=chain)

    async def _authority(self, label: str) -> _Authority:
        if (known := self._authorities.get(label)) is not None:
            return known
        roles = {ROOT: Role.ROOT, ISSUING: Role.ISSUING}
        if label not in roles:
            raise NotFound("no such authority")
        found = await self._store.of_role(roles[label])
        if not found:
            raise NotFound("the authority has not been founded; run `hashseal-server init`")
        certificate = x509.load_der_x509_certificate(found[0].certificate)
        authority = _Authority(label, found[0], certificate)
        responder = await self._responder(label)
        if responder is not None:
            parsed = x509.load_der_x509_certificate(responder.certificate)
            authority = replace(authority, responder=Responder(parsed, responder.key, certificate))
            self._authorities[label] = authority
        return authority

    async def _responder(self, label: str) -> Issued | None:
        for candidate in await self._store.of_role(Role.RESPONDER):
            if await self._store.issuer_label(candidate.serial) == label:
                return candidate
        return None


def _authority_name(organisation: str, common_name: str, country: str) -> x509.Name:
    return x509.Name(
        [
            x509.NameAttribute(NameOID.COUNTRY_NAME, country),
            x509.NameAttribute(NameOID.ORGANIZATION_NAME, organisation),
            x509.NameAttribute(NameOID.COMMON_NAME, common_name),
        ]
    )
