"""Signature records, and the one transaction that releases a call.

Promises I1, I2, I3, I11 and I14 are kept here.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import Any

from sqlalchemy import Column, ForeignKey, Integer, LargeBinary, Row, String, Table, select
from sqlalchemy.exc import DataError, IntegrityError
from sqlalchemy.ext.asyncio import AsyncConnection

from hashseal_core.algorithms import Digest, DigestAlgorithm
from hashseal_core.errors import (
    AccountNotFound,
    FollowUpUsed,
    HashsealError,
    SignatureNotFound,
    StorageUnavailable,
)
from hashseal_server import audit
from hashseal_server.accounts.model import AccountId
from hashseal_server.accounts.quota import Balance, spend
from hashseal_server.accounts.store import Booking, balances, book, lock_balances
from hashseal_server.infra.commit import Delivered, RequestIdentity, answers, deliver, delivered
from hashseal_server.infra.crash import passing
from hashseal_server.infra.db import Database, UtcDateTime, metadata
from hashseal_server.infra.group import Group
from hashseal_server.pki.store import revoked_among
from hashseal_server.signing.model import Call, FollowUp, Record
from hashseal_server.signing.settlement import Granted, Pending, Settlement, Standing, settle

_PAUSES = (0.05, 0.1, 0.2, 0.4, 0.8, 1.6, 3.2)
"""Seconds between looks at a database that went away in the middle of a COMMIT."""

signatures = Table(
    "signature",
    metadata,
    Column("position", Integer, primary_key=True),
    Column("id", String(40), nullable=False, unique=True),
    Column("call_id", String(32), nullable=False, index=True),
    Column("account_id", String(32), ForeignKey("account.id"), nullable=False, index=True),
    Column("seal_id", String(32), ForeignKey("seal.id"), nullable=False),
    Column("hash_algorithm", String(16), nullable=False),
    Column("hash", LargeBinary(64), nullable=False),
    Column("level", String(8), nullable=False),
    Column("signed_data", LargeBinary, nullable=False),
    Column("token_serial", String(64)),
    Column("signed_at", UtcDateTime, nullable=False),
)
follow_ups = Table(
    "document_timestamp",
    metadata,
    Column("signature_id", String(40), ForeignKey("signature.id"), primary_key=True),
    Column("token_serial", String(64), nullable=False),
    Column("issued_at", UtcDateTime, nullable=False),
)


class _Poisoned(Exception):
    """A statement failed over the values of one row, not over the state of the database."""


class SigningStore:
    """Rows in, values out; every read takes the account."""

    def __init__(
        self,
        database: Database,
        *,
        group_limit: int = 128,
        committed: Callable[[int], None] = lambda _calls: None,
    ) -> None:
        self._database = database
        self._committed = committed
        self._group: Group[Pending, bytes] = Group(self._commit_group, limit=group_limit)

    async def look_up(self, request: RequestIdentity, calls: int) -> bytes | None:
        """The answer that this request already got; else make sure that enough calls are left.

        The charge is made, exactly, when the call is committed; this only spares the key store
        signatures that nobody can pay for.

        Raises:
            IdempotencyKeyReused: the key belongs to another request.
            QuotaExhausted: too few calls are left.
        """
        kept = (answers.c.account_id == balances.c.account_id) & (
            answers.c.key_hash == request.key_hash
        )
        statement = (
            select(balances, answers.c.request_digest, answers.c.answer)
            .join(answers, kept, isouter=True)
            .where(balances.c.account_id == request.account_id)
        )
        async with self._database.read() as connection:
            row = (await connection.execute(statement)).first()
        if row is None:
            raise AccountNotFound("no account with that id")
        if row.answer is not None:
            return Delivered(bytes(row.request_digest), bytes(row.answer)).to(request)
        spend(Balance(row.free, row.paid), calls)
        return None

    async def commit(self, request: RequestIdentity, call: Call) -> bytes:
        """Record, charge, audit and keep the answer in one transaction; the answer is returned.

        Calls that arrive while a transaction is under way share the next one. When another call
        with the same key was faster, its answer is returned instead, and this call's signatures are
        dropped.

        Raises:
            SealRevoked: revoked since the call began.
            QuotaExhausted, IdempotencyKeyReused, Overloaded: nothing was recorded.
            StorageUnavailable: nothing was recorded, or, if the database has been away for long,
                nobody can tell; the same key gives the answer then.
        """
        return await self._group.submit(Pending(request, call))

    async def _commit_group(self, group: Sequence[Pending]) -> Sequence[bytes | HashsealError]:
        try:
            return await self._commit_once(group)
        except _Poisoned as error:
            if len(group) == 1:
                raise StorageUnavailable("the call cannot be recorded") from error
        # One row is at fault; alone, only its own call suffers.
        outcomes: list[bytes | HashsealError] = []
        for pending in group:
            try:
                outcomes += await self._commit_once([pending])
            except (_Poisoned, StorageUnavailable):
                outcomes.append(StorageUnavailable("the call cannot be recorded"))
        return outcomes

    async def _commit_once(self, group: Sequence[Pending]) -> Sequence[bytes | HashsealError]:
        """One transaction for all of them.

        Raises:
            StorageUnavailable: none of them is recorded.
        """
        settlement: Settlement | None = None
        try:
            async with self._database.write() as connection:
                settled = await _settle(connection, group)
                passing("recorded")
                settlement = settled
        except StorageUnavailable as error:
            if settlement is None:
                if isinstance(error.__cause__, IntegrityError | DataError):
                    raise _Poisoned from error
                raise
            return await self._resolve(group, settlement)
        passing("committed")
        self._committed(len(settlement.granted))
        return settlement.outcomes

    async def _resolve(
        self, group: Sequence[Pending], settlement: Settlement
    ) -> Sequence[bytes | HashsealError]:
        """After a COMMIT whose outcome is unknown: the idempotency rows tell (I2).

        The balances are locked first: as long as the lost transaction may still commit it holds
        them, so what is read under that lock is final.
        """
        lost = StorageUnavailable("the database went away; ask again with the same key")
        for pause in _PAUSES:
            try:
                async with self._database.write() as connection:
                    await lock_balances(connection, {one.call.account_id for one in group})
                    kept = await delivered(connection, [one.request for one in group])
                break
            except StorageUnavailable:
                await asyncio.sleep(pause)
        else:
            return [lost] * len(group)
        outcomes: list[bytes | HashsealError] = []
        for one, outcome in zip(group, settlement.outcomes, strict=True):
            known = kept.get(one.request.place)
            if isinstance(outcome, HashsealError):
                outcomes.append(outcome)
            elif known is None or known.request_digest != one.request.digest:
                outcomes.append(lost)
            else:
                outcomes.append(known.answer)
        return outcomes

    async def commit_follow_up(self, request: RequestIdentity, made: FollowUp) -> bytes:
        """Record a document timestamp with its answer; free, once per signature.

        Raises:
            FollowUpUsed: it was already taken under another key.
        """
        async with self._database.write() as connection:
            await lock_balances(connection, [made.account_id])
            earlier = (await delivered(connection, [request])).get(request.place)
            if earlier is not None:
                return earlier.to(request)
            taken = select(follow_ups.c.signature_id).where(
                follow_ups.c.signature_id == made.signature_id
            )
            if (await connection.execute(taken)).first() is not None:
                raise FollowUpUsed("the signature's document timestamp was taken")
            await connection.execute(
                follow_ups.insert().values(
                    signature_id=made.signature_id,
                    token_serial=made.token_serial,
                    issued_at=made.at,
                )
            )
            content: dict[str, object] = {"signature": made.signature_id}
            event = audit.Event("document.timestamped", content, made.at, made.account_id)
            await audit.append(connection, [event])
            await deliver(connection, [(request, made.answer, made.at)])
        return made.answer

    async def record(self, account_id: AccountId, signature_id: str) -> Record:
        """One entry of the account's signing log.

        Raises:
            SignatureNotFound: absent, or another account's.
        """
        statement = select(signatures).where(
            signatures.c.account_id == account_id, signatures.c.id == signature_id
        )
        async with self._database.read() as connection:
            row = (await connection.execute(statement)).first()
        if row is None:
            raise SignatureNotFound("no such signature in this account", field="signature_id")
        return _record(row)

    async def follow_up_taken(self, signature_id: str) -> bool:
        """The signature's document timestamp was issued before."""
        statement = select(follow_ups.c.signature_id).where(
            follow_ups.c.signature_id == signature_id
        )
        async with self._database.read() as connection:
            return (await connection.execute(statement)).first() is not None

    async def page(
        self, account_id: AccountId, after: int, limit: int
    ) -> tuple[list[Record], int | None]:
        """Entries behind a position, oldest first, and the position for the next page."""
        statement = (
            select(signatures)
            .where(signatures.c.account_id == account_id, signatures.c.position > after)
            .order_by(signatures.c.position)
            .limit(limit + 1)
        )
        async with self._database.read() as connection:
            rows = (await connection.execute(statement)).all()
        more = rows[limit - 1].position if len(rows) > limit else None
        return [_record(row) for row in rows[:limit]], more


