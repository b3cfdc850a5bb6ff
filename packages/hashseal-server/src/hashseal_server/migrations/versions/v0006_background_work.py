"""Pre-produced OCSP responses, heartbeats and outcomes of background work, expiry by age.

Only tables and an index are added: the version before does not notice. DBOS keeps its own tables.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None
oldest_program = "0005"
"""Nothing that was there is changed."""


def upgrade() -> None:
    """Empty tables; the responses are made by the first run of the job, or on demand."""
    op.create_table(
        "ocsp_response",
        sa.Column("serial", sa.String(length=40), nullable=False),
        sa.Column("hash_algorithm", sa.String(length=8), nullable=False),
        sa.Column("responder", sa.String(length=16), nullable=False),
        sa.Column("state", sa.String(length=16), nullable=False),
        sa.Column("der", sa.LargeBinary(), nullable=False),
        sa.Column("produced_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("next_update", sa.DateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(
            ["serial"], ["certificate.serial"], name=op.f("fk_ocsp_response_serial")
        ),
        sa.PrimaryKeyConstraint("serial", "hash_algorithm", name=op.f("pk_ocsp_response")),
    )
    op.create_index(
        op.f("ix_ocsp_response_next_update"), "ocsp_response", ["next_update"], unique=False
    )
    op.create_table(
        "executor",
        sa.Column("id", sa.String(length=64), nullable=False),
        sa.Column("beat_at", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_executor")),
    )
    op.create_table(
        "job_outcome",
        sa.Column("job", sa.String(length=40), nullable=False),
        sa.Column("runs", sa.BigInteger(), nullable=False),
        sa.Column("failures", sa.BigInteger(), nullable=False),
        sa.Column("succeeded_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("failed_at", sa.DateTime(timezone=True), nullable=True),
        sa.PrimaryKeyConstraint("job", name=op.f("pk_job_outcome")),
    )
    op.create_index(
        op.f("ix_idempotency_answer_created_at"),
        "idempotency_answer",
        ["created_at"],
        unique=False,
    )


def downgrade() -> None:
    """Without them."""
    op.drop_index(op.f("ix_idempotency_answer_created_at"), "idempotency_answer")
    op.drop_table("job_outcome")
    op.drop_table("executor")
    op.drop_table("ocsp_response")
