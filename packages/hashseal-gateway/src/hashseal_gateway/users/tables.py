"""Tables of keys, users, their sessions, and tries to log in."""

from __future__ import annotations

from sqlalchemy import BigInteger, Boolean, Column, Integer, LargeBinary, String, Table, Text

from hashseal_gateway.infra.db import Moment, metadata

api_keys = Table(
    "api_key",
    metadata,
    Column("id", String(32), primary_key=True),
    Column("name", Text, nullable=False),
    Column("keyed_hash", LargeBinary, nullable=False),
    Column("role", String(24), nullable=False),
    Column("seals", Text),
    Column("created_at", Moment, nullable=False),
    Column("expires_at", Moment),
    Column("revoked_at", Moment),
    Column("used_at", Moment),
)
members = Table(
    "member",
    metadata,
    Column("id", String(32), primary_key=True),
    Column("name", String(64), nullable=False),
    Column("role", String(24), nullable=False),
    Column("password_hash", Text, nullable=False),
    Column("password_temporary", Boolean, nullable=False),
    Column("totp_secret", LargeBinary),
    Column("totp_last_step", BigInteger),
    Column("created_at", Moment, nullable=False),
    Column("disabled_at", Moment),
)
sessions = Table(
    "member_session",
    metadata,
    Column("keyed_hash", String(64), primary_key=True),
    Column("member_id", String(32), nullable=False),
    Column("created_at", Moment, nullable=False),
    Column("seen_at", Moment, nullable=False),
    Column("ends_at", Moment, nullable=False),
)
tries = Table(
    "login_try",
    metadata,
    Column("bucket", String(64), primary_key=True),
    Column("failures", Integer, nullable=False),
    Column("last_at", Moment, nullable=False),
    Column("until", Moment),
)
