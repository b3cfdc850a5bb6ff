"""Webhooks from the API to a receiver: signed, tried again over days, logged, sent again."""

from __future__ import annotations

import asyncio
import json
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from fetching import LOOPBACK
from receiver import Receiver, receiving
from standardwebhooks.webhooks import WebhookVerificationError

from hashseal_core.errors import StorageUnavailable
from hashseal_server.events.delivering import CLAIMED
from hashseal_server.events.model import Outcome, State, Verdict
from hashseal_server.events.outbox import Outbox
from hashseal_server.events.tables import attempts, deliveries
from hashseal_server.web.observing import logger


@pytest.fixture
def other_settings() -> dict[str, Any]:
    return {"outbound_networks": LOOPBACK}


class Post:
    """The post office of a test: its clock goes as it is told, and by itself only between times."""

    def __init__(self, api: Any) -> None:
        self.ahead = timedelta(0)
        self.real = datetime.now(UTC)
        self.piece = api.operator.notifying.delivering(
            logger("json", "info", api.log), now=lambda: self.real + self.ahead
        ).piece

    async def deliver(self, **later: float) -> None:
        """What is due by then."""
        self.ahead += timedelta(**later)
        if not later:
            self.real = datetime.now(UTC)
        await self.piece(datetime.now(UTC), None)


async def create(api: Any, receiver: Receiver, path: str = "/hook", **more: Any) -> dict[str, Any]:
    answer = await api.post("/v1/webhooks", {"url": receiver.url(path), **more})
    assert answer.status_code == 200, answer.text
    made = answer.json()
    return {"secret": made["secret"], **made["webhook"]}


async def log_of(api: Any, webhook: dict[str, Any]) -> list[dict[str, Any]]:
    answer = await api.get(f"/v1/webhooks/{webhook['id']}/deliveries")
    assert answer.status_code == 200, answer.text
    found: list[dict[str, Any]] = answer.json()["deliveries"]
    return found


async def change(api: Any, webhook: dict[str, Any], method: str, body: Any = None, at: str = ""):
    headers = {"authorization": f"Bearer {api.token}"}
    path = f"/v1/webhooks/{webhook['id']}{at}"
    return await api.http.request(method, path, headers=headers, json=body)


def test_an_event_reaches_each_webhook_that_wants_it(service) -> None:
    async def scenario(api: Any) -> None:
        post = Post(api)
        every = await create(api, receiver, "/every", description="all of them")
        some = await create(api, receiver, "/some", types=["credential.revoked"])
        none = await create(api, receiver, "/none", types=["quota.low"])
        book = await api.operator.seals()
        await book.revoke(api.account, api.seal, "keyCompromise")
        await post.deliver()
        await post.deliver()  # once is enough
        by_path = {one.path: one for one in receiver.messages}
        assert sorted(one.path for one in receiver.messages) == ["/every", "/some"]
        events = (await api.get("/v1/events")).json()["events"]
        for path, webhook in (("/every", every), ("/some", some)):
            message = by_path[path]
            assert message.check(webhook["secret"]) == events[0]
            assert message.id == events[0]["id"]
            assert message.headers["content-type"] == "application/json"
            with pytest.raises(WebhookVerificationError):
                message.check(none["secret"])
        assert events[0]["type"] == "credential.revoked"
        assert events[0]["data"]["seal_id"] == api.seal
        assert events[0]["data"]["reason"] == "keyCompromise"
        assert events[0]["data"]["current"] is True
        assert b"Test Organisation" not in by_path["/every"].body
        (delivery,) = await log_of(api, every)
        assert (delivery["state"], delivery["event_id"]) == ("delivered", events[0]["id"])
        (attempt,) = delivery["attempts"]
        assert (attempt["number"], attempt["status"], attempt["error"]) == (1, 200, None)
        assert await log_of(api, none) == []

        # A test event goes to the one that is tested, whatever it is for.
        answer = await change(api, none, "POST", at="/test")
        assert answer.json()["type"] == "webhook.test"
        await post.deliver()
        assert receiver.messages[-1].path == "/none"
        assert receiver.messages[-1].check(none["secret"]) == answer.json()
        assert len(receiver.messages) == 3

    with receiving() as receiver:
        service(scenario)


