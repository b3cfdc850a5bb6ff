"""Certificates of other authorities: requests for them, what came back, and their status data.

The version before does not see imported seals: their `serial` is null, and it looks a seal's state
up by that. Certificates of ours are where they were.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0009"
down_revision = "0008"
branch_labels = None
depends_on = None
oldest_program = "0008"
"""Tables and a column are added; a number that was always there may now be absent."""


def upgrade() -> None:
    """Empty tables; no seal is an imported one yet."""
    op.create_table(
        "foreign_certificate",
        sa.Column("digest", sa.String(length=64), nullable=False),
        sa.Column("issuer", sa.String(length=64), nullable=True),
        sa.Column("serial", sa.String(length=40), nullable=False),
        sa.Column("subject", sa.String(length=400), nullable=False),
        sa.Column("der", sa.LargeBinary(), nullable=False),
        sa.Column("not_after", sa.DateTime(timezone=True), nullable=False),
        sa.Column("state", sa.String(length=16), nullable=False),
        sa.Column("revoked_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("reason", sa.String(length=32), nullable=True),
        sa.Column("ocsp", sa.Text(), nullable=True),
        sa.Column("crl", sa.Text(), nullable=True),
        sa.Column("confirmed_at", sa.DateTime(timezone=True), nullable=True),
        sa.ForeignKeyConstraint(
            ["issuer"], ["foreign_certificate.digest"], name=op.f("fk_foreign_certificate_issuer")
        ),
        sa.PrimaryKeyConstraint("digest", name=op.f("pk_foreign_certificate")),
    )
    op.create_index(
        op.f("ix_foreign_certificate_issuer"), "foreign_certificate", ["issuer"], unique=False
    )
    op.create_table(
        "foreign_status",
        sa.Column("certificate", sa.String(length=64), nullable=False),
        sa.Column("source", sa.String(length=8), nullable=True),
        sa.Column("der", sa.LargeBinary(), nullable=True),
        sa.Column("companion", sa.LargeBinary(), nullable=True),
        sa.Column("number", sa.String(length=64), nullable=True),
        sa.Column("this_update", sa.DateTime(timezone=True), nullable=True),
        sa.Column("next_update", sa.DateTime(timezone=True), nullable=True),
        sa.Column("renew_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("failed_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("failure", sa.String(length=400), nullable=True),
        sa.ForeignKeyConstraint(
            ["certificate"],
            ["foreign_certificate.digest"],
            name=op.f("fk_foreign_status_certificate"),
        ),
        sa.PrimaryKeyConstraint("certificate", name=op.f("pk_foreign_status")),
    )
    op.create_index(
        op.f("ix_foreign_status_renew_at"), "foreign_status", ["renew_at"], unique=False
    )
    with op.batch_alter_table("seal") as seal:
        seal.alter_column("serial", existing_type=sa.String(length=40), nullable=True)
        seal.add_column(sa.Column("imported", sa.String(length=64), nullable=True))
        seal.create_foreign_key(
            op.f("fk_seal_imported"), "foreign_certificate", ["imported"], ["digest"]
        )
        seal.create_unique_constraint(op.f("uq_seal_imported"), ["imported"])
    op.create_table(
        "certification_request",
        sa.Column("id", sa.String(length=32), nullable=False),
        sa.Column("account_id", sa.String(length=32), nullable=False),
        sa.Column("kind", sa.String(length=32), nullable=False),
        sa.Column("key_algorithm", sa.String(length=16), nullable=False),
        sa.Column("scheme", sa.String(length=16), nullable=False),
        sa.Column("key", sa.Text(), nullable=False),
        sa.Column("subject", sa.String(length=400), nullable=False),
        sa.Column("der", sa.LargeBinary(), nullable=False),
        sa.Column("made_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("seal_id", sa.String(length=32), nullable=True),
        sa.ForeignKeyConstraint(
            ["account_id"], ["account.id"], name=op.f("fk_certification_request_account_id")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_certification_request")),
    )
    op.create_index(
        op.f("ix_certification_request_account_id"),
        "certification_request",
        ["account_id"],
        unique=False,
    )


def downgrade() -> None:
    """Without them; fails when there are imported seals."""
    op.drop_table("certification_request")
    with op.batch_alter_table("seal") as seal:
        seal.drop_constraint(op.f("uq_seal_imported"), type_="unique")
        seal.drop_constraint(op.f("fk_seal_imported"), type_="foreignkey")
        seal.drop_column("imported")
        seal.alter_column("serial", existing_type=sa.String(length=40), nullable=False)
    op.drop_table("foreign_status")
    op.drop_table("foreign_certificate")
