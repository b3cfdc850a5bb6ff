"""Authorisations in the database: one row for each occurrence of a hash, signed once.

authorised → reserved by one request → consumed in the transaction that records the call. Whoever
reserved and never said what came of it has used the hash up.
"""

from __future__ import annotations

import secrets
from collections import defaultdict
from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import (
    Column,
    ForeignKey,
    Integer,
    LargeBinary,
    Row,
    String,
    Table,
    and_,
    delete,
    exists,
    func,
    or_,
    select,
    update,
)
from sqlalchemy.ext.asyncio import AsyncConnection

from hashseal_core.errors import InvalidValue, RateLimited, SadRefused
from hashseal_server.accounts.store import accounts
from hashseal_server.csc.model import (
    SAD_LIFETIME,
    Authorised,
    Claim,
    Client,
    Holder,
    Reserved,
    State,
    Waiting,
)
from hashseal_server.infra.db import BigNumber, Database, UtcDateTime, metadata, padded
from hashseal_server.infra.statements import Statement
from hashseal_server.signing.model import Written

KEPT = timedelta(days=30)
"""How long after its end a hash is kept whose signature at B-LTA waits for its timestamp."""
FINISHED = timedelta(minutes=10)
"""How long after its end any other is: whoever reserved it has been answered by then."""
OUTSTANDING = 10_000
"""Hashes of an account that are authorised at once, and not signed."""
_WAITING = 4

authorisations = Table(
    "csc_authorisation",
    metadata,
    Column("id", String(32), primary_key=True),
    Column("account_id", String(32), nullable=False),
    Column("client", String(64), nullable=False),
    Column("credential_id", String(32), nullable=False),
    Column("sad", LargeBinary(32), nullable=False, unique=True),
    Column("allowed", Integer, nullable=False),
    Column("bound", Integer, nullable=False),
    Column("expires_at", UtcDateTime, nullable=False, index=True),
)
"""`allowed` signatures, `bound` to hashes so far; `sad` is the SHA-256 of the present one."""
hashes = Table(
    "csc_hash",
    metadata,
    Column("position", BigNumber, primary_key=True),
    Column(
        "authorisation_id",
        String(32),
        ForeignKey("csc_authorisation.id"),
        nullable=False,
        index=True,
    ),
    Column("hash_type", String(8), nullable=False),
    Column("hash_algorithm", String(16), nullable=False),
    Column("hash", LargeBinary(64), nullable=False),
    Column("state", String(16), nullable=False),
    Column("reservation", LargeBinary(32)),
    Column("signature_id", String(40)),
    Column("waits_for", String(64), index=True),
)
"""`waits_for` names the client that may have the document timestamp of the signature."""
_CONSUME = Statement(
    """INSERT INTO csc_hash (position, authorisation_id, hash_type, hash_algorithm, hash, state,
       reservation, signature_id, waits_for)
       SELECT r.position, h.authorisation_id, h.hash_type, h.hash_algorithm, h.hash, h.state,
       r.reservation, r.signature_id, r.waits_for
       FROM {rows} LEFT JOIN csc_hash h ON h.position = r.position WHERE true
       ON CONFLICT (position) DO UPDATE SET
       state = CASE WHEN csc_hash.state = 'reserved'
       AND csc_hash.reservation = excluded.reservation THEN 'consumed' END,
       signature_id = excluded.signature_id, waits_for = excluded.waits_for""",
    {"position": "bigint", "reservation": "bytea", "signature_id": "text", "waits_for": "text"},
)
"""An UPDATE would pass over what is not there, or not reserved any more. This fails, and the call
with it: a hash that is gone cannot be inserted, and no state is none that a hash may have."""
_SERVE = Statement(
    """UPDATE csc_hash SET waits_for = NULL FROM {rows} WHERE csc_hash.position = r.position""",
    {"position": "bigint"},
)


