"""Events by cursor: no reader misses one, however late it was committed; long polls; retention."""

from __future__ import annotations

import asyncio
import contextlib
import random
import time
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from hashseal_core.errors import EventsForgotten, InvalidValue, Overloaded, StorageUnavailable
from hashseal_server.events import log
from hashseal_server.events.model import Event
from hashseal_server.events.waiting import Waiting
from hashseal_server.infra.db import Database

TYPE = "test.happened"


def happened(account: str, **data: object) -> Event:
    return Event(account, TYPE, datetime.now(UTC), data)


async def append(database: Database, *events: Event) -> None:
    async with database.write() as connection:
        await log.append(connection, events)


async def page(api: Any, **query: object) -> dict[str, Any]:
    words = "&".join(f"{name}={value}" for name, value in query.items())
    answer = await api.get(f"/v1/events?{words}".replace("+", "%2B"))
    assert answer.status_code == 200, answer.text
    found: dict[str, Any] = answer.json()
    return found


class Undone(Exception):
    """A transaction that is rolled back."""


def undo(wanted: bool) -> None:
    if wanted:
        raise Undone


def test_no_reader_misses_what_is_committed_late(service) -> None:
    """Writers of several processes commit or fail at any moment; readers read on all the time."""

    async def scenario(api: Any) -> None:
        account, place = api.account, api.operator.settings.database
        other = (await api.operator.accounts.create("Other Organisation")).id
        written: list[str] = []
        over = asyncio.Event()

        async def writer(number: int) -> None:
            choose = random.Random(number)
            database = Database(place)
            for turn in range(8):
                size = choose.choice((1, 1, 3))
                names = [f"{number}-{turn}-{n}" for n in range(size)]
                owners = [account, other] if choose.random() < 0.3 else [account]
                try:
                    async with database.write() as connection:
                        await asyncio.sleep(choose.random() / 100)
                        events = [happened(one, name=name) for name in names for one in owners]
                        await log.append(connection, events)
                        await asyncio.sleep(choose.random() / 50)  # open while others read
                        undo(choose.random() < 0.25)
                except Undone:
                    continue
                written.extend(names)
            await database.close()

        async def reader() -> list[str]:
            found: list[str] = []
            book, cursor = log.EventLog(api.operator.database), 0
            while True:
                ending = over.is_set()
                events, following = await book.page(account, cursor, 7)
                assert [one.position for one in events] == list(
                    range(cursor + 1, cursor + 1 + len(events))
                )
                found += [one.data for one in events]
                cursor = following
                if ending and not events:
                    return found
                await asyncio.sleep(0)

        readers = [asyncio.create_task(reader()) for _ in range(2)]
        await asyncio.gather(*(writer(n) for n in range(6)))
        over.set()
        for found in await asyncio.gather(*readers):
            assert sorted(found) == sorted(f'{{"name":"{name}"}}' for name in written)
        assert len(written) > 30

    service(scenario)


def test_a_transaction_that_is_open_holds_later_ones_back(service, database_url) -> None:
    async def scenario(api: Any) -> None:
        database, book = api.operator.database, log.EventLog(api.operator.database)
        other = (await api.operator.accounts.create("Other Organisation")).id
        second = None
        async with database.write() as connection:
            await log.append(connection, [happened(api.account, name="first")])
            second = asyncio.create_task(append(database, happened(api.account, name="second")))
            if database_url is not None:  # on SQLite there is one writer anyway
                await append(database, happened(other, name="theirs"))
            await asyncio.sleep(0.3)
            assert not second.done()
            assert await book.page(api.account, 0, 10) == ([], 0)
        await second
        events, following = await book.page(api.account, 0, 10)
        assert [one.data for one in events] == ['{"name":"first"}', '{"name":"second"}']
        assert following == 2

    service(scenario)


@pytest.mark.parametrize("database_url", ["postgresql"], indirect=True)
def test_pages_cursors_and_waiting(service) -> None:
    async def scenario(api: Any) -> None:
        database = api.operator.database
        first = await page(api)
        assert first["events"] == []
        await append(database, *(happened(api.account, n=n) for n in range(150)))
        one = await page(api, after=first["next"])
        two = await page(api, after=one["next"])
        three = await page(api, after=two["next"])
        assert [e["data"]["n"] for e in one["events"] + two["events"]] == list(range(150))
        assert (len(one["events"]), three) == (100, {"events": [], "next": two["next"]})
        assert await page(api) == one

        # Nothing comes: answered in time, and meanwhile no connection is held.
        began = time.monotonic()
        waiting = asyncio.create_task(page(api, after=two["next"], wait=2))
        await asyncio.sleep(0.5)
        assert api.operator.database.engine.pool.checkedout() == 0
        assert (await waiting)["events"] == []
        assert 1.9 < time.monotonic() - began < 6
        # Something comes: answered soon. An event of another account wakes nobody.
        other = (await api.operator.accounts.create("Other Organisation")).id
        waiting = asyncio.create_task(page(api, after=two["next"], wait=30))
        await append(database, happened(other))
        done, _ = await asyncio.wait([waiting], timeout=1.5)
        assert not done
        await append(database, happened(api.account, n="late"))
        began = time.monotonic()
        assert [e["data"] for e in (await waiting)["events"]] == [{"n": "late"}]
        assert time.monotonic() - began < 10
        # A process that ends lets everybody go.
        last = await page(api, after=two["next"])
        waiting = asyncio.create_task(page(api, after=last["next"], wait=30))
        await asyncio.sleep(0.2)
        api.operator.notifying.waiting.release()
        assert (await asyncio.wait_for(waiting, 10))["events"] == []

        for query in ("after=x", "after=", "after=cDE=", "after=ZTk5OTk5", "wait=31", "wait=-1",
                      "wait=x", "wait=", "wait=1e1"):  # fmt: skip
            answer = await api.get(f"/v1/events?{query}")
            assert (answer.status_code, answer.json()["code"]) == (400, "invalid-value"), query
            assert answer.json()["field"] == query.partition("=")[0]

    service(scenario)


