"""Tokens over the API and on the command line: what they may do, from where, until when."""

from __future__ import annotations

import hmac
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from ipaddress import ip_network
from typing import Any

import httpx2
import pytest
from lines import listening, post

from hashseal_core import csc
from hashseal_core.errors import LimitReached
from hashseal_server.accounts import token_store
from hashseal_server.accounts.last_use import COARSE
from hashseal_server.accounts.token_model import read_terms
from hashseal_server.accounts.tokens import make
from hashseal_server.callers import noting
from hashseal_server.web.openapi import OPERATIONS

ALL = ("sign", "read", "manage")


class Caller:
    """Somebody with a token."""

    def __init__(self, http: httpx2.AsyncClient, token: str) -> None:
        self.http = http
        self.headers = {"authorization": f"Bearer {token}"}

    async def get(self, path: str, **headers: str) -> httpx2.Response:
        return await self.http.get(path, headers={**self.headers, **headers})

    async def post(self, path: str, body: Any = None) -> httpx2.Response:
        if body is None:
            return await self.http.post(path, headers=self.headers)
        return await self.http.post(path, json=body, headers=self.headers)

    async def ask(self, method: str, path: str) -> httpx2.Response:
        body = {"json": {}} if method in {"post", "patch"} else {}
        return await self.http.request(method.upper(), path, headers=self.headers, **body)


async def administrator(api: Any) -> Caller:
    made = await api.operator.accounts.create_token(api.account, read_terms(scopes=ALL))
    return Caller(api.http, made.text)


def code_of(answer: httpx2.Response) -> tuple[int, str]:
    return answer.status_code, answer.json().get("code", "")


async def audited(api: Any, *names: str) -> list[dict[str, Any]]:
    """What the audit log says of these events, in order."""
    await api.operator.audit.sequence()
    return [
        {"event": entry.event, **json.loads(entry.content)}
        for entry in await api.operator.audit.entries()
        if entry.event in names
    ]


def later(api: Any, **ahead: float) -> None:
    """The service's clock for tokens and clients goes ahead."""
    moment = datetime.now(UTC) + timedelta(**ahead)
    for one in (api.operator.accounts, api.operator.accounts.tokens, api.operator.clients):
        one._now = lambda: moment


