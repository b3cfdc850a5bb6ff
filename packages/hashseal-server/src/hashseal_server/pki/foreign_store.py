"""Certificates of other authorities, and their status data, in the database.

A revocation is recorded of the certificate that its authority names, and of the seals whose
recorded chain has it. An authority may have certificates of two others for one key, and what
stands below it is then on several paths: what is revoked on one of them stops nothing on another.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Awaitable, Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, TypeAlias, TypeVar

from cryptography import x509
from sqlalchemy import LargeBinary, Row, Select, bindparam, or_, select, text, update
from sqlalchemy.ext.asyncio import AsyncConnection

from hashseal_core.errors import CertificateRefused
from hashseal_server.audit import Event, append
from hashseal_server.infra.db import Database, UtcDateTime, padded
from hashseal_server.infra.statements import Statement, Steps
from hashseal_server.pki.foreign_tables import foreign_certificates, foreign_status
from hashseal_server.pki.imported import MAX_CHAIN, MAX_SUBJECT, Addresses, addresses_of

_RECORD = text("""
    INSERT INTO foreign_certificate (digest, issuer, serial, subject, der, not_after, state)
    VALUES (:digest, :issuer, :serial, :subject, :der, :not_after, :state) ON CONFLICT DO NOTHING
""").bindparams(bindparam("der", type_=LargeBinary), bindparam("not_after", type_=UtcDateTime))
_FOLLOW = text("""
    INSERT INTO foreign_status (certificate, renew_at) VALUES (:certificate, :renew_at)
    ON CONFLICT DO NOTHING
""").bindparams(bindparam("renew_at", type_=UtcDateTime))
_NO_ADDRESSES = "[]"
_HAS_ADDRESSES = or_(
    foreign_certificates.c.ocsp != _NO_ADDRESSES, foreign_certificates.c.crl != _NO_ADDRESSES
)
"""False, or null, for a certificate of which no address may be called."""
USABLE, REVOKED = "usable", "revoked"
_STATES = Statement(
    """SELECT f.digest, f.state FROM {rows} JOIN foreign_certificate f ON f.digest = r.digest
       ORDER BY f.digest {for SHARE OF f}""",
    {"digest": "text"},
    answers=True,
)
_STATES_ABOVE = Statement(
    "SELECT f.digest, f.state FROM {rows} JOIN foreign_certificate f ON f.digest = r.digest",
    {"digest": "text"},
    answers=True,
)
_BELOW = text("""
    WITH RECURSIVE below (digest, subject) AS (
        SELECT digest, subject FROM foreign_certificate WHERE digest IN :digests
        UNION
        SELECT c.digest, c.subject FROM below
        JOIN foreign_certificate same ON same.subject = below.subject
        JOIN foreign_certificate c ON c.issuer = same.digest
    ) SELECT DISTINCT digest FROM below
""").bindparams(bindparam("digests", expanding=True))
"""Certificates with one name are taken for each other: too much is found rather than too little."""
_LONGEST_FAILURE = 400
_TOGETHER = 1000
"""Digests in one statement."""
_Value = TypeVar("_Value")


def digest_of(certificate: bytes) -> str:
    """How a certificate is named here: hexadecimal SHA-256 of its DER."""
    return hashlib.sha256(certificate).hexdigest()


@dataclass(frozen=True, slots=True)
class Kept:
    """Status data that was verified when it came; `companion` is the list about its responder."""

    data_der: bytes
    source: str
    number: int | None
    this_update: datetime
    next_update: datetime
    renew_at: datetime
    companion: bytes | None = None


@dataclass(frozen=True, slots=True)
class Member:
    """One certificate of a chain but the root, with its issuer and what is known of its status."""

    digest: str
    certificate: bytes
    issuer: bytes
    state: str
    confirmed: Addresses | None
    kept: Kept | None
    failure: str | None = None


ChainsOf: TypeAlias = Callable[
    [AsyncConnection, Sequence[str]], Awaitable[Mapping[str, Sequence[bytes]]]
]
"""The chains (DER) with which these digests were imported; of what is no seal's there is none."""
Tell: TypeAlias = Callable[[AsyncConnection, Sequence[tuple[str, str]], datetime], Awaitable[None]]
"""What else a revocation records, in its transaction, given digests and reasons."""


async def _tell_nobody(
    _connection: AsyncConnection, _stopped: Sequence[tuple[str, str]], _at: datetime
) -> None:
    pass


