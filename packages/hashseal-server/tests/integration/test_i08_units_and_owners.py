"""I8 with databases and processes: one owner of a unit at a time, and times that never go back."""

from __future__ import annotations

import asyncio
import base64
import random
import shutil
import signal
import time
from collections import Counter
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx2
import pytest
from asn1crypto import tsp as asn1_tsp
from cluster import Cluster
from fleet import Fleet
from sqlalchemy import event

from hashseal_core import der, tsp
from hashseal_core.algorithms import Digest, DigestAlgorithm
from hashseal_core.errors import NotFound, TimestampUnavailable
from hashseal_server import timestamping
from hashseal_server.infra.db import Database
from hashseal_server.infra.timekeeping import Reading, elapsed, reading
from hashseal_server.main import operator
from hashseal_server.pki.model import Role
from hashseal_server.pki.profiles import PROFILES
from hashseal_server.settings import Settings
from hashseal_server.tsa.clock import milliseconds
from hashseal_server.tsa.store import LeaseStore
from hashseal_server.web.observing import logger

DIGEST = Digest(DigestAlgorithm.SHA256, bytes(range(32)))
QUERY = tsp.build_request(DIGEST)
HEADERS = {"content-type": "application/timestamp-query"}
SERIAL = 0xC0FFEE


def stated(response: bytes) -> tuple[bytes, datetime] | None:
    """Which unit (its ESSCertIDv2 is in the attributes) and which time; None for a refusal."""
    try:
        token = tsp.parse_token(tsp.token_of_response(response))
    except TimestampUnavailable:
        return None
    return token.signed_data.signing_certificate, token.content.generated_at


async def ask(http: httpx2.AsyncClient, query: bytes = QUERY) -> bytes:
    answer = await http.post("/tsa", content=query, headers=HEADERS)
    assert answer.status_code == 200
    return answer.content


# --- The lease ---------------------------------------------------------------------------------


def test_one_of_many_takes_a_unit(service) -> None:
    async def scenario(api) -> None:
        bases = [Database(api.operator.settings.database) for _ in range(8)]
        stores = [LeaseStore(base) for base in bases]
        try:
            for round_ in range(5):
                claims = await asyncio.gather(
                    *(
                        store.take(SERIAL + round_, f"{n}", now=1, mark=2, lasting=60_000)
                        for n, store in enumerate(stores)
                    )
                )
                assert len([one for one in claims if one]) == 1
        finally:
            for base in bases:
                await base.close()

    service(scenario)


def test_a_lease_is_fenced_and_times_are_reserved(service) -> None:
    async def scenario(api) -> None:
        store = LeaseStore(api.operator.database)
        first = await store.take(SERIAL, "one", now=1_000, mark=6_000, lasting=60_000)
        assert first is not None
        assert await store.take(SERIAL, "two", now=9_000, mark=9_500, lasting=400) is None
        kept = await store.keep(first, mark=7_000, lasting=60_000)
        assert kept is not None
        assert (kept.mark, kept.left) == (7_000, False)
        lower = await store.keep(first, mark=6_500, lasting=400)
        assert lower is not None
        assert lower.mark == 7_000  # what is reserved stays so
        await asyncio.sleep(0.5)
        # The lease has run out, but nobody begins before what was reserved with it.
        assert await store.take(SERIAL, "two", now=6_999, mark=9_000, lasting=400) is None
        second = await store.take(SERIAL, "two", now=7_000, mark=12_000, lasting=60_000)
        assert second is not None
        assert second.epoch == first.epoch + 1
        # Who had it before can neither keep it nor give it back.
        assert await store.keep(first, mark=99_000, lasting=400) is None
        await store.give_back(first, mark=0)
        (lease,) = (await store.all([SERIAL])).values()
        assert (lease.owner, lease.mark, lease.held) == ("two", 12_000, True)
        # Given back, another may begin where it ended.
        await store.give_back(second, mark=8_000)
        third = await store.take(SERIAL, "three", now=8_000, mark=13_000, lasting=400)
        assert third is not None
        assert await store.leave(SERIAL, datetime.now(UTC))
        assert not await store.leave(SERIAL, datetime.now(UTC))
        left = await store.keep(third, mark=13_000, lasting=10)
        assert left is not None
        assert left.left
        await asyncio.sleep(0.1)
        assert await store.take(SERIAL, "four", now=20_000, mark=21_000, lasting=1) is None

    service(scenario)


# --- Replicas of the service -------------------------------------------------------------------


