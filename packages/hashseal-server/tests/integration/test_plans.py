"""What every call asks of PostgreSQL stays cheap when its plan is older than the rows."""

from __future__ import annotations

import hashlib
import json

import pytest
from sqlalchemy import event, text

from hashseal_server.accounts.store import lock_balances
from hashseal_server.infra import commit
from hashseal_server.pki.foreign_store import ForeignStore
from hashseal_server.pki.store import revoked_among
from hashseal_server.seals.store import chains_of
from hashseal_server.signing import tables

ROWS = 20_000


def blocks(plan: dict) -> int:
    """Blocks that the plan has touched."""
    return int(plan["Shared Hit Blocks"]) + int(plan["Shared Read Blocks"])


def literal(value: object) -> str:
    return f"'\\x{value.hex()}'" if isinstance(value, bytes) else f"'{value}'"


@pytest.mark.parametrize("database_url", ["postgresql"], indirect=True)
def test_no_look_reads_more_than_it_asks_for(service) -> None:
    async def scenario(api) -> None:
        await api.sign("one")
        token = (await api.operator.accounts.authenticate(f"Bearer {api.token}")).token_id
        asked = [
            (tables.LOOK_UP, [(token, commit.hash_of_key(str(n)), api.seal) for n in range(10)]),
            next(commit.delivered([commit.RequestIdentity(api.account, "1", "x", b"")]))[0],
            next(lock_balances([api.account]))[0],
            next(revoked_among([1, 2, 3]))[0],
        ]
        connection = await api.operator.database.lane()._connected()
        executions = []
        for number, (statement, rows) in enumerate(asked):
            arrays = [
                f"ARRAY[{', '.join(map(literal, column))}]::{kind}[]"
                for column, kind in zip(
                    statement.transposed(rows), statement.columns.values(), strict=True
                )
            ]
            await connection.execute(f"PREPARE s{number} AS {statement.postgresql()}")
            executions.append(f"EXECUTE s{number}({', '.join(arrays)})")
            await connection.execute(executions[-1])
        # The plans are made; autovacuum has not come by when there are many more rows.
        await connection.execute(
            f"""INSERT INTO idempotency_answer
                (account_id, key_hash, request_digest, answer, created_at)
                SELECT '{api.account}', sha256(n::text::bytea), '\\x00', '\\x00', now()
                FROM generate_series(1, {ROWS}) AS n"""
        )
        for execution, (_, rows) in zip(executions, asked, strict=True):
            found = await connection.fetch(f"EXPLAIN (ANALYZE, BUFFERS, FORMAT JSON) {execution}")
            (answer,) = json.loads(found[0][0])
            assert blocks(answer["Plan"]) < 20 * len(rows) + 20, answer

    service(scenario)


@pytest.mark.parametrize("database_url", ["postgresql"], indirect=True)
def test_serial_numbers_of_other_authorities_are_looked_up(service) -> None:
    async def scenario(api) -> None:
        database = api.operator.database
        async with database.write() as connection:
            await connection.execute(
                text(f"""INSERT INTO foreign_certificate
                    (digest, issuer, serial, subject, der, not_after, state)
                    SELECT d, CASE WHEN n > 1 THEN encode(sha256('1'), 'hex') END, substr(d, 1, 32),
                    'CN=x', decode(repeat('ab', 20), 'hex'), now(), 'usable' FROM (
                    SELECT n, encode(sha256(n::text::bytea), 'hex') AS d
                    FROM generate_series(1, {ROWS}) AS n) AS numbered""")
            )
        seen = []

        def explained(connection, cursor, statement, parameters, context, executemany) -> None:
            if "foreign_certificate.serial = " in statement and "EXPLAIN" not in statement:
                seen.append((statement, parameters))

        event.listen(database.engine.sync_engine, "before_cursor_execute", explained)
        serial = int(hashlib.sha256(b"77").hexdigest()[:32], 16)
        (found,) = await ForeignStore(database, chains_of).with_serial(serial)
        assert len(found) == 2
        assert await api.operator.seal_store.imported(api.account, serial) == []
        assert len(seen) == 2
        async with database.read() as connection:
            for statement, parameters in seen:
                asked = f"EXPLAIN (ANALYZE, BUFFERS, FORMAT JSON) {statement}"
                rows = await connection.exec_driver_sql(asked, parameters)
                (answer,) = rows.scalar_one()
                assert blocks(answer["Plan"]) < 40, answer

    service(scenario)
