"""Tokens have scopes, an end and networks, and can be rotated; OAuth2 clients.

Columns that may be empty, and a table. Tokens of before may do everything, for ever, from
everywhere. Programs of before know nothing of scopes and ends: what is made since is hashed in
another way, so that they refuse it instead of letting it do more than it may.
"""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa
from alembic import op

revision = "0012"
down_revision = "0011"
branch_labels = None
depends_on = None
oldest_program = "0008"
"""Nothing that was there is changed."""

_MOMENT = sa.DateTime(timezone=True)
_ONE = sa.text("kind = 'organisation' AND revoked_at IS NULL")
_ADDED: dict[str, sa.types.TypeEngine[Any]] = {
    "kind": sa.String(length=12),
    "label": sa.String(length=200),
    "holder": sa.String(length=200),
    "scopes": sa.String(length=100),
    "networks": sa.Text(),
    "expires_at": _MOMENT,
    "rotated_at": _MOMENT,
    "earlier_hash": sa.LargeBinary(length=32),
    "earlier_until": _MOMENT,
    "last_used_at": _MOMENT,
    "client_id": sa.String(length=16),
}


def upgrade() -> None:
    """No token is anything else than it was."""
    for name, kind in _ADDED.items():
        op.add_column("api_token", sa.Column(name, kind, nullable=True))
    op.create_index(op.f("ix_api_token_expires_at"), "api_token", ["expires_at"], unique=False)
    op.create_index(op.f("ix_api_token_client_id"), "api_token", ["client_id"], unique=False)
    op.create_index(
        "uq_api_token_organisation",
        "api_token",
        ["account_id"],
        unique=True,
        sqlite_where=_ONE,
        postgresql_where=_ONE,
    )
    op.create_table(
        "oauth_client",
        sa.Column("id", sa.String(length=16), nullable=False),
        sa.Column("account_id", sa.String(length=32), nullable=False),
        sa.Column("label", sa.String(length=200), nullable=True),
        sa.Column("scopes", sa.String(length=100), nullable=False),
        sa.Column("networks", sa.Text(), nullable=True),
        sa.Column("keyed_hash", sa.LargeBinary(length=32), nullable=False),
        sa.Column("earlier_hash", sa.LargeBinary(length=32), nullable=True),
        sa.Column("earlier_until", _MOMENT, nullable=True),
        sa.Column("created_at", _MOMENT, nullable=False),
        sa.Column("rotated_at", _MOMENT, nullable=True),
        sa.Column("last_used_at", _MOMENT, nullable=True),
        sa.Column("revoked_at", _MOMENT, nullable=True),
        sa.ForeignKeyConstraint(
            ["account_id"], ["account.id"], name=op.f("fk_oauth_client_account_id")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_oauth_client")),
    )
    op.create_index(
        op.f("ix_oauth_client_account_id"), "oauth_client", ["account_id"], unique=False
    )


def downgrade() -> None:
    """Without them: tokens that were made since are refused."""
    op.drop_table("oauth_client")
    op.drop_index("uq_api_token_organisation", "api_token")
    op.drop_index(op.f("ix_api_token_client_id"), "api_token")
    op.drop_index(op.f("ix_api_token_expires_at"), "api_token")
    for name in reversed(_ADDED):
        op.drop_column("api_token", name)