def test_the_life_of_a_token(service) -> None:
    async def scenario(api) -> None:
        admin = await administrator(api)
        asked = {
            "label": "ERP, production", "holder": "invoicing@example.com", "scopes": ["read"],
            "networks": ["127.0.0.0/8"], "expires_in_days": 10,
        }  # fmt: skip
        made = (await admin.post("/v1/tokens", asked)).json()
        token, secret = made["token"], made["secret"]
        assert secret.startswith(f"hs_{token['id']}_")
        ends = datetime.fromisoformat(token["expires_at"]) - datetime.now(UTC)
        assert timedelta(days=9.9) < ends <= timedelta(days=10)
        shown = {name: token[name] for name in asked if name != "expires_in_days"}
        assert shown == {name: asked[name] for name in shown}
        assert (token["kind"], token["status"]) == ("personal", "active")
        caller = Caller(api.http, secret)
        assert (await caller.get("/v1/seals")).status_code == 200
        # Its use is known when it has been written, and no secret is ever shown again.
        await api.operator.accounts.note_uses()
        listed = (await admin.get("/v1/tokens")).json()["tokens"]
        (own,) = [one for one in listed if one["id"] == token["id"]]
        assert own["last_used_at"] is not None
        assert secret.rpartition("_")[2] not in (await admin.get("/v1/tokens")).text

        path = f"/v1/tokens/{token['id']}"
        turned = (await admin.post(f"{path}/rotate", {"overlap_hours": 2})).json()
        assert turned["token"]["id"] == token["id"]
        successor = Caller(api.http, turned["secret"])
        for one in (caller, successor):
            assert (await one.get("/v1/seals")).status_code == 200
        later(api, hours=3)
        ended = await caller.get("/v1/seals")
        assert code_of(ended) == (401, "token-invalid")
        assert ended.headers["www-authenticate"] == 'Bearer error="invalid_token"'
        assert (await successor.get("/v1/seals")).status_code == 200
        # Rotated again without an overlap, the one before stops at once; the lifetime begins anew.
        again = (await admin.post(f"{path}/rotate", {"overlap_hours": 0})).json()
        assert code_of(await successor.get("/v1/seals")) == (401, "token-invalid")
        assert again["token"]["earlier_until"] is None
        newest = Caller(api.http, again["secret"])
        later(api, days=10, hours=2)
        assert (await newest.get("/v1/seals")).status_code == 200
        later(api, days=10, hours=4)
        assert code_of(await newest.get("/v1/seals")) == (401, "token-invalid")
        later(api, hours=3)

        for _ in range(2):  # a repeated revocation is answered as the first
            revoked = await admin.post(f"{path}/revoke")
            assert (revoked.status_code, revoked.json()["status"]) == (200, "revoked")
        assert code_of(await newest.get("/v1/seals")) == (401, "token-invalid")
        assert code_of(await admin.post(f"{path}/rotate", {})) == (404, "not-found")
        assert token["id"] not in (await admin.get("/v1/tokens")).text

        events = await audited(api, "token.created", "token.rotated", "token.revoked")
        mine = [one for one in events if one["token"] == token["id"]]
        names = ["token.created", "token.rotated", "token.rotated", "token.revoked"]
        assert [one["event"] for one in mine] == names
        admins = admin.headers["authorization"].split("_")[1]
        assert {one["by"] for one in mine} == {admins}
        assert "invoicing" not in json.dumps(events)

    service(scenario)


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
def test_each_operation_needs_its_scope(service) -> None:
    async def scenario(api) -> None:
        create = api.operator.accounts.create_token
        callers = {
            scope: Caller(api.http, (await create(api.account, read_terms(scopes=[scope]))).text)
            for scope in ALL
        }
        checked = 0
        for operation in OPERATIONS:
            if operation.authenticated is not True:
                continue
            path = operation.path.replace("{", "").replace("}", "")
            for scope, caller in callers.items():
                answer = await caller.ask(operation.method, path)
                missing = f"scope {operation.scope}"
                if scope == operation.scope:
                    assert missing not in answer.text, operation.path
                    continue
                if operation.refusal is csc.CscError:
                    assert (answer.status_code, answer.json()["error"]) == (403, "access_denied")
                    assert answer.json()["error_description"].endswith(missing)
                else:
                    assert code_of(answer) == (403, "scope-missing"), (operation.path, scope)
                    assert answer.json()["detail"].endswith(missing)
                challenge = answer.headers["www-authenticate"]
                assert challenge == f'Bearer error="insufficient_scope", scope="{operation.scope}"'
                checked += 1
        assert checked > 30

    service(scenario)


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
def test_nobody_gives_what_they_have_not(service) -> None:
    async def scenario(api) -> None:
        admin = await administrator(api)
        strong = (await admin.post("/v1/tokens", {"label": "all", "scopes": list(ALL)})).json()
        client = (await admin.post("/v1/clients", {"label": "c"})).json()["client"]
        made = await api.operator.accounts.create_token(
            api.account, read_terms(scopes=["manage", "read"])
        )
        weak = Caller(api.http, made.text)
        own = await weak.post("/v1/tokens", {"label": "own", "scopes": ["read", "manage"]})
        assert own.status_code == 200
        for path, body in (
            ("/v1/tokens", {"label": "more", "scopes": ["sign"]}),
            ("/v1/tokens", {"label": "more"}),
            (f"/v1/tokens/{strong['token']['id']}/rotate", {}),
            ("/v1/tokens/organisation/regenerate", {}),
            ("/v1/clients", {"label": "more", "scopes": ["sign"]}),
            (f"/v1/clients/{client['id']}/rotate", {}),
        ):
            answer = await weak.post(path, body)
            assert code_of(answer) == (403, "scope-missing"), path
            assert answer.json()["detail"].endswith("sign")
            assert "secret" not in answer.json()
        assert (await Caller(api.http, strong["secret"]).get("/v1/tokens")).status_code == 200

    service(scenario)