class AuthorisationStore:
    """Rows in, values out; every statement takes account, client and credential."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def grant(
        self,
        holder: Holder,
        sad: bytes,
        wanted: Authorised,
        *,
        allowed: int,
        at: datetime,
        until: datetime,
    ) -> None:
        """Authorise these hashes; more may follow until there are `allowed`.

        Raises:
            RateLimited: `OUTSTANDING` are authorised for the account already, and not signed.
        """
        identity = secrets.token_hex(16)
        async with self._database.write() as connection:
            await _require_room(connection, holder.account_id, len(wanted.digests), at)
            await connection.execute(
                authorisations.insert().values(
                    id=identity,
                    account_id=holder.account_id,
                    client=holder.client,
                    credential_id=holder.credential_id,
                    sad=sad,
                    allowed=allowed,
                    bound=len(wanted.digests),
                    expires_at=until,
                )
            )
            await connection.execute(hashes.insert(), _rows(identity, wanted))

    async def extend(
        self,
        holder: Holder,
        sad: tuple[bytes, bytes],
        wanted: Authorised,
        *,
        at: datetime,
        until: datetime,
    ) -> None:
        """Replace the first SAD by the second, and authorise more hashes.

        What was authorised before and not yet signed stays so, under the new one.

        Raises:
            SadRefused: as for `reserve`.
            InvalidValue: more hashes than were to be signed in all.
        """
        async with self._database.write() as connection:
            row = await _held(connection, holder, sad[0], at)
            bound = row.bound + len(wanted.digests)
            if bound > row.allowed:
                raise InvalidValue("Numbers of signatures is too high", field="hashes")
            await _require_room(connection, holder.account_id, len(wanted.digests), at)
            await connection.execute(
                update(authorisations)
                .where(authorisations.c.id == row.id)
                .values(sad=sad[1], bound=bound, expires_at=until)
            )
            if wanted.digests:
                await connection.execute(hashes.insert(), _rows(row.id, wanted))

    async def reserve(self, claim: Claim, at: datetime) -> Reserved:
        """Keep the hashes for one request, all of them or none; where their rows are.

        A request that reserved them before finds them again.

        Raises:
            SadRefused: unknown, another's, for another credential, over or used up; or one of the
                hashes may not be signed, or not again.
        """
        async with self._database.write() as connection:
            row = await _held(connection, claim.holder, claim.sad, at)
            mine = and_(
                hashes.c.state == State.RESERVED.value, hashes.c.reservation == claim.reservation
            )
            statement = select(hashes).where(
                hashes.c.authorisation_id == row.id,
                or_(hashes.c.state == State.AUTHORISED.value, mine),
            )
            there = (await connection.execute(statement.order_by(hashes.c.position))).all()
            if not there and row.bound == row.allowed:
                raise SadRefused("Invalid parameter SAD: it is used up", field="SAD")
            positions = _matching(there, claim.authorised)
            await connection.execute(
                update(hashes)
                .where(hashes.c.position.in_(padded(positions)))
                .values(state=State.RESERVED.value, reservation=claim.reservation)
            )
        return Reserved(claim.reservation, positions)

    async def release(self, reservation: bytes) -> None:
        """Nothing was signed, for sure: the hashes may be tried again."""
        async with self._database.write() as connection:
            await connection.execute(
                update(hashes)
                .where(hashes.c.reservation == reservation, hashes.c.state == State.RESERVED.value)
                .values(state=State.AUTHORISED.value, reservation=None)
            )

    async def waiting(self, client: Client) -> list[Waiting]:
        """Signatures that wait for a document timestamp of this client, the oldest first."""
        statement = (
            select(hashes.c.position, hashes.c.signature_id)
            .where(hashes.c.waits_for == client)
            .order_by(hashes.c.position)
            .limit(_WAITING)
        )
        async with self._database.read() as connection:
            rows = await connection.execute(statement)
            return [Waiting(row.position, row.signature_id) for row in rows]

    async def served(self, waiting: Waiting) -> None:
        """It got its document timestamp elsewhere."""
        async with self._database.write() as connection:
            await connection.execute(
                update(hashes).where(hashes.c.position == waiting.position).values(waits_for=None)
            )


def consumed(reserved: Reserved, call_id: str, waits_for: Client | None) -> Written:
    """What makes reserved hashes signed ones, in the transaction that records the call.

    Its signatures are numbered in the order of the positions. The transaction fails when one of the
    hashes is not of this reservation any more.
    """
    rows = [
        (place, reserved.reservation, f"{call_id}-{n}", waits_for)
        for n, place in enumerate(reserved.positions)
    ]
    return _CONSUME, rows


def served(waiting: Waiting) -> Written:
    """What notes a document timestamp in the transaction that records it."""
    return _SERVE, [(waiting.position,)]


async def forget(database: Database, *, at: datetime, limit: int) -> int:
    """Remove what is left of up to `limit` authorisations that ended, oldest first; of how many.

    Raises:
        StorageUnavailable: nothing was removed.
    """
    mine = hashes.c.authorisation_id == authorisations.c.id
    ended = (
        select(authorisations.c.id)
        .where(
            authorisations.c.expires_at < at - FINISHED,
            or_(
                authorisations.c.expires_at < at - KEPT,
                exists().where(mine, hashes.c.waits_for.is_(None)),
                ~exists().where(mine),
            ),
        )
        .order_by(authorisations.c.expires_at)
        .limit(limit)
    )
    async with database.write() as connection:
        found = list(await connection.scalars(ended))
        old = select(authorisations.c.id).where(
            authorisations.c.id.in_(found), authorisations.c.expires_at < at - KEPT
        )
        await connection.execute(
            delete(hashes).where(
                hashes.c.authorisation_id.in_(found),
                or_(hashes.c.waits_for.is_(None), hashes.c.authorisation_id.in_(old)),
            )
        )
        await connection.execute(
            delete(authorisations).where(authorisations.c.id.in_(found), ~exists().where(mine))
        )
    return len(found)


async def _require_room(
    connection: AsyncConnection, account_id: str, more: int, at: datetime
) -> None:
    """Count what is authorised and not signed; who asks for the same account waits meanwhile."""
    await connection.execute(
        select(accounts.c.id).where(accounts.c.id == account_id).with_for_update(key_share=True)
    )
    unsigned = (
        select(func.count())
        .select_from(hashes.join(authorisations))
        .where(
            authorisations.c.account_id == account_id,
            authorisations.c.expires_at > at,
            hashes.c.state != State.CONSUMED.value,
        )
    )
    if (await connection.scalar(unsigned) or 0) + more > OUTSTANDING:
        raise RateLimited(
            f"{OUTSTANDING} hashes are authorised already: sign those, or wait for their end",
            seconds=int(SAD_LIFETIME.total_seconds()),
        )


async def _held(connection: AsyncConnection, holder: Holder, sad: bytes, at: datetime) -> Row[Any]:
    """The authorisation of this SAD, locked."""
    statement = (
        select(authorisations)
        .where(
            authorisations.c.sad == sad,
            authorisations.c.account_id == holder.account_id,
            authorisations.c.client == holder.client,
            authorisations.c.credential_id == holder.credential_id,
        )
        .with_for_update()
    )
    row = (await connection.execute(statement)).first()
    if row is None:
        raise SadRefused("Invalid parameter SAD", field="SAD")
    if row.expires_at <= at:
        raise SadRefused("SAD expired", field="SAD")
    return row


def _matching(there: Sequence[Row[Any]], wanted: Authorised) -> list[int]:
    """A row for each occurrence of each hash."""
    free: dict[tuple[str, str, bytes], list[int]] = defaultdict(list)
    for row in reversed(there):
        free[row.hash_type, row.hash_algorithm, row.hash].append(row.position)
    positions = []
    for digest in wanted.digests:
        place = wanted.hash_type.value, digest.algorithm.value, digest.value
        if not free[place]:
            raise SadRefused("Hash is not authorized by the SAD", field="hashes")
        positions.append(free[place].pop())
    return positions


def _rows(identity: str, wanted: Authorised) -> list[dict[str, object]]:
    return [
        {
            "authorisation_id": identity,
            "hash_type": wanted.hash_type.value,
            "hash_algorithm": digest.algorithm.value,
            "hash": digest.value,
            "state": State.AUTHORISED.value,
        }
        for digest in wanted.digests
    ]
