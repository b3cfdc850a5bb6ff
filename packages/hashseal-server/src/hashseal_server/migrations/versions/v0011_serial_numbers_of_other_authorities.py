"""Certificates of other authorities are found by serial number without reading them all.

An index is added: programs of before do not notice.
"""

from __future__ import annotations

from alembic import op

revision = "0011"
down_revision = "0010"
branch_labels = None
depends_on = None
oldest_program = "0008"
"""Nothing that was there is changed."""


def upgrade() -> None:
    """The index."""
    op.create_index(
        op.f("ix_foreign_certificate_serial"), "foreign_certificate", ["serial"], unique=False
    )


def downgrade() -> None:
    """Without it."""
    op.drop_index(op.f("ix_foreign_certificate_serial"), "foreign_certificate")
