"""Signature records, and the one transaction that releases a call.

Promises I1, I2, I3, I11 and I14 are kept here.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

from sqlalchemy import Row, delete, select

from hashseal_core.algorithms import Digest, DigestAlgorithm
from hashseal_core.errors import (
    EvidenceUnavailable,
    FollowUpUsed,
    HashsealError,
    SignatureNotFound,
    StorageUnavailable,
    TimestampUnavailable,
)
from hashseal_server import audit
from hashseal_server.accounts.model import AccountId, TokenId
from hashseal_server.accounts.quota import Balance
from hashseal_server.accounts.store import Booking, book, lock_balances
from hashseal_server.accounts.token_store import KEPT as KEPT_TOKEN
from hashseal_server.accounts.token_store import read_kept
from hashseal_server.infra.commit import (
    Answer,
    Delivered,
    Recorded,
    RequestIdentity,
    deliver,
    delivered,
)
from hashseal_server.infra.crash import passing
from hashseal_server.infra.db import Database
from hashseal_server.infra.group import Group
from hashseal_server.infra.lanes import RowRefused, Unsettled
from hashseal_server.infra.statements import Steps
from hashseal_server.pki.foreign_store import stopped_among
from hashseal_server.pki.store import key_of, revoked_among
from hashseal_server.signing import tables
from hashseal_server.signing.model import (
    RAW,
    Arrival,
    Call,
    FollowUp,
    Found,
    KeptCall,
    KeptSignature,
    MadeSignature,
    Record,
    ValidationSet,
)
from hashseal_server.signing.settlement import (
    UNIT_REVOKED,
    VOUCHER_REVOKED,
    Granted,
    Pending,
    Settlement,
    Standing,
    settle,
)
from hashseal_server.signing.tables import follow_ups, signatures, validation_sets

_PAUSES = (0.05, 0.1, 0.2, 0.4, 0.8, 1.6, 3.2)
"""Seconds between looks at a database that went away in the middle of a COMMIT."""
_KNOWN_SETS = 10_000
_SET_KNOWN = timedelta(hours=12)
"""After that a set that is still in use is recorded as such, or it would be forgotten too early."""
_OF_TOKEN = 2 + len(KEPT_TOKEN.split(", "))
"""Columns of a look-up that are about the token: account, entitlements, what is kept of it."""
_LONG_AGO = datetime.min.replace(tzinfo=UTC)


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
        self._arrivals: Group[Arrival, Found] = Group(self._look_up_group, limit=group_limit)
        self._group: Group[Pending, Answer] = Group(self._commit_group, limit=group_limit)
        self._sets: dict[bytes, datetime] = {}

    async def look_up(self, arrival: Arrival) -> Found:
        """What the database knows about a call before it is made.

        Calls that arrive while a look is under way share the next one. The charge is made, exactly,
        when the call is committed; that look only spares the key store signatures that nobody can
        pay for.

        Raises:
            Overloaded: too many wait.
            StorageUnavailable: the database does not answer.
        """
        return await self._arrivals.submit(arrival)

    async def _look_up_group(self, group: Sequence[Arrival]) -> Sequence[Found | HashsealError]:
        return await self._database.look(_look_up(group))

    async def commit(self, request: RequestIdentity, call: Call) -> Answer:
        """Record, charge, audit and keep the answer in one transaction; what is kept is returned.

        Calls that arrive while a transaction is under way share the next one. When another call
        with the same key was faster, its answer is returned instead, and this call's signatures are
        dropped.

        Raises:
            SealRevoked: revoked since the call began.
            TimestampUnavailable: a unit was.
            QuotaExhausted, IdempotencyKeyReused, Overloaded: nothing was recorded.
            StorageUnavailable: nothing was recorded, or, if the database has been away for long,
                nobody can tell; the same key gives the answer then.
        """
        return await self._group.submit(Pending(request, call))

    async def _commit_group(self, group: Sequence[Pending]) -> Sequence[Answer | HashsealError]:
        try:
            return await self._commit_once(group)
        except RowRefused as error:
            if len(group) == 1:
                raise StorageUnavailable("the call cannot be recorded") from error
        # One row is at fault; alone, only its own call suffers.
        outcomes: list[Answer | HashsealError] = []
        for pending in group:
            try:
                outcomes += await self._commit_once([pending])
            except StorageUnavailable:
                outcomes.append(StorageUnavailable("the call cannot be recorded"))
        return outcomes

    async def _commit_once(self, group: Sequence[Pending]) -> Sequence[Answer | HashsealError]:
        """One transaction for all of them.

        Raises:
            StorageUnavailable: none of them is recorded.
        """
        sets = {one.call.validation for one in group if one.call.validation is not None}
        at = max(one.call.at for one in group)
        new = [one for one in sets if at - self._sets.get(one.digest, _LONG_AGO) > _SET_KNOWN]
        new.sort(key=lambda one: one.digest)  # two groups take locks in the same order
        settled: list[Settlement] = []
        try:
            await self._database.record(_settle(group, new, settled))
        except Unsettled:
            return await self._resolve(group, settled[0])
        passing("committed")
        if len(self._sets) > _KNOWN_SETS:
            self._sets.clear()
        if settled[0].granted:  # else nothing was written, the sets neither
            self._sets.update((one.digest, at) for one in new)
        self._committed(len(settled[0].granted))
        return settled[0].outcomes

    async def _resolve(
        self, group: Sequence[Pending], settlement: Settlement
    ) -> Sequence[Answer | HashsealError]:
        """After a COMMIT whose outcome is unknown: the idempotency rows tell (I2).

        The balances are locked first: as long as the lost transaction may still commit it holds
        them, so what is read under that lock is final.
        """
        lost = StorageUnavailable("the database went away; ask again with the same key")
        for pause in _PAUSES:
            try:
                kept = await self._database.record(_kept(group))
                break
            except StorageUnavailable:
                await asyncio.sleep(pause)
        else:
            return [lost] * len(group)
        outcomes: list[Answer | HashsealError] = []
        for one, outcome in zip(group, settlement.outcomes, strict=True):
            known = kept.get(one.request.place)
            if isinstance(outcome, HashsealError):
                outcomes.append(outcome)
            elif known is None or known.request_digest != one.request.digest:
                outcomes.append(lost)
            else:
                outcomes.append(known.answer)
        return outcomes

    async def commit_follow_up(self, request: RequestIdentity, made: FollowUp) -> Answer:
        """Record a document timestamp with its answer; free, once per signature.

        Raises:
            FollowUpUsed: it was already taken under another key.
            TimestampUnavailable: the unit has been revoked.
        """
        return await self._database.record(_follow_up(request, made))

    async def kept(self, account_id: AccountId, recorded: Recorded) -> KeptCall:
        """What the answer of a recorded call is made from.

        Raises:
            SignatureNotFound: absent, or another account's.
        """
        names = [f"{recorded.call_id}-{number}" for number in range(recorded.calls)]
        content = None
        async with self._database.read() as connection:
            rows = await connection.execute(
                select(signatures)
                .where(signatures.c.account_id == account_id, signatures.c.id.in_(names))
                .order_by(signatures.c.position)
            )
            found = tuple(_kept_signature(row) for row in rows)
            if recorded.validation is not None:
                content = await connection.scalar(
                    select(validation_sets.c.content).where(
                        validation_sets.c.digest == recorded.validation
                    )
                )
        if len(found) != recorded.calls:
            raise SignatureNotFound("no such call in this account")
        if recorded.validation is not None and content is None:
            raise StorageUnavailable("the validation material of this answer is not there")
        return KeptCall(found, content)

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


async def forget_sets(database: Database, *, before: datetime, limit: int) -> int:
    """Remove up to `limit` validation sets that are older, oldest first; how many there were.

    No answer may be kept that carries one of them: a set is used for a day at most.

    Raises:
        StorageUnavailable: nothing was removed.
    """
    old = (
        select(validation_sets.c.digest)
        .where(validation_sets.c.created_at < before)
        .order_by(validation_sets.c.created_at)
        .limit(limit)
    )
    async with database.write() as connection:
        done = await connection.execute(
            delete(validation_sets).where(validation_sets.c.digest.in_(old))
        )
        return done.rowcount


def _look_up(group: Sequence[Arrival]) -> Steps[list[Found]]:
    rows = yield [(tables.LOOK_UP, [(one.token_id, one.key_hash, one.seal_id) for one in group])]
    return [_found(row, one.token_id) for row, one in zip(rows, group, strict=True)]


def _found(row: Sequence[Any], token_id: TokenId) -> Found:
    if row[0] is None:
        return Found()
    free, paid, seal_state, serial, *earlier = row[_OF_TOKEN:-1]
    return Found(
        token=read_kept(token_id, *row[:_OF_TOKEN]),
        balance=Balance(free, paid),
        seal_state=seal_state,
        seal_serial=int(serial, 16) if serial else None,
        earlier=Delivered.of(earlier) if earlier[0] is not None else None,
    )


def _settle(
    group: Sequence[Pending], new: Sequence[ValidationSet], settled: list[Settlement]
) -> Steps[None]:
    """Lock, decide, record: few statements, whatever the size of the group."""
    left = yield from lock_balances(one.call.account_id for one in group)
    standing = Standing(
        # Answers of an account are written under its lock only: what is read now is final.
        delivered=(yield from delivered([one.request for one in group])),
        balances=left,
        revoked=(
            yield from revoked_among(
                one for each in group for one in (*each.call.serials, *each.call.vouchers)
            )
        ),
        stopped=(
            yield from stopped_among(
                (one for each in group for one in (*each.call.imported, *each.call.stamped)),
                (one for each in group for one in each.call.vouching),
            )
        ),
    )
    passing("locked")
    settlement = settle(group, standing)
    if granted := settlement.granted:
        at = group[0].call.at
        written = [
            *book([_booking(one) for one in granted], settlement.balances),
            (tables.INSERT_VALIDATION, [(one.digest, one.content, at) for one in new]),
            (tables.INSERT, [row for one in granted for row in _rows(one.pending.call)]),
            deliver([(one.pending.request, one.recorded, one.pending.call.at) for one in granted]),
            *(written for one in granted for written in one.pending.call.alongside),
        ]
        yield from audit.append_steps([_event(one.pending.call) for one in granted], written)
    passing("recorded")
    settled.append(settlement)


def _kept(group: Sequence[Pending]) -> Steps[Any]:
    yield from lock_balances(one.call.account_id for one in group)
    return (yield from delivered([one.request for one in group]))


def _follow_up(request: RequestIdentity, made: FollowUp) -> Steps[Answer]:
    yield from lock_balances([made.account_id])
    earlier = (yield from delivered([request])).get(request.place)
    if earlier is not None:
        return earlier.to(request)
    if (yield [(tables.FOLLOW_UP_TAKEN, [(made.signature_id,)])]):
        raise FollowUpUsed("the signature's document timestamp was taken")
    revoked = yield from revoked_among((*made.units, *made.vouchers))
    if not revoked.isdisjoint(made.vouchers):
        raise EvidenceUnavailable(VOUCHER_REVOKED)
    if revoked or (yield from stopped_among(made.stamped, made.vouching)):
        raise TimestampUnavailable(UNIT_REVOKED)
    content: dict[str, object] = {"signature": made.signature_id}
    event = audit.Event("document.timestamped", content, made.at, made.account_id)
    written = [
        (tables.INSERT_FOLLOW_UP, [(made.signature_id, made.token_serial, made.at)]),
        deliver([(request, made.answer, made.at)]),
        *made.alongside,
    ]
    yield from audit.append_steps([event], written)
    return made.answer


def _booking(granted: Granted) -> Booking:
    call = granted.pending.call
    return Booking(call.account_id, call.id, granted.charge, call.seal_id, call.token_id, call.at)


def _rows(call: Call) -> list[tuple[object, ...]]:
    return [_row(call, made) for made in call.signatures]


def _row(call: Call, made: MadeSignature) -> tuple[object, ...]:
    token = made.token
    parts = token.parts if token else None
    whole = token.der if token else None
    return (
        made.id,
        call.id,
        call.account_id,
        call.seal_id,
        made.digest.algorithm.value,
        made.digest.value,
        call.level,
        b"",
        made.signature_value,
        parts.content_der if parts else whole,
        parts.signature_value if parts else None,
        key_of(parts.tsu) if parts else None,
        str(token.content.serial) if token else None,
        call.at,
        None if call.imported or not call.serials else key_of(call.serials[0]),
        call.appearance_digest,
        made.signing_time,
    )


def _event(call: Call) -> audit.Event:
    content: dict[str, object] = {
        "call": call.id,
        "seal": call.seal_id,
        "token": call.token_id,
        "level": call.level,
        "hashes": [made.digest.value.hex() for made in call.signatures],
    }
    kind = "digests.signed" if call.level == RAW else "documents.signed"
    return audit.Event(kind, content, call.at, call.account_id)


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


def _kept_signature(row: Row[Any]) -> KeptSignature:
    return KeptSignature(
        record=_record(row),
        signature_value=row.signature_value,
        token_content=row.token_content,
        token_signature=row.token_signature,
        tsu=int(row.tsu, 16) if row.tsu else None,
        certificate=int(row.certificate, 16) if row.certificate else None,
        appearance_digest=row.appearance_digest,
        signing_time=row.signing_time,
    )