class ForeignStore:
    """Rows in, values out; `chains_of` knows the chains of the seals."""

    def __init__(self, database: Database, chains_of: ChainsOf, tell: Tell = _tell_nobody) -> None:
        self._database = database
        self._chains_of = chains_of
        self._tell = tell

    async def members(self, digests: Sequence[str]) -> list[Member]:
        """These certificates, in this order; roots and unknown ones are left out."""
        statement = _members().where(foreign_certificates.c.digest.in_(digests))
        async with self._database.read() as connection:
            rows = {row.digest: row for row in await connection.execute(statement)}
        return [_member(rows[one]) for one in digests if one in rows]

    async def with_serial(self, serial: int) -> list[tuple[bytes, ...]]:
        """A chain (DER) of every certificate with this serial number but roots, whoever's it is."""
        rows = select(foreign_certificates.c.der, foreign_certificates.c.issuer)
        numbered = rows.where(
            foreign_certificates.c.serial == format(serial, "x"),
            foreign_certificates.c.issuer.is_not(None),
        )
        found = []
        async with self._database.read() as connection:
            for row in (await connection.execute(numbered)).all():
                chain, issuer = [row.der], row.issuer
                while issuer is not None and len(chain) < MAX_CHAIN:
                    above = rows.where(foreign_certificates.c.digest == issuer)
                    upper = (await connection.execute(above)).one()
                    chain.append(upper.der)
                    issuer = upper.issuer
                found.append(tuple(chain))
        return found

    async def revoked_at(self, chain: Sequence[bytes]) -> datetime | None:
        """Since when the first of a chain (DER) is known as revoked; None when none of it is."""
        statement = select(foreign_certificates.c.revoked_at).where(
            foreign_certificates.c.digest.in_(padded(map(digest_of, chain))),
            foreign_certificates.c.state == REVOKED,
        )
        async with self._database.read() as connection:
            return min(await connection.scalars(statement), default=None)

    async def adopt(self, chain: Sequence[bytes], at: datetime) -> None:
        """Record a chain that is trusted by its root; all its own addresses may be called.

        Whoever adopts the same at the same time waits, and has nothing to add.
        """
        known = await self.members([digest_of(one) for one in chain[:-1]])
        if len(known) == len(chain) - 1 and all(one.confirmed is not None for one in known):
            return
        async with self._database.write() as connection:
            await record_chain(connection, chain)
            if new := await _unconfirmed(connection, chain[:-1]):
                await _allow(connection, new, at, "timestamping-chain.adopted")

    async def learn(self, chain: Sequence[bytes], revoked: Mapping[str, str], at: datetime) -> None:
        """Record a chain that was brought, and which of it its authority calls revoked, and why.

        From the end of this transaction on nothing below them signs, and none of them comes in.
        """
        async with self._database.write() as connection:
            digests = reversed(await record_chain(connection, chain))
            named = {digest: revoked[digest] for digest in digests if digest in revoked}
            await self._stop(connection, named, at, by="authority")

    async def due(self, at: datetime, *, after: str, limit: int) -> list[Member]:
        """Confirmed certificates whose status data is to be renewed, by digest.

        One that has no addresses is not due: there is nobody to ask.
        """
        statement = (
            _members()
            .where(
                foreign_status.c.renew_at <= at,
                foreign_certificates.c.digest > after,
                foreign_certificates.c.state == USABLE,
                foreign_certificates.c.not_after > at,
                _HAS_ADDRESSES,
            )
            .order_by(foreign_certificates.c.digest)
            .limit(limit)
        )
        async with self._database.read() as connection:
            return [_member(row) for row in await connection.execute(statement)]

    async def keep(self, digest: str, kept: Kept) -> None:
        """Keep verified status data for all replicas."""
        statement = (
            update(foreign_status)
            .where(foreign_status.c.certificate == digest)
            .values(
                source=kept.source,
                der=kept.data_der,
                companion=kept.companion,
                number=None if kept.number is None else str(kept.number),
                this_update=kept.this_update,
                next_update=kept.next_update,
                renew_at=kept.renew_at,
                failed_at=None,
                failure=None,
            )
        )
        async with self._database.write() as connection:
            await connection.execute(statement)

    async def failed(self, digest: str, at: datetime, why: str) -> None:
        """The last attempt to renew came to nothing; what is kept stays."""
        async with self._database.write() as connection:
            await connection.execute(
                update(foreign_status)
                .where(foreign_status.c.certificate == digest)
                .values(failed_at=at, failure=why[:_LONGEST_FAILURE])
            )

    async def revoke(self, digest: str, reason: str, at: datetime, *, by: str) -> bool:
        """Mark a certificate, and the seals with it in their chains; False if it was so already.

        `by` is `authority`, when its status data says so, or `operator`. From the end of this
        transaction on nothing is signed with any of them (I11).
        """
        async with self._database.write() as connection:
            return await self._stop(connection, {digest: reason}, at, by=by)

    async def _stop(
        self, connection: AsyncConnection, reasons: Mapping[str, str], at: datetime, *, by: str
    ) -> bool:
        """Mark these, from above, and the seals below them; False if all of them were so already.

        Whatever may stand below is locked, units too: calls have a lock on them, shared, until
        they are recorded, and look only then whether what is above is revoked.
        """
        first = [one for each in reasons for one in await _standing(connection, [each])]
        if not first:
            return False
        found = await connection.scalars(_BELOW, {"digests": first})
        below = await _standing(connection, sorted(set(found).difference(first)))
        chains = [
            (digest, chain)
            for part in in_parts(below)
            for digest, chain in (await self._chains_of(connection, part)).items()
        ]
        stopped = [(digest, reasons[digest]) for digest in first] + [
            (digest, "issuer-revoked")
            for digest, chain in chains
            if not {*map(digest_of, chain)}.isdisjoint(first)
        ]
        await _mark(connection, stopped, at)
        events = [
            Event("imported-certificate.revoked", {"sha256": one, "reason": why, "by": by}, at)
            for one, why in stopped
        ]
        await append(connection, events)
        await self._tell(connection, stopped, at)
        return True