def test_the_account_has_one_token_of_its_own(service) -> None:
    async def scenario(api) -> None:
        admin = await administrator(api)
        first = (await admin.post("/v1/tokens/organisation/regenerate", {})).json()
        assert first["token"]["kind"] == "organisation"
        assert set(first["token"]["scopes"]) == set(ALL)
        assert first["token"]["expires_at"] is None
        own = Caller(api.http, first["secret"])
        # It may replace itself; the one of before stops at once, or later if that is asked for.
        second = (await own.post("/v1/tokens/organisation/regenerate", {})).json()
        assert second["token"]["id"] == first["token"]["id"]
        assert code_of(await own.get("/v1/seals")) == (401, "token-invalid")
        own = Caller(api.http, second["secret"])
        third = await own.post("/v1/tokens/organisation/regenerate", {"overlap_hours": 1})
        for one in (own, Caller(api.http, third.json()["secret"])):
            assert (await one.get("/v1/seals")).status_code == 200
        listed = (await admin.get("/v1/tokens")).json()["tokens"]
        assert [one["kind"] for one in listed].count("organisation") == 1
        # Revoked, it is replaced by one with another id.
        assert (await admin.post(f"/v1/tokens/{first['token']['id']}/revoke")).status_code == 200
        fourth = (await admin.post("/v1/tokens/organisation/regenerate", {})).json()
        assert fourth["token"]["id"] != first["token"]["id"]

    service(scenario)


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
@pytest.mark.parametrize(
    "other_settings", [{"trusted_proxies": (ip_network("10.0.0.0/8"), ip_network("127.0.0.0/8"))}]
)
def test_networks_count_on_every_way_in(service) -> None:
    async def scenario(api) -> None:
        terms = read_terms(networks=["203.0.113.0/24", "2001:db8::/32"])
        token = (await api.operator.accounts.create_token(api.account, terms)).text
        body = {"seal_id": api.seal, "level": "B-B", "hashes": ["A" * 43 + "="]}

        async def ask(peer: str, *forwarded: str) -> set[tuple[int, str]]:
            """The outcome of a route and of a hot endpoint."""
            head = [("authorization", f"Bearer {token}"), ("idempotency-key", f"k{len(forwarded)}")]
            head += [("x-forwarded-for", one) for one in forwarded]
            async with over(api, peer) as http:
                answers = [
                    await http.get("/v1/seals", headers=head),
                    await http.post("/v1/documents/sign", json=body, headers=head),
                ]
            for answer in answers:
                assert "203.0.113" not in answer.text
            return {(answer.status_code // 100, answer.json().get("code")) for answer in answers}

        good, refused = {(2, None), (4, "degenerate-hash")}, {(4, "address-not-allowed")}
        assert await ask("203.0.113.9") == good
        assert await ask("2001:db8::9") == good
        assert await ask("198.51.100.1") == refused
        assert await ask("198.51.100.1", "203.0.113.9") == refused
        assert await ask("10.0.0.1", "203.0.113.9") == good
        assert await ask("10.0.0.1", "203.0.113.9, 198.51.100.1") == refused
        assert await ask("10.0.0.1", "198.51.100.1, 203.0.113.9") == good
        assert await ask("10.0.0.1") == refused
        # Several headers are one list, over a connection too.
        assert await ask("10.0.0.1", "203.0.113.9", "10.0.0.2") == good
        assert await ask("10.0.0.1", "203.0.113.9", "198.51.100.1") == refused
        async with listening(api) as (connect, _server, _hot):
            for first, code in (
                ("203.0.113.9", "degenerate-hash"),
                ("8.8.8.8", "address-not-allowed"),
            ):
                head = f"Authorization: Bearer {token}\r\nIdempotency-Key: k\r\n"
                head += "Content-Type: application/json\r\n"
                head += f"X-Forwarded-For: {first}\r\nX-Forwarded-For: 10.0.0.2\r\n"
                sent = post("/v1/documents/sign", json.dumps(body).encode(), head)
                _, _, told = await (await connect()).ask(sent)
                assert json.loads(told)["code"] == code
        # Without the secret nobody learns that there is a list.
        token = make(api.operator.accounts._keys, token.split("_")[1]).text
        assert await ask("198.51.100.1") == {(4, "token-invalid")}

    service(scenario)


@asynccontextmanager
async def over(api: Any, peer: str) -> AsyncIterator[httpx2.AsyncClient]:
    """A client at this address."""
    transport = httpx2.ASGITransport(api.app, raise_app_exceptions=False, client=(peer, 4711))
    async with httpx2.AsyncClient(transport=transport, base_url="http://service") as http:
        yield http


@pytest.mark.parametrize("other_settings", [{"wrong_secrets_per_minute": 5}])
@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
def test_who_tries_secrets_is_refused_for_a_while_and_nobody_else(service) -> None:
    async def scenario(api) -> None:
        moment = datetime(2026, 1, 31, 12, 0, 30, tzinfo=UTC)
        api.operator.accounts._guesses._now = lambda: moment
        assert (await api.get("/v1/seals")).status_code == 200  # this token is known here now
        fresh = (await api.operator.accounts.create_token(api.account)).text
        wrong = Caller(api.http, make(api.operator.accounts._keys).text)
        codes = [code_of(await wrong.get("/v1/seals")) for _ in range(8)]
        assert codes == [(401, "token-invalid")] * 5 + [(429, "rate-limited")] * 3
        # One that goes on with a token that is none holds up itself alone; who tries many, others.
        newest = (await api.operator.accounts.create_token(api.account)).text
        assert (await Caller(api.http, newest).get("/v1/seals")).status_code == 200
        for _ in range(4):
            tried = Caller(api.http, make(api.operator.accounts._keys).text)
            assert (await tried.get("/v1/seals")).status_code == 401
        refused = await Caller(api.http, fresh).get("/v1/seals")
        assert (refused.status_code, refused.headers["retry-after"]) == (429, "30")
        assert (await api.get("/v1/seals")).status_code == 200
        assert (await api.sign("known")).status_code == 200
        async with over(api, "203.0.113.9") as http:
            assert (await Caller(http, fresh).get("/v1/seals")).status_code == 200
        moment += timedelta(seconds=30)
        assert (await Caller(api.http, fresh).get("/v1/seals")).status_code == 200
        # What cannot be a token is no try.
        for _ in range(8):
            assert code_of(await Caller(api.http, "nonsense").get("/v1/seals"))[0] == 401

    service(scenario)


def test_tokens_of_before_are_what_they_were(service) -> None:
    async def scenario(api) -> None:
        secret = (api.operator.settings.data_dir / "secret").read_bytes()
        before = make(api.operator.accounts._keys)
        kept = hmac.digest(secret, before.text.encode(), "sha256")
        # As a program of schema 0010 writes it.
        row = {"id": before.id, "account_id": api.account, "keyed_hash": kept}
        async with api.operator.database.write() as connection:
            await connection.execute(
                token_store.tokens.insert().values(**row, created_at=datetime.now(UTC))
            )
        old = Caller(api.http, before.text)
        (listed,) = [
            one for one in (await old.get("/v1/tokens")).json()["tokens"] if one["id"] == before.id
        ]
        assert (listed["kind"], set(listed["scopes"])) == ("personal", set(ALL))
        assert (listed["expires_at"], listed["networks"]) == (None, [])
        api.token = before.text
        assert (await api.sign("as ever")).status_code == 200
        turned = (await old.post(f"/v1/tokens/{before.id}/rotate", {})).json()
        assert turned["token"]["expires_at"] is None
        for one in (old, Caller(api.http, turned["secret"])):
            assert (await one.get("/v1/seals")).status_code == 200

    service(scenario)


def test_uses_are_written_seldom_and_never_by_a_call(replicas) -> None:
    async def scenario(apis) -> None:
        one, other = apis
        token_id = one.token.split("_")[1]

        async def last() -> datetime | None:
            found = await one.operator.accounts.tokens.all(one.account)
            return next(token for token in found if token.id == token_id).last_used_at

        for api in apis:
            assert (await api.sign("x")).status_code == 200
        assert await last() is None
        await one.operator.accounts.note_uses()
        written = await last()
        assert written is not None
        # Neither the same replica nor the other writes it again so soon.
        for api in apis:
            assert (await api.get("/v1/seals")).status_code == 200
            await api.operator.accounts.note_uses()
        assert await last() == written
        later(other, seconds=COARSE.total_seconds() + 1)
        async with noting(other.operator.accounts):  # as a process does that serves
            assert (await other.get("/v1/seals")).status_code == 200
        changed = await last()
        assert changed is not None
        assert changed > written

    replicas(2, scenario)


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
def test_limits_and_bodies_that_are_refused(service, monkeypatch) -> None:
    async def scenario(api) -> None:
        admin = await administrator(api)
        for body, field in (
            ({}, None),
            ({"label": ""}, "label"),
            ({"label": "\n"}, "label"),
            ({"label": "x", "scopes": []}, "scopes"),
            ({"label": "x", "scopes": ["all"]}, "scopes"),
            ({"label": "x", "networks": ["10.0.0.1/8"]}, "networks"),
            ({"label": "x", "expires_in_days": 0}, "expires_in_days"),
            ({"label": "x", "expires_in_days": 3651}, "expires_in_days"),
            ({"label": "x", "admin": True}, None),
        ):
            answer = await admin.post("/v1/tokens", body)
            assert answer.status_code == 400, body
            assert answer.json()["field"] == field, body
        never = await admin.post("/v1/tokens", {"label": "x", "expires_in_days": None})
        assert never.json()["token"]["expires_at"] is None
        monkeypatch.setattr(token_store, "MOST", 3)
        assert code_of(await admin.post("/v1/tokens", {"label": "x"})) == (409, "limit-reached")
        with pytest.raises(LimitReached):
            await api.operator.accounts.create_token(api.account)

    service(scenario)
