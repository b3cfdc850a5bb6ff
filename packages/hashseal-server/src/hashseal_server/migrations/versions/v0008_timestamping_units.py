"""Who owns which timestamping unit, and until when its times are reserved.

Units of before are left to programs of before, which do not know owners: they are marked as left,
and programs of this version make their own.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0008"
down_revision = "0007"
branch_labels = None
depends_on = None
oldest_program = "0008"
"""A program of before that starts anew would use a unit that another process owns."""


def upgrade() -> None:
    """An empty table, but for units that are there."""
    op.create_table(
        "timestamping_unit_lease",
        sa.Column("serial", sa.String(length=40), nullable=False),
        sa.Column("owner", sa.String(length=64), nullable=True),
        sa.Column("epoch", sa.BigInteger(), nullable=False),
        sa.Column("expires_at", sa.BigInteger(), nullable=False),
        sa.Column("high_water", sa.BigInteger(), nullable=False),
        sa.Column("left_at", sa.DateTime(timezone=True), nullable=True),
        sa.PrimaryKeyConstraint("serial", name=op.f("pk_timestamping_unit_lease")),
    )
    op.execute(
        "INSERT INTO timestamping_unit_lease (serial, epoch, expires_at, high_water, left_at) "
        "SELECT serial, 0, 0, 0, planned_at FROM certificate "
        "WHERE role = 'tsu' AND state = 'issued'"
    )


def downgrade() -> None:
    """Without the table."""
    op.drop_table("timestamping_unit_lease")
