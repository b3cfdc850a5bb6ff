"""Where validation material comes from: our own authority, or that of an imported chain."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

from cryptography import x509

from hashseal_core.errors import EvidenceUnavailable, NotFound
from hashseal_core.evidence import ValidationMaterial
from hashseal_server.accounts.model import AccountId
from hashseal_server.seals.model import Seal
from hashseal_server.signing.evidence import Issued

_KNOWN = 10_000


class Authority(Protocol):
    """See `hashseal_server.pki.service`."""

    async def find(self, serial: int) -> Issued: ...
    async def material_for(self, certificate: bytes) -> ValidationMaterial: ...
    def forget(self, certificate: bytes) -> None: ...


class ForeignStatus(Protocol):
    """See `hashseal_server.pki.foreign_status`."""

    async def adopt(self, chain: Sequence[bytes]) -> None: ...
    async def material_for(self, chain: Sequence[bytes]) -> ValidationMaterial: ...
    async def recorded(self, serial: int) -> Sequence[tuple[bytes, ...]]: ...
    async def revoked_at(self, chain: Sequence[bytes]) -> datetime | None: ...
    def forget(self, certificate: bytes) -> None: ...


class Units(Protocol):
    """Units of timestamp authorities that are configured; see `hashseal_server.tsa.external`."""

    def chain_of(self, tsu_certificate: bytes) -> tuple[bytes, ...] | None: ...
    def chains_with(self, serial: int) -> Sequence[tuple[bytes, ...]]: ...
    def recognised(self, chain: Sequence[bytes]) -> tuple[bytes, ...] | None: ...


class ImportedSeals(Protocol):
    """See `hashseal_server.seals.store`."""

    async def imported(self, account_id: AccountId, serial: int) -> list[Seal]: ...
    async def chain_of(self, certificate: bytes) -> tuple[bytes, ...] | None: ...


@dataclass(frozen=True, slots=True)
class _Imported:
    """A certificate of another authority, as `Issued` is one of ours."""

    certificate: bytes
    chain: tuple[bytes, ...]
    revoked_at: datetime | None


class Sources:
    """Both of them; `units` are of the timestamp authorities that are configured, if there are any.

    Serial numbers are told apart by the certificate, never by the number alone.
    """

    def __init__(
        self,
        own: Authority,
        foreign: ForeignStatus,
        seals: ImportedSeals,
        units: Units | None = None,
    ) -> None:
        self._units = units
        self._own = own
        self._foreign = foreign
        self._seals = seals
        self._chains: dict[bytes, tuple[bytes, ...] | None] = {}

    async def find(self, serial: int) -> Issued:
        """A certificate of ours by its serial number.

        Raises:
            NotFound: never issued.
        """
        return await self._own.find(serial)

    async def named(self, account_id: AccountId, serial: int) -> Sequence[Issued]:
        """Every certificate with this serial number: ours, the account's imported ones, units.

        A unit that is no longer valid or trusted is not among them: nothing fresh is to be had.
        """
        found: list[Issued] = [
            _Imported(one.chain[0], one.chain, one.revoked_at)
            for one in await self._seals.imported(account_id, serial)
        ]
        with contextlib.suppress(NotFound):
            found.append(await self._own.find(serial))
        if self._units is not None:
            found += await self._named_units(self._units, serial)
        return found

    async def _named_units(self, units: Units, serial: int) -> Sequence[Issued]:
        known = dict.fromkeys((*units.chains_with(serial), *await self._foreign.recorded(serial)))
        chains = {chain[0]: chain for one in known if (chain := units.recognised(one)) is not None}
        return [
            _Imported(unit, chain, await self._foreign.revoked_at(chain))
            for unit, chain in chains.items()
        ]

    async def material_for(self, certificate: bytes) -> ValidationMaterial:
        """Validation material for one certificate (DER).

        Raises:
            EvidenceUnavailable: fresh status data cannot be had.
        """
        found = self._units.chain_of(certificate) if self._units is not None else None
        # A unit's authority may send another certificate of itself than before.
        if certificate not in self._chains or found not in {None, self._chains[certificate]}:
            if len(self._chains) >= _KNOWN:
                self._chains.clear()
            self._chains[certificate] = await self._chain(certificate)
        chain = self._chains[certificate]
        if chain is None:
            return await self._own.material_for(certificate)
        return await self._foreign.material_for(chain)

    def is_own(self, certificate: bytes) -> bool:
        """Our own authority gave the material for it."""
        return self._chains.get(certificate, ()) is None

    def forget(self, certificate: bytes) -> None:
        """Look again before material for this certificate (DER) is given."""
        self._foreign.forget(certificate)
        self._own.forget(certificate)

    async def _chain(self, certificate: bytes) -> tuple[bytes, ...] | None:
        """The chain of an imported certificate; None for one of ours, which stays so for ever.

        Raises:
            EvidenceUnavailable: neither; it may be imported a moment later, so nothing is kept.
        """
        serial = x509.load_der_x509_certificate(certificate).serial_number
        with contextlib.suppress(NotFound):
            if (await self._own.find(serial)).certificate == certificate:
                return None
        chain = await self._seals.chain_of(certificate)
        if chain is None and self._units is not None:
            chain = self._units.chain_of(certificate)
            if chain is not None:
                await self._foreign.adopt(chain)
        if chain is None:
            raise EvidenceUnavailable("this certificate is neither ours nor imported")
        return chain