async def _standing(connection: AsyncConnection, digests: Sequence[str]) -> list[str]:
    """Which of these, in their order, are not revoked; locked."""
    found: list[str] = []
    for part in in_parts(digests):
        statement = (
            select(foreign_certificates.c.digest)
            .where(
                foreign_certificates.c.digest.in_(padded(part)),
                foreign_certificates.c.state == USABLE,
            )
            .order_by(foreign_certificates.c.digest)
            .with_for_update()
        )
        found += await connection.scalars(statement)
    return found


async def _mark(
    connection: AsyncConnection, stopped: Sequence[tuple[str, str]], at: datetime
) -> None:
    """Record of each of these digests that it is revoked, and why."""
    for reason in dict.fromkeys(why for _, why in stopped):
        for part in in_parts([digest for digest, why in stopped if why == reason]):
            await connection.execute(
                update(foreign_certificates)
                .where(foreign_certificates.c.digest.in_(padded(part)))
                .values(state=REVOKED, revoked_at=at, reason=reason)
            )


def in_parts(values: Sequence[_Value]) -> Iterator[Sequence[_Value]]:
    """As many as there are in one statement: it has so many parameters only."""
    for begin in range(0, len(values), _TOGETHER):
        yield values[begin : begin + _TOGETHER]


async def record_chain(connection: AsyncConnection, chain: Sequence[bytes]) -> list[str]:
    """Add what is not there of a chain, root first; the digests in the order of the chain.

    Whoever adds the same at the same time waits for the other. What was the end of a shorter chain
    gets its issuer.
    """
    digests = [digest_of(one) for one in chain]
    for depth in reversed(range(len(digests))):
        parsed = x509.load_der_x509_certificate(chain[depth])
        issuer = digests[depth + 1] if depth + 1 < len(digests) else None
        added = await connection.execute(
            _RECORD,
            {
                "digest": digests[depth],
                "issuer": issuer,
                "serial": format(parsed.serial_number, "x"),
                "subject": parsed.subject.rfc4514_string()[:MAX_SUBJECT],
                "der": chain[depth],
                "not_after": parsed.not_valid_after_utc,
                "state": USABLE,
            },
        )
        if added.rowcount == 0 and issuer is not None:
            await connection.execute(
                update(foreign_certificates)
                .where(
                    foreign_certificates.c.digest == digests[depth],
                    foreign_certificates.c.issuer.is_(None),
                )
                .values(issuer=issuer)
            )
    return digests


async def require_unrevoked(connection: AsyncConnection, digests: Sequence[str]) -> None:
    """None of a recorded chain is revoked, and none becomes so before the transaction ends (I11).

    Raises:
        CertificateRefused: one is.
    """
    for digest in reversed(digests):
        row = await _locked(connection, digest)
        if row.state == REVOKED:
            raise CertificateRefused(
                f"{row.subject}: revoked by its authority ({row.reason}), as is known here since "
                f"{row.revoked_at:%Y-%m-%d}"
            )


