"""I13: a superuser edits the audit log in every way we could think of; each edit is found.

The surgeon has switched every trigger and constraint off. The verifier has the export, the published
checkpoints and the public key, nothing else.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from dataclasses import asdict
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from cluster import Cluster
from typer.testing import CliRunner

from hashseal_core.errors import InputUnreadable, OutputRefused
from hashseal_server import cli
from hashseal_server.audit import Entry, Event, append, verify
from hashseal_server.audit.chain import GENESIS, Finding, link
from hashseal_server.audit.journal import read
from hashseal_server.infra.db import Database
from hashseal_server.main import operator
from hashseal_server.settings import Settings

COUNT = 12
OFF = "SET session_replication_role = replica; "  # neither triggers nor foreign keys
SWAP = (
    "UPDATE audit_chain SET position = -1 WHERE position = {a}; "
    "UPDATE audit_chain SET position = {a} WHERE position = {b}; "
    "UPDATE audit_chain SET position = {b} WHERE position = -1"
)
SHIFT_UP = (
    "UPDATE audit_chain SET position = -position WHERE position > {p}; "
    "UPDATE audit_chain SET position = -position {by} WHERE position < 0"
)
STRANGER = (
    "INSERT INTO audit_record VALUES (900, 'forged', NULL, '{{}}', '2026-01-01T00:00:00Z'); "
    "INSERT INTO audit_chain VALUES ({p}, 900, decode('00', 'hex'))"
)
PLAIN = {
    "event changed": ("UPDATE audit_record SET event = 'x' WHERE id = 5", 5),
    "content changed": ("UPDATE audit_record SET content = '{}' WHERE id = 6", 6),
    "one character of the content": (
        "UPDATE audit_record SET content = replace(content, '7', '8') WHERE id = 7",
        7,
    ),
    "white space in the content": (
        "UPDATE audit_record SET content = content || ' ' WHERE id = 3",
        3,
    ),
    "account changed": ("UPDATE audit_record SET account_id = 'other' WHERE id = 4", 4),
    "account removed": ("UPDATE audit_record SET account_id = NULL WHERE id = 4", 4),
    "time moved by a microsecond": (
        "UPDATE audit_record SET recorded_at = recorded_at + interval '1 microsecond' WHERE id = 8",
        8,
    ),
    "hash changed": ("UPDATE audit_chain SET hash = decode('00', 'hex') WHERE position = 9", 9),
    "hash of the last one changed": (
        f"UPDATE audit_chain SET hash = decode('ff', 'hex') WHERE position = {COUNT}",
        COUNT,
    ),
    "record deleted": ("DELETE FROM audit_record WHERE id = 5", 5),
    "chain row deleted": ("DELETE FROM audit_chain WHERE position = 6", 6),
    "first entry deleted": ("DELETE FROM audit_chain WHERE position = 1", 1),
    "last entry deleted": (
        f"DELETE FROM audit_chain WHERE position = {COUNT}; "
        f"DELETE FROM audit_record WHERE id = {COUNT}",
        COUNT,
    ),
    "last four deleted": (
        "DELETE FROM audit_chain WHERE position > 8; DELETE FROM audit_record WHERE id > 8",
        9,
    ),
    "everything deleted": ("DELETE FROM audit_chain; DELETE FROM audit_record", 1),
    "deleted and closed up": (
        "DELETE FROM audit_chain WHERE position = 5; " + SHIFT_UP.format(p=5, by="- 1"),
        5,
    ),
    "inserted in the middle": (SHIFT_UP.format(p=6, by="+ 1") + ";" + STRANGER.format(p=7), 7),
    "inserted in front": (SHIFT_UP.format(p=0, by="+ 1") + ";" + STRANGER.format(p=1), 1),
    "appended": (STRANGER.format(p=COUNT + 1), COUNT + 1),
    "two neighbours swapped": (SWAP.format(a=4, b=5), 4),
    "two distant ones swapped": (SWAP.format(a=2, b=11), 2),
    "contents of two swapped": (
        "UPDATE audit_record AS r SET content = o.content FROM audit_record AS o "
        "WHERE (r.id, o.id) IN ((3, 9), (9, 3))",
        3,
    ),
    "an entry repeated": (
        "ALTER TABLE audit_chain DROP CONSTRAINT uq_audit_chain_record_id; "
        "UPDATE audit_chain SET record_id = 6, "
        "hash = (SELECT hash FROM audit_chain WHERE position = 6) WHERE position = 7",
        7,
    ),
    "record numbers exchanged": (
        "UPDATE audit_record SET id = -1 WHERE id = 3; UPDATE audit_record SET id = 3 WHERE id = 4;"
        "UPDATE audit_record SET id = 4 WHERE id = -1",
        3,
    ),
    "position renumbered": (
        f"UPDATE audit_chain SET position = 99 WHERE position = {COUNT}",
        COUNT,
    ),
}
"""Kind of edit: what the superuser does, and the position that must be named."""


def rehashed(entries: list[Entry]) -> list[Entry]:
    """What a superuser makes who knows the algorithm: a log that is consistent in itself."""
    made, previous = [], GENESIS
    for position, entry in enumerate(entries, start=1):
        moved = Entry(**{**asdict(entry), "position": position})
        previous = link(previous, moved)
        made.append(Entry(**{**asdict(moved), "hash": previous.hex()}))
    return made


def changed(entries: list[Entry], index: int, **fields: object) -> list[Entry]:
    return [Entry(**{**asdict(e), **fields}) if n == index else e for n, e in enumerate(entries)]


REWRITTEN: dict[str, tuple[Callable[[list[Entry]], list[Entry]], int]] = {
    "content changed and rehashed": (lambda e: changed(e, 4, content="{}"), 5),
    "first content changed and rehashed": (lambda e: changed(e, 0, event="x"), 1),
    "last content changed and rehashed": (lambda e: changed(e, COUNT - 1, event="x"), COUNT),
    "deleted and rehashed": (lambda e: e[:6] + e[7:], 7),
    "inserted and rehashed": (lambda e: [*e[:3], e[8], *e[3:]], 4),
    "swapped and rehashed": (lambda e: [*e[:5], e[6], e[5], *e[7:]], 6),
    "truncated and rehashed": (lambda e: e[:9], 10),
    "truncated and grown again": (lambda e: e[:9] + e[:3], 10),
    "reversed and rehashed": (lambda e: e[::-1], 1),
    "another log altogether": (lambda e: [changed([x], 0, event="y")[0] for x in e], 1),
}


@pytest.fixture
def service(tmp_path: Path, database_url: str | None) -> Callable[[Any], None]:
    """A service with an empty log: it was not founded, so nothing has happened yet."""

    async def run(scenario: Any) -> None:
        settings = Settings(data_dir=tmp_path / "service", database_url=database_url)
        async with operator(settings) as opened:
            await scenario(SimpleNamespace(operator=opened, account="a7" * 8))

    return lambda scenario: asyncio.run(run(scenario))


async def filled(api) -> None:
    for n in range(COUNT):
        at = datetime.now(UTC) - timedelta(hours=1)
        async with api.operator.database.write() as connection:
            await append(connection, [Event("tested", {"number": n + 1}, at, api.account)])
        if n % 5 == 4:
            await api.operator.audit.sequence()
    await api.operator.audit.sequence()


async def found(api) -> Finding | None:
    audit = api.operator.audit
    exported = [json.dumps(asdict(entry)) for entry in await audit.entries()]
    entries = [Entry(**json.loads(line)) for line in exported]
    return verify(entries, read(audit.journal.path), audit.journal.public_key())


def test_at_least_twenty_kinds() -> None:
    assert len(PLAIN) >= 20


@pytest.mark.parametrize("database_url", ["postgresql"], indirect=True)
def test_every_edit_of_a_superuser_is_found_and_named(service, cluster: Cluster) -> None:
    async def scenario(api) -> None:
        await filled(api)
        assert await found(api) is None
        whole = str(api.operator.database.engine.url.database)
        await api.operator.database.close()
        wrong = {}
        for number, (kind, (edit, position)) in enumerate(PLAIN.items()):
            copy = f"{whole}_{number}"
            url = await asyncio.to_thread(cluster.database, copy, whole)
            await asyncio.to_thread(cluster.sql, OFF + edit, database=copy)
            api.operator.audit._database = Database(url)
            finding = await found(api)
            await api.operator.audit._database.close()
            if finding is None or finding.position != position:
                wrong[kind] = (finding, position)
        assert wrong == {}

    service(scenario)


@pytest.mark.parametrize("kind", sorted(REWRITTEN))
@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
def test_every_consistent_rewriting_is_found_by_the_checkpoints(service, kind: str) -> None:
    async def scenario(api) -> None:
        await filled(api)
        audit = api.operator.audit
        edit, position = REWRITTEN[kind]
        forged = rehashed(edit(await audit.entries()))
        assert verify(forged, [], None) is None, "it is consistent in itself"
        finding = verify(forged, read(audit.journal.path), audit.journal.public_key())
        assert finding is not None
        assert finding.position == position
        newest = read(audit.journal.path)[-1:]
        alone = verify(forged, newest, audit.journal.public_key())
        assert alone is not None, "the last checkpoint alone is enough"

    service(scenario)


def test_a_record_beside_the_chain_is_named(service) -> None:
    async def scenario(api) -> None:
        await filled(api)
        count = len(await api.operator.audit.entries())
        long_ago = datetime.now(UTC) - timedelta(hours=1)
        async with api.operator.database.write() as connection:
            await append(connection, [Event("hidden", {}, long_ago)])
            from hashseal_server.audit.log import pending

            await connection.execute(pending.delete())
        assert await api.operator.audit.sequence() == 0
        assert await api.operator.audit.overlooked(datetime.now(UTC)) == [count + 1]

    service(scenario)


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
def test_forged_and_torn_checkpoints(service) -> None:
    async def scenario(api) -> None:
        await filled(api)
        journal = api.operator.audit.journal
        key, entries = journal.public_key(), await api.operator.audit.entries()
        whole = journal.path.read_text()
        lines = whole.splitlines()
        fields = json.loads(lines[1])
        forged = {**fields, "hashes": ["00" * 32, *fields["hashes"][1:]]}
        for changed_line in (forged, {**fields, "signature": "zz"}, {**fields, "signature": "00"}):
            journal.path.write_text("\n".join([lines[0], json.dumps(changed_line)]) + "\n")
            finding = verify(entries, read(journal.path), key)
            assert finding is not None
            assert (finding.position, "not signed" in finding.reason) == (fields["first"], True)
        assert verify(entries, read(journal.path), None).position == 1
        journal.path.write_text(whole + '{"first": 13, "hash')
        assert journal.published() == len(entries)
        assert journal.path.read_text() == whole
        journal.path.write_text("not a journal\n")
        with pytest.raises(InputUnreadable):
            journal.published()
        journal.path.write_text(whole)
        journal.publish(1, [bytes(32)], datetime.now(UTC))
        journal.publish(len(entries) + 2, [bytes(32)], datetime.now(UTC))
        assert journal.path.read_text() == whole, "neither twice nor with a gap"
        with pytest.raises(InputUnreadable):
            read(journal.path.with_name("absent"))

    service(scenario)


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
def test_a_journal_that_cannot_be_written_is_caught_up_later(service) -> None:
    async def scenario(api) -> None:
        audit = api.operator.audit
        folder = audit.journal.path.parent
        folder.parent.joinpath("audit").write_text("in the way")
        async with api.operator.database.write() as connection:
            await append(connection, [Event("tested", {}, datetime.now(UTC))])
        with pytest.raises(OutputRefused):
            await audit.sequence()
        folder.unlink()
        assert await audit.sequence() == 0
        assert audit.journal.published() == 1
        assert await found(api) is None

    service(scenario)


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
def test_the_command_verifies_offline(service, tmp_path, monkeypatch) -> None:
    service(filled)
    monkeypatch.setenv("HASHSEAL_DATA_DIR", str(tmp_path / "service"))
    exported = CliRunner().invoke(cli.app, ["audit", "export"]).stdout
    assert len(exported.splitlines()) == COUNT
    assert CliRunner().invoke(cli.app, ["audit", "verify"]).exit_code == 0
    away = tmp_path / "elsewhere"
    away.mkdir()
    folder = tmp_path / "service" / "audit"
    for name in ("checkpoints.jsonl", "audit-key.pem"):
        (away / name).write_bytes((folder / name).read_bytes())
    monkeypatch.setenv("HASHSEAL_DATA_DIR", str(tmp_path / "nothing-here"))

    def judged(text: str, *more: str) -> tuple[int, dict]:
        (away / "export.jsonl").write_text(text)
        outcome = CliRunner().invoke(
            cli.app,
            [
                *("audit", "verify", "--json", "--export", str(away / "export.jsonl")),
                *("--checkpoints", str(away / "checkpoints.jsonl"), *more),
            ],
        )
        return outcome.exit_code, json.loads(outcome.stdout) if outcome.stdout else {}

    key = ("--key", str(away / "audit-key.pem"))
    code, shown = judged(exported, *key)
    assert (code, shown) == (0, {"entries": COUNT, "published": COUNT, "intact": True})
    lines = exported.splitlines()
    lines[7] = lines[7].replace("tested", "edited")
    code, shown = judged("\n".join(lines), *key)
    assert (code, shown["first_bad_position"]) == (1, 8)
    assert judged(exported)[0] == 1
    assert judged(exported, "--key", str(away / "export.jsonl"))[0] == 1
    assert not (tmp_path / "nothing-here").exists()
