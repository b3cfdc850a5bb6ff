"""I15: webhooks, their deliveries and events of another account are as if they were not there."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from typing import Any

import pytest
from fetching import LOOPBACK
from sqlalchemy import text

ABSENT = "whk_" + "f" * 24
URL = "http://127.0.0.1:9/hook"


@pytest.fixture
def other_settings() -> dict[str, Any]:
    return {"outbound_networks": LOOPBACK}


def told(answer: Any) -> tuple[int, str]:
    return answer.status_code, re.sub(r'"request_id":"[0-9a-f]+"', "", answer.text)


async def everything(database: Any) -> list[list[Any]]:
    tables = ("webhook", "webhook_delivery", "webhook_attempt", "event", "event_position")
    async with database.read() as connection:
        return [
            sorted(map(tuple, (await connection.execute(text(f"SELECT * FROM {one}"))).all()))
            for one in tables
        ]


def test_foreign_and_absent_look_the_same_and_nothing_changes(service) -> None:
    async def scenario(api: Any) -> None:
        other = await api.operator.accounts.create("Other Organisation")
        token = await api.operator.accounts.create_token(other.id)
        book = api.operator.notifying.webhooks
        theirs = (await book.create(other.id, URL)).endpoint.id
        await book.test(other.id, theirs)
        ((delivery, *_), _) = await book.deliveries(other.id, theirs, None, 10)
        own = (await book.create(api.account, URL)).endpoint.id  # one address, two accounts

        operations = (
            ("GET", "/v1/webhooks/{}", None),
            ("PATCH", "/v1/webhooks/{}", {"enabled": False}),
            ("PATCH", "/v1/webhooks/{}", {}),
            ("DELETE", "/v1/webhooks/{}", None),
            ("POST", "/v1/webhooks/{}/secret", {}),
            ("POST", "/v1/webhooks/{}/test", None),
            ("GET", "/v1/webhooks/{}/deliveries", None),
            ("POST", "/v1/webhooks/{}/deliveries/" + delivery.id + "/redeliver", None),
        )
        before = await everything(api.operator.database)
        mine = {"authorization": f"Bearer {api.token}"}
        for method, path, body in operations:
            foreign, absent = [
                await api.http.request(method, path.format(one), headers=mine, json=body)
                for one in (theirs, ABSENT)
            ]
            assert foreign.status_code == 404, (method, path)
            assert told(foreign) == told(absent)
            nobody = await api.http.request(method, path.format(theirs), json=body)
            assert nobody.status_code == 401
            for odd in ("%00", "%C3%A4", "a" * 500, "%2e%2e"):
                strange = await api.http.request(method, path.format(odd), headers=mine, json=body)
                assert strange.status_code == 404, (method, path, odd)
        # Their delivery through a webhook of one's own, and an absent one: the same.
        paths = [f"/v1/webhooks/{own}/deliveries/{one}/redeliver" for one in (delivery.id, "x")]
        foreign, absent = [await api.http.post(path, headers=mine) for path in paths]
        assert (foreign.status_code, told(foreign)) == (404, told(absent))
        for path in ("/v1/webhooks", "/v1/events", f"/v1/webhooks/{own}/deliveries"):
            listed = (await api.get(path)).text
            assert theirs not in listed, path
            assert delivery.id not in listed
            assert delivery.event_id not in listed
            assert (await api.http.get(path)).status_code == 401
        assert await everything(api.operator.database) == before
        # Positions are each account's own: they do not tell how much happens elsewhere.
        assert (await api.get("/v1/events")).json()["next"] == "ZTA="
        headers = {"authorization": f"Bearer {token.text}"}
        seen = (await api.http.get("/v1/events", headers=headers)).json()
        assert [one["id"] for one in seen["events"]] == [delivery.event_id]
        assert datetime.fromisoformat(seen["events"][0]["timestamp"]) <= datetime.now(UTC)

    service(scenario)
