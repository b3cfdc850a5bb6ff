"""Idempotency rows: the delivered answer of a request, byte for byte, under a hashed key."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Column, LargeBinary, String, Table, select
from sqlalchemy.ext.asyncio import AsyncConnection

from hashseal_core.errors import IdempotencyKeyReused
from hashseal_server.infra.db import UtcDateTime, metadata

answers = Table(
    "idempotency_answer",
    metadata,
    Column("account_id", String(32), primary_key=True),
    Column("key_hash", LargeBinary(32), primary_key=True),
    Column("request_digest", LargeBinary(32), nullable=False),
    Column("answer", LargeBinary, nullable=False),
    Column("created_at", UtcDateTime, nullable=False),
)


@dataclass(frozen=True, slots=True)
class RequestIdentity:
    """One request of one account: its key and the digest of operation and body."""

    account_id: str
    key: str
    operation: str
    body: bytes

    @property
    def key_hash(self) -> bytes:
        """The key as it is stored."""
        return hashlib.sha256(self.key.encode()).digest()

    @property
    def digest(self) -> bytes:
        """What another use of the key must match."""
        return hashlib.sha256(self.operation.encode() + b"\0" + self.body).digest()


async def delivered(connection: AsyncConnection, request: RequestIdentity) -> bytes | None:
    """The answer that this request got before, if it was delivered.

    Raises:
        IdempotencyKeyReused: the key belongs to another request.
    """
    row = (
        await connection.execute(
            select(answers.c.request_digest, answers.c.answer).where(
                answers.c.account_id == request.account_id,
                answers.c.key_hash == request.key_hash,
            )
        )
    ).first()
    if row is None:
        return None
    if row.request_digest != request.digest:
        raise IdempotencyKeyReused("this key was used for another request")
    return bytes(row.answer)


async def deliver(
    connection: AsyncConnection, request: RequestIdentity, answer: bytes, at: datetime
) -> None:
    """Record the answer in the transaction that makes it true."""
    await connection.execute(
        answers.insert().values(
            account_id=request.account_id,
            key_hash=request.key_hash,
            request_digest=request.digest,
            answer=answer,
            created_at=at,
        )
    )
