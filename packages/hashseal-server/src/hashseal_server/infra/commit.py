"""Idempotency rows: the delivered answer of a request, byte for byte, under a hashed key."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Column, LargeBinary, String, Table, delete, select, tuple_
from sqlalchemy.ext.asyncio import AsyncConnection

from hashseal_core.errors import IdempotencyKeyReused
from hashseal_server.infra.db import Database, UtcDateTime, metadata, padded

answers = Table(
    "idempotency_answer",
    metadata,
    Column("account_id", String(32), primary_key=True),
    Column("key_hash", LargeBinary(32), primary_key=True),
    Column("request_digest", LargeBinary(32), nullable=False),
    Column("answer", LargeBinary, nullable=False),
    Column("created_at", UtcDateTime, nullable=False, index=True),
)


@dataclass(frozen=True, slots=True)
class RequestIdentity:
    """One request of one account: its key and the digest of operation and body."""

    account_id: str
    key: str
    operation: str
    body: bytes

    @property
    def place(self) -> tuple[str, bytes]:
        """Where its answer is kept."""
        return self.account_id, self.key_hash

    @property
    def key_hash(self) -> bytes:
        """The key as it is stored."""
        return hashlib.sha256(self.key.encode()).digest()

    @property
    def digest(self) -> bytes:
        """What another use of the key must match."""
        return hashlib.sha256(self.operation.encode() + b"\0" + self.body).digest()


@dataclass(frozen=True, slots=True)
class Delivered:
    """An answer that was given, and what it was given to."""

    request_digest: bytes
    answer: bytes

    def to(self, request: RequestIdentity) -> bytes:
        """The answer, for the same request again.

        Raises:
            IdempotencyKeyReused: the key belongs to another request.
        """
        if self.request_digest != request.digest:
            raise IdempotencyKeyReused("this key was used for another request")
        return self.answer


async def delivered(
    connection: AsyncConnection, requests: Sequence[RequestIdentity]
) -> dict[tuple[str, bytes], Delivered]:
    """The answers that these requests, or others with their keys, got before."""
    rows = await connection.execute(
        select(answers).where(
            answers.c.account_id.in_(padded(request.account_id for request in requests)),
            answers.c.key_hash.in_(padded(request.key_hash for request in requests)),
        )
    )
    return {
        (row.account_id, bytes(row.key_hash)): Delivered(
            bytes(row.request_digest), bytes(row.answer)
        )
        for row in rows
    }


async def deliver(
    connection: AsyncConnection, given: Sequence[tuple[RequestIdentity, bytes, datetime]]
) -> None:
    """Record answers in the transaction that makes them true."""
    await connection.execute(
        answers.insert(),
        [
            {
                "account_id": request.account_id,
                "key_hash": request.key_hash,
                "request_digest": request.digest,
                "answer": answer,
                "created_at": at,
            }
            for request, answer, at in given
        ],
    )


async def forget(database: Database, *, before: datetime, limit: int) -> int:
    """Remove up to `limit` answers that are older, oldest first; how many there were.

    The signature record, the ledger and the audit log keep what was signed.

    Raises:
        StorageUnavailable: nothing was removed.
    """
    old = (
        select(answers.c.account_id, answers.c.key_hash)
        .where(answers.c.created_at < before)
        .order_by(answers.c.created_at)
        .limit(limit)
    )
    place = tuple_(answers.c.account_id, answers.c.key_hash)
    async with database.write() as connection:
        done = await connection.execute(delete(answers).where(place.in_(old)))
        return done.rowcount