async def confirm(
    connection: AsyncConnection,
    digests: Sequence[str],
    addresses: Sequence[Addresses],
    at: datetime,
) -> None:
    """Record that the operator lets these addresses of these certificates be called from now on."""
    found = dict(zip(reversed(digests), reversed(addresses), strict=True))
    await _allow(connection, found, at, "revocation-addresses.confirmed")


async def _unconfirmed(
    connection: AsyncConnection, certificates: Sequence[bytes]
) -> dict[str, Addresses]:
    """Of which nobody has said yet whether their addresses may be called, from above; locked."""
    found = {}
    for certificate in reversed(certificates):
        digest = digest_of(certificate)
        if (await _locked(connection, digest)).confirmed_at is None:
            found[digest] = addresses_of(x509.load_der_x509_certificate(certificate))
    return found


async def _locked(connection: AsyncConnection, digest: str) -> Row[Any]:
    """A recorded certificate, which nobody changes before the transaction ends.

    Everybody locks from above, as revocations do. Whoever records a certificate below this one has
    a lock on it already that is shared, so this one does not exclude that (`key_share`).
    """
    statement = (
        select(foreign_certificates)
        .where(foreign_certificates.c.digest == digest)
        .with_for_update(key_share=True)
    )
    return (await connection.execute(statement)).one()


async def _allow(
    connection: AsyncConnection, found: Mapping[str, Addresses], at: datetime, why: str
) -> None:
    """Record that these addresses may be called, and as which event in the audit log."""
    for digest, addresses in found.items():
        await connection.execute(
            update(foreign_certificates)
            .where(foreign_certificates.c.digest == digest)
            .values(ocsp=json.dumps(addresses.ocsp), crl=json.dumps(addresses.crl), confirmed_at=at)
        )
        await connection.execute(_FOLLOW, {"certificate": digest, "renew_at": at})
    content: dict[str, object] = {
        "certificates": {digest: [*addresses] for digest, addresses in found.items()}
    }
    await append(connection, [Event(why, content, at)])


async def with_addresses(connection: AsyncConnection, digests: Iterable[str]) -> frozenset[str]:
    """Which of these certificates have an address of revocation data that may be called."""
    asked = sorted(set(digests))
    if not asked:
        return frozenset()
    statement = select(foreign_certificates.c.digest).where(
        foreign_certificates.c.digest.in_(asked), _HAS_ADDRESSES
    )
    return frozenset(await connection.scalars(statement))


def stopped_among(digests: Iterable[str], above: Iterable[str] = ()) -> Steps[frozenset[str]]:
    """Which of these are revoked; none becomes so before the caller's transaction ends (I11).

    Nor does what stands `above` them, and is named, too: whoever revokes that waits for the caller,
    who has a lock on what is below it.
    """
    asked = sorted(set(digests))
    if not asked:
        return frozenset()
    rows = yield [(_STATES, [(one,) for one in asked])]
    stopped = {digest for digest, state in rows if state == REVOKED}
    if upper := sorted(set(above).difference(asked)):
        rows = yield [(_STATES_ABOVE, [(one,) for one in upper])]
        stopped |= {digest for digest, state in rows if state == REVOKED}
    return frozenset(stopped)


def _members() -> Select[Any]:
    issuer = foreign_certificates.alias("issuer")
    return (
        select(
            foreign_certificates,
            issuer.c.der.label("issuer_der"),
            foreign_status.c.source,
            foreign_status.c.der.label("status_der"),
            foreign_status.c.companion,
            foreign_status.c.number,
            foreign_status.c.this_update,
            foreign_status.c.next_update,
            foreign_status.c.renew_at,
            foreign_status.c.failure,
        )
        .join(issuer, issuer.c.digest == foreign_certificates.c.issuer)
        .outerjoin(foreign_status, foreign_status.c.certificate == foreign_certificates.c.digest)
    )


def _member(row: Row[Any]) -> Member:
    kept = None
    if row.status_der is not None:
        kept = Kept(
            data_der=row.status_der,
            source=row.source,
            number=None if row.number is None else int(row.number),
            this_update=row.this_update,
            next_update=row.next_update,
            renew_at=row.renew_at,
            companion=row.companion,
        )
    confirmed = None
    if row.confirmed_at is not None:
        confirmed = Addresses(tuple(json.loads(row.ocsp)), tuple(json.loads(row.crl)))
    return Member(
        digest=row.digest,
        certificate=row.der,
        issuer=row.issuer_der,
        state=row.state,
        confirmed=confirmed,
        kept=kept,
        failure=row.failure,
    )
