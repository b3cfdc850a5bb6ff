"""The CSC API: authorisations of hashes, raw credentials, the time in CAdES signatures.

Tables, and a column that may be empty: programs of before do not notice. They must be gone before
a credential of the raw kind is made, whose certificate has a role that they do not know.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0013"
down_revision = "0012"
branch_labels = None
depends_on = None
oldest_program = "0010"
"""Nothing that was there is changed."""

_MOMENT = sa.DateTime(timezone=True)
_NUMBER = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    """Empty tables."""
    op.add_column("signature", sa.Column("signing_time", _MOMENT, nullable=True))
    op.create_table(
        "raw_credential",
        sa.Column("id", sa.String(length=32), nullable=False),
        sa.Column("account_id", sa.String(length=32), nullable=False),
        sa.Column("subject", sa.String(length=400), nullable=False),
        sa.Column("key_algorithm", sa.String(length=16), nullable=False),
        sa.Column("key", sa.Text(), nullable=False),
        sa.Column("serial", sa.String(length=40), nullable=False),
        sa.Column("chain", sa.LargeBinary(), nullable=False),
        sa.Column("not_after", _MOMENT, nullable=False),
        sa.ForeignKeyConstraint(
            ["account_id"], ["account.id"], name=op.f("fk_raw_credential_account_id")
        ),
        sa.ForeignKeyConstraint(
            ["serial"], ["certificate.serial"], name=op.f("fk_raw_credential_serial")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_raw_credential")),
    )
    op.create_index(
        op.f("ix_raw_credential_account_id"), "raw_credential", ["account_id"], unique=False
    )
    op.create_table(
        "csc_authorisation",
        sa.Column("id", sa.String(length=32), nullable=False),
        sa.Column("account_id", sa.String(length=32), nullable=False),
        sa.Column("client", sa.String(length=64), nullable=False),
        sa.Column("credential_id", sa.String(length=32), nullable=False),
        sa.Column("sad", sa.LargeBinary(length=32), nullable=False),
        sa.Column("allowed", sa.Integer(), nullable=False),
        sa.Column("bound", sa.Integer(), nullable=False),
        sa.Column("expires_at", _MOMENT, nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_csc_authorisation")),
        sa.UniqueConstraint("sad", name=op.f("uq_csc_authorisation_sad")),
    )
    op.create_index(
        op.f("ix_csc_authorisation_expires_at"), "csc_authorisation", ["expires_at"], unique=False
    )
    op.create_table(
        "csc_hash",
        sa.Column("position", _NUMBER, nullable=False),
        sa.Column("authorisation_id", sa.String(length=32), nullable=False),
        sa.Column("hash_type", sa.String(length=8), nullable=False),
        sa.Column("hash_algorithm", sa.String(length=16), nullable=False),
        sa.Column("hash", sa.LargeBinary(length=64), nullable=False),
        sa.Column("state", sa.String(length=16), nullable=False),
        sa.Column("reservation", sa.LargeBinary(length=32), nullable=True),
        sa.Column("signature_id", sa.String(length=40), nullable=True),
        sa.Column("waits_for", sa.String(length=64), nullable=True),
        sa.ForeignKeyConstraint(
            ["authorisation_id"],
            ["csc_authorisation.id"],
            name=op.f("fk_csc_hash_authorisation_id"),
        ),
        sa.PrimaryKeyConstraint("position", name=op.f("pk_csc_hash")),
    )
    op.create_index(
        op.f("ix_csc_hash_authorisation_id"), "csc_hash", ["authorisation_id"], unique=False
    )
    op.create_index(op.f("ix_csc_hash_waits_for"), "csc_hash", ["waits_for"], unique=False)
    if op.get_bind().dialect.name == "sqlite":
        _free_signatures()


def _free_signatures() -> None:
    """A signature may be a raw credential's, too; on PostgreSQL it names a seal freely since 0005.

    SQLite makes the table anew for that, and does not let go of one that another refers to. A
    schema that was here before and went back is free already.
    """
    known = {one["name"] for one in sa.inspect(op.get_bind()).get_foreign_keys("signature")}
    if "fk_signature_seal_id" not in known:
        return
    op.execute("CREATE TABLE kept AS SELECT * FROM document_timestamp")
    op.drop_table("document_timestamp")
    with op.batch_alter_table("signature") as signature:
        signature.drop_constraint("fk_signature_seal_id", type_="foreignkey")
    op.create_table(
        "document_timestamp",
        sa.Column("signature_id", sa.String(length=40), nullable=False),
        sa.Column("token_serial", sa.String(length=64), nullable=False),
        sa.Column("issued_at", _MOMENT, nullable=False),
        sa.ForeignKeyConstraint(
            ["signature_id"], ["signature.id"], name=op.f("fk_document_timestamp_signature_id")
        ),
        sa.PrimaryKeyConstraint("signature_id", name=op.f("pk_document_timestamp")),
    )
    op.execute(
        "INSERT INTO document_timestamp (signature_id, token_serial, issued_at) "
        "SELECT signature_id, token_serial, issued_at FROM kept"
    )
    op.drop_table("kept")


def downgrade() -> None:
    """Without them; what raw credentials signed stays recorded."""
    op.drop_table("csc_hash")
    op.drop_table("csc_authorisation")
    op.drop_table("raw_credential")
    op.drop_column("signature", "signing_time")
