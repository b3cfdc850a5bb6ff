"""A wrapped key is its own reference, and longer than the name of a key in a token.

SQLite does not look at the length of a text.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None
oldest_program = "0005"
"""Texts may be longer than before; nothing else is different."""

_TABLES = ("certificate", "seal")


def upgrade() -> None:
    """Texts of any length."""
    if op.get_bind().dialect.name == "postgresql":
        for table in _TABLES:
            op.alter_column(table, "key", type_=sa.Text(), existing_nullable=False)


def downgrade() -> None:
    """64 characters; fails when there are wrapped keys."""
    if op.get_bind().dialect.name == "postgresql":
        for table in _TABLES:
            op.alter_column(table, "key", type_=sa.String(64), existing_nullable=False)
