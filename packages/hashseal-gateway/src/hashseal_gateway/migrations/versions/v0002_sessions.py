"""Sessions of users, tries to log in, passwords that must be changed, and the data folder."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None

_MOMENT = sa.DateTime(timezone=True)


def upgrade() -> None:
    """Make three tables and a column."""
    op.create_table(
        "member_session",
        sa.Column("keyed_hash", sa.String(64), primary_key=True),
        sa.Column("member_id", sa.String(32), nullable=False),
        sa.Column("created_at", _MOMENT, nullable=False),
        sa.Column("seen_at", _MOMENT, nullable=False),
        sa.Column("ends_at", _MOMENT, nullable=False),
    )
    op.create_index("ix_member_session_member_id", "member_session", ["member_id"])
    op.create_index("ix_member_session_ends_at", "member_session", ["ends_at"])
    op.create_table(
        "login_try",
        sa.Column("bucket", sa.String(64), primary_key=True),
        sa.Column("failures", sa.Integer, nullable=False),
        sa.Column("last_at", _MOMENT, nullable=False),
        sa.Column("until", _MOMENT),
    )
    op.create_index("ix_login_try_last_at", "login_try", ["last_at"])
    op.create_table(
        "installation",
        sa.Column("id", sa.Integer, primary_key=True, autoincrement=False),
        sa.Column("data_folder", sa.String(64), nullable=False),
    )
    with op.batch_alter_table("member") as member:
        member.add_column(
            sa.Column("password_temporary", sa.Boolean, nullable=False, server_default=sa.false())
        )


def downgrade() -> None:
    """Remove them."""
    with op.batch_alter_table("member") as member:
        member.drop_column("password_temporary")
    op.drop_table("installation")
    op.drop_table("login_try")
    op.drop_table("member_session")