def test_failures_are_tried_again_over_days_and_told(service) -> None:
    async def scenario(api: Any) -> None:
        post = Post(api)
        webhook = await create(api, receiver)
        other = await create(api, healthy)
        event = (await change(api, webhook, "POST", at="/test")).json()
        await post.deliver()
        await post.deliver(seconds=4)
        assert len(receiver.messages) == 1
        await post.deliver(seconds=2)  # after 5 s, and a tenth at most
        (delivery,) = await log_of(api, webhook)
        assert (delivery["state"], len(delivery["attempts"])) == ("pending", 2)
        shown = (await api.get(f"/v1/webhooks/{webhook['id']}")).json()
        assert shown["failing_since"] is not None
        for hours in (0.1, 0.6, 2.5, 6, 12, 16, 23, 27):
            assert delivery["next_attempt_at"] is not None
            await post.deliver(hours=hours)
            (delivery,) = await log_of(api, webhook)
        assert (delivery["state"], delivery["next_attempt_at"]) == ("failed", None)
        assert [one["status"] for one in delivery["attempts"]] == [500, 503, *[500] * 8]
        assert {one.id for one in receiver.messages} == {event["id"]}
        assert len({one.headers["webhook-timestamp"] for one in receiver.messages}) == 10
        assert len({one.body for one in receiver.messages}) == 1

        # Nothing else went well for three days: it is disabled, and who can be told is told.
        shown = (await api.get(f"/v1/webhooks/{webhook['id']}")).json()
        assert (shown["enabled"], shown["disabled_because"]) == (False, "failing")
        told = (await api.get("/v1/events")).json()["events"][-1]
        assert told["type"] == "webhook.disabled"
        assert told["data"] == {"webhook_id": webhook["id"], "reason": "failing"}
        await post.deliver()
        assert json.loads(healthy.messages[-1].body) == told
        assert (await log_of(api, other))[0]["state"] == "delivered"
        (line,) = [one for one in api.log.getvalue().splitlines() if "webhook-disabled" in one]
        assert json.loads(line)["webhook"] == webhook["id"]
        for at in ("/test", f"/deliveries/{delivery['id']}/redeliver"):
            refused = await change(api, webhook, "POST", at=at)
            assert (refused.status_code, refused.json()["code"]) == (409, "webhook-refused")

        # Enabled again and redelivered: the same message, its attempts counted on.
        receiver.statuses[:] = [204]
        enabled = await change(api, webhook, "PATCH", {"enabled": True})
        assert (enabled.json()["enabled"], enabled.json()["failing_since"]) == (True, None)
        again = await change(api, webhook, "POST", at=f"/deliveries/{delivery['id']}/redeliver")
        assert again.json()["state"] == "pending"
        await post.deliver()
        (delivery,) = [one for one in await log_of(api, webhook) if one["id"] == delivery["id"]]
        assert (delivery["state"], delivery["attempts"][-1]["number"]) == ("delivered", 11)
        assert receiver.messages[-1].id == event["id"]

    with (
        receiving(statuses=[500, 503, 500], headers={"Retry-After": "20"}) as receiver,
        receiving() as healthy,
    ):
        service(scenario)


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
def test_what_gone_timeouts_and_other_failures_come_to(service) -> None:
    async def scenario(api: Any) -> None:
        post = Post(api)
        cases = {
            "gone": await create(api, gone),
            "busy": await create(api, busy),
            "redirecting": await create(api, redirecting),
            "silent": await create(api, silent),
            "nobody": await create(api, nobody),
        }
        for webhook in cases.values():
            await change(api, webhook, "POST", at="/test")
        api.operator.notifying._outbound._total_seconds = 2
        await post.deliver()
        logs = {name: (await log_of(api, webhook))[-1] for name, webhook in cases.items()}
        outcomes = {
            name: (one["state"], one["attempts"][0]["status"], one["attempts"][0]["error"])
            for name, one in logs.items()
        }
        assert outcomes == {
            "gone": ("failed", 410, "status"),
            "busy": ("pending", 429, "status"),
            "redirecting": ("pending", 302, "status"),
            "silent": ("pending", None, "timeout"),
            "nobody": ("pending", None, "unreachable"),
        }
        assert logs["silent"]["attempts"][0]["milliseconds"] >= 2000
        due = datetime.fromisoformat(logs["busy"]["next_attempt_at"])
        assert due - datetime.now(UTC) > timedelta(minutes=59)
        shown = (await api.get(f"/v1/webhooks/{cases['gone']['id']}")).json()
        assert shown["disabled_because"] == "gone"
        assert not elsewhere.messages
        assert "some words" not in json.dumps(logs)  # what they answered is not kept

    with (
        receiving(statuses=[410]) as gone,
        receiving(statuses=[429], headers={"Retry-After": "3600"}) as busy,
        receiving() as elsewhere,
        receiving(statuses=[302], headers={"Location": elsewhere.url()}) as redirecting,
        receiving(slow=20) as silent,
    ):
        with receiving() as nobody:
            pass
        service(scenario)


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
def test_a_secret_is_replaced_without_a_gap(service) -> None:
    async def scenario(api: Any) -> None:
        post = Post(api)
        webhook = await create(api, receiver)
        first = webhook["secret"]

        async def sent(**later: float):
            await change(api, webhook, "POST", at="/test")
            await post.deliver(**later)
            return receiver.messages[-1].headers["webhook-signature"].count("v1,")

        rotated = await change(api, webhook, "POST", {"overlap_hours": 2}, at="/secret")
        second = rotated.json()["secret"]
        assert rotated.json()["webhook"]["previous_secret_until"] is not None
        assert second != first
        assert await sent() == 2
        for secret in (first, second):
            receiver.messages[-1].check(secret)
        assert await sent(hours=2) == 1  # the overlap is over
        third = (await change(api, webhook, "POST", {"overlap_hours": 0}, at="/secret")).json()
        assert third["webhook"]["previous_secret_until"] is None
        post.ahead = timedelta(0)
        assert await sent() == 1
        receiver.messages[-1].check(third["secret"])
        for secret in (first, second):
            with pytest.raises(WebhookVerificationError):
                receiver.messages[-1].check(secret)

    with receiving() as receiver:
        service(scenario)


