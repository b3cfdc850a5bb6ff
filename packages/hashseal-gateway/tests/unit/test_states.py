"""The table of states, which seal is meant, cells of CSV, places."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime

import pytest

from hashseal_core import protocol
from hashseal_core.errors import HashsealError, Overloaded
from hashseal_gateway.documents.model import KEPT, PENDING, TRANSITIONS, Event, State, sources
from hashseal_gateway.infra.admission import Admission
from hashseal_gateway.log.model import cell
from hashseal_gateway.seals.model import choose

NOW = datetime(2026, 1, 1, tzinfo=UTC)


def test_the_table_of_states() -> None:
    reached = set(TRANSITIONS.values()) | {State.OPEN, State.ACCEPTED}
    assert reached == set(State)
    assert all(sources(event) for event in Event)
    assert {state for state, event in TRANSITIONS if event is Event.POSTPONE} == PENDING
    assert sources(Event.FORGET) == KEPT - PENDING


def seal(
    identity: str, status: str = "active", subject: str = "CN=A", size: int = 1
) -> protocol.Seal:
    return protocol.Seal(
        id=identity, kind="official", status=status, subject=subject, algorithm="P-256",
        signature_size=size, valid_until=NOW, certificates=[], levels=[],
    )  # fmt: skip


@pytest.mark.parametrize(
    ("asked", "seals", "code"),
    [
        ("b", [seal("a")], "seal-not-found"),
        ("a", [seal("a", "revoked")], "seal-revoked"),
        ("a", [seal("a", "expired")], "seal-expired"),
        (None, [seal("a", "revoked")], "seal-not-found"),
        (None, [seal("a"), seal("b", subject="CN=B")], "seal-not-found"),
    ],
)
def test_seals_that_cannot_be_meant(asked, seals, code: str) -> None:
    with pytest.raises(HashsealError) as refused:
        choose(seals, asked)
    assert refused.value.code == code


def test_seals_that_are_meant() -> None:
    seals = [seal("a", size=2), seal("b", size=1), seal("c", "revoked", "CN=C")]
    assert choose(seals, "a").id == "a"
    assert choose(seals, None).id == "b"


def test_cells() -> None:
    shown = [cell(value) for value in (None, NOW, 5, "plain", "=1", "+1", "-1", "@a")]
    assert shown == ["", NOW.isoformat(), "5", "plain", "'=1", "'+1", "'-1", "'@a"]
    assert cell("\N{FULLWIDTH EQUALS SIGN}1") == "'\N{FULLWIDTH EQUALS SIGN}1"
    assert cell("\n=1") == "'\n=1"


def test_what_has_no_place_is_refused() -> None:
    async def scenario() -> None:
        admission = Admission(1, 1)
        leave = asyncio.Event()

        async def stay() -> None:
            async with admission.admitted():
                await leave.wait()

        staying = [asyncio.create_task(stay()) for _ in range(2)]
        await asyncio.sleep(0)
        assert admission.load == (1, 1)
        with pytest.raises(Overloaded):
            async with admission.admitted():
                pass
        leave.set()
        await asyncio.gather(*staying)
        assert admission.load == (0, 0)

    asyncio.run(scenario())
