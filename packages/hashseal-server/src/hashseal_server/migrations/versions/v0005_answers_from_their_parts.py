"""Answers are made again from what was recorded, instead of being kept as octets.

A signature keeps its value and its token's, and an empty CMS; an answer is empty and names its
call; the validation material of many answers is kept once. Rows of before stay as they are. Tables
that only grow have 64-bit numbers, one index for each question that is asked, and on PostgreSQL no
foreign keys: the transaction that writes them has locked what they name.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None
oldest_program = "0005"
"""Older programs cannot read the answers that newer ones leave."""

_ADDED = {
    "signature": (
        sa.Column("signature_value", sa.LargeBinary()),
        sa.Column("token_content", sa.LargeBinary()),
        sa.Column("token_signature", sa.LargeBinary()),
        sa.Column("tsu", sa.String(length=40)),
    ),
    "idempotency_answer": (
        sa.Column("call_id", sa.String(length=32)),
        sa.Column("calls", sa.Integer()),
        sa.Column("free_left", sa.BigInteger()),
        sa.Column("paid_left", sa.BigInteger()),
        sa.Column("validation", sa.LargeBinary(length=32)),
    ),
}
_NUMBERS = (
    ("signature", "position"),
    ("ledger", "id"),
    ("audit_record", "id"),
    ("audit_chain", "position"),
    ("audit_chain", "record_id"),
    ("audit_pending", "first_id"),
)
_KEYS = (
    ("signature", "fk_signature_account_id"),
    ("signature", "fk_signature_seal_id"),
    ("ledger", "fk_ledger_account_id"),
    ("audit_chain", "fk_audit_chain_record_id"),
)


def upgrade() -> None:
    """Add columns and the table of validation sets; change what only PostgreSQL knows."""
    for table, columns in _ADDED.items():
        for column in columns:
            op.add_column(table, column)
    op.create_table(
        "validation_set",
        sa.Column("digest", sa.LargeBinary(length=32), nullable=False),
        sa.Column("content", sa.LargeBinary(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("digest", name=op.f("pk_validation_set")),
    )
    op.create_table("schema_support", sa.Column("oldest_program", sa.String(8), nullable=False))
    op.drop_index(op.f("ix_signature_call_id"), "signature")
    op.drop_index(op.f("ix_signature_account_id"), "signature")
    op.create_index("ix_signature_account_id", "signature", ["account_id", "position"])
    op.drop_index(op.f("ix_ledger_account_id"), "ledger")
    op.create_index("ix_ledger_account_id", "ledger", ["account_id", "id"])
    if op.get_bind().dialect.name == "postgresql":
        _on_postgresql()


def _on_postgresql() -> None:
    for table, name in _KEYS:
        op.drop_constraint(name, table, type_="foreignkey")
    for table, column in _NUMBERS:
        op.alter_column(table, column, type_=sa.BigInteger())
    for sequence in ("signature_position_seq", "ledger_id_seq", "audit_record_id_seq"):
        op.execute(f"ALTER SEQUENCE {sequence} AS bigint")