def test_what_is_old_goes_and_who_lags_behind_is_told(service) -> None:
    async def scenario(api: Any) -> None:
        database, now = api.operator.database, datetime.now(UTC)
        book = log.EventLog(database)
        old = [Event(api.account, TYPE, now - timedelta(days=100 - n), {"n": n}) for n in range(5)]
        await append(database, *old, happened(api.account, n="young"))
        other = (await api.operator.accounts.create("Other Organisation")).id
        await append(database, happened(other, n="theirs"))
        events, at_two = await book.page(api.account, None, 2)
        assert len(events) == 2
        before = now - timedelta(days=90)
        assert await log.forget(database, before=before, limit=3) == 3
        assert await log.forget(database, before=before, limit=3) == 2
        assert await log.forget(database, before=before, limit=3) == 0
        with pytest.raises(EventsForgotten):
            await book.page(api.account, at_two, 10)
        events, following = await book.page(api.account, None, 10)
        assert [one.data for one in events] == ['{"n":"young"}']
        assert (await book.page(api.account, 5, 10))[0] == events  # had read all that has gone
        with pytest.raises(InvalidValue):
            await book.page(api.account, following + 1, 10)
        answer = await api.get("/v1/events?after=ZTI=")  # e2
        assert (answer.status_code, answer.json()["code"]) == (410, "events-forgotten")
        await append(database, happened(api.account, n="next"))
        assert (await book.page(api.account, following, 10))[1] == following + 1
        assert len((await book.page(other, None, 10))[0]) == 1

    service(scenario)


def test_a_revocation_and_its_event_are_recorded_together_or_not_at_all(
    service, monkeypatch
) -> None:
    async def scenario(api: Any) -> None:
        book = await api.operator.seals()
        serial = (await book.find(api.account, api.seal)).serial

        async def broken(*_: Any) -> None:
            raise StorageUnavailable("no room")

        with monkeypatch.context() as breaking:
            breaking.setattr(log, "take", broken)
            with pytest.raises(StorageUnavailable):
                await book.revoke(api.account, api.seal, "superseded")
        assert (await api.sign("still")).status_code == 200
        await book.renew(api.account, api.seal, same_key=True)
        await api.operator.revoke(serial, "superseded")  # the earlier certificate
        await book.revoke(api.account, api.seal, "cessationOfOperation")
        told = [one["data"] for one in (await page(api))["events"]]
        assert [(one["seal_id"], one["current"], one["reason"]) for one in told] == [
            (api.seal, False, "superseded"),
            (api.seal, True, "cessationOfOperation"),
        ]
        assert told[0]["serial"] == f"{serial:x}"
        # Certificates that are nobody's seal are nobody's business.
        (unit, *_) = await api.operator.authority.units()
        await api.operator.revoke(unit.serial, "cessationOfOperation")
        assert len((await page(api))["events"]) == 2

    service(scenario)


def test_readers_that_wait_share_one_look(monkeypatch: pytest.MonkeyPatch) -> None:
    looks: list[list[str]] = []
    ends = {"a": 0, "b": 5}

    async def look(accounts: Any) -> dict[str, int]:
        looks.append(sorted(accounts))
        if len(looks) == 2:
            raise StorageUnavailable("for a moment")
        return dict(ends)

    async def scenario() -> None:
        waiting = Waiting(look, every=0.05)
        readers = [asyncio.create_task(waiting.beyond("a", 0, 20)) for _ in range(16)]
        await waiting.beyond("b", 3, 20)
        with pytest.raises(Overloaded):
            await waiting.beyond("a", 0, 20)
        cancelled = readers.pop()
        cancelled.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await cancelled
        await asyncio.sleep(0.2)
        assert not any(one.done() for one in readers)
        ends["a"] = 1
        await asyncio.wait_for(asyncio.gather(*readers), 10)
        assert looks[0] == ["a", "b"]
        assert looks[-1] == ["a"]
        before = len(looks)
        await asyncio.sleep(0.2)
        assert len(looks) <= before + 1  # nobody waits: nobody looks
        monkeypatch.setattr("hashseal_server.events.waiting._ALL", 0)
        with pytest.raises(Overloaded):
            await waiting.beyond("c", 0, 20)
        assert not waiting._readers  # who is refused leaves nothing
        waiting.release()
        await asyncio.wait_for(waiting.beyond("a", 1, 20), 1)

    asyncio.run(scenario())
