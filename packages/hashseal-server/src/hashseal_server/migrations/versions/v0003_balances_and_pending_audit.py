"""Balances beside the ledger, the audit sequencer's inbox, append-only on PostgreSQL too.

Reservations go: a call is charged in the transaction that records it, and holds nothing before.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0001"
branch_labels = None
depends_on = None

APPEND_ONLY = ("ledger", "audit_record", "audit_chain")


def upgrade() -> None:
    """Fill the balances from the ledger and the inbox from what is not chained yet."""
    op.create_table(
        "account_balance",
        sa.Column("account_id", sa.String(length=32), nullable=False),
        sa.Column("free", sa.BigInteger(), nullable=False),
        sa.Column("paid", sa.BigInteger(), nullable=False),
        sa.CheckConstraint("free >= 0 AND paid >= 0", name=op.f("ck_account_balance_not_negative")),
        sa.ForeignKeyConstraint(
            ["account_id"], ["account.id"], name=op.f("fk_account_balance_account_id")
        ),
        sa.PrimaryKeyConstraint("account_id", name=op.f("pk_account_balance")),
    )
    op.execute(
        "INSERT INTO account_balance (account_id, free, paid) "
        "SELECT account_id, SUM(free), SUM(paid) FROM ledger GROUP BY account_id"
    )
    op.create_table(
        "audit_pending",
        sa.Column("first_id", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("record_ids", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("first_id", name=op.f("pk_audit_pending")),
    )
    op.execute(
        "INSERT INTO audit_pending (first_id, record_ids) "
        "SELECT id, '[' || id || ']' FROM audit_record "
        "WHERE id NOT IN (SELECT record_id FROM audit_chain)"
    )
    op.drop_table("reservation")
    if op.get_bind().dialect.name == "postgresql":
        _on_postgresql()


def _on_postgresql() -> None:
    op.execute(
        "CREATE FUNCTION hashseal_append_only() RETURNS trigger LANGUAGE plpgsql AS "
        "$$ BEGIN RAISE EXCEPTION '% is append-only', TG_TABLE_NAME; END $$"
    )
    for table in APPEND_ONLY:
        op.execute(
            f"CREATE TRIGGER {table}_append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON {table} "
            "FOR EACH STATEMENT EXECUTE FUNCTION hashseal_append_only()"
        )
    # Answers and signatures do not compress; trying costs more than storing them.
    op.execute("ALTER TABLE idempotency_answer ALTER COLUMN answer SET STORAGE EXTERNAL")
    op.execute("ALTER TABLE signature ALTER COLUMN signed_data SET STORAGE EXTERNAL")
