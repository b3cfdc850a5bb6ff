"""Who has a raw credential is told, too, that its certificate ends.

A column that may be empty: programs of before do not notice.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0016"
down_revision = "0015"
branch_labels = None
depends_on = None
oldest_program = "0010"
"""Nothing that was there is changed."""


def upgrade() -> None:
    """Nobody has been told yet."""
    op.add_column("raw_credential", sa.Column("told_days", sa.Integer(), nullable=True))


def downgrade() -> None:
    """Without it."""
    op.drop_column("raw_credential", "told_days")
