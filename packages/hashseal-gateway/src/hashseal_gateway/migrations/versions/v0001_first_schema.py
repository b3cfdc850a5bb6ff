"""Documents, the signing log, seals' names, keys and users."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

_MOMENT = sa.DateTime(timezone=True)
_NUMBER = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    """Make every table."""
    _documents()
    _log()
    _people()


def _documents() -> None:
    op.create_table(
        "document",
        sa.Column("id", sa.String(32), primary_key=True),
        sa.Column("caller_kind", sa.String(16), nullable=False),
        sa.Column("caller_id", sa.String(64), nullable=False),
        sa.Column("caller_name", sa.Text, nullable=False),
        sa.Column("caller_role", sa.String(24), nullable=False),
        sa.Column("allowed_seals", sa.Text),
        sa.Column("way", sa.String(16), nullable=False),
        sa.Column("batch_id", sa.String(32)),
        sa.Column("position", sa.Integer),
        sa.Column("name", sa.Text),
        sa.Column("external_id", sa.String(128)),
        sa.Column("request_key", sa.String(64), nullable=False),
        sa.Column("request_digest", sa.String(64), nullable=False),
        sa.Column("service_key", sa.String(64), nullable=False),
        sa.Column("signing_time", _MOMENT, nullable=False),
        sa.Column("asked", sa.Text, nullable=False),
        sa.Column("signing_order", sa.Text),
        sa.Column("password", sa.LargeBinary),
        sa.Column("seal_id", sa.String(64)),
        sa.Column("state", sa.String(16), nullable=False),
        sa.Column("problem_code", sa.String(64)),
        sa.Column("problem_detail", sa.Text),
        sa.Column("prepared", sa.Text),
        sa.Column("hash", sa.String(128)),
        sa.Column("digest_before", sa.String(64), nullable=False),
        sa.Column("digest_after", sa.String(64)),
        sa.Column("size_before", sa.BigInteger, nullable=False),
        sa.Column("size_after", sa.BigInteger),
        sa.Column("signature_id", sa.String(64)),
        sa.Column("findings", sa.Text, nullable=False),
        sa.Column("runs", sa.Integer, nullable=False),
        sa.Column("created_at", _MOMENT, nullable=False),
        sa.Column("finished_at", _MOMENT),
        sa.Column("expires_at", _MOMENT),
    )
    op.create_index("uq_document_request_key", "document", ["request_key"], unique=True)
    op.create_index("ix_document_state_expires_at", "document", ["state", "expires_at"])
    op.create_index("ix_document_batch_id_position", "document", ["batch_id", "position"])
    op.create_index("ix_document_created_at", "document", ["created_at"])


def _log() -> None:
    op.create_table(
        "log_entry",
        sa.Column("number", _NUMBER, primary_key=True, autoincrement=True),
        sa.Column("at", _MOMENT, nullable=False),
        sa.Column("document_id", sa.String(32), nullable=False),
        sa.Column("caller_kind", sa.String(16), nullable=False),
        sa.Column("caller_id", sa.String(64), nullable=False),
        sa.Column("caller_name", sa.Text, nullable=False),
        sa.Column("way", sa.String(16), nullable=False),
        sa.Column("external_id", sa.String(128)),
        sa.Column("seal_id", sa.String(64)),
        sa.Column("level", sa.String(8), nullable=False),
        sa.Column("outcome", sa.String(64), nullable=False),
        sa.Column("digest_before", sa.String(64), nullable=False),
        sa.Column("digest_after", sa.String(64)),
        sa.Column("hash", sa.String(128)),
        sa.Column("signature_id", sa.String(64)),
        sa.Column("milliseconds", sa.BigInteger, nullable=False),
    )
    for column in ("at", "caller_id", "seal_id", "external_id", "digest_before", "digest_after"):
        op.create_index(f"ix_log_entry_{column}", "log_entry", [column])


def _people() -> None:
    op.create_table(
        "seal_defaults",
        sa.Column("seal_id", sa.String(64), primary_key=True),
        sa.Column("name", sa.String(64)),
        sa.Column("options", sa.Text, nullable=False),
        sa.Column("changed_at", _MOMENT, nullable=False),
        sa.Column("changed_by", sa.String(64), nullable=False),
    )
    op.create_index("uq_seal_defaults_name", "seal_defaults", ["name"], unique=True)
    op.create_table(
        "api_key",
        sa.Column("id", sa.String(32), primary_key=True),
        sa.Column("name", sa.Text, nullable=False),
        sa.Column("keyed_hash", sa.LargeBinary, nullable=False),
        sa.Column("role", sa.String(24), nullable=False),
        sa.Column("seals", sa.Text),
        sa.Column("created_at", _MOMENT, nullable=False),
        sa.Column("expires_at", _MOMENT),
        sa.Column("revoked_at", _MOMENT),
        sa.Column("used_at", _MOMENT),
    )
    op.create_table(
        "member",
        sa.Column("id", sa.String(32), primary_key=True),
        sa.Column("name", sa.String(64), nullable=False),
        sa.Column("role", sa.String(24), nullable=False),
        sa.Column("password_hash", sa.Text, nullable=False),
        sa.Column("totp_secret", sa.LargeBinary),
        sa.Column("totp_last_step", sa.BigInteger),
        sa.Column("created_at", _MOMENT, nullable=False),
        sa.Column("disabled_at", _MOMENT),
    )
    op.create_index("uq_member_name", "member", ["name"], unique=True)


def downgrade() -> None:
    """Remove every table."""
    for table in ("member", "api_key", "seal_defaults", "log_entry", "document"):
        op.drop_table(table)