def test_each_replica_has_a_unit_of_its_own_and_hands_it_on(replicas) -> None:
    async def scenario(apis: list[Any]) -> None:
        held = [(await api.operator.timestamps()).standing.serial for api in apis]
        assert len(set(held)) == len(apis)
        assert None not in held
        unit, last = stated(await ask(apis[0].http)) or (b"", datetime.now(UTC))
        await (await apis[0].operator.timestamps()).end()
        assert stated(await ask(apis[0].http)) is None  # it has ended
        async with operator(apis[0].operator.settings, migrate=False) as opened:
            await opened.app()
            authority = await opened.timestamps()
            assert authority.standing.serial == held[0]
            token = await authority.issue(DIGEST)
            assert token.tsu_certificate == unit
            assert token.content.generated_at >= last
            states = Counter(
                one.state(datetime.now(UTC)) for one in await opened.timestamping.all()
            )
            assert states == {"held": len(apis) + 1}  # none was made in vain

    replicas(3, scenario)


@pytest.mark.parametrize("other_settings", [{"timestamping_units": 1}])
def test_without_a_free_unit_it_refuses_says_so_and_begins_when_one_is_free(service) -> None:
    async def scenario(api) -> None:
        async with operator(api.operator.settings, migrate=False) as opened:
            app = (await opened.app(logger("json", "info", api.log))).asgi
            transport = httpx2.ASGITransport(app)
            async with httpx2.AsyncClient(transport=transport, base_url="http://service") as http:
                refused = await ask(http)
                assert stated(refused) is None
                status = asn1_tsp.PKIStatusInfo.load(der.only(refused).content)
                assert status["fail_info"].native == {"time_not_available"}
                assert "every timestamping unit is held by another process" in api.log.getvalue()
                assert (
                    'hashseal_timestamping_lease_seconds{unit="(none)"} 0.0'
                    in (await http.get("/metrics")).text
                )
                await (await api.operator.timestamps()).end()
                until = time.monotonic() + 40
                while stated(await ask(http)) is None:
                    assert time.monotonic() < until
                    await asyncio.sleep(0.1)
                assert '"state":"held"' in api.log.getvalue()

    service(scenario)


def test_no_statement_is_sent_to_the_database_for_a_token(service) -> None:
    async def scenario(api) -> None:
        authority = await api.operator.timestamps()
        custody = authority._custody
        custody._keeping.cancel()
        await custody.look_after()
        sent: list[str] = []
        engine = api.operator.database.engine.sync_engine
        event.listen(engine, "before_cursor_execute", lambda *given: sent.append(given[2]))
        for _ in range(50):
            await authority.issue(DIGEST)
        assert sent == []
        await custody.look_after()
        assert any("timestamping_unit_lease" in one for one in sent)  # the listener listens

    service(scenario)


# --- Rotation ----------------------------------------------------------------------------------


def test_rotation_without_a_gap(service) -> None:
    async def scenario(api) -> None:
        units: list[bytes] = []
        old = (await api.operator.timestamps()).standing.serial
        over = asyncio.Event()

        async def sign() -> None:
            while not over.is_set():
                answer = await api.sign(f"{len(units)}", level="B-LT")
                assert answer.status_code == 200, answer.text
                token = base64.b64decode(answer.json()["signatures"][0]["timestamp"]["token"])
                units.append(tsp.parse_token(token).signing_certificate)
                assert units[-1] in map(
                    base64.b64decode, answer.json()["validation"]["certificates"]
                )
                await asyncio.sleep(0.02)

        await api.operator.account_store.balance(api.account)
        await api.operator.accounts.record_order(api.account, 10_000)
        signing = asyncio.create_task(sign())
        until = time.monotonic() + 60
        while not units:
            assert time.monotonic() < until
            assert not signing.done()
            await asyncio.sleep(0.05)
        made = await api.operator.timestamping.rotate(old)
        while units[-1] != made.certificate:
            assert time.monotonic() < until
            assert not signing.done()
            await asyncio.sleep(0.05)
        over.set()
        await signing
        assert len(set(units)) == 2
        # The old one is used no more, and its status can still be asked.
        states = {one.issued.serial: one for one in await api.operator.timestamping.all()}
        assert states[old].state(datetime.now(UTC)) == "left"
        material = await api.operator.authority.material_for(states[old].issued.certificate)
        assert material.ocsp_responses
        for serial in (old, 1):
            with pytest.raises(NotFound):
                await api.operator.timestamping.rotate(serial)
        with pytest.raises(NotFound):
            await api.operator.timestamping.leave(old)

    service(scenario)


