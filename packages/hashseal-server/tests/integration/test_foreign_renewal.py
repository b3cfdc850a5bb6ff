"""Status data of many authorities is renewed beside each other: none that hangs or fails stops others."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from cryptography.hazmat.primitives.serialization import Encoding
from fetching import LOOPBACK
from serving import say, served
from stamping import Root

from hashseal_core.errors import EvidenceUnavailable, OutboundFailed, StorageUnavailable
from hashseal_server.infra.outbound import Outbound
from hashseal_server.pki import foreign_status
from hashseal_server.pki.foreign_status import ForeignStatus
from hashseal_server.pki.foreign_store import Kept, Member, digest_of
from hashseal_server.pki.imported import Addresses, addresses_of


class Rows:
    """What the store keeps, in memory; `broken` are certificates whose row cannot be written."""

    def __init__(self, members: Sequence[Member]) -> None:
        self.members = sorted(members, key=lambda one: one.digest)
        self.kept: dict[str, Kept] = {}
        self.failures: dict[str, str] = {}
        self.broken: set[str] = set()

    async def due(self, _at: datetime, *, after: str, limit: int) -> list[Member]:
        return [one for one in self.members if one.digest > after][:limit]

    async def keep(self, digest: str, kept: Kept) -> None:
        if digest in self.broken:
            raise StorageUnavailable("the row cannot be written")
        self.kept[digest] = kept

    async def failed(self, digest: str, _at: datetime, why: str) -> None:
        self.failures[digest] = why


class Authorities:
    """Authorities by name behind one server; those in `hanging` do not answer for two seconds."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.roots: dict[str, Root] = {}
        self.hanging: set[str] = set()
        self.asked: Counter[str] = Counter()
        self.port = 0

    def members(self, name: str, count: int) -> list[Member]:
        root = self.roots.setdefault(
            name,
            Root(self.folder / name, name, lists=f"http://127.0.0.1:{self.port}/{name}"),
        )
        return [self.member(root) for _ in range(count)]

    @staticmethod
    def member(root: Root) -> Member:
        certificate, _ = root.unit()
        encoded = certificate.public_bytes(Encoding.DER)
        return Member(
            digest=digest_of(encoded),
            certificate=encoded,
            issuer=root.lower.public_bytes(Encoding.DER),
            state="usable",
            confirmed=addresses_of(certificate),
            kept=None,
        )

    def list_of(self, url: str) -> bytes:
        *_, name, file = url.split("/")
        self.asked[name] += 1
        return self.roots[name].crl(file.removesuffix(".crl"))

    def __call__(self, handler: BaseHTTPRequestHandler) -> None:
        made = self.list_of(handler.path)
        if handler.path.split("/")[1] in self.hanging:
            time.sleep(20)
        say(handler, 200, made, Content_Type="application/pkix-crl")


@pytest.fixture
def authorities(tmp_path: Path) -> Iterator[Authorities]:
    made = Authorities(tmp_path)
    with served(made) as made.port:
        yield made


def status_of(rows: Rows, outside: Any) -> tuple[ForeignStatus, list[tuple[str, Any]]]:
    told: list[tuple[str, Any]] = []
    made = ForeignStatus(
        store=rows,  # type: ignore[arg-type]  # what renewal needs of it
        outside=outside,
        now=lambda: datetime.now(UTC),
        tell=lambda event, fields: told.append((event, fields)),
    )
    return made, told


async def renewed(status: ForeignStatus) -> int:
    """All pieces of one run of the job, as DBOS does them; how many could not be renewed."""
    ended = None
    try:
        while (ended := await asyncio.wait_for(status.renew(ended), 20)) is not None:
            pass
    except EvidenceUnavailable as error:
        return int("".join(filter(str.isdigit, error.detail)))
    return 0


def test_an_authority_that_hangs_does_not_keep_others_waiting(
    authorities: Authorities, monkeypatch: pytest.MonkeyPatch
) -> None:
    slow, good = authorities.members("slow", 40), authorities.members("good", 6)
    authorities.hanging.add("slow")
    monkeypatch.setattr(foreign_status, "_HUNG_SECONDS", 1.0)
    rows = Rows([*slow, *good])

    async def scenario() -> None:
        outbound = Outbound(allowed=LOOPBACK, total_seconds=2)
        status, told = status_of(rows, outbound)
        try:
            begin = time.monotonic()
            assert await renewed(status) == 40
            assert time.monotonic() - begin < 12  # four at a time: twenty seconds for the slow ones
            assert {*rows.kept} == {one.digest for one in good}
            assert authorities.asked["slow"] <= 8
            assert {*rows.failures} == {one.digest for one in slow}
            assert Counter(event for event, _ in told) == {"status-data-unavailable": 40}
            assert {fields["sha256"] for _, fields in told} == {one.digest for one in slow}
            authorities.hanging.clear()
            assert await renewed(status) == 40  # left alone for a minute
            status._resting.clear()  # the minute is over
            assert await renewed(status) == 0
        finally:
            await outbound.close()

    asyncio.run(scenario())


