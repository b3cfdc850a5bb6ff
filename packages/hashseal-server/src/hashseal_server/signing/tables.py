"""Tables and statements of the signing slice."""

from __future__ import annotations

from sqlalchemy import Column, ForeignKey, Index, LargeBinary, String, Table

from hashseal_server.accounts.token_store import KEPT as KEPT_TOKEN
from hashseal_server.infra.commit import KEPT
from hashseal_server.infra.db import BigNumber, UtcDateTime, metadata
from hashseal_server.infra.statements import Statement

signatures = Table(
    "signature",
    metadata,
    Column("position", BigNumber, primary_key=True),
    Column("id", String(40), nullable=False, unique=True),
    Column("call_id", String(32), nullable=False),
    Column("account_id", String(32), nullable=False),
    Column("seal_id", String(32), nullable=False),
    Column("hash_algorithm", String(16), nullable=False),
    Column("hash", LargeBinary(64), nullable=False),
    Column("level", String(8), nullable=False),
    Column("signed_data", LargeBinary, nullable=False),
    Column("signature_value", LargeBinary),
    Column("token_content", LargeBinary),
    Column("token_signature", LargeBinary),
    Column("tsu", String(40)),
    Column("token_serial", String(64)),
    Column("signed_at", UtcDateTime, nullable=False),
    Column("certificate", String(40)),
    Column("appearance_digest", String(64)),
    Column("signing_time", UtcDateTime),
    Index("ix_signature_account_id", "account_id", "position"),
)
follow_ups = Table(
    "document_timestamp",
    metadata,
    Column("signature_id", String(40), ForeignKey("signature.id"), primary_key=True),
    Column("token_serial", String(64), nullable=False),
    Column("issued_at", UtcDateTime, nullable=False),
)
validation_sets = Table(
    "validation_set",
    metadata,
    Column("digest", LargeBinary(32), primary_key=True),
    Column("content", LargeBinary, nullable=False),
    Column("created_at", UtcDateTime, nullable=False),
)
_TOKEN = ", ".join(f"t.{name}" for name in KEPT_TOKEN.split(", "))
_FOUND = ", ".join(f"i.{name}" for name in KEPT.split(", "))
LOOK_UP = Statement(
    f"""SELECT t.account_id, t.entitlements, {_TOKEN}, t.free, t.paid, s.state, s.serial,
        {_FOUND}, r.n
        FROM {{rows}}
        LEFT JOIN LATERAL (SELECT t.account_id, a.entitlements, {_TOKEN}, b.free, b.paid
            FROM api_token t
            LEFT JOIN account a ON a.id = t.account_id
            LEFT JOIN account_balance b ON b.account_id = t.account_id
            WHERE t.id = r.token_id AND t.revoked_at IS NULL OFFSET 0) t ON true
        LEFT JOIN LATERAL (SELECT COALESCE(c.state, f.state) AS state, s.serial
            FROM seal s LEFT JOIN certificate c ON c.serial = s.serial
            LEFT JOIN foreign_certificate f ON f.digest = s.imported
            WHERE s.id = r.seal_id AND s.account_id = t.account_id OFFSET 0) s ON true
        LEFT JOIN LATERAL (SELECT * FROM idempotency_answer i
            WHERE i.account_id = t.account_id AND i.key_hash = r.key_hash OFFSET 0) i ON true
        ORDER BY r.n""",  # noqa: S608 - our own names
    {"token_id": "text", "key_hash": "bytea", "seal_id": "text"},
    answers=True,
    on_sqlite=f"""SELECT t.account_id, a.entitlements, {_TOKEN}, b.free, b.paid,
        COALESCE(c.state, f.state), s.serial, {_FOUND}, r.n
        FROM {{rows}}
        LEFT JOIN api_token t ON t.id = r.token_id AND t.revoked_at IS NULL
        LEFT JOIN account a ON a.id = t.account_id
        LEFT JOIN account_balance b ON b.account_id = t.account_id
        LEFT JOIN seal s ON s.id = r.seal_id AND s.account_id = t.account_id
        LEFT JOIN certificate c ON c.serial = s.serial
        LEFT JOIN foreign_certificate f ON f.digest = s.imported
        LEFT JOIN idempotency_answer i
        ON i.account_id = t.account_id AND i.key_hash = r.key_hash""",  # noqa: S608 - likewise
)
"""Everything that a call needs to know before it signs, for many calls at once.

`OFFSET 0` keeps PostgreSQL from turning the look-ups into joins: without statistics it then reads
the index of a whole account instead of asking for one key in it."""
INSERT = Statement(
    """INSERT INTO signature (id, call_id, account_id, seal_id, hash_algorithm, hash, level,
       signed_data, signature_value, token_content, token_signature, tsu, token_serial, signed_at,
       certificate, appearance_digest, signing_time)
       SELECT r.id, r.call_id, r.account_id, r.seal_id, r.hash_algorithm, r.hash, r.level,
       r.signed_data, r.signature_value, r.token_content, r.token_signature, r.tsu,
       r.token_serial, r.signed_at, r.certificate, r.appearance_digest, r.signing_time
       FROM {rows}""",
    {
        "id": "text",
        "call_id": "text",
        "account_id": "text",
        "seal_id": "text",
        "hash_algorithm": "text",
        "hash": "bytea",
        "level": "text",
        "signed_data": "bytea",
        "signature_value": "bytea",
        "token_content": "bytea",
        "token_signature": "bytea",
        "tsu": "text",
        "token_serial": "text",
        "signed_at": "timestamptz",
        "certificate": "text",
        "appearance_digest": "text",
        "signing_time": "timestamptz",
    },
)
INSERT_VALIDATION = Statement(
    """INSERT INTO validation_set (digest, content, created_at)
       SELECT r.digest, r.content, r.created_at FROM {rows} WHERE true
       ON CONFLICT (digest) DO UPDATE SET created_at = excluded.created_at""",
    {"digest": "bytea", "content": "bytea", "created_at": "timestamptz"},
)
FOLLOW_UP_TAKEN = Statement(
    """SELECT f.signature_id FROM {rows} JOIN document_timestamp f
       ON f.signature_id = r.signature_id""",
    {"signature_id": "text"},
    answers=True,
)
INSERT_FOLLOW_UP = Statement(
    """INSERT INTO document_timestamp (signature_id, token_serial, issued_at)
       SELECT r.signature_id, r.token_serial, r.issued_at FROM {rows}""",
    {"signature_id": "text", "token_serial": "text", "issued_at": "timestamptz"},
)
