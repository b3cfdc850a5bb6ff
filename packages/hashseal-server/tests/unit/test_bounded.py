"""What is held of validation material is bounded, whatever callers ask for."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta

import pytest

from hashseal_server.infra.bounded import Bounded
from hashseal_server.pki import foreign_status
from hashseal_server.pki.foreign_status import ForeignStatus
from hashseal_server.pki.foreign_store import USABLE, Kept, Member
from hashseal_server.pki.imported import Addresses
from hashseal_server.tsa import external as external_module
from hashseal_server.tsa.external import ExternalTimestamps, Trust


def test_what_was_used_longest_ago_goes_first() -> None:
    held: Bounded[int, str] = Bounded(30)
    for key in range(3):
        held.put(key, f"{key}", [bytes([key]) * 10])
    assert held.get(0) == "0"
    held.put(3, "3", [b"d" * 10])
    assert [held.get(key) for key in range(4)] == ["0", None, "2", "3"]
    held.put(4, "4", [b"e" * 31])
    assert (len(held), held.get(4), held.octets) == (1, "4", 31)
    held.drop(4)
    assert (len(held), held.octets) == (0, 0)


def test_equal_octets_are_held_and_counted_once() -> None:
    held: Bounded[int, bytes] = Bounded(1_000)
    for key in range(20):
        shared = held.shared(b"".join([b"x"] * 900))
        held.put(key, shared, [shared, bytes([key])])
    assert (len(held), held.octets) == (20, 920)
    assert len({id(held.get(key)) for key in range(20)}) == 1
    held.put(0, b"", [b"y"])
    assert held.octets == 920
    for key in range(20):
        held.drop(key)
    assert held.octets == 0


class Rows:
    """A database in which every certificate has a list that is kept; each look reads it anew."""

    def __init__(self, list_der: bytes) -> None:
        self.list_der = list_der

    async def members(self, digests: list[str]) -> list[Member]:
        at = datetime.now(UTC)
        kept = Kept(
            bytes(bytearray(self.list_der)), "crl", 1, at, at + timedelta(days=2), at + timedelta(1)
        )
        return [Member(one, b"", b"", USABLE, Addresses(), kept) for one in digests]


def status_of(list_der: bytes) -> ForeignStatus:
    return ForeignStatus(
        store=Rows(list_der),  # type: ignore[arg-type]  # what giving material needs of it
        outside=None,  # type: ignore[arg-type]  # nobody is asked
        now=lambda: datetime.now(UTC),
    )


def test_chains_of_one_authority_share_its_list() -> None:
    async def scenario() -> None:
        status = status_of(b"l" * 1_000_000)
        chains = [(b"leaf %d" % number, b"lower", b"root") for number in range(30)]
        made = [await status.material_for(chain) for chain in chains]
        assert [one.certificates for one in made] == chains
        assert len({id(one.crls[0]) for one in made}) == 1
        assert status._ready.octets < 1_001_000
        assert await status.material_for(chains[0]) is made[0]
        assert status._turns == {}

    asyncio.run(scenario())


def test_material_of_other_authorities_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(foreign_status, "_HELD", 50_000)

    async def scenario() -> None:
        status = status_of(b"")
        for number in range(100):
            status._store.list_der = b"%5d" % number * 1_000  # type: ignore[attr-defined]
            await status.material_for((b"leaf %d" % number, b"root"))
            assert status._ready.octets <= 50_000
        assert len(status._ready) == 9

    asyncio.run(scenario())


def test_of_too_many_units_the_oldest_is_forgotten() -> None:
    external = ExternalTimestamps(
        [],
        Trust(()),
        None,  # type: ignore[arg-type]  # nobody is asked
        now=lambda: datetime.now(UTC),
    )
    units = [b"unit %d" % number for number in range(external_module._REMEMBERED + 1)]
    for unit in units[:-1]:
        external._remember((unit, b"root"))
    external._remember((units[0], b"root"))  # known: nothing goes
    assert all(external.chain_of(unit) for unit in units[:-1])
    external._remember((units[-1], b"root"))
    assert [unit for unit in units if external.chain_of(unit) is None] == [units[1]]
