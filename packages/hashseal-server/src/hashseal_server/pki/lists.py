"""Revocation lists of the authorities: numbered upwards, published on schedule and at once."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Protocol

from cryptography import x509

from hashseal_core.errors import (
    ConfigurationInvalid,
    EvidenceUnavailable,
    HashsealError,
    InvalidValue,
)
from hashseal_server.keystore.port import KeyStore
from hashseal_server.pki.authorities import Authorities, Authority
from hashseal_server.pki.issuance import Linter, sign_and_wrap
from hashseal_server.pki.issuer import SKEW
from hashseal_server.pki.revocation import Revoked, crl_content

LIFETIME = timedelta(days=7)
LEAST = timedelta(minutes=1)
"""What lasts no longer than this is not given in place of a new one."""
_PAUSE = timedelta(seconds=15)
"""After a failure `current` does not try again for so long, while there is one to give."""
_ATTEMPTS = 8
_NUMBERED_SINCE = datetime(2025, 1, 1, tzinfo=UTC)
"""A list's number is at least that of the seconds since then; 31 bits, until 2093."""
_FARTHEST = timedelta(days=366)
"""So far ahead of the clock nobody may set the numbers: they would be used up."""


class Store(Protocol):
    """See `hashseal_server.pki.store`."""

    async def revoked(self, issuer: str) -> list[Revoked]: ...
    async def newest_list(self, issuer: str) -> tuple[int, bytes, datetime] | None: ...
    async def plan_list(self, issuer: str, number: int, content: bytes, at: datetime) -> None: ...
    async def publish(
        self, issuer: str, number: int, der: bytes, next_update: datetime, *, after: int | None
    ) -> bool: ...