def test_who_claims_and_dies_leaves_it_to_others(service, monkeypatch) -> None:
    async def scenario(api: Any) -> None:
        post, other = Post(api), Post(api)
        webhook = await create(api, receiver)
        await change(api, webhook, "POST", at="/test")

        async def died(*_: Any) -> bool:
            raise StorageUnavailable("gone")

        with monkeypatch.context() as dying:
            dying.setattr(Outbox, "record", died)
            with pytest.raises(StorageUnavailable):
                await post.deliver()
        await other.deliver()
        assert len(receiver.messages) == 1  # claimed
        await other.deliver(seconds=CLAIMED.total_seconds() + 1)
        assert len(receiver.messages) == 2
        assert len({one.id for one in receiver.messages}) == 1
        (delivery,) = await log_of(api, webhook)
        assert (delivery["state"], len(delivery["attempts"])) == ("delivered", 1)

        # Two at once: each delivery is one's alone. Who wakes up late records nothing.
        for _ in range(12):
            await change(api, webhook, "POST", at="/test")
        claims = await asyncio.gather(
            *(
                Outbox(api.operator.database).claim(
                    datetime.now(UTC) + post.ahead,
                    datetime.now(UTC) + timedelta(minutes=1),
                    most=32,
                    each=5,
                )
                for _ in range(3)
            )
        )
        numbers = [due.number for claim in claims for due in claim]
        assert 5 <= len(numbers) == len(set(numbers)) <= 12
        late = claims[0][0] if claims[0] else claims[1][0]
        await other.deliver(minutes=2)
        await other.deliver(minutes=2)
        recorded = await Outbox(api.operator.database).record(
            late, datetime.now(UTC), Outcome(1, 500, "status"), Verdict(State.FAILED)
        )
        assert recorded is False
        assert {one["state"] for one in await log_of(api, webhook)} == {"delivered"}

    with receiving() as receiver:
        service(scenario)


def test_one_account_s_many_do_not_delay_the_others(service) -> None:
    async def scenario(api: Any) -> None:
        other = await api.operator.accounts.create("Other Organisation")
        book = api.operator.notifying.webhooks
        mine = await book.create(api.account, receiver.url("/mine"))
        theirs = await book.create(other.id, receiver.url("/theirs"))
        for _ in range(30):
            await book.test(api.account, mine.endpoint.id)
        await book.test(other.id, theirs.endpoint.id)
        await Post(api).deliver()
        paths = [one.path for one in receiver.messages]
        assert paths.count("/theirs") == 1
        assert paths.count("/mine") == 8

    with receiving() as receiver:
        service(scenario)


def test_the_newest_attempts_are_shown_and_their_number_is_bounded(service) -> None:
    async def scenario(api: Any) -> None:
        post = Post(api)
        webhook = await create(api, receiver)
        await change(api, webhook, "POST", at="/test")
        (delivery,) = await log_of(api, webhook)
        again = f"/deliveries/{delivery['id']}/redeliver"
        # About to be attempted anyway: nothing is begun, or recorded.
        assert (await change(api, webhook, "POST", at=again)).json() == delivery
        await api.operator.audit.sequence()
        assert "webhook.redelivery" not in {one.event for one in await api.operator.audit.entries()}
        earlier = [
            {"delivery": 1, "number": number, "at": datetime.now(UTC), "milliseconds": 1,
             "status": 500}
            for number in range(1, 100)
        ]  # fmt: skip
        async with api.operator.database.write() as connection:
            await connection.execute(attempts.insert(), earlier)
            await connection.execute(deliveries.update().values(attempts=99, tries=9))
        await post.deliver()
        (delivery,) = await log_of(api, webhook)
        assert [one["number"] for one in delivery["attempts"]] == list(range(81, 101))
        assert delivery["attempts"][-1]["status"] == 200
        refused = await change(api, webhook, "POST", at=again)
        assert (refused.status_code, refused.json()["code"]) == (409, "webhook-refused")
        assert await log_of(api, webhook) == [delivery]

    with receiving() as receiver:
        service(scenario)
