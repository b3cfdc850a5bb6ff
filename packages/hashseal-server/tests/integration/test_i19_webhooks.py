"""I19: a webhook leads to no address that the policy does not permit, whatever its name means."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from ipaddress import ip_network
from typing import Any

import pytest
from addresses import ADDRESSES, FORMS
from canary import WATCH, canary
from receiver import receiving

from hashseal_server.infra.outbound import Outbound
from hashseal_server.web.observing import logger

ONE = ip_network("127.0.0.1/32")


class Names:
    """What each name means: another answer each time, the last one for ever."""

    def __init__(self, **answers: list[Sequence[str]]) -> None:
        self.answers = {name.replace("_", "."): found for name, found in answers.items()}
        self.asked: list[str] = []

    def __call__(self, host: str) -> Sequence[str]:
        self.asked.append(host)
        found = self.answers[host]
        return found.pop(0) if len(found) > 1 else found[0]


def is_literal(form: str) -> bool:
    return "localhost" not in form.lower()


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
def test_addresses_are_refused_when_they_are_given(service) -> None:
    async def scenario(api: Any) -> None:
        with canary() as listening, WATCH.watching() as seen:
            for form in (*FORMS, *filter(is_literal, ADDRESSES)):
                url = form.format(port=listening.port)
                answer = await api.post("/v1/webhooks", {"url": url})
                assert (answer.status_code, answer.json()["code"]) == (400, "invalid-value"), url
                assert answer.json()["field"] == "url"
            assert (seen.connections, seen.names, listening.connections) == ([], [], [])
        assert (await api.get("/v1/webhooks")).json() == {"webhooks": []}
        made = await api.post("/v1/webhooks", {"url": "https://hooks.example.com/x?y=1"})
        webhook = made.json()["webhook"]["id"]
        for form in ("http://10.0.0.1/", "http://[::1]/", "ftp://hooks.example.com/", ""):
            headers = {"authorization": f"Bearer {api.token}"}
            changed = await api.http.patch(
                f"/v1/webhooks/{webhook}", headers=headers, json={"url": form}
            )
            assert changed.status_code == 400, form
        twice = await api.post("/v1/webhooks", {"url": "https://hooks.example.com/x?y=1"})
        assert (twice.status_code, twice.json()["field"]) == (400, "url")
        bad = await api.post("/v1/webhooks", {"url": "https://x.example.com", "types": ["a.b"]})
        assert (bad.status_code, bad.json()["field"]) == (400, "types")
        for number in range(19):
            await api.post("/v1/webhooks", {"url": f"https://hooks.example.com/{number}"})
        more = await api.post("/v1/webhooks", {"url": "https://hooks.example.com/more"})
        assert (more.status_code, more.json()["code"]) == (409, "webhook-refused")

    service(scenario)


@pytest.mark.parametrize("other_settings", [{"webhook_http": False}])
@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
def test_without_tls_nobody_is_called_unless_the_operator_says_so(service) -> None:
    async def scenario(api: Any) -> None:
        answer = await api.post("/v1/webhooks", {"url": "http://hooks.example.com/"})
        assert (answer.status_code, answer.json()["field"]) == (400, "url")
        assert "https://" in answer.json()["detail"]
        outcome = await api.operator.notifying.post("http://hooks.example.com/", b"", {}, "any")
        assert outcome.error == "address-refused"

    service(scenario)


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
def test_what_a_name_means_is_checked_at_each_call(service) -> None:
    async def scenario(api: Any) -> None:
        notifying = api.operator.notifying
        await notifying._outbound.close()
        names = Names(
            good_example_com=[["127.0.0.1"]],
            rebinding_example_com=[["127.0.0.1"], ["127.0.0.2"]],
            private_example_com=[["10.0.0.1"]],
            mixed_example_com=[["127.0.0.1", "169.254.169.254"]],
            mapped_example_com=[["::ffff:127.0.0.1"]],
            link_example_com=[["fe80::1"]],
        )
        notifying._outbound = Outbound(allowed=[ONE], resolve=names)
        webhooks = {}
        for name in names.answers:
            url = f"http://{name}:{receiver.port}/{name}"
            webhooks[name] = (await notifying.webhooks.create(api.account, url)).endpoint.id
        piece = notifying.delivering(logger("json", "info", api.log)).piece

        async def outcomes() -> dict[str, tuple[Any, Any]]:
            for webhook in webhooks.values():
                await notifying.webhooks.test(api.account, webhook)
            with WATCH.watching() as seen:
                await piece(datetime.now(UTC), None)
            assert {host for host, _ in seen.connections} <= {"127.0.0.1"}
            assert seen.names == []  # nobody but our resolver was asked
            found = {}
            for name, webhook in webhooks.items():
                answer = await api.get(f"/v1/webhooks/{webhook}/deliveries")
                # What a name of theirs means in the operator's network is not told.
                for hidden in ("10.0.0.1", "127.0.0.2", "169.254", "fe80"):
                    assert hidden not in answer.text
                attempt = answer.json()["deliveries"][0]["attempts"][0]
                found[name.partition(".")[0]] = attempt["status"], attempt["error"]
            return found

        refused = (None, "address-refused")
        first = await outcomes()
        assert first == {
            "good": (200, None),
            "rebinding": (200, None),
            "private": refused,
            "mixed": refused,
            "mapped": refused,
            "link": refused,
        }
        notifying._outbound._pool._connections.clear()  # as after some seconds
        second = await outcomes()
        assert second == first | {"rebinding": refused}
        assert sorted(one.path for one in receiver.messages) == [
            "/good.example.com", "/good.example.com", "/rebinding.example.com",
        ]  # fmt: skip
        assert all(one.headers["host"].startswith(one.path[1:]) for one in receiver.messages)

    with receiving() as receiver:
        service(scenario)