def test_keys_that_come_to_their_end_are_followed_by_others(service, monkeypatch) -> None:
    async def scenario(api) -> None:
        authority = await api.operator.timestamps()
        keeping = api.operator.timestamping
        begun = authority.standing.serial
        now = datetime.now(UTC)
        assert await keeping.renew(now, None) is None
        # Keys of a week, and of three minutes: certificates begin five minutes before.
        with monkeypatch.context() as short:
            for share in (0.002, 8 / (10 * 365 * 24 * 60)):
                profile = replace(PROFILES[Role.TSU], signing_share=share)
                short.setitem(PROFILES, Role.TSU, profile)
                await keeping.issue()
        minutes, week, _ = sorted(await keeping.all(), key=lambda one: one.ends_at)
        assert 0 < (minutes.ends_at - now).total_seconds() < 300
        # A key that ends in minutes is not begun with; the one of a week is.
        await keeping.leave(begun)
        until = time.monotonic() + 40
        while authority.standing.serial != week.issued.serial:
            assert time.monotonic() < until
            await asyncio.sleep(0.05)
        ended = None
        for _ in range(4):
            ended = await keeping.renew(now, ended)
            if ended is None:
                break
        assert ended is None
        states = {one.issued.serial: one.state(now) for one in await keeping.all()}
        assert states[minutes.issued.serial] == states[week.issued.serial] == "left"
        (young,) = [serial for serial, state in states.items() if state == "free"]
        while authority.standing.serial != young:
            assert time.monotonic() < until + 40
            await asyncio.sleep(0.05)

    service(scenario)


def test_a_unit_that_is_revoked_is_given_up(service) -> None:
    async def scenario(api) -> None:
        authority = await api.operator.timestamps()
        serial = authority.standing.serial
        await api.operator.authority.revoke(serial, "keyCompromise", at=datetime.now(UTC))
        until = time.monotonic() + 40
        while authority.standing.serial in {serial, None}:
            assert time.monotonic() < until
            await asyncio.sleep(0.05)
        assert (await authority.issue(DIGEST)).parts.tsu == authority.standing.serial

    service(scenario)


def test_no_token_of_a_revoked_unit_leaves_after_the_answer(replicas) -> None:
    async def scenario(apis) -> None:
        owner = await apis[0].operator.timestamps()
        serial, certificate = owner.standing.serial, owner.tsu_certificate
        answered: list[float] = []
        told: list[tuple[float, bytes | None]] = []

        async def caller(api) -> None:
            while not answered or time.monotonic() < answered[0] + 2:
                began = time.monotonic()
                found = stated(await ask(api.http))
                told.append((began, found[0] if found else None))
                await asyncio.sleep(0.01)

        async def revoke() -> None:
            await asyncio.sleep(0.5)
            await apis[-1].operator.revoke(serial, "keyCompromise")
            answered.append(time.monotonic())

        await asyncio.gather(revoke(), *(caller(api) for api in apis for _ in range(2)))
        assert certificate in {unit for began, unit in told if began < answered[0]}
        assert certificate not in {unit for began, unit in told if began >= answered[0]}
        until = time.monotonic() + 40
        while owner.standing.serial in {serial, None}:  # it takes or makes another
            assert time.monotonic() < until
            await asyncio.sleep(0.05)

    replicas(2, scenario)


# --- A database that is set back, and a clock with it ------------------------------------------


def test_a_restored_database_and_a_clock_that_was_set_back(tmp_path: Path, monkeypatch) -> None:
    shift = 0

    def shifted() -> Reading:
        now = reading()
        return Reading(now.wall + shift * 1_000_000_000, now.elapsed)

    monkeypatch.setattr(timestamping, "reading", shifted)
    settings = Settings(data_dir=tmp_path / "service", public_url="http://pki.example.com")

    async def run() -> datetime:
        async with operator(settings) as opened:
            await opened.initialise()
            await opened.app()
            return (await (await opened.timestamps()).issue(DIGEST)).content.generated_at

    database = tmp_path / "service" / "hashseal.db"
    asyncio.run(run())
    shutil.copy(database, tmp_path / "snapshot")  # closed: nothing is in its log
    shift = 300
    last = asyncio.run(run())
    shutil.copy(tmp_path / "snapshot", database)
    shift = 200  # ahead of the restored mark, behind what was stated since
    with pytest.raises(TimestampUnavailable, match="behind what a timestamping unit has stated"):
        asyncio.run(run())
    shift = 310
    assert asyncio.run(run()) > last
    assert milliseconds(last) > 0


# --- Processes that are killed and stopped -----------------------------------------------------


@dataclass(frozen=True)
class Seen:
    """A token as a client saw it."""

    unit: bytes
    at: datetime
    asked: float
    got: float