def test_each_certificate_has_its_time_and_the_fallback_its_turn(
    authorities: Authorities, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(foreign_status, "_SECONDS", 0.3)
    rows = Rows([*authorities.members("dripping", 3), *authorities.members("good", 3)])

    class Outside:
        async def get(self, url: str, **_: Any) -> Any:
            if "/dripping/" in url:
                await asyncio.sleep(30)
            return SimpleNamespace(body=authorities.list_of(url))

    async def scenario() -> None:
        status, told = status_of(rows, Outside())
        begin = time.monotonic()
        assert await renewed(status) == 3
        assert time.monotonic() - begin < 3
        assert len(rows.kept) == len(told) == 3
        assert all("within" in why for why in rows.failures.values())

    asyncio.run(scenario())


def test_an_address_that_hung_is_passed_over_for_the_next(
    authorities: Authorities, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(foreign_status, "_HUNG_SECONDS", 0.05)
    there = f"http://127.0.0.1:{authorities.port}/both/lower.crl"
    addresses = Addresses(crl=(f"{there}?hangs", there))
    rows = Rows([replace(one, confirmed=addresses) for one in authorities.members("both", 12)])
    calls: Counter[bool] = Counter()

    class Outside:
        async def get(self, url: str, **_: Any) -> Any:
            calls[url.endswith("?hangs")] += 1
            if url.endswith("?hangs"):
                await asyncio.sleep(0.1)
                raise OutboundFailed("it does not answer in time")
            return SimpleNamespace(body=authorities.list_of(url))

    async def scenario() -> None:
        status, _ = status_of(rows, Outside())
        assert await renewed(status) == 0

    asyncio.run(scenario())
    assert calls[False] == 12
    assert calls[True] <= foreign_status._OF_ONE


@pytest.mark.parametrize("what", ["certificate", "row", "code"])
def test_what_fails_in_one_certificate_ends_nothing_else(
    authorities: Authorities, monkeypatch: pytest.MonkeyPatch, what: str
) -> None:
    rows = Rows(authorities.members("good", 20))
    odd = rows.members[3]
    if what == "certificate":
        rows.members[3] = replace(odd, certificate=b"\x30\x03junk")
    elif what == "row":
        rows.broken.add(odd.digest)

    class Outside:
        async def get(self, url: str, **_: Any) -> Any:
            return SimpleNamespace(body=authorities.list_of(url))

    real: Callable[..., Any] = foreign_status.read_list

    def reading(*given: Any, **more: Any) -> Any:
        if what == "code" and given[1].public_bytes(Encoding.DER) == odd.certificate:
            raise RecursionError("odd")
        return real(*given, **more)

    monkeypatch.setattr(foreign_status, "read_list", reading)

    async def scenario() -> None:
        status, told = status_of(rows, Outside())
        assert await renewed(status) == 1
        assert {*rows.kept} == {one.digest for one in rows.members} - {odd.digest}
        [(event, fields)] = told
        assert (event, fields["sha256"]) == ("status-data-unavailable", odd.digest)
        assert fields["why"]

    asyncio.run(scenario())


def test_only_so_many_are_asked_for_at_a_time(authorities: Authorities) -> None:
    names = ("one", "two", "three")
    rows = Rows(
        [
            replace(one, confirmed=Addresses(crl=(f"http://{name}.example.com/{name}/lower.crl",)))
            for name in names
            for one in authorities.members(name, 12)
        ]
    )
    now: Counter[str] = Counter()
    most: Counter[str] = Counter()

    class Outside:
        async def get(self, url: str, **_: Any) -> Any:
            for key in (url, "all"):
                now[key] += 1
                most[key] = max(most[key], now[key])
            await asyncio.sleep(0.01)
            now.subtract((url, "all"))
            return SimpleNamespace(body=authorities.list_of(url))

    async def scenario() -> None:
        status, _ = status_of(rows, Outside())
        assert await renewed(status) == 0

    asyncio.run(scenario())
    assert most.pop("all") == foreign_status._TOGETHER
    assert max(most.values()) == foreign_status._OF_ONE


def test_calls_to_one_authority_that_hangs_leave_the_others_their_connections(
    authorities: Authorities,
) -> None:
    rows = Rows(authorities.members("hanging", 12))
    elsewhere = Addresses(crl=("http://good.example.com/good/lower.crl",))
    other = replace(authorities.members("good", 1)[0], confirmed=elsewhere)
    hanging = 0

    class Outside:
        async def get(self, url: str, **_: Any) -> Any:
            nonlocal hanging
            if "/hanging/" in url:
                hanging += 1
                await asyncio.sleep(60)
            return SimpleNamespace(body=authorities.list_of(url))

    async def scenario() -> None:
        status, _ = status_of(rows, Outside())
        calls = [asyncio.create_task(status.look(one)) for one in rows.members]
        await asyncio.sleep(0.05)
        assert isinstance(await asyncio.wait_for(status.look(other), 5), Kept)
        assert hanging == foreign_status._OF_ONE
        for call in calls:
            call.cancel()
        await asyncio.gather(*calls, return_exceptions=True)
        assert status._turns == {}

    asyncio.run(scenario())
