"""Idempotency rows: what a request was answered, under a hashed key.

The answer of a signing call is not kept as octets: the row names what was recorded, and the same
octets are made from that again. Other answers are kept as they are.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import cached_property
from typing import TypeAlias

from msgspec import Struct
from sqlalchemy import (
    BigInteger,
    Column,
    Integer,
    LargeBinary,
    String,
    Table,
    delete,
    select,
    tuple_,
)

from hashseal_core.errors import IdempotencyKeyReused
from hashseal_server.infra.db import Database, UtcDateTime, metadata
from hashseal_server.infra.statements import Rows, Statement, Steps

answers = Table(
    "idempotency_answer",
    metadata,
    Column("account_id", String(32), primary_key=True),
    Column("key_hash", LargeBinary(32), primary_key=True),
    Column("request_digest", LargeBinary(32), nullable=False),
    Column("answer", LargeBinary, nullable=False),
    Column("call_id", String(32)),
    Column("calls", Integer),
    Column("free_left", BigInteger),
    Column("paid_left", BigInteger),
    Column("validation", LargeBinary(32)),
    Column("created_at", UtcDateTime, nullable=False, index=True),
)
KEPT = "request_digest, answer, call_id, calls, free_left, paid_left, validation"
"""Columns that `Delivered.of` reads, in this order."""
_DELIVERED = Statement(
    f"""SELECT i.account_id, i.key_hash, {", ".join(f"i.{name}" for name in KEPT.split(", "))}
        FROM {{rows}} JOIN idempotency_answer i
        ON i.account_id = r.account_id AND i.key_hash = r.key_hash""",  # noqa: S608 - our own names
    {"account_id": "text", "key_hash": "bytea"},
    answers=True,
)
_DELIVER = Statement(
    f"""INSERT INTO idempotency_answer (account_id, key_hash, {KEPT}, created_at)
        SELECT r.account_id, r.key_hash, {", ".join(f"r.{name}" for name in KEPT.split(", "))},
        r.created_at FROM {{rows}}""",  # noqa: S608 - our own names
    {
        "account_id": "text",
        "key_hash": "bytea",
        "request_digest": "bytea",
        "answer": "bytea",
        "call_id": "text",
        "calls": "bigint",
        "free_left": "bigint",
        "paid_left": "bigint",
        "validation": "bytea",
        "created_at": "timestamptz",
    },
)


@dataclass(frozen=True)
class RequestIdentity:
    """One request of one account: its key and the digest of operation and body."""

    account_id: str
    key: str
    operation: str
    body: bytes

    @cached_property
    def place(self) -> tuple[str, bytes]:
        """Where its answer is kept."""
        return self.account_id, self.key_hash

    @cached_property
    def key_hash(self) -> bytes:
        """The key as it is stored."""
        return hash_of_key(self.key)

    @cached_property
    def digest(self) -> bytes:
        """What another use of the key must match."""
        return hashlib.sha256(self.operation.encode() + b"\0" + self.body).digest()


def hash_of_key(key: str) -> bytes:
    """An idempotency key as it is stored."""
    return hashlib.sha256(key.encode()).digest()


class Recorded(Struct, frozen=True):
    """A signing call that was answered: what its octets are made from again.

    `free_left` and `paid_left` are what the answer said; `validation` is the digest of its set.
    """

    call_id: str
    calls: int
    free_left: int
    paid_left: int
    validation: bytes | None


Answer: TypeAlias = bytes | Recorded


class Delivered(Struct, frozen=True):
    """An answer that was given, and what it was given to."""

    request_digest: bytes
    answer: Answer

    @classmethod
    def of(cls, columns: Sequence[object]) -> Delivered:
        """From the columns that `KEPT` names."""
        digest, answer, call_id, calls, free, paid, validation = columns
        if answer:
            return cls(digest, answer)  # type: ignore[arg-type]
        return cls(digest, Recorded(call_id, calls, free, paid, validation))  # type: ignore[arg-type]

    def to(self, request: RequestIdentity) -> Answer:
        """The answer, for the same request again.

        Raises:
            IdempotencyKeyReused: the key belongs to another request.
        """
        if self.request_digest != request.digest:
            raise IdempotencyKeyReused("this key was used for another request")
        return self.answer


def delivered(
    requests: Sequence[RequestIdentity],
) -> Steps[Mapping[tuple[str, bytes], Delivered]]:
    """The answers that these requests, or others with their keys, got before."""
    rows = yield [(_DELIVERED, [*{request.place for request in requests}])]
    return {(row[0], row[1]): Delivered.of(row[2:]) for row in rows}


def deliver(given: Sequence[tuple[RequestIdentity, Answer, datetime]]) -> tuple[Statement, Rows]:
    """Record answers in the transaction that makes them true."""
    return _DELIVER, [_row(request, answer, at) for request, answer, at in given]


def _row(request: RequestIdentity, answer: Answer, at: datetime) -> tuple[object, ...]:
    head = (request.account_id, request.key_hash, request.digest)
    if isinstance(answer, bytes):
        return (*head, answer, None, None, None, None, None, at)
    return (
        *head,
        b"",
        answer.call_id,
        answer.calls,
        answer.free_left,
        answer.paid_left,
        answer.validation,
        at,
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
