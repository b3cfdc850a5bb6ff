"""Accounts are told once that they run low, and once at each mark that a certificate ends."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from books import check_books
from dbos import DBOS
from sqlalchemy import delete, text

from hashseal_core.algorithms import KeyAlgorithm
from hashseal_core.errors import AccountNotFound, InvalidValue
from hashseal_server.accounts.thresholds import watches
from hashseal_server.accounts.watching import QuotaWatch
from hashseal_server.infra.work import Outcomes
from hashseal_server.pki.model import LegalPerson
from hashseal_server.remote_signing import raw_credentials
from hashseal_server.seals.telling import ExpiryWatch
from hashseal_server.web.observing import logger

pytestmark = pytest.mark.usefixtures("dbos_alone")

SUBJECT = LegalPerson("Another Seal", "Test Organisation", "NTRCH-1", "CH")


async def told(api: Any, kind: str) -> list[dict[str, Any]]:
    events = (await api.get("/v1/events")).json()["events"]
    return [one["data"] for one in events if one["type"] == kind]


def test_low_quota_is_told_once_for_each_crossing(service) -> None:
    async def scenario(api: Any) -> None:
        watch = QuotaWatch(api.operator.database)
        orders = api.operator.accounts

        async def look() -> list[dict[str, Any]]:
            for _ in range(2):
                assert await watch.piece(datetime.now(UTC), None) is None
            return await told(api, "quota.low")

        assert (await api.sign(*map(str, range(89)))).status_code == 200
        assert await look() == []  # 11 of 100 are left
        assert (await api.sign("one more")).status_code == 200
        low = {"calls_left": 10, "free": 10, "paid": 0, "threshold": 10}
        assert await look() == [low]
        assert (await api.sign("and more")).status_code == 200
        assert await look() == [low]
        # Calls are bought: another crossing, measured by what there is then.
        await orders.record_order(api.account, 191)  # 200 in all
        assert await look() == [low]
        await api.sign(*(f"b{n}" for n in range(180)))
        assert [one["calls_left"] for one in await look()] == [10, 20]
        # Its own rule.
        rule = await watch.rule(api.account, datetime.now(UTC), percent=0, calls=5)
        assert (rule.percent, rule.calls, rule.had, rule.low_at) == (0, 5, 200, 5)
        assert len(await look()) == 2
        await api.sign(*(f"c{n}" for n in range(16)))
        assert [one["calls_left"] for one in await look()] == [10, 20, 4]
        await orders.record_order(api.account, 96)
        assert (await watch.rule(api.account, datetime.now(UTC))).low_at == 5
        assert len(await look()) == 3
        for wrong in ({"percent": 101}, {"percent": -1}, {"calls": -1}, {"calls": 2**31}):
            with pytest.raises(InvalidValue):
                await watch.rule(api.account, datetime.now(UTC), **wrong)
        with pytest.raises(AccountNotFound):
            await watch.rule("nobody", datetime.now(UTC), calls=1)

        # A program of before has made an account and sold calls: nothing is missed.
        other = await orders.create("Other Organisation")
        async with api.operator.database.write() as connection:
            await connection.execute(delete(watches).where(watches.c.account_id == other.id))
            await connection.execute(
                text("UPDATE account_balance SET paid = paid + 1000 WHERE account_id = :id"),
                {"id": api.account},
            )
        assert len(await look()) == 3
        assert (await watch.rule(api.account, datetime.now(UTC))).had == 1100
        assert (await watch.rule(other.id, datetime.now(UTC))).low_at == 10

    service(scenario)


def test_an_order_that_comes_between_look_and_word_is_not_forgotten(service, monkeypatch) -> None:
    async def scenario(api: Any) -> None:
        watch = QuotaWatch(api.operator.database)
        await api.sign(*map(str, range(95)))
        tell = watch._tell

        async def late(row: Any, at: datetime) -> None:
            await api.operator.accounts.record_order(api.account, 1000)
            await tell(row, at)

        monkeypatch.setattr(watch, "_tell", late)
        await watch.piece(datetime.now(UTC), None)
        monkeypatch.setattr(watch, "_tell", tell)
        assert await told(api, "quota.low") == []
        await api.sign(*(f"b{n}" for n in range(905)))
        await watch.piece(datetime.now(UTC), None)
        assert [one["calls_left"] for one in await told(api, "quota.low")] == [100]
        await check_books(api.operator.database)

    service(scenario)


def test_an_ending_certificate_is_told_thirty_seven_and_one_day_ahead(service) -> None:
    async def scenario(api: Any) -> None:
        watch = ExpiryWatch(api.operator.database)
        book = await api.operator.seals()
        seal = await book.find(api.account, api.seal)
        stopped = await book.create(
            api.account, SUBJECT, kind="official", algorithm=KeyAlgorithm.P256
        )
        await book.revoke(api.account, stopped.id, "superseded")

        async def look(**before: float) -> list[int]:
            at = seal.not_after - timedelta(**before)
            assert await watch.piece(at, None) is None
            return [one["days"] for one in await told(api, "certificate.expiring")]

        assert await look(days=31) == []
        assert await look(days=29) == [30]
        assert await look(days=28) == [30]
        assert await look(days=6.9) == [30, 7]
        assert await look(hours=5) == [30, 7, 1]
        assert await look(hours=4) == [30, 7, 1]
        assert await look(hours=-1) == [30, 7, 1]
        (first, *_) = await told(api, "certificate.expiring")
        assert first["seal_id"] == api.seal
        assert first["serial"] == f"{seal.serial:x}"
        assert datetime.fromisoformat(first["valid_until"]) == seal.not_after
        # A renewed certificate is another one; who looks late is told of the nearest mark alone.
        renewed = await book.renew(api.account, api.seal, same_key=True)
        await watch.piece(renewed.not_after - timedelta(days=3), None)
        days = [one["days"] for one in await told(api, "certificate.expiring")]
        assert days == [30, 7, 1, 7]

    service(scenario)


@pytest.mark.parametrize("other_settings", [{"raw_signing": True}])
def test_who_has_a_raw_credential_is_told_too(service) -> None:
    async def scenario(api: Any) -> None:
        watch = ExpiryWatch(api.operator.database)
        raws = raw_credentials(api.operator, lambda: datetime.now(UTC))
        raw, lost = [
            await raws.create(api.account, SUBJECT, algorithm=KeyAlgorithm.P256) for _ in range(2)
        ]
        await api.operator.revoke(lost.serial, "keyCompromise")
        (revoked,) = await told(api, "credential.revoked")
        assert datetime.fromisoformat(revoked.pop("revoked_at")) <= datetime.now(UTC)
        assert revoked == {
            "credential_id": lost.id,
            "serial": f"{lost.serial:x}",
            "reason": "keyCompromise",
            "current": True,
        }
        for days in (29, 28, 6.9, 6, 0.5, -1):
            assert await watch.piece(raw.not_after - timedelta(days=days), None) is None
        notices = await told(api, "certificate.expiring")
        own = [one for one in notices if "credential_id" in one]
        assert [one["days"] for one in own] == [30, 7, 1]
        assert {(one["credential_id"], one["serial"]) for one in own} == {
            (raw.id, f"{raw.serial:x}")
        }

    service(scenario)


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
def test_dbos_does_this_work(service) -> None:
    """Each job of telling runs in a worker: a webhook gets its test without anybody asking."""

    async def scenario(api: Any) -> None:
        await api.sign(*map(str, range(95)))
        names = ("webhook-deliveries", "quota-notices", "expiry-notices", "event-expiry")
        async with api.operator.upkeep(logger("json", "info", api.log)):
            for _ in range(1200):
                if '"event":"background-work"' in api.log.getvalue():
                    break
                await asyncio.sleep(0.05)
            for name in names:
                await asyncio.to_thread(DBOS.trigger_schedule, name)
            for _ in range(600):
                ended = {one.job: one for one in await Outcomes(api.operator.database).all()}
                if set(names) <= set(ended) and await told(api, "quota.low"):
                    break
                await asyncio.sleep(0.05)
            assert {ended[name].failures for name in names} == {0}
            assert len(await told(api, "quota.low")) == 1

    service(scenario)
