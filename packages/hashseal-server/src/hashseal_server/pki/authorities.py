"""The authorities: the root, and issuing authorities that follow one another, each with a label.

The label stands in the addresses of list and issuer certificate, so it never changes: `root`,
`issuing`, `issuing-2`, … The newest issues; the earlier ones go on saying what became of what they
issued. An authority without a key here is offline, as a root is that signs in ceremonies only.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from functools import lru_cache
from typing import Protocol

from cryptography import x509

from hashseal_core.errors import NotFound
from hashseal_server.pki.model import Issued, Role
from hashseal_server.pki.status import Responder

ROOT, ISSUING = "root", "issuing"


class Store(Protocol):
    """See `hashseal_server.pki.store`."""

    async def authorities(self) -> list[Issued]: ...


@dataclass(frozen=True, slots=True)
class Authority:
    """One authority; `responder` is its newest delegated OCSP responder that is valid."""

    label: str
    issued: Issued
    certificate: x509.Certificate
    responder: Responder | None = None

    @property
    def signs(self) -> bool:
        """Its key is here."""
        return bool(self.issued.key)


class Authorities:
    """What is known of the authorities; read again when somebody says that there is more."""

    def __init__(self, store: Store, now: Callable[[], datetime]) -> None:
        self._store = store
        self._now = now
        self._known: Mapping[str, Authority] = {}
        self._reading = asyncio.Lock()

    async def all(self, *, fresh: bool = False) -> Mapping[str, Authority]:
        """All of them by label, the root first, then the issuing ones from the oldest."""
        if self._known and not fresh:
            return self._known
        async with self._reading:
            self._known = _arranged(await self._store.authorities(), self._now())
        return self._known

    async def get(self, label: str) -> Authority:
        """The authority of this label.

        Raises:
            NotFound: there is none.
        """
        found = (await self.all()).get(label) or (await self.all(fresh=True)).get(label)
        if found is None and label in {ROOT, ISSUING}:
            raise NotFound("the authority has not been founded; run `hashseal-server init`")
        if found is None:
            raise NotFound("no such authority")
        return found

    async def issuing(self) -> Authority:
        """The authority that issues now: the newest that is neither revoked nor over.

        Raises:
            NotFound: there is none.
        """
        for authority in reversed(list((await self.all(fresh=True)).values())):
            usable = authority.issued.revoked_at is None and authority.signs
            if authority.label != ROOT and usable and authority.issued.not_after > self._now():
                return authority
        raise NotFound("no authority can issue; run `hashseal-server init` or `pki renew-issuing`")

    async def responder(self, label: str, serial: int | None) -> Responder | None:
        """The responder of an authority, of which the database says that its newest is `serial`."""
        authority = await self.get(label)
        if (authority.responder.serial if authority.responder else None) != serial:
            authority = (await self.all(fresh=True))[label]
        return authority.responder

    async def chain_of(self, issued: Issued) -> tuple[bytes, ...]:
        """The certificate, then the authorities above it, the root last; DER."""
        chain, label = [issued.certificate], issued.issuer
        while True:
            authority = await self.get(label)
            if authority.issued.certificate != chain[-1]:
                chain.append(authority.issued.certificate)
            if label == ROOT:
                return tuple(chain)
            label = authority.issued.issuer


def _arranged(rows: list[Issued], now: datetime) -> Mapping[str, Authority]:
    """Authorities in the order in which they were made, each with its newest valid responder."""
    found: dict[str, Authority] = {}
    for row in rows:
        if row.role is Role.RESPONDER:
            continue
        label = row.label or row.role.value
        if row.revoked_at is None or label not in found:
            found[label] = Authority(label, row, parsed(row.certificate))
    for row in rows:
        authority = found.get(row.issuer)
        valid = row.revoked_at is None and row.not_after > now
        if row.role is Role.RESPONDER and valid and authority is not None:
            responder = Responder(parsed(row.certificate), row.key, authority.certificate)
            found[row.issuer] = Authority(
                authority.label, authority.issued, authority.certificate, responder
            )
    return found


@lru_cache(maxsize=64)
def parsed(certificate: bytes) -> x509.Certificate:
    """A certificate from its DER; those of authorities are read again and again."""
    return x509.load_der_x509_certificate(certificate)
