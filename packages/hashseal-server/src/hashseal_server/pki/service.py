"""The certificate authority: founds itself, issues, renews, revokes, and keeps status data fresh.

Root → issuing authority → {seal, person, TSU}; each authority whose key is here has a delegated
OCSP responder that is replaced long before it ends. A revocation is final.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Literal, Protocol

from cryptography import x509
from cryptography.x509 import ocsp
from cryptography.x509.oid import NameOID

from hashseal_core.algorithms import KeyAlgorithm
from hashseal_core.errors import (
    ConfigurationInvalid,
    EvidenceUnavailable,
    HashsealError,
    InvalidValue,
    MalformedRequest,
    NotFound,
)
from hashseal_core.evidence import ValidationMaterial
from hashseal_server.keystore.port import KeyStore
from hashseal_server.pki import issuer, lists, revocation
from hashseal_server.pki import status as statuses
from hashseal_server.pki.authorities import ISSUING, ROOT, Authorities, Authority, parsed
from hashseal_server.pki.issuance import Linter
from hashseal_server.pki.issuer import Issuer, Order
from hashseal_server.pki.lists import Lists
from hashseal_server.pki.model import Issued, LegalPerson, NaturalPerson, Role
from hashseal_server.pki.profiles import PROFILES, Policies, Urls
from hashseal_server.pki.responses import LEAST, Answer, Responses
from hashseal_server.pki.revocation import Revoked

RESPONDER_RENEWED = timedelta(days=90)
"""A responder that ends in less is followed by another."""
_WORTH = timedelta(days=1)
"""A new responder lasts so much longer at least, or none is made: its authority ends too."""


class Store(issuer.Store, lists.Store, Protocol):
    """What the authority keeps; see `hashseal_server.pki.store`."""

    async def revoke(self, revoked: Revoked, *, answered_by: str | None = None) -> bool: ...
    async def of_role(self, role: Role) -> list[Issued]: ...
    async def find(self, serial: int) -> Issued | None: ...
    async def authorities(self) -> list[Issued]: ...
    async def labels(self) -> list[str]: ...


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
        list_lifetime: timedelta = lists.LIFETIME,
    ) -> None:
        self._store = store
        self._responses = responses
        self._now = now
        self.authorities = Authorities(store, now)
        urls = Urls(base_url.rstrip("/"))
        self._issuer = Issuer(
            store=store, keystore=keystore, linter=linter, urls=urls, policies=policies, now=now
        )
        self._lists = Lists(
            store=store,
            authorities=self.authorities,
            keystore=keystore,
            linter=linter,
            now=now,
            lifetime=list_lifetime,
        )
        self._material: dict[bytes, tuple[datetime, ValidationMaterial]] = {}
        self._gathering = asyncio.Lock()

    async def found(
        self,
        *,
        test: bool,
        organisation: str,
        country: str,
        root: Literal["online", "offline"] = "online",
    ) -> None:
        """Make root, issuing authority, responders and first CRLs; what exists stays.

        Raises:
            ConfigurationInvalid: the root is offline, and no issuing authority was installed.
        """
        mark = " TEST" if test else ""
        known = await self.authorities.all(fresh=True)
        if root == "offline" and not any(label != ROOT for label in known):
            raise ConfigurationInvalid(
                "the root is offline: `hashseal-server pki request-issuing`, hold a ceremony, then "
                "`hashseal-server pki install-issuing`",
                field="root",
            )
        if ROOT not in known:
            subject = authority_name(organisation, f"Hashseal{mark} Root CA", country)
            await self._issuer.issue(Order(Role.ROOT, subject, label=ROOT), None)
            await self.complete()
        if not any(label != ROOT for label in known):
            subject = authority_name(organisation, f"Hashseal{mark} Issuing CA", country)
            top = await self.authorities.get(ROOT)
            label = await self.next_label()
            await self._issuer.issue(Order(Role.ISSUING, subject, label=label), top)
        await self.complete()

    async def found_root(self, subject: x509.Name) -> Issued:
        """The root alone, as a ceremony makes it; its first list is still to be published."""
        return await self._issuer.issue(Order(Role.ROOT, subject, label=ROOT), None)

    async def certify_issuing(self, subject: x509.Name, public_key: bytes) -> Issued:
        """A certificate for an issuing authority whose key, DER, is elsewhere."""
        top = await self.authorities.get(ROOT)
        order = Order(Role.ISSUING, subject, label=await self.next_label(), public_key=public_key)
        return await self._with_chain(await self._issuer.issue(order, top))

    async def renew_issuing(self) -> Issued:
        """An issuing authority with a new key and a name of its own, which issues from now on.

        The earlier ones keep responder and list until they end.

        Raises:
            ConfigurationInvalid: the root is offline.
            LintFailed, KeystoreUnavailable, FaultySignature, StorageUnavailable: nothing is new.
        """
        top, now_issuing = await self.authorities.get(ROOT), await self.authorities.issuing()
        if not top.signs:
            raise ConfigurationInvalid(
                "the root is offline: `hashseal-server pki request-issuing` and a ceremony",
                field="root",
            )
        label = await self.next_label()
        subject = next_name(now_issuing.certificate.subject, label)
        made = await self._issuer.issue(Order(Role.ISSUING, subject, label=label), top)
        await self.complete()
        return await self._with_chain(made)

    async def next_label(self) -> str:
        """`issuing`, then `issuing-2` and so on; never one that was taken."""
        taken = [label for label in await self._store.labels() if label.startswith(ISSUING)]
        numbers = [int(label.removeprefix(ISSUING).removeprefix("-") or 1) for label in taken]
        number = max(numbers, default=0) + 1
        return ISSUING if number == 1 else f"{ISSUING}-{number}"

    async def complete(self) -> None:
        """Responder and first list for every authority that has none."""
        await self.renew_responders()
        for label, authority in (await self.authorities.all(fresh=True)).items():
            if authority.signs and await self._store.newest_list(label) is None:
                await self._lists.publish(authority)

    async def renew_responders(self) -> list[Issued]:
        """Follow every responder that has less than 90 days left by one with a new key.

        What an earlier one said stays verifiable: it carries its own certificate. An authority that
        is over has none.

        Raises:
            LintFailed, KeystoreUnavailable, FaultySignature, StorageUnavailable: some are not new.
        """
        made = []
        for authority in (await self.authorities.all(fresh=True)).values():
            ends, now = authority.certificate.not_valid_after_utc, self._now()
            if not authority.signs or ends <= now:
                continue
            before = authority.responder
            if before is not None:
                until = before.certificate.not_valid_after_utc
                would = min(ends, now + PROFILES[Role.RESPONDER].lifetime)
                if until - now >= RESPONDER_RENEWED or would - until < _WORTH:
                    continue
            order = Order(Role.RESPONDER, _responder_name(authority))
            made.append(await self._issuer.issue(order, authority))
        if made:
            await self.authorities.all(fresh=True)
            self._material.clear()
        return made

    async def trust_anchor(self) -> bytes:
        """The root certificate, DER.

        Raises:
            NotFound: the authority has not been founded.
        """
        return (await self.authorities.get(ROOT)).issued.certificate

    async def issue_signing(
        self,
        subject: LegalPerson | NaturalPerson,
        *,
        algorithm: KeyAlgorithm,
        account: str = "",
        raw: bool = False,
    ) -> Issued:
        """A certificate for signing documents, or `raw` digests, with a new key of the account's.

        Raises:
            InvalidValue: the subject or the algorithm is not allowed.
            LintFailed, KeystoreUnavailable, FaultySignature, StorageUnavailable: nothing issued.
        """
        if algorithm is KeyAlgorithm.RSA2048:
            raise InvalidValue("RSA-2048 is for imported certificates only", field="algorithm")
        role = Role.RAW if raw else subject.role
        return await self._issue(Order(role, subject.name(), algorithm, account=account))

    async def issue_again(
        self, before: Issued, *, algorithm: KeyAlgorithm, account: str, same_key: bool
    ) -> Issued:
        """A certificate for the same subject, with the same key or a new one.

        Raises:
            LintFailed, KeystoreUnavailable, FaultySignature, StorageUnavailable: nothing issued.
        """
        subject = parsed(before.certificate).subject
        key = before.key if same_key else None
        return await self._issue(Order(before.role, subject, algorithm, account=account, key=key))

    async def issue_tsu(self, name: str, organisation: str, country: str) -> Issued:
        """A certificate for a timestamping unit, with a new key."""
        return await self._issue(Order(Role.TSU, authority_name(organisation, name, country)))

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

    async def revoke(
        self, serial: int, reason: str, *, at: datetime, invalid_since: datetime | None = None
    ) -> None:
        """Revoke for good; CRL and OCSP say so from now on.

        A responder that is revoked is followed by another at once.

        Raises:
            InvalidValue: no such reason for it, or a suspension; or it is a root.
            NotFound: never issued, or revoked already.
            ConfigurationInvalid: the authority that issued it is offline.
        """
        found = await self._store.find(serial)
        if found is None:
            raise NotFound("no certificate with that serial number was issued")
        flag = revocation.require_reason(reason, found.role)
        if found.role is Role.ROOT:
            raise InvalidValue("nobody can revoke a root; tell those who trust it", field="serial")
        at = at.replace(microsecond=0)  # as CRL and OCSP write it (RFC 5280, 4.1.2.5.2)
        if invalid_since is not None:
            began = parsed(found.certificate).not_valid_before_utc
            revocation.require_invalidity(invalid_since, flag, issued_at=began, at=at)
        above = await self.authorities.get(found.issuer)
        if not above.signs:
            raise ConfigurationInvalid(
                "the root is offline: `hashseal-server pki ceremony --revoke`, then "
                "`pki install-list`"
            )
        speaks = found.issuer if found.role is Role.RESPONDER else None
        entry = Revoked(serial, at, flag.value, invalid_since)
        if not await self._store.revoke(entry, answered_by=speaks):
            raise NotFound("no valid certificate with that serial number: a revocation is final")
        self._material.clear()
        await self.authorities.all(fresh=True)
        await self._lists.publish(above, naming=serial)
        if speaks is not None:
            await self.renew_responders()

    async def labels(self) -> list[str]:
        """The labels of all authorities, root first."""
        return list(await self.authorities.all(fresh=True))

    async def crl(self, label: str) -> bytes:
        """The newest CRL of an authority, DER; see `Lists.current`.

        Raises:
            NotFound: no such authority.
            EvidenceUnavailable: it is offline, and its list was never brought here.
            LintFailed, FaultySignature, KeystoreUnavailable, StorageUnavailable: the newest is
                over, and there is no other.
        """
        return await self._lists.current(label)

    async def renew_crl(self, label: str) -> None:
        """Publish a new CRL if it is time; see `Lists.renew`.

        Raises:
            LintFailed, FaultySignature, KeystoreUnavailable, StorageUnavailable: not published.
        """
        await self._lists.renew(label)

    async def publish(self, label: str, *, above: int = 0) -> bytes:
        """Publish a new CRL now, with a number larger than that of each before, and than `above`.

        Raises:
            NotFound, ConfigurationInvalid: no such authority, or it is offline.
            InvalidValue: `above` is more than a year ahead of the clock.
            LintFailed, FaultySignature, KeystoreUnavailable, StorageUnavailable: not published.
        """
        return await self._lists.publish(await self.authorities.get(label), above=above)

    async def renew_responses(self, ended: str | None) -> str | None:
        """Renew a batch of pre-produced OCSP responses; where the next begins, None at the end.

        Raises:
            FaultySignature, KeystoreUnavailable, StorageUnavailable: the batch is not there.
        """
        known = (await self.authorities.all(fresh=True)).items()
        responders = {label: one.responder for label, one in known if one.responder is not None}
        return await self._responses.renew(responders, ended)

    async def issuer_certificate(self, label: str) -> bytes:
        """An authority's certificate, DER.

        Raises:
            NotFound: no such authority.
        """
        return (await self.authorities.get(label)).issued.certificate

    async def ends(self) -> list[tuple[str, datetime]]:
        """When what is in use ends: authorities, responders, units and newest CRLs."""
        known = await self.authorities.all(fresh=True)
        newest = {(ROOT if label == ROOT else ISSUING): one for label, one in known.items()}
        found = [(f"{kind}-1", one.issued.not_after) for kind, one in newest.items()]
        for number, unit in enumerate(await self._store.of_role(Role.TSU), 1):
            found.append((f"tsu-{number}", unit.not_after))
        for label, one in known.items():
            if one.issued.not_after <= self._now():
                continue  # what is over needs no responder and no list
            if one.responder is not None:
                found.append((f"responder-{label}", one.responder.certificate.not_valid_after_utc))
            listed = await self._store.newest_list(label)
            if listed is not None:
                found.append((f"crl-{label}", listed[2]))
        return found

    async def offline_list_ends(self) -> datetime | None:
        """When the newest list of an offline root ends; None when its key is here."""
        top = (await self.authorities.all()).get(ROOT)
        if top is None or top.signs:
            return None
        newest = await self._store.newest_list(ROOT)
        return newest[2] if newest else self._now()

    async def ocsp(self, request_der: bytes) -> bytes:
        """Answer an OCSPRequest; errors are answers too (RFC 6960, 2.3)."""
        return (await self.status(request_der))[0]

    async def status(self, request_der: bytes) -> tuple[bytes, Answer | None]:
        """Answer an OCSPRequest; with what caches must know, if others get the same answer."""
        try:
            request = statuses.parse_request(request_der)
            label = await self._asked(request)
            answer = await self._respond(label, request) if label is not None else None
        except MalformedRequest:
            return statuses.ocsp_refusal(ocsp.OCSPResponseStatus.MALFORMED_REQUEST), None
        except HashsealError:
            return statuses.ocsp_refusal(ocsp.OCSPResponseStatus.TRY_LATER), None
        if answer is None:
            return statuses.ocsp_refusal(ocsp.OCSPResponseStatus.UNAUTHORIZED), None
        return answer.der, answer if answer.kept else None

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

    def forget(self, certificate: bytes) -> None:
        """Look at the database again before material for this certificate (DER) is given."""
        self._material.pop(certificate, None)

    def _kept(self, certificate: bytes) -> ValidationMaterial | None:
        until, material = self._material.get(certificate, (None, None))
        return material if until is not None and self._now() < until else None

    async def _gather(self, certificate: bytes) -> tuple[ValidationMaterial, datetime]:
        """The material, and until when it may be given."""
        child = await self.find(parsed(certificate).serial_number)
        chain, answers, crls = child.chain, [], []
        while True:
            above = await self.authorities.get(child.issuer)
            request = statuses.request_for(child.serial, above.certificate, statuses.USUAL)
            answer = await self._respond(above.label, request)
            if answer is not None:
                answers.append(answer)
            crls.append(await self.crl(above.label))
            if above.label == ROOT:
                break
            child = above.issued
        ends = [answer.next_update - LEAST for answer in answers]
        ends += [x509.load_der_x509_crl(crl).next_update_utc or self._now() for crl in crls]
        material = ValidationMaterial(
            (certificate, *chain[1:]), tuple(answer.der for answer in answers), tuple(crls)
        )
        return material, min(ends)

    async def _asked(self, request: statuses.StatusRequest) -> str | None:
        """The authority that every CertID names."""
        for fresh in (False, True):
            for label, authority in (await self.authorities.all(fresh=fresh)).items():
                if all(statuses.is_about(one, authority.certificate) for one in request.asked):
                    return label
        return None

    async def _respond(self, label: str, request: statuses.StatusRequest) -> Answer | None:
        """The answer; None from an authority that has no responder, as an offline one."""

        async def choose(serial: int | None) -> statuses.Responder | None:
            return await self.authorities.responder(label, serial)

        return await self._responses.answer(label, choose, request)

    async def _issue(self, order: Order) -> Issued:
        return await self._with_chain(
            await self._issuer.issue(order, await self.authorities.issuing())
        )

    async def _with_chain(self, issued: Issued) -> Issued:
        return replace(issued, chain=await self.authorities.chain_of(issued))


def authority_name(organisation: str, common_name: str, country: str) -> x509.Name:
    """The name of an authority, a responder or a unit."""
    return x509.Name(
        [
            x509.NameAttribute(NameOID.COUNTRY_NAME, country),
            x509.NameAttribute(NameOID.ORGANIZATION_NAME, organisation),
            x509.NameAttribute(NameOID.COMMON_NAME, common_name),
        ]
    )


def next_name(before: x509.Name, label: str) -> x509.Name:
    """The name of the authority that follows: the same with the number of its label."""
    common, number = _text(before, NameOID.COMMON_NAME), label.removeprefix(f"{ISSUING}-")
    words = common.split(" ")
    if words[-1].isdigit():
        words.pop()
    return authority_name(
        _text(before, NameOID.ORGANIZATION_NAME),
        " ".join([*words, number]),
        _text(before, NameOID.COUNTRY_NAME),
    )


def _responder_name(authority: Authority) -> x509.Name:
    subject = authority.certificate.subject
    mark = " TEST" if "TEST" in _text(subject, NameOID.COMMON_NAME).split() else ""
    return authority_name(
        _text(subject, NameOID.ORGANIZATION_NAME),
        f"Hashseal{mark} OCSP {authority.label}",
        _text(subject, NameOID.COUNTRY_NAME),
    )


def _text(name: x509.Name, kind: x509.ObjectIdentifier) -> str:
    value = name.get_attributes_for_oid(kind)[0].value
    return value if isinstance(value, str) else value.decode()