async def _settle(connection: AsyncConnection, group: Sequence[Pending]) -> Settlement:
    """Lock, decide, record: few statements, whatever the size of the group."""
    balances_left = await lock_balances(connection, [one.call.account_id for one in group])
    standing = Standing(
        # Answers of an account are written under its lock only: what is read now is final.
        delivered=await delivered(connection, [one.request for one in group]),
        balances=balances_left,
        revoked=await revoked_among(
            connection, [serial for one in group for serial in one.call.serials]
        ),
    )
    passing("locked")
    settlement = settle(group, standing)
    if granted := settlement.granted:
        await book(connection, [_booking(one) for one in granted], settlement.balances)
        await connection.execute(signatures.insert(), [row for g in granted for row in _rows(g)])
        await audit.append(connection, [_event(one.pending.call) for one in granted])
        await deliver(
            connection, [(one.pending.request, one.answer, one.pending.call.at) for one in granted]
        )
    return settlement


def _booking(granted: Granted) -> Booking:
    call = granted.pending.call
    return Booking(call.account_id, call.id, granted.charge, call.seal_id, call.token_id, call.at)


def _rows(granted: Granted) -> list[dict[str, object]]:
    call = granted.pending.call
    return [
        {
            "id": made.id,
            "call_id": call.id,
            "account_id": call.account_id,
            "seal_id": call.seal_id,
            "hash_algorithm": made.digest.algorithm.value,
            "hash": made.digest.value,
            "level": call.level,
            "signed_data": made.signed_data,
            "token_serial": made.token_serial,
            "signed_at": call.at,
        }
        for made in call.signatures
    ]


def _event(call: Call) -> audit.Event:
    content: dict[str, object] = {
        "call": call.id,
        "seal": call.seal_id,
        "token": call.token_id,
        "level": call.level,
        "hashes": [made.digest.value.hex() for made in call.signatures],
    }
    return audit.Event("documents.signed", content, call.at, call.account_id)


def _record(row: Row[Any]) -> Record:
    return Record(
        id=row.id,
        call_id=row.call_id,
        seal_id=row.seal_id,
        digest=Digest(DigestAlgorithm(row.hash_algorithm), row.hash),
        level=row.level,
        signed_at=row.signed_at,
        token_serial=row.token_serial,
    )
