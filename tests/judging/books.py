"""Are the books exact? Everything that promises I1, I2, I4 and I13 say about the rows at rest."""

from __future__ import annotations

import sqlalchemy as sa

from hashseal_server.audit import AuditLog, verify
from hashseal_server.audit.journal import read
from hashseal_server.infra.db import Database

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
        SELECT (SELECT count(*) FROM audit_record WHERE event LIKE 'document%')
            - (SELECT count(*) FROM idempotency_answer)""",
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


async def check_audit(audit: AuditLog, calls: int) -> None:
    """Assert that every call is chained, published and unchanged."""
    await audit.sequence()
    entries = await audit.entries()
    assert sum(entry.event.startswith("document") for entry in entries) == calls
    checkpoints = read(audit.journal.path) if entries else []
    assert max((one.last for one in checkpoints), default=0) == len(entries)
    assert verify(entries, checkpoints, audit.journal.public_key()) is None
