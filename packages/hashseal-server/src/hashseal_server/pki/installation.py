"""The online side of an offline root: requests go out to a ceremony, what it made comes in.

Everything is checked before anything is used: that the root is the one that is here, that it
signed certificate and list, that the certificate is as its profile says, over a key made here.
"""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Protocol

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from hashseal_core.algorithms import KeyAlgorithm
from hashseal_core.errors import InputUnreadable, InvalidValue, NotFound, StorageUnavailable
from hashseal_server.keystore import verified
from hashseal_server.keystore.port import KeyStore
from hashseal_server.keystore.purpose import Purpose
from hashseal_server.pki.authorities import ISSUING, ROOT
from hashseal_server.pki.installation_store import Brought, BroughtList, Requested
from hashseal_server.pki.issuance import AUTHORITY_ALGORITHM, Linter
from hashseal_server.pki.model import Issued, Role
from hashseal_server.pki.profiles import Urls
from hashseal_server.pki.revocation import Revoked
from hashseal_server.pki.service import CertificateAuthority, authority_name, next_name

_CLOCKS = timedelta(minutes=10)
"""So far the clocks of two machines may be apart."""


class Store(Protocol):
    """See `hashseal_server.pki.installation_store`."""

    async def add(self, requested: Requested) -> None: ...
    async def open(self) -> list[Requested]: ...
    async def install(self, brought: Brought) -> bool: ...
    async def install_list(self, brought: BroughtList, at: datetime) -> bool: ...
    async def newest_list(self, issuer: str) -> tuple[int, bytes, datetime] | None: ...


