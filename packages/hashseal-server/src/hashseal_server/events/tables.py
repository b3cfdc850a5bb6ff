"""The tables of events and webhooks."""

from __future__ import annotations

from sqlalchemy import (
    BigInteger,
    Column,
    ForeignKey,
    Integer,
    LargeBinary,
    String,
    Table,
    Text,
    UniqueConstraint,
)

from hashseal_server.infra.db import BigNumber, UtcDateTime, metadata

events = Table(
    "event",
    metadata,
    Column("id", String(32), primary_key=True),
    Column("account_id", String(32), nullable=False),
    Column("position", BigInteger, nullable=False),
    Column("type", String(64), nullable=False),
    Column("at", UtcDateTime, nullable=False, index=True),
    Column("data", Text, nullable=False),
    UniqueConstraint("account_id", "position"),
)
positions = Table(
    "event_position",
    metadata,
    Column("account_id", String(32), primary_key=True),
    Column("last", BigInteger, nullable=False),
    Column("forgotten", BigInteger, nullable=False),
)
"""The newest position of an account, and the newest whose event was removed."""
endpoints = Table(
    "webhook",
    metadata,
    Column("id", String(32), primary_key=True),
    Column("account_id", String(32), ForeignKey("account.id"), nullable=False, index=True),
    Column("url", Text, nullable=False),
    Column("types", Text, nullable=False),
    Column("description", String(200), nullable=False),
    Column("created_at", UtcDateTime, nullable=False),
    Column("secret", LargeBinary, nullable=False),
    Column("previous", LargeBinary),
    Column("previous_until", UtcDateTime),
    Column("disabled", String(16)),
    Column("failing_since", UtcDateTime),
)
deliveries = Table(
    "webhook_delivery",
    metadata,
    Column("number", BigNumber, primary_key=True),
    Column("id", String(32), nullable=False, unique=True),
    Column("account_id", String(32), nullable=False),
    Column("webhook_id", String(32), nullable=False, index=True),
    Column(
        "event_id",
        String(32),
        ForeignKey("event.id", ondelete="CASCADE"),
        nullable=False,
        index=True,
    ),
    Column("state", String(16), nullable=False),
    Column("attempts", Integer, nullable=False),
    Column("tries", Integer, nullable=False),
    Column("due_at", UtcDateTime, index=True),
    Column("created_at", UtcDateTime, nullable=False),
)
"""`due_at` is null when there is nothing to do. Without a foreign key to the webhook: removing one
must not make a transaction fail that records an event for it.
"""
attempts = Table(
    "webhook_attempt",
    metadata,
    Column(
        "delivery",
        BigNumber,
        ForeignKey("webhook_delivery.number", ondelete="CASCADE"),
        primary_key=True,
        autoincrement=False,
    ),
    Column("number", Integer, primary_key=True, autoincrement=False),
    Column("at", UtcDateTime, nullable=False),
    Column("milliseconds", Integer, nullable=False),
    Column("status", Integer),
    Column("error", String(32)),
)