class Lists:
    """The lists of all authorities; those of an offline one are made in ceremonies.

    `lifetime` is what a list lives that is made here. At half of it a job makes the next one;
    whoever wants a list has one made only in the last quarter, when the job did not.
    """

    def __init__(
        self,
        *,
        store: Store,
        authorities: Authorities,
        keystore: KeyStore,
        linter: Callable[[], Linter],
        now: Callable[[], datetime],
        lifetime: timedelta = LIFETIME,
    ) -> None:
        self._store = store
        self._authorities = authorities
        self._keystore = keystore
        self._linter = linter
        self._now = now
        self._lifetime = lifetime
        self._making: dict[str, asyncio.Lock] = {}
        self._not_before: dict[str, datetime] = {}

    async def current(self, label: str) -> bytes:
        """The newest list, DER; a new one if it is in its last quarter and can be made here.

        Anybody may ask: while one is being made, or cannot be made, the newest is given as long as
        it lasts.

        Raises:
            NotFound: no such authority.
            EvidenceUnavailable: an offline authority whose list was never brought here.
            LintFailed, FaultySignature, KeystoreUnavailable, StorageUnavailable: the newest is
                over, and there is no other.
        """
        authority = await self._authorities.get(label)
        newest = await self._store.newest_list(label)
        if newest is None and not self._makes(authority):
            raise EvidenceUnavailable(f"the list of `{label}` is not here")
        if newest is not None and not self._wanted(authority, newest[2]):
            return newest[1]
        making = self._making.setdefault(label, asyncio.Lock())
        waits = making.locked() or self._now() < self._not_before.get(label, self._now())
        if newest is not None and waits and self._lasts(newest[2]):
            return newest[1]
        async with making:
            newest = await self._store.newest_list(label)
            if newest is not None and not self._wanted(authority, newest[2]):
                return newest[1]
            try:
                return await self._publish(
                    authority, enough=lambda _crl, ends: not self._wanted(authority, ends)
                )
            except HashsealError:
                self._not_before[label] = self._now() + _PAUSE
                if newest is None or not self._lasts(newest[2]):
                    raise
                return newest[1]

    async def renew(self, label: str) -> None:
        """Publish a new list if the newest has lived half of its life, or lacks a revocation.

        It lacks one if the process that revoked died before it published. An offline authority's
        list is left as it is.

        Raises:
            LintFailed, FaultySignature, KeystoreUnavailable, StorageUnavailable: not published.
        """
        authority = await self._authorities.get(label)
        if not self._makes(authority):
            return
        newest = await self._store.newest_list(label)
        revoked = await self._store.revoked(label)
        if newest is not None and not self._over(authority, newest[2], self._lifetime / 2):
            listed = len(x509.load_der_x509_crl(newest[1]))
            if listed == len(revoked):
                return
        await self.publish(authority)

    async def publish(
        self, authority: Authority, *, naming: int | None = None, above: int = 0
    ) -> bytes:
        """A new list under the next number, DER; or another process's that names this serial.

        The newest list is read before the revocations, and must still be the newest when the next
        one is kept: whoever loses that race begins again and sees what the winner saw, so no later
        list can lack an earlier revocation. Numbers grow by one at least: a clock that was set
        back makes none come again. They follow the seconds: a database that was restored, and has
        forgotten the last ones, does not give them again either, unless lists came faster than one
        a second, or the clock was ahead. `above` is for those cases: a number that somebody has
        seen.

        Raises:
            InvalidValue: `above` is more than a year ahead of the clock.
            ConfigurationInvalid: the authority is offline.
            LintFailed, FaultySignature, KeystoreUnavailable, StorageUnavailable: not published.
        """
        return await self._publish(
            authority,
            enough=lambda crl, _ends: naming is not None and _names(crl, naming),
            above=above,
        )

    async def _publish(
        self, authority: Authority, *, enough: Callable[[bytes, datetime], bool], above: int = 0
    ) -> bytes:
        """`publish`; another process's list (DER, nextUpdate) will do if it is `enough`."""
        label = authority.label
        if above > self._second(_FARTHEST):
            raise InvalidValue(
                "no list of this authority has that number: it is more than a year ahead of the "
                "clock, whose seconds the numbers follow",
                field="above",
            )
        if not authority.signs:
            raise ConfigurationInvalid(
                f"the authority `{label}` is offline: its list is made by "
                "`hashseal-server pki ceremony`"
            )
        for lost in range(_ATTEMPTS):
            newest = await self._store.newest_list(label)
            if lost and newest and enough(newest[1], newest[2]):
                return newest[1]
            before = newest[0] if newest else None
            # The first is 1, so that two processes that make it at once want the same number.
            number = max(1, above + 1, 1 if before is None else max(before + 1, self._second()))
            revoked = await self._store.revoked(label)
            content, next_update = await asyncio.to_thread(
                self._content, authority, revoked, number
            )
            await self._store.plan_list(label, number, content, self._now())
            encoded = await asyncio.to_thread(
                sign_and_wrap, self._keystore, authority.issued.key, content
            )
            if await self._store.publish(label, number, encoded, next_update, after=before):
                return encoded
        raise EvidenceUnavailable("other processes are publishing revocation lists all the time")

    def _second(self, later: timedelta = timedelta()) -> int:
        """The number of seconds that have passed, or will have so much later."""
        return int((self._now() + later - _NUMBERED_SINCE).total_seconds())

    def _content(
        self, authority: Authority, revoked: list[Revoked], number: int
    ) -> tuple[bytes, datetime]:
        """A TBSCertList that may be signed, and its nextUpdate."""
        now = self._now().replace(microsecond=0)
        next_update = min(now + self._lifetime, authority.certificate.not_valid_after_utc)
        content = crl_content(
            authority.certificate,
            revoked,
            number=number,
            this_update=now - SKEW,
            next_update=next_update,
            linter=self._linter(),
        )
        return content, next_update

    def _makes(self, authority: Authority) -> bool:
        """The authority signs lists here, and is not over."""
        return authority.signs and authority.certificate.not_valid_after_utc > self._now()

    def _wanted(self, authority: Authority, next_update: datetime) -> bool:
        """Another list is to be made for whoever asks."""
        return self._makes(authority) and self._over(authority, next_update, self._lifetime / 4)

    def _over(self, authority: Authority, next_update: datetime, left: timedelta) -> bool:
        """Less than so much is left, and another one would last longer."""
        most = authority.certificate.not_valid_after_utc
        return next_update - self._now() < left and next_update < most

    def _lasts(self, next_update: datetime) -> bool:
        return next_update > self._now() + LEAST


def _names(crl: bytes, serial: int) -> bool:
    found = x509.load_der_x509_crl(crl).get_revoked_certificate_by_serial_number(serial)
    return found is not None
