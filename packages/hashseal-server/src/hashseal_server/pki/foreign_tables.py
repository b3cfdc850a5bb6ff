"""Where certificates of other authorities, and their status data, are kept.

They have tables of their own, keyed by digest: serial numbers of other authorities may equal ours
or each other's, and our responder and our lists never look here (I12).
"""

from __future__ import annotations

from sqlalchemy import Column, ForeignKey, LargeBinary, String, Table, Text

from hashseal_server.infra.db import UtcDateTime, metadata

foreign_certificates = Table(
    "foreign_certificate",
    metadata,
    Column("digest", String(64), primary_key=True),
    Column("issuer", String(64), ForeignKey("foreign_certificate.digest"), index=True),
    Column("serial", String(40), nullable=False, index=True),
    Column("subject", String(400), nullable=False),
    Column("der", LargeBinary, nullable=False),
    Column("not_after", UtcDateTime, nullable=False),
    Column("state", String(16), nullable=False),
    Column("revoked_at", UtcDateTime),
    Column("reason", String(32)),
    Column("ocsp", Text),
    Column("crl", Text),
    Column("confirmed_at", UtcDateTime),
)
"""`issuer` is null for a root, and for an anchor as long as nothing above it is known; of several
certificates of one authority it names the one that was known first. `ocsp` and `crl` are the
addresses that may be called, JSON."""
foreign_status = Table(
    "foreign_status",
    metadata,
    Column("certificate", String(64), ForeignKey("foreign_certificate.digest"), primary_key=True),
    Column("source", String(8)),
    Column("der", LargeBinary),
    Column("companion", LargeBinary),
    Column("number", String(64)),
    Column("this_update", UtcDateTime),
    Column("next_update", UtcDateTime),
    Column("renew_at", UtcDateTime, nullable=False, index=True),
    Column("failed_at", UtcDateTime),
    Column("failure", String(400)),
)
"""One for each certificate with confirmed addresses; `companion` is the list about a responder."""