async def collect(fleet: Fleet, index: int, seen: list[Seen], over: asyncio.Event) -> Counter[str]:
    """Ask one replica for tokens all the time."""
    told: Counter[str] = Counter()
    limits = httpx2.Limits(max_keepalive_connections=0)
    async with httpx2.AsyncClient(base_url=fleet.url(index), timeout=12, limits=limits) as http:
        while not over.is_set():
            asked = time.time()
            try:
                found = stated(await ask(http))
            except httpx2.HTTPError:
                told["gone"] += 1
                await asyncio.sleep(0.1)
                continue
            if found is None:
                told["refused"] += 1
                await asyncio.sleep(0.05)
                continue
            told["issued"] += 1
            seen.append(Seen(*found, asked, time.time()))
            await asyncio.sleep(0.005)
    return told


@pytest.mark.parametrize("database", ["postgresql", "sqlite"])
def test_killed_and_stopped_processes(
    cluster: Cluster, tmp_path: Path, monkeypatch, database: str
) -> None:
    replicas_ = 3
    monkeypatch.setenv("HASHSEAL_TIMESTAMPING_UNITS", str(replicas_))
    url = cluster.database(f"tsu{random.randrange(10**9)}", "prepared")
    settings = Settings(
        data_dir=tmp_path / "service",
        database_url=url if database == "postgresql" else None,
        public_url="http://pki.example.com",
    )
    seen: list[Seen] = []

    async def run() -> list[Counter[str]]:
        async with operator(settings, migrate=database == "sqlite") as opened:
            await opened.initialise()
            await opened.timestamping.provide(replicas_)
        fleet = Fleet(settings.data_dir, settings.database_url, replicas_)
        await asyncio.to_thread(fleet.start)
        over = asyncio.Event()
        try:
            asking = [
                asyncio.create_task(collect(fleet, index % replicas_, seen, over))
                for index in range(2 * replicas_)
            ]
            await until_all_issue(seen, replicas_)
            for index in range(replicas_):
                fleet.send(index, signal.SIGKILL)
                fleet.spawn(index)
                # Stopped for longer than its lease lasts: another may take its unit.
                asleep = (index + 1) % replicas_
                fleet.send(asleep, signal.SIGSTOP)
                await asyncio.sleep(6.5)
                fleet.send(asleep, signal.SIGCONT)
                await asyncio.sleep(0.5)
            fleet.send(0, signal.SIGTERM)  # in order
            await asyncio.sleep(1.5)
            fleet.spawn(0)
            await asyncio.sleep(1)
            before = time.time()
            while len({one.unit for one in seen if one.asked > before}) < replicas_:
                assert time.time() < before + 60
                await asyncio.sleep(0.1)
            over.set()
            return list(await asyncio.gather(*asking))
        finally:
            fleet.stop()

    told = sum(asyncio.run(run()), Counter())
    assert told["issued"] > 500, told
    assert told["refused"] > 0, told
    assert told["gone"] > 0, told
    assert len({one.unit for one in seen}) == replicas_
    assert backwards(seen) == []
    for one in seen:
        # Tokens that were asked for before a stop may say the time before it, not a later one.
        assert one.asked - 1 <= one.at.timestamp() <= one.got + 0.001


async def until_all_issue(seen: list[Seen], count: int) -> None:
    """Until every unit has stated a time."""
    until = time.monotonic() + 60
    while len({one.unit for one in seen}) < count:
        assert time.monotonic() < until
        await asyncio.sleep(0.1)


def backwards(seen: list[Seen]) -> list[tuple[Seen, Seen]]:
    """Pairs of one unit's tokens: the second was asked for after the first had come, and is earlier."""
    found = []
    for unit in {one.unit for one in seen}:
        mine = [one for one in seen if one.unit == unit]
        by_end = sorted(mine, key=lambda one: one.got)
        latest: Seen | None = None
        place = 0
        for one in sorted(mine, key=lambda each: each.asked):
            while place < len(by_end) and by_end[place].got < one.asked:
                if latest is None or by_end[place].at > latest.at:
                    latest = by_end[place]
                place += 1
            if latest is not None and one.at < latest.at:
                found.append((latest, one))
    return found


def test_the_comparison_finds_what_goes_back() -> None:
    at = datetime(2026, 1, 1, tzinfo=UTC)
    later = datetime(2026, 1, 2, tzinfo=UTC)
    good = [Seen(b"u", at, 1, 2), Seen(b"u", later, 3, 4), Seen(b"v", at, 5, 6)]
    assert backwards(good) == []
    assert len(backwards([*good, Seen(b"u", at, 5, 6)])) == 1
    assert elapsed() > 0
