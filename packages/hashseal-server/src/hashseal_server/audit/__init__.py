"""The audit log: append-only records, chained after their transactions, checkpoints outside.

`append` (as steps: `append_steps`) writes inside the caller's transaction: without its audit record
nothing is recorded (I14).
The sequencer gives positions and hashes; each hash is SHA-256 over the hash before it and the
canonical record. The journal publishes the hashes in signed checkpoints outside the database, so
that somebody who may change every row, and recompute every hash, is found too (I13).
"""

from hashseal_server.audit.chain import Entry, Finding, first_bad, verify
from hashseal_server.audit.journal import Journal
from hashseal_server.audit.log import AuditLog, Event, append, append_steps

__all__ = [
    "AuditLog",
    "Entry",
    "Event",
    "Finding",
    "Journal",
    "append",
    "append_steps",
    "first_bad",
    "verify",
]
