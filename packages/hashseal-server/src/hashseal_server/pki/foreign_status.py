"""Status data of imported chains: asked of confirmed addresses, verified, kept, renewed in time.

OCSP first, the list as fallback. What is kept is shared by all replicas and renewed by a job long
before it goes stale. There no authority keeps others waiting: each certificate has its time, few of
one authority are asked for at once, and an address that hangs is left alone for a while. A call
asks the authority itself only when there is nothing usable, and whoever comes meanwhile waits for
that answer. After a failure calls do not ask again for a while: an authority that is away makes
them fail at once instead of slowly. Nothing stale is given.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from itertools import pairwise
from typing import Protocol

from cryptography import x509

from hashseal_core.errors import (
    EvidenceInvalid,
    EvidenceUnavailable,
    HashsealError,
    OutboundFailed,
    OutboundRefused,
)
from hashseal_core.evidence import ValidationMaterial
from hashseal_server.infra.bounded import Bounded
from hashseal_server.pki.foreign import (
    LARGEST_LIST,
    LARGEST_RESPONSE,
    StatusData,
    ocsp_request,
    read_list,
    read_response,
)
from hashseal_server.pki.foreign_store import REVOKED, Kept, Member, digest_of
from hashseal_server.pki.imported import addresses_of

LEAST = timedelta(seconds=30)
"""What lasts no longer than this is not given any more."""
_PAUSE = timedelta(seconds=15)
"""After a failure calls do not ask again for so long; the job does."""
_LOOK = timedelta(seconds=30)
"""How often what was kept is looked at again when it should have been renewed."""
_BATCH = 16
_TOGETHER = 8
"""Certificates of a batch that are asked for at a time."""
_OF_ONE = 4
"""Certificates of one authority that are asked for at a time, by calls too: one that hangs has few
of the connections that there are for everything."""
_SECONDS = 15.0
"""For one certificate: an address that hangs, and the next. A batch of one slow authority takes
`_BATCH / _OF_ONE` times that at most, which is within what a piece of background work has."""
_HUNG_SECONDS = 5.0
"""An address that took so long to give nothing hangs."""
_REST = timedelta(seconds=60)
"""For so long it is not called again; what it should tell is asked of the next address."""
_HELD = 64 * 1024 * 1024
"""Octets of material that is held ready."""
_REQUEST, _RESPONSE = "application/ocsp-request", "application/ocsp-response"
_LIST = "application/pkix-crl"
_UNAVAILABLE = "fresh status data cannot be had from the authority of the certificate"
"""What callers are told; the reason is the operator's."""
Tell = Callable[[str, Mapping[str, object]], None]


class Store(Protocol):
    """See `hashseal_server.pki.foreign_store`."""

    async def members(self, digests: Sequence[str]) -> list[Member]: ...
    async def due(self, at: datetime, *, after: str, limit: int) -> list[Member]: ...
    async def adopt(self, chain: Sequence[bytes], at: datetime) -> None: ...
    async def with_serial(self, serial: int) -> list[tuple[bytes, ...]]: ...
    async def revoked_at(self, chain: Sequence[bytes]) -> datetime | None: ...
    async def keep(self, digest: str, kept: Kept) -> None: ...
    async def failed(self, digest: str, at: datetime, why: str) -> None: ...
    async def revoke(self, digest: str, reason: str, at: datetime, *, by: str) -> bool: ...


class Reply(Protocol):
    """What came back with status 200."""

    @property
    def body(self) -> bytes: ...


class Outside(Protocol):
    """The way out; see `hashseal_server.infra.outbound`."""

    async def get(self, url: str, *, largest: int, accept: str | None = None) -> Reply: ...
    async def post(
        self, url: str, body: bytes, *, media_type: str, largest: int, accept: str | None = None
    ) -> Reply: ...


@dataclass(frozen=True, slots=True)
class Revoked:
    """What the authority says of a certificate; `reason` is a name of RFC 5280, 5.3.1."""

    at: datetime
    reason: str


@dataclass(frozen=True, slots=True)
class _Material:
    until: datetime
    material: ValidationMaterial

    def serves(self, chain: Sequence[bytes], at: datetime) -> bool:
        """It is of this very chain: a unit's certificate may stand below another one meanwhile."""
        return at < self.until and self.material.certificates == tuple(chain)


