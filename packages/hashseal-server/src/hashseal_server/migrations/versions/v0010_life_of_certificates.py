"""Issuing authorities follow one another, seals keep their id under a new certificate.

Columns that may be empty, and tables: programs of before do not notice. They must be gone before a
certificate is renewed: they would go on with the one they know, or take the newest authority for
the only one.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0010"
down_revision = "0009"
branch_labels = None
depends_on = None
oldest_program = "0008"
"""Nothing that was there is changed."""

_MOMENT = sa.DateTime(timezone=True)


def upgrade() -> None:
    """Every seal's certificate begins its history."""
    op.add_column("certificate", sa.Column("label", sa.String(length=16), nullable=True))
    op.add_column("certificate", sa.Column("invalid_since", _MOMENT, nullable=True))
    op.create_index(op.f("ix_certificate_label"), "certificate", ["label"], unique=True)
    op.add_column("signature", sa.Column("certificate", sa.String(length=40), nullable=True))
    op.create_table(
        "seal_certificate",
        sa.Column("serial", sa.String(length=40), nullable=False),
        sa.Column("seal_id", sa.String(length=32), nullable=False),
        sa.Column("key", sa.Text(), nullable=False),
        sa.Column("chain", sa.LargeBinary(), nullable=False),
        sa.Column("not_after", _MOMENT, nullable=False),
        sa.Column("since", _MOMENT, nullable=False),
        sa.ForeignKeyConstraint(
            ["serial"], ["certificate.serial"], name=op.f("fk_seal_certificate_serial")
        ),
        sa.ForeignKeyConstraint(["seal_id"], ["seal.id"], name=op.f("fk_seal_certificate_seal_id")),
        sa.PrimaryKeyConstraint("serial", name=op.f("pk_seal_certificate")),
    )
    op.create_index(
        op.f("ix_seal_certificate_seal_id"), "seal_certificate", ["seal_id"], unique=False
    )
    op.execute("""
        INSERT INTO seal_certificate (serial, seal_id, key, chain, not_after, since)
        SELECT s.serial, s.id, s.key, s.chain, s.not_after, c.planned_at
        FROM seal s JOIN certificate c ON c.serial = s.serial
    """)
    op.create_table(
        "certificate_request",
        sa.Column("id", sa.String(length=32), nullable=False),
        sa.Column("key", sa.Text(), nullable=False),
        sa.Column("der", sa.LargeBinary(), nullable=False),
        sa.Column("requested_at", _MOMENT, nullable=False),
        sa.Column("serial", sa.String(length=40), nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_certificate_request")),
    )


def downgrade() -> None:
    """Without them."""
    op.drop_table("certificate_request")
    op.drop_table("seal_certificate")
    op.drop_column("signature", "certificate")
    op.drop_index(op.f("ix_certificate_label"), "certificate")
    op.drop_column("certificate", "invalid_since")
    op.drop_column("certificate", "label")
