"""Every issuance: record the plan → build → lint → sign → verify → store.

What takes a processor or a signer's time is done in a thread; the event loop goes on meanwhile.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Protocol

from cryptography import x509

from hashseal_core.algorithms import KeyAlgorithm
from hashseal_core.errors import ConfigurationInvalid, HashsealError
from hashseal_server.keystore.port import KeyStore
from hashseal_server.keystore.purpose import Purpose
from hashseal_server.pki.authorities import ROOT, Authority, parsed
from hashseal_server.pki.issuance import Linter, issue, new_serial
from hashseal_server.pki.model import Issued, Planned, Role
from hashseal_server.pki.profiles import PROFILES, Policies, Urls, builder

SKEW = timedelta(minutes=5)
"""So much before now a certificate, list or response begins, for clocks that are behind."""
_PURPOSES = {
    Role.ROOT: Purpose.CA,
    Role.ISSUING: Purpose.CA,
    Role.RESPONDER: Purpose.OCSP,
    Role.TSU: Purpose.TSU,
    Role.SEAL: Purpose.SEAL,
    Role.PERSON: Purpose.SEAL,
    Role.RAW: Purpose.RAW,
}


class Store(Protocol):
    """See `hashseal_server.pki.store`."""

    async def plan(self, planned: Planned) -> None: ...
    async def void(self, serial: int) -> None: ...
    async def issued(self, serial: int, der: bytes, not_after: datetime, at: datetime) -> None: ...


@dataclass(frozen=True, slots=True)
class Order:
    """What is to be certified.

    Attributes:
        label: the new authority's own, if it is one.
        account: whose key is made.
        key: one that is there already; None has one made.
        public_key: of a key that is elsewhere, DER; there is no `key` then.
    """

    role: Role
    subject: x509.Name
    algorithm: KeyAlgorithm = KeyAlgorithm.P256
    label: str | None = None
    account: str = ""
    key: str | None = None
    public_key: bytes | None = None


class Issuer:
    """Issues in the name of authorities whose keys are in `keystore`."""

    def __init__(
        self,
        *,
        store: Store,
        keystore: KeyStore,
        linter: Callable[[], Linter],
        urls: Urls,
        policies: Policies,
        now: Callable[[], datetime],
    ) -> None:
        self._store = store
        self._keystore = keystore
        self._linter = linter
        self._urls = urls
        self._policies = policies
        self._now = now

    async def issue(self, order: Order, parent: Authority | None) -> Issued:
        """A certificate under `parent`, or self-signed; its chain holds it alone.

        Raises:
            ConfigurationInvalid: the authority is offline.
            InvalidValue, LintFailed, KeystoreUnavailable, FaultySignature, StorageUnavailable:
                nothing was issued; a key that was made for it is gone.
        """
        if parent is not None and not parent.signs:
            raise ConfigurationInvalid(f"the authority `{parent.label}` is offline")
        made_for_it = order.key is None and order.public_key is None
        key = order.key or ""
        if made_for_it:
            key = await asyncio.to_thread(
                self._keystore.generate, order.algorithm, _PURPOSES[order.role], order.account
            )
        serial, now = new_serial(), self._now().replace(microsecond=0)
        issuer = parent.label if parent else ROOT
        subject = order.subject.rfc4514_string()
        planned = Planned(serial, order.role, issuer, key, subject, now, order.label)
        recorded = False
        try:
            await self._store.plan(planned)
            recorded = True
            encoded = await asyncio.to_thread(self._sign, order, parent, planned)
        except HashsealError:
            if recorded:
                await self._store.void(serial)
            if made_for_it:
                await asyncio.to_thread(self._keystore.destroy, key)
            raise
        not_after = parsed(encoded).not_valid_after_utc
        await self._store.issued(serial, encoded, not_after, self._now())
        return Issued(
            serial, order.role, encoded, key, (encoded,), not_after,
            issuer=issuer, label=order.label or "",
        )  # fmt: skip

    def _sign(self, order: Order, parent: Authority | None, planned: Planned) -> bytes:
        certificate = parent.certificate if parent else None
        built = builder(
            PROFILES[order.role],
            subject=order.subject,
            public_key=order.public_key or self._keystore.public_key(planned.key),
            serial=planned.serial,
            issuer=certificate,
            issuer_label=planned.issuer,
            urls=self._urls,
            policies=self._policies,
            not_before=planned.at - SKEW,
            with_ocsp=parent is None or parent.responder is not None or parent.label != ROOT,
        )
        return issue(
            built,
            order.role,
            certificate,
            keystore=self._keystore,
            key=parent.issued.key if parent else planned.key,
            linter=self._linter(),
        )