@dataclass(slots=True)
class _Turns:
    """So many at a time; kept as long as there are `users`, who have a place or wait for one."""

    places: asyncio.Semaphore
    users: int = 0


class ForeignStatus:
    """Status data of every chain that was imported; `tell` takes an event and its fields.

    A process has one: which addresses hang is known to it.
    """

    def __init__(
        self,
        *,
        store: Store,
        outside: Outside,
        now: Callable[[], datetime],
        tell: Tell = lambda _event, _fields: None,
    ) -> None:
        self._store = store
        self._outside = outside
        self._now = now
        self._tell = tell
        self._ready: Bounded[bytes, _Material] = Bounded(_HELD)
        self._turns: dict[str, _Turns] = {}
        self._not_before: dict[str, datetime] = {}
        self._resting: dict[str, datetime] = {}

    def tell_to(self, tell: Tell) -> None:
        """Tell this one from now on."""
        self._tell = tell

    async def material_for(self, chain: Sequence[bytes]) -> ValidationMaterial:
        """Validation material for an imported chain (DER, root last); cached.

        Raises:
            EvidenceUnavailable: no fresh status data can be had, or a certificate is revoked.
        """
        ready = self._ready.get(chain[0])
        if ready is not None and ready.serves(chain, self._now()):
            return ready.material
        async with self._turn(digest_of(b"".join(chain))):
            ready = self._ready.get(chain[0])
            if ready is not None and ready.serves(chain, self._now()):
                return ready.material
            kept = [await self._usable(*pair) for pair in pairwise(chain)]
            material = self._material(chain, kept)
            if ready is not None and ready.material == material:
                material = ready.material  # the same object: it was assessed before
            parts = (*material.certificates, *material.ocsp_responses, *material.crls)
            self._ready.put(chain[0], _Material(self._until(kept), material), parts)
            return material

    def forget(self, certificate: bytes) -> None:
        """Look at the database again before material for this certificate (DER) is given."""
        self._ready.drop(certificate)

    async def adopt(self, chain: Sequence[bytes]) -> None:
        """Look after a chain that the operator trusts by its root, a timestamping unit's.

        Raises:
            StorageUnavailable: it is not recorded.
        """
        await self._store.adopt(chain, self._now())

    async def recorded(self, serial: int) -> Sequence[tuple[bytes, ...]]:
        """A chain of every recorded certificate with this serial number, whoever's it is."""
        return await self._store.with_serial(serial)

    async def revoked_at(self, chain: Sequence[bytes]) -> datetime | None:
        """Since when the first of a chain (DER) is known as revoked; None when none of it is."""
        return await self._store.revoked_at(chain)

    async def renew(self, ended: str | None) -> str | None:
        """Renew a batch of what is due; where the next batch begins, None at the end.

        Raises:
            EvidenceUnavailable: at the end, if some could not be renewed; what is kept stays.
            StorageUnavailable: what is due cannot be read.
        """
        after, _, failures = (ended or "-0").partition("-")
        due = await self._store.due(self._now(), after=after, limit=_BATCH)
        together = asyncio.Semaphore(_TOGETHER)
        of_one = {_authority(member): asyncio.Semaphore(_OF_ONE) for member in due}

        async def one(member: Member) -> bool:
            # The place of its authority first, outside the time that the certificate has.
            async with of_one[_authority(member)], together:
                return await self._renewed(member)

        outcomes = await asyncio.gather(*map(one, due))
        failed = int(failures) + outcomes.count(False)
        if len(due) == _BATCH:
            return f"{due[-1].digest}-{failed}"
        if failed:
            raise EvidenceUnavailable(f"status data of {failed} certificates cannot be renewed")
        return None

    async def _renewed(self, member: Member) -> bool:
        """Whether something usable was told; whatever fails is logged, and ends nothing else."""
        try:
            await self.ask(member)
        except EvidenceUnavailable:
            return False  # `ask` has told
        except Exception as error:  # noqa: BLE001 - what one certificate brings about is its own
            why = error.code if isinstance(error, HashsealError) else repr(error)
            self._tell("status-data-unavailable", {"sha256": member.digest, "why": why})
            return False
        return True

    async def look(self, member: Member) -> Kept | Revoked:
        """Ask the authority now; nothing is kept.

        Raises:
            EvidenceUnavailable: nothing usable came back in time; the detail says why, for the
                operator.
        """
        try:
            async with asyncio.timeout(_SECONDS), self._turn(_authority(member), _OF_ONE):
                data, companion = await self._answer(member)
        except TimeoutError as error:
            raise EvidenceUnavailable(
                f"{_authority(member)} gave nothing usable within {_SECONDS:.0f} s"
            ) from error
        if (early := data.this_update - self._now()) > timedelta():
            await asyncio.sleep(early.total_seconds())  # two seconds at most; see `foreign`
        if data.verdict == "revoked":
            return Revoked(data.revoked_at or self._now(), data.reason or "unspecified")
        end = data.next_update if companion is None else min(data.next_update, companion[1])
        now = self._now()
        return Kept(
            data_der=data.der,
            source=data.source,
            number=data.number,
            this_update=data.this_update,
            next_update=end,
            renew_at=now + (end - now) / 2,
            companion=companion[0] if companion else None,
        )

    async def ask(self, member: Member) -> Kept:
        """Ask the authority now, and keep what it says.

        Raises:
            EvidenceUnavailable: nothing usable came back, or the certificate is revoked.
        """
        try:
            found = await self.look(member)
        except EvidenceUnavailable as error:
            self._not_before[member.digest] = self._now() + _PAUSE
            await self._store.failed(member.digest, self._now(), error.detail)
            self._tell("status-data-unavailable", {"sha256": member.digest, "why": error.detail})
            raise EvidenceUnavailable(_UNAVAILABLE) from error
        self._not_before.pop(member.digest, None)
        if isinstance(found, Kept):
            await self._store.keep(member.digest, found)
            return found
        try:
            new = await self._store.revoke(member.digest, found.reason, self._now(), by="authority")
        finally:
            self._ready.clear()  # not before: what was read meanwhile would be held again
        if new:
            fields = {"revoked_at": found.at.isoformat(), "reason": found.reason}
            self._tell("imported-certificate-revoked", {"sha256": member.digest, **fields})
        raise EvidenceUnavailable("the certificate has been revoked by its authority")

    async def _usable(self, certificate: bytes, issuer: bytes) -> Kept:
        """What is kept, or what the authority says now."""
        digest = digest_of(certificate)
        if (kept := await self._kept(digest)) is not None:
            return kept
        # Who comes while the authority is being asked waits for its answer.
        async with self._turn(digest):
            if (kept := await self._kept(digest)) is not None:
                return kept
            again = self._not_before.get(digest)
            if again is not None and self._now() < again:
                raise EvidenceUnavailable(_UNAVAILABLE)
            # Of several certificates of one issuer that of this chain.
            return await self.ask(replace(await self._member(digest), issuer=issuer))

    async def _kept(self, digest: str) -> Kept | None:
        kept = (await self._member(digest)).kept
        return kept if kept is not None and self._now() < kept.next_update - LEAST else None

    async def _member(self, digest: str) -> Member:
        found = await self._store.members([digest])
        if not found:
            raise EvidenceUnavailable("the certificate was not imported")
        if found[0].state == REVOKED:
            raise EvidenceUnavailable("the certificate has been revoked")
        return found[0]

    def _until(self, kept: Sequence[Kept]) -> datetime:
        """Until when what was read needs no other look at the database."""
        now = self._now()
        renewed = min((one.renew_at for one in kept), default=now) + _LOOK
        stale = min((one.next_update for one in kept), default=now) - LEAST
        return min(max(renewed, now + _LOOK), stale)

    @asynccontextmanager
    async def _turn(self, name: str, places: int = 1) -> AsyncIterator[None]:
        turns = self._turns.setdefault(name, _Turns(asyncio.Semaphore(places)))
        turns.users += 1
        try:
            async with turns.places:
                yield
        finally:
            turns.users -= 1
            if not turns.users:
                del self._turns[name]

    def _material(self, chain: Sequence[bytes], kept: Sequence[Kept]) -> ValidationMaterial:
        """What is kept, of equal octets only one copy for all chains."""
        lists = [one.data_der for one in kept if one.source == "crl"]
        lists += [one.companion for one in kept if one.companion is not None]
        responses = [one.data_der for one in kept if one.source == "ocsp"]
        certificates, ocsp_responses, crls = (
            tuple(self._ready.shared(one) for one in each)
            for each in (chain, dict.fromkeys(responses), dict.fromkeys(lists))
        )
        return ValidationMaterial(certificates, ocsp_responses, crls)

    async def _answer(self, member: Member) -> tuple[StatusData, tuple[bytes, datetime] | None]:
        """Verified status data; with it the list about a responder that needs one, and its end."""
        if member.confirmed is None:
            raise EvidenceUnavailable(
                "no address of revocation data is confirmed; run `hashseal-server credential "
                "confirm`"
            )
        if not any(member.confirmed):
            raise EvidenceUnavailable("the certificate names no address of revocation data")
        certificate = x509.load_der_x509_certificate(member.certificate)
        issuer = x509.load_der_x509_certificate(member.issuer)
        failures: list[str] = []
        for url in member.confirmed.ocsp:
            try:
                with self._unless_hung(url):
                    answer = await self._outside.post(
                        url,
                        ocsp_request(certificate, issuer),
                        media_type=_REQUEST,
                        largest=LARGEST_RESPONSE,
                        accept=_RESPONSE,
                    )
                data = read_response(answer.body, certificate, issuer, self._now())
                if data.verdict == "unknown":
                    raise EvidenceUnavailable(f"{url} does not know the certificate")
                return data, await self._about_responder(data, member, issuer)
            except (EvidenceInvalid, OutboundFailed, OutboundRefused) as error:
                failures.append(f"{url}: {error.detail}")
        at_least = member.kept.number if member.kept and member.kept.number else 0
        for url in member.confirmed.crl:
            try:
                return await self._list(url, certificate, issuer, at_least), None
            except (EvidenceInvalid, OutboundFailed, OutboundRefused) as error:
                failures.append(f"{url}: {error.detail}")
        raise EvidenceUnavailable("; ".join(failures))

    async def _list(
        self, url: str, certificate: x509.Certificate, issuer: x509.Certificate, at_least: int
    ) -> StatusData:
        with self._unless_hung(url):
            answer = await self._outside.get(url, largest=LARGEST_LIST, accept=_LIST)
        return read_list(answer.body, certificate, issuer, self._now(), at_least=at_least)

    @contextmanager
    def _unless_hung(self, url: str) -> Iterator[None]:
        """Call an address, if it did not hang a moment ago.

        Raises:
            OutboundFailed: it did.
        """
        begun = time.monotonic()
        if (until := self._resting.get(url)) is not None and self._now() < until:
            raise OutboundFailed("it hung a moment ago and is not called now")
        self._resting.pop(url, None)
        try:
            yield
        except (OutboundFailed, asyncio.CancelledError):  # cut off by whoever waited for it
            if time.monotonic() - begun > _HUNG_SECONDS:
                self._resting[url] = self._now() + _REST
            raise

    async def _about_responder(
        self, data: StatusData, member: Member, issuer: x509.Certificate
    ) -> tuple[bytes, datetime] | None:
        """The list that says that a responder without id-pkix-ocsp-nocheck is not revoked.

        Of the responder's own addresses only those are called that were confirmed.

        Raises:
            EvidenceInvalid: there is none, or the responder is revoked.
        """
        if data.responder is None or member.confirmed is None:
            return None
        responder = x509.load_der_x509_certificate(data.responder)
        own = set(addresses_of(responder).crl)
        confirmed = sorted(member.confirmed.crl, key=lambda url: url not in own)
        for url in confirmed:
            try:
                found = await self._list(url, responder, issuer, 0)
            except (EvidenceInvalid, OutboundFailed, OutboundRefused):
                continue
            if found.verdict == "good":
                return found.der, found.next_update
            raise EvidenceInvalid("the responder's certificate is revoked")
        raise EvidenceInvalid("nothing says whether the responder's certificate is revoked")


def _authority(member: Member) -> str:
    """Who is asked about a certificate: host and port of every confirmed address."""
    return ", ".join(sorted({url.split("/")[2] for url in member.confirmed or ()}))
