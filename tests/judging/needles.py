"""Where a secret might be found, and in which forms."""

from __future__ import annotations

import base64
from typing import Any

from sqlalchemy import text

LISTING = {
    "sqlite": "SELECT '\"' || name || '\"' FROM sqlite_master WHERE type = 'table'",
    "postgresql": """
        SELECT format('%I.%I', n.nspname, c.relname) FROM pg_class c
        JOIN pg_namespace n ON n.oid = c.relnamespace
        WHERE c.relkind = 'r' AND n.nspname NOT IN ('pg_catalog', 'information_schema')
        AND has_schema_privilege(n.oid, 'USAGE') AND has_table_privilege(c.oid, 'SELECT')""",
}
"""Names of tables, quoted."""


def written(octets: bytes) -> set[bytes]:
    """The ways in which these octets may be written down, without what differs at their ends."""
    coded = {base64.b64encode(octets[shift:])[4:-8] for shift in range(3)}
    coded |= {one.replace(b"+", b"-").replace(b"/", b"_") for one in coded}
    return {octets, octets.hex().encode(), octets.hex().upper().encode(), *coded}


async def everything(database: Any) -> bytes:
    """Every column of every table that whoever asks may read, as text and as octets.

    Those in which durable jobs keep their state are among them.
    """
    parts: list[bytes] = []
    async with database.read() as connection:
        listing = LISTING[database.engine.dialect.name]
        for table in (await connection.execute(text(listing))).scalars().all():
            for row in (await connection.execute(text(f"SELECT * FROM {table}"))).all():
                parts += [v if isinstance(v, bytes) else repr(v).encode() for v in row]
    return b"\n".join(parts)
