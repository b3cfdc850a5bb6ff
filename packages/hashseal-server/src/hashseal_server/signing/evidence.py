"""Validation material for answers: complete, assessed and encoded once while it is the same."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Sequence
from datetime import datetime
from typing import Protocol

import msgspec
from cryptography import x509

from hashseal_core import evidence, protocol
from hashseal_core.errors import EvidenceInvalid, EvidenceUnavailable
from hashseal_core.evidence import ValidationMaterial
from hashseal_core.genuine import issued_here
from hashseal_server.accounts.model import AccountId
from hashseal_server.infra.bounded import Bounded
from hashseal_server.signing.model import ValidationSet

_HELD = 64 * 1024 * 1024
"""Octets of material that is held assessed and encoded; a list of revocations may have 4 MiB."""


class Issued(Protocol):
    """A certificate that is known here, DER, with its chain."""

    @property
    def certificate(self) -> bytes: ...
    @property
    def chain(self) -> tuple[bytes, ...]: ...
    @property
    def revoked_at(self) -> datetime | None: ...


class EvidenceSource(Protocol):
    """See `hashseal_server.signing.sources`."""

    async def find(self, serial: int) -> Issued: ...
    async def named(self, account_id: AccountId, serial: int) -> Sequence[Issued]: ...
    async def material_for(self, certificate: bytes) -> ValidationMaterial: ...
    def is_own(self, certificate: bytes) -> bool: ...
    def forget(self, certificate: bytes) -> None: ...


class Evidence:
    """What answers say about certificates."""

    def __init__(self, source: EvidenceSource, now: Callable[[], datetime]) -> None:
        self._source = source
        self._now = now
        self._assessed: Bounded[
            tuple[bytes, ...], tuple[list[ValidationMaterial], ValidationSet]
        ] = Bounded(_HELD)

    async def find(self, serial: int) -> Issued:
        """A certificate by its serial number.

        Raises:
            NotFound: never issued.
        """
        return await self._source.find(serial)

    def forget(self, certificates: Iterable[bytes]) -> None:
        """Look again before anything is said of these (DER): they were revoked elsewhere."""
        for certificate in certificates:
            self._source.forget(certificate)

    async def complete(self, leaves: Sequence[bytes], *, hold: bool = True) -> ValidationSet:
        """Complete material for these certificates, DER.

        What is complete for the same material stays so until its end: it is assessed once, if it
        is worth holding. Sets that callers choose are not: there are too many.

        Raises:
            EvidenceUnavailable: fresh status data cannot be made now.
        """
        materials, own = [], []
        for leaf in leaves:
            materials.append(await self._source.material_for(leaf))
            if self._source.is_own(leaf):
                own.append(materials[-1])
        known = self._assessed.get(tuple(leaves))
        if known is not None:
            same = all(old is new for old, new in zip(known[0], materials, strict=True))
            if same and self._now() < known[1].valid_until:
                return known[1]
        made = self._assess(leaves, evidence.merge(*materials), _vouchers(leaves, own))
        if hold:
            parts = [one for each in materials for part in _parts(each) for one in part]
            self._assessed.put(tuple(leaves), (materials, made), [made.content, *parts])
        return made

    def _assess(
        self, leaves: Sequence[bytes], material: ValidationMaterial, serials: tuple[int, ...]
    ) -> ValidationSet:
        try:
            valid_until = evidence.require_complete(leaves, material, at=self._now())
        except EvidenceInvalid as error:
            raise EvidenceUnavailable(error.detail) from error
        # Responses may bring along certificates of authorities that are not at hand.
        inside = evidence.certificates_of(material.ocsp_responses)
        responders = issued_here(inside, material.certificates)
        certificates = dict.fromkeys((*material.certificates, *responders))
        content = msgspec.json.encode(
            protocol.Validation(
                certificates=list(certificates),
                ocsp_responses=list(material.ocsp_responses),
                crls=list(material.crls),
                valid_until=valid_until,
            )
        )
        named = tuple(hashlib.sha256(one).hexdigest() for one in certificates)
        digest = hashlib.sha256(content).digest()
        return ValidationSet(content, digest, valid_until, named, serials)

    async def collect(
        self, account_id: AccountId, serials: Sequence[str]
    ) -> protocol.CollectedValidation:
        """Material for certificates that signed before, by serial number (decimal).

        Several certificates may have one number, of different authorities: all of them are meant.

        Raises:
            EvidenceUnavailable: fresh status data cannot be made now.
        """
        leaves: list[bytes] = []
        unknown, revoked = [], []
        for serial in dict.fromkeys(serials):
            found = await self._source.named(account_id, int(serial))
            good = [one.certificate for one in found if one.revoked_at is None]
            leaves += good
            if not found:
                unknown.append(serial)
            elif not good:
                revoked.append(serial)
        material = None
        if leaves:
            made = await self.complete(leaves, hold=False)
            for voucher in made.serials:
                if (await self._source.find(voucher)).revoked_at is not None:
                    self.forget(leaves)
                    return await self.collect(account_id, serials)
            material = msgspec.json.decode(made.content, type=protocol.Validation)
        for serial in serials:  # the material may be older than a revocation (I11)
            for one in await self._source.named(account_id, int(serial)):
                if one.revoked_at is not None and one.certificate in leaves:
                    return await self.collect(account_id, serials)
        return protocol.CollectedValidation(unknown, revoked, material)


def _vouchers(leaves: Sequence[bytes], own: Sequence[ValidationMaterial]) -> tuple[int, ...]:
    """Serial numbers of our own authorities and responders in this material."""
    material = evidence.merge(*own)
    responders = evidence.certificates_of(material.ocsp_responses)
    others = dict.fromkeys((*material.certificates, *responders))
    return tuple(
        x509.load_der_x509_certificate(one).serial_number for one in others if one not in leaves
    )


def _parts(material: ValidationMaterial) -> tuple[Sequence[bytes], ...]:
    return material.certificates, material.ocsp_responses, material.crls
