"""Seals have a picture, and answers say which one.

A table and a column that may be empty: programs of before do not notice. A seal that they make is
drawn when it is first looked at.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0015"
down_revision = "0014"
branch_labels = None
depends_on = None
oldest_program = "0010"
"""Nothing that was there is changed."""


def upgrade() -> None:
    """No seal has its picture yet."""
    op.create_table(
        "seal_appearance",
        sa.Column("seal_id", sa.String(length=32), nullable=False),
        sa.Column("digest", sa.String(length=64), nullable=False),
        sa.Column("svg", sa.LargeBinary(), nullable=False),
        sa.Column("drawn_at", sa.DateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(["seal_id"], ["seal.id"], name=op.f("fk_seal_appearance_seal_id")),
        sa.PrimaryKeyConstraint("seal_id", name=op.f("pk_seal_appearance")),
    )
    op.add_column("signature", sa.Column("appearance_digest", sa.String(length=64), nullable=True))


def downgrade() -> None:
    """Without them."""
    op.drop_column("signature", "appearance_digest")
    op.drop_table("seal_appearance")