class Installation:
    """What an operator does on the online side before and after a ceremony."""

    def __init__(
        self,
        *,
        store: Store,
        authority: CertificateAuthority,
        keystore: KeyStore,
        linter: Callable[[], Linter],
        base_url: str,
        now: Callable[[], datetime],
    ) -> None:
        self._store = store
        self._authority = authority
        self._keystore = keystore
        self._linter = linter
        self._urls = Urls(base_url.rstrip("/"))
        self._now = now

    async def request(self, *, test: bool, organisation: str, country: str) -> bytes:
        """The request for the next issuing authority, DER; the open one again if there is one.

        Raises:
            KeystoreUnavailable, FaultySignature, StorageUnavailable: there is none.
        """
        if waiting := await self._store.open():
            return waiting[0].der
        mark = " TEST" if test else ""
        subject = authority_name(organisation, f"Hashseal{mark} Issuing CA", country)
        label = await self._authority.next_label()
        if label != ISSUING:
            subject = next_name(subject, label)
        key = await asyncio.to_thread(self._keystore.generate, KeyAlgorithm.P256, Purpose.CA)
        encoded = await asyncio.to_thread(
            verified.certification_request,
            self._keystore,
            key,
            subject.public_bytes(),
            AUTHORITY_ALGORITHM,
        )
        await self._store.add(Requested(secrets.token_hex(16), key, encoded, self._now()))
        return encoded

    async def install(self, root: bytes, certificate: bytes, crl: bytes) -> Issued:
        """Put an issuing authority into use; it issues from now on.

        Raises:
            InputUnreadable: a file is not what it should be.
            InvalidValue: it does not fit what is here.
            LintFailed: it is not as its profile says.
            StorageUnavailable: nothing was installed.
        """
        top = self._root(root)
        known = (await self._authority.authorities.all(fresh=True)).get(ROOT)
        if known is not None and known.issued.certificate != root:
            raise InvalidValue("another root is here already", field="root")
        issued = self._issuing(certificate, top)
        requested = await self._requested(issued)
        listed = await self._list(crl, top)
        if listed.revokes(issued.serial_number):
            raise InvalidValue("the root's list says that it is revoked", field="certificate")
        brought = Brought(
            root=root,
            certificate=certificate,
            listed=listed,
            label=await self._authority.next_label(),
            requested=requested,
            at=self._now(),
        )
        if not await self._store.install(brought):
            raise InvalidValue("another process has installed it just now", field="certificate")
        await self._authority.complete()
        return await self._authority.find(issued.serial_number)

    async def install_list(self, crl: bytes) -> int:
        """Publish a newer list of the root; what it revokes is revoked here. Its number.

        Raises:
            InputUnreadable, InvalidValue, LintFailed: it is not the root's next list.
            NotFound: no root was installed.
            StorageUnavailable: it was not published.
        """
        known = await self._authority.authorities.get(ROOT)
        if known.signs:
            raise InvalidValue("the root is not offline: its lists are made here", field="crl")
        listed = await self._list(crl, known.certificate)
        if not await self._store.install_list(listed, self._now()):
            raise StorageUnavailable("another process has published a list just now")
        await self._authority.authorities.all(fresh=True)
        return listed.number

    def _root(self, octets: bytes) -> x509.Certificate:
        self._linter().certificate(octets, Role.ROOT)
        root = x509.load_der_x509_certificate(octets)
        if not _signed_by(root, root):
            raise InvalidValue("the root is not signed by itself", field="root")
        return root

    def _issuing(self, octets: bytes, root: x509.Certificate) -> x509.Certificate:
        self._linter().certificate(octets, Role.ISSUING, root)
        certificate = x509.load_der_x509_certificate(octets)
        if not _signed_by(certificate, root):
            raise InvalidValue("the root did not sign this certificate", field="certificate")
        begin, end = certificate.not_valid_before_utc, certificate.not_valid_after_utc
        if not begin - _CLOCKS <= self._now() < end:
            raise InvalidValue("the certificate is not valid now; look at the clocks")
        points = certificate.extensions.get_extension_for_class(x509.CRLDistributionPoints).value
        address = self._urls.crl(ROOT)
        if [name.value for name in points[0].full_name or []] != [address]:
            raise InvalidValue(
                f"the certificate does not name {address}: was `public_url` the same there?",
                field="certificate",
            )
        return certificate

    async def _requested(self, certificate: x509.Certificate) -> Requested:
        key = certificate.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
        for one in await self._store.open():
            asked = x509.load_der_x509_csr(one.der)
            spki = asked.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
            if spki != key:
                continue
            if asked.subject != certificate.subject:
                raise InvalidValue("the certificate has another name", field="certificate")
            if await asyncio.to_thread(self._keystore.public_key, one.key) != key:
                raise InvalidValue("the key store has another key", field="certificate")
            return one
        raise NotFound("no request from here waits for a certificate over that key")

    async def _list(self, octets: bytes, root: x509.Certificate) -> BroughtList:
        try:
            crl = x509.load_der_x509_crl(octets)
            number = crl.extensions.get_extension_for_class(x509.CRLNumber).value.crl_number
            key = root.public_key()
            usable = isinstance(key, ec.EllipticCurvePublicKey | rsa.RSAPublicKey)
            genuine = usable and crl.is_signature_valid(key)  # type: ignore[arg-type]
            entries = tuple(_revoked(one) for one in crl)
        except (ValueError, TypeError, x509.ExtensionNotFound) as error:
            raise InputUnreadable("this is not a revocation list") from error
        if not genuine or crl.issuer != root.subject:
            raise InvalidValue("the root did not sign this list", field="crl")
        self._linter().crl(octets)
        until = crl.next_update_utc
        if until is None or until <= self._now():
            raise InvalidValue("the list is over; hold a ceremony", field="crl")
        if crl.last_update_utc > self._now() + _CLOCKS:
            raise InvalidValue("the list begins in the future; look at the clocks", field="crl")
        listed = BroughtList(number, octets, until, entries)
        newest = await self._store.newest_list(ROOT)
        if newest is not None and newest[1] != octets:
            if number <= newest[0]:
                raise InvalidValue(f"a list with number {newest[0]} is here already", field="crl")
            if not all(listed.revokes(one.serial_number) for one in _entries(newest[1])):
                raise InvalidValue("the list lacks a revocation of the one before", field="crl")
        return listed


def _signed_by(certificate: x509.Certificate, issuer: x509.Certificate) -> bool:
    try:
        certificate.verify_directly_issued_by(issuer)
    except (ValueError, TypeError, InvalidSignature):
        return False
    return True


def _entries(crl: bytes) -> list[x509.RevokedCertificate]:
    return list(x509.load_der_x509_crl(crl))


def _revoked(entry: x509.RevokedCertificate) -> Revoked:
    try:
        reason = entry.extensions.get_extension_for_class(x509.CRLReason).value.reason
    except x509.ExtensionNotFound:
        reason = x509.ReasonFlags.unspecified
    return Revoked(entry.serial_number, entry.revocation_date_utc, reason.value)
