"""Validation material for answers: complete, assessed and encoded once while it is the same."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from datetime import datetime
from typing import Protocol

import msgspec

from hashseal_core import evidence, protocol
from hashseal_core.errors import EvidenceInvalid, EvidenceUnavailable, NotFound
from hashseal_core.evidence import ValidationMaterial
from hashseal_server.signing.model import ValidationSet

_ASSESSED = 1_000


class Issued(Protocol):
    """A certificate that is known here, DER, with its chain."""

    @property
    def certificate(self) -> bytes: ...
    @property
    def chain(self) -> tuple[bytes, ...]: ...
    @property
    def revoked_at(self) -> datetime | None: ...


class EvidenceSource(Protocol):
    """See `hashseal_server.pki.service`."""

    async def find(self, serial: int) -> Issued: ...
    async def material_for(self, certificate: bytes) -> ValidationMaterial: ...


class Evidence:
    """What answers say about certificates."""

    def __init__(self, source: EvidenceSource, now: Callable[[], datetime]) -> None:
        self._source = source
        self._now = now
        self._assessed: dict[tuple[bytes, ...], tuple[list[ValidationMaterial], ValidationSet]] = {}

    async def find(self, serial: int) -> Issued:
        """A certificate by its serial number.

        Raises:
            NotFound: never issued.
        """
        return await self._source.find(serial)

    async def complete(self, leaves: Sequence[bytes]) -> ValidationSet:
        """Complete material for these certificates, DER.

        What is complete for the same material stays so until its end: it is assessed once.

        Raises:
            EvidenceUnavailable: fresh status data cannot be made now.
        """
        materials = [await self._source.material_for(leaf) for leaf in leaves]
        known = self._assessed.get(tuple(leaves))
        if known is not None:
            same = all(old is new for old, new in zip(known[0], materials, strict=True))
            if same and self._now() < known[1].valid_until:
                return known[1]
        made = self._assess(leaves, evidence.merge(*materials))
        if len(self._assessed) >= _ASSESSED:
            self._assessed.clear()
        self._assessed[tuple(leaves)] = materials, made
        return made

    def _assess(self, leaves: Sequence[bytes], material: ValidationMaterial) -> ValidationSet:
        try:
            valid_until = evidence.require_complete(leaves, material, at=self._now())
        except EvidenceInvalid as error:
            raise EvidenceUnavailable(error.detail) from error
        responders = evidence.certificates_of(material.ocsp_responses)
        certificates = dict.fromkeys((*material.certificates, *responders))
        content = msgspec.json.encode(
            protocol.Validation(
                certificates=list(certificates),
                ocsp_responses=list(material.ocsp_responses),
                crls=list(material.crls),
                valid_until=valid_until,
            )
        )
        return ValidationSet(content, hashlib.sha256(content).digest(), valid_until)

    async def collect(self, serials: Sequence[str]) -> protocol.CollectedValidation:
        """Material for certificates that signed before, by serial number (decimal).

        Raises:
            EvidenceUnavailable: fresh status data cannot be made now.
        """
        leaves: list[bytes] = []
        unknown, revoked = [], []
        for serial in dict.fromkeys(serials):
            try:
                found = await self._source.find(int(serial))
            except NotFound:
                unknown.append(serial)
                continue
            if found.revoked_at is not None:
                revoked.append(serial)
            else:
                leaves.append(found.certificate)
        material = None
        if leaves:
            content = (await self.complete(leaves)).content
            material = msgspec.json.decode(content, type=protocol.Validation)
        for serial in serials:  # the material may be older than a revocation (I11)
            if serial not in {*unknown, *revoked}:
                found = await self._source.find(int(serial))
                if found.revoked_at is not None:
                    return await self.collect(serials)
        return protocol.CollectedValidation(unknown, revoked, material)
