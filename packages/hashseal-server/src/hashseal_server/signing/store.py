"""Signature records, and the one transaction that releases a call.

Promises I1, I2, I3, I11 and I14 are kept here.
"""

from __future__ import annotations

from typing import Any

from sqlalchemy import Column, ForeignKey, Integer, LargeBinary, Row, String, Table, select
from sqlalchemy.exc import IntegrityError

from hashseal_core.algorithms import Digest, DigestAlgorithm
from hashseal_core.errors import FollowUpUsed, SealRevoked, SignatureNotFound
from hashseal_server import audit
from hashseal_server.accounts.model import AccountId
from hashseal_server.accounts.store import settle
from hashseal_server.infra.commit import RequestIdentity, deliver, delivered
from hashseal_server.infra.db import Database, UtcDateTime, metadata
from hashseal_server.pki.store import is_revoked
from hashseal_server.signing.model import Balance, Call, FollowUp, Record

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


class SigningStore:
    """Rows in, values out; every read takes the account."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def delivered(self, request: RequestIdentity) -> bytes | None:
        """The answer that this request already got.

        Raises:
            IdempotencyKeyReused: the key belongs to another request.
        """
        async with self._database.read() as connection:
            return await delivered(connection, request)

    async def commit(self, request: RequestIdentity, call: Call) -> bytes:
        """Record, charge, audit and keep the answer in one transaction; the answer is returned.

        When another call with the same key was faster, its answer is returned instead, and this
        call's signatures are dropped.

        Raises:
            SealRevoked: revoked since the call began.
            QuotaExhausted, IdempotencyKeyReused, StorageUnavailable: nothing was recorded.
        """
        async with self._database.write() as connection:
            if (earlier := await delivered(connection, request)) is not None:
                return earlier
            if await is_revoked(connection, call.serials):
                raise SealRevoked("the seal's certificate has been revoked", field="seal_id")
            _, left = await settle(
                connection,
                reservation=call.reservation,
                account_id=call.account_id,
                calls=len(call.signatures),
                call_id=call.id,
                seal_id=call.seal_id,
                token_id=call.token_id,
                at=call.at,
            )
            answer = call.render(Balance(left.free, left.paid))
            await connection.execute(
                signatures.insert(),
                [
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
                ],
            )
            content: dict[str, object] = {
                "call": call.id,
                "seal": call.seal_id,
                "token": call.token_id,
                "level": call.level,
                "hashes": [made.digest.value.hex() for made in call.signatures],
            }
            await audit.append(connection, "documents.signed", content, call.at, call.account_id)
            await deliver(connection, request, answer, call.at)
        return answer

    async def commit_follow_up(self, request: RequestIdentity, made: FollowUp) -> bytes:
        """Record a document timestamp with its answer; free, once per signature.

        Raises:
            FollowUpUsed: it was already taken under another key.
        """
        async with self._database.write() as connection:
            if (earlier := await delivered(connection, request)) is not None:
                return earlier
            try:
                await connection.execute(
                    follow_ups.insert().values(
                        signature_id=made.signature_id,
                        token_serial=made.token_serial,
                        issued_at=made.at,
                    )
                )
            except IntegrityError as error:
                raise FollowUpUsed("the signature's document timestamp was taken") from error
            content: dict[str, object] = {"signature": made.signature_id}
            await audit.append(
                connection, "document.timestamped", content, made.at, made.account_id
            )
            await deliver(connection, request, made.answer, made.at)
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
