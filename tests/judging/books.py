"""Are the books exact? Everything that promises I1, I2, I4 and I13 say about the rows at rest."""

from __future__ import annotations

import leaking
import sqlalchemy as sa

from hashseal_server.audit import AuditLog, verify
from hashseal_server.audit.journal import read
from hashseal_server.infra.db import Database
from hashseal_server.main import Operator

EXACT = {
    "granted = remaining + charged, in free and in paid calls": """
        SELECT count(*) FROM account_balance AS b JOIN
        (SELECT account_id, sum(free) AS free, sum(paid) AS paid FROM ledger GROUP BY account_id) AS l
        ON l.account_id = b.account_id WHERE b.free <> l.free OR b.paid <> l.paid""",
    "nothing is below zero": "SELECT count(*) FROM account_balance WHERE free < 0 OR paid < 0",
    "each charge has its signatures": """
        SELECT count(*) FROM
        (SELECT reference, -(free + paid) AS n FROM ledger WHERE kind = 'call') AS l LEFT JOIN
        (SELECT 'call-' || call_id AS reference, count(*) AS n FROM signature GROUP BY call_id) AS s
        ON s.reference = l.reference WHERE l.n <> coalesce(s.n, 0)""",
    "each signature has its charge": """
        SELECT count(*) FROM signature WHERE 'call-' || call_id NOT IN
        (SELECT reference FROM ledger WHERE kind = 'call')""",
    "as many answers as charges": """
        SELECT (SELECT count(*) FROM idempotency_answer) -
        (SELECT count(*) FROM ledger WHERE kind = 'call') - (SELECT count(*) FROM document_timestamp)""",
    "as many audit records as answers": """
        SELECT (SELECT count(*) FROM audit_record
            WHERE event LIKE 'document%' OR event = 'digests.signed')
            - (SELECT count(*) FROM idempotency_answer)""",
    "no more hashes are signed than a SAD is for": """
        SELECT count(*) FROM csc_authorisation AS a WHERE a.bound > a.allowed OR a.bound <>
        (SELECT count(*) FROM csc_hash AS h WHERE h.authorisation_id = a.id)""",
    "an authorised hash is consumed, or has no signature": """
        SELECT count(*) FROM csc_hash WHERE state NOT IN ('authorised', 'reserved', 'consumed')
        OR (state = 'consumed') <> (signature_id IS NOT NULL)""",
    "a consumed hash has a signature of its own, over it": """
        SELECT (SELECT count(*) FROM csc_hash WHERE state = 'consumed') -
        (SELECT count(DISTINCT s.id) FROM csc_hash AS h
            JOIN signature AS s ON s.id = h.signature_id AND s.hash = h.hash)""",
}


async def check_books(database: Database) -> int:
    """Assert that the books are exact; how many calls were charged."""
    async with database.read() as connection:
        for claim, statement in EXACT.items():
            off = (await connection.execute(sa.text(statement))).scalar_one()
            assert off == 0, f"{claim}: off by {off}"
        charged = await connection.execute(
            sa.text("SELECT count(*) FROM ledger WHERE kind = 'call'")
        )
        return int(charged.scalar_one())


async def check_authorised(database: Database) -> int:
    """Assert that each authorised hash is signed once if it is consumed, and never otherwise.

    This is for books in which nobody has authorised a hash twice. How many were consumed; what
    ended long ago is forgotten.
    """
    off = """
        SELECT count(*) FROM csc_hash AS h LEFT JOIN
        (SELECT hash, count(*) AS n FROM signature GROUP BY hash) AS s ON s.hash = h.hash
        WHERE coalesce(s.n, 0) <> CASE WHEN h.state = 'consumed' THEN 1 ELSE 0 END"""
    counted = "SELECT count(*) FROM csc_hash WHERE state = 'consumed'"
    async with database.read() as connection:
        assert (await connection.execute(sa.text(off))).scalar_one() == 0
        return int((await connection.execute(sa.text(counted))).scalar_one())


async def check_secrets(opened: Operator, watch: leaking.Watch, log: str, figures: bytes) -> None:
    """Assert that no secret was left in what replicas said, in their figures, files and rows (I20)."""
    assert '"event":"request"' in log
    assert b"hashseal_" in figures
    left = watch.leaks(await leaking.places(opened, log, watch, figures=figures))
    assert not left, left


async def check_audit(audit: AuditLog, calls: int) -> None:
    """Assert that every call is chained, published and unchanged."""
    await audit.sequence()
    entries = await audit.entries()
    assert sum(entry.event.startswith("document") for entry in entries) == calls
    checkpoints = read(audit.journal.path) if entries else []
    assert max((one.last for one in checkpoints), default=0) == len(entries)
    assert verify(entries, checkpoints, audit.journal.public_key()) is None
