"""OAuth2 clients: what they are given, and how that ends, on every replica at once."""

from __future__ import annotations

import asyncio
import base64
import functools
import json
import secrets
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx2
import pytest
import uvicorn
from oauthlib.oauth2 import BackendApplicationClient, InvalidClientError, InvalidScopeError
from sqlalchemy import text

from hashseal_core.errors import ConfigurationInvalid, HashsealError
from hashseal_server.accounts import token_store
from hashseal_server.accounts.oauth2 import Asked
from hashseal_server.accounts.token_model import read_terms
from hashseal_server.main import operator
from hashseal_server.settings import Settings
from hashseal_server.web.protocol import HotProtocol

GRANT = {"grant_type": "client_credentials"}
SQLITE = pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)


async def a_client(api: Any, **terms: Any) -> tuple[str, str]:
    """Id and secret of a new one."""
    client, made = await api.operator.clients.create(api.account, read_terms(**terms))
    return client.id, made.text


async def ask(api: Any, known: tuple[str, str], **more: str) -> httpx2.Response:
    return await api.http.post("/oauth2/token", data={**GRANT, **more}, auth=known)


async def access(api: Any, known: tuple[str, str], **more: str) -> str:
    answer = await ask(api, known, **more)
    assert answer.status_code == 200, answer.text
    return str(answer.json()["access_token"])


async def works(api: Any, token: str) -> int:
    """The status of a route and of a hot endpoint with this token: they are the same."""
    head = {"authorization": f"Bearer {token}", "idempotency-key": secrets.token_hex(8)}
    read = (await api.http.get("/v1/seals", headers=head)).status_code
    body = {"seal_id": api.seal, "level": "B-B", "hashes": [base64.b64encode(b"h" * 32).decode()]}
    signed = (await api.http.post("/v1/documents/sign", json=body, headers=head)).status_code
    assert read == signed
    return read


def error_of(answer: httpx2.Response) -> tuple[int, str]:
    return answer.status_code, answer.json()["error"]


@asynccontextmanager
async def listening(api: Any) -> AsyncIterator[httpx2.AsyncClient]:
    """The service on a port, and a client of it."""
    app = await api.operator.app()
    config = uvicorn.Config(
        app.asgi, log_level="error", server_header=False, date_header=False,
        http=functools.partial(HotProtocol, app.hot), ws="none", lifespan="off",
    )  # fmt: skip
    server = uvicorn.Server(config)
    with socket.create_server(("127.0.0.1", 0)) as listener:
        task = asyncio.create_task(server._serve([listener]))
        while not server.started:  # noqa: ASYNC110 - uvicorn has no event for it
            await asyncio.sleep(0.01)
        address = f"http://127.0.0.1:{listener.getsockname()[1]}"
        try:
            async with httpx2.AsyncClient(base_url=address) as http:
                yield http
        finally:
            server.should_exit = True
            await task


@SQLITE
def test_a_client_of_another_library_over_a_connection(service, monkeypatch) -> None:
    monkeypatch.setenv("OAUTHLIB_INSECURE_TRANSPORT", "1")  # it would not speak without TLS

    async def scenario(api) -> None:
        client_id, secret = await a_client(api, networks=["127.0.0.1"])
        async with listening(api) as http:
            judge = BackendApplicationClient(client_id)

            async def fetch(auth: tuple[str, str] | None, **more: str) -> dict[str, Any]:
                body = judge.prepare_request_body(**more)
                head = {"content-type": "application/x-www-form-urlencoded"}
                answer = await http.post("/oauth2/token", content=body, headers=head, auth=auth)
                assert answer.headers["cache-control"] == "no-store"
                assert answer.status_code != 200 or answer.headers["pragma"] == "no-cache"
                found: dict[str, Any] = judge.parse_request_body_response(answer.text)
                return found

            for given in (
                await fetch((client_id, secret)),
                await fetch(None, client_secret=secret, include_client_id=True),
            ):
                assert (given["token_type"], given["expires_in"]) == ("Bearer", 900)
                assert set(given["scope"]) == {"read", "sign"}
            uri, head, _ = judge.add_token(f"{http.base_url}/v1/seals")
            assert (await http.get(uri, headers=head)).status_code == 200
            body = {
                "seal_id": api.seal,
                "level": "B-LT",
                "hashes": [base64.b64encode(b"h" * 32).decode()],
            }
            signed = await http.post(
                "/v1/documents/sign", json=body, headers={**head, "idempotency-key": "one"}
            )
            assert signed.status_code == 200, signed.text
            with pytest.raises(InvalidScopeError):
                await fetch((client_id, secret), scope="manage")
            with pytest.raises(InvalidClientError):
                await fetch((client_id, secret[:-1] + ("0" if secret[-1] != "0" else "1")))
            address, sent, form = judge.prepare_token_revocation_request(
                f"{http.base_url}/oauth2/revoke".replace("http:", "https:"), judge.access_token
            )
            path = address.removeprefix("https:").removeprefix(
                f"{http.base_url}".removeprefix("http:")
            )
            ended = await http.post(path, content=form, headers=sent, auth=(client_id, secret))
            assert ended.status_code == 200
            refused = await http.get(uri, headers=head)
            assert (refused.status_code, refused.json()["code"]) == (401, "token-invalid")

    service(scenario)


def test_the_life_of_a_client(service) -> None:
    async def scenario(api) -> None:
        made = await api.operator.accounts.create_token(
            api.account, read_terms(scopes=["manage", "sign", "read"])
        )
        head = {"authorization": f"Bearer {made.text}"}

        async def manage(path: str, body: Any = None) -> Any:
            answer = await api.http.post(path, json=body, headers=head)
            assert answer.status_code == 200, answer.text
            return answer.json()

        given = await manage("/v1/clients", {"label": "ERP"})
        client_id, first = given["client_id"], given["client_secret"]
        assert first.startswith(f"hsc_{client_id}_")
        token = await access(api, (client_id, first), scope="sign read")
        assert await works(api, token) == 200
        # Usage names the client, which stays; its tokens go.
        usage = (await api.get("/v1/usage")).json()["rows"]
        assert {row["token_id"] for row in usage} == {client_id}
        narrow = await access(api, (client_id, first), scope="read")
        refused = await api.http.post(
            "/v1/timestamps", json={}, headers={"authorization": f"Bearer {narrow}"}
        )
        assert refused.json()["code"] == "scope-missing"

        second = (await manage(f"/v1/clients/{client_id}/rotate", {}))["client_secret"]
        for secret in (first, second):
            assert await works(api, await access(api, (client_id, secret))) == 200
        assert await works(api, token) == 200
        path = f"/v1/clients/{client_id}/rotate"
        third = (await manage(path, {"overlap_hours": 0}))["client_secret"]
        for secret in (first, second):
            assert error_of(await ask(api, (client_id, secret))) == (401, "invalid_client")
        assert await works(api, token) == 401  # what the leaked secret had got ends too
        token = await access(api, (client_id, third))

        moment = datetime.now(UTC)
        api.operator.accounts._now = lambda: moment
        moment += timedelta(seconds=890)
        assert await works(api, token) == 200
        moment += timedelta(seconds=20)
        assert await works(api, token) == 401
        api.operator.accounts._now = lambda: datetime.now(UTC)

        listed = (await api.http.get("/v1/clients", headers=head)).json()["clients"]
        assert [(one["id"], one["label"]) for one in listed] == [(client_id, "ERP")]
        assert listed[0]["last_used_at"] is not None
        assert await works(api, token) == 200
        assert (await manage(f"/v1/clients/{client_id}/revoke"))["status"] == "revoked"
        assert await works(api, token) == 401
        assert error_of(await ask(api, (client_id, third))) == (401, "invalid_client")
        assert (await manage(f"/v1/clients/{client_id}/revoke"))["status"] == "revoked"
        assert (await api.http.get("/v1/clients", headers=head)).json() == {"clients": []}
        # No access token is among those that an administrator handles.
        tokens = (await api.http.get("/v1/tokens", headers=head)).json()["tokens"]
        assert {one["kind"] for one in tokens} == {"personal"}

        await api.operator.audit.sequence()
        told = [
            {"event": one.event, **json.loads(one.content)}
            for one in await api.operator.audit.entries()
            if client_id in one.content
        ]
        names = [one["event"] for one in told if one["event"].startswith(("client", "access"))]
        assert names == [
            "client.created", "access.granted", "access.granted", "client.rotated",
            "access.granted", "access.granted", "client.rotated", "access.granted",
            "client.revoked",
        ]  # fmt: skip
        assert {one["by"] for one in told if "by" in one} == {made.id}
        # What ended an hour ago is forgotten; API tokens never are.
        later = datetime.now(UTC) + timedelta(days=4000)
        assert await token_store.forget(api.operator.database, before=later, limit=3) == 3
        assert await token_store.forget(api.operator.database, before=later, limit=500) == 2
        assert (await api.get("/v1/seals")).status_code == 200

    service(scenario)


@SQLITE
def test_refusals_are_those_of_the_standard(service) -> None:
    async def scenario(api) -> None:
        known = await a_client(api)
        elsewhere = await a_client(api, networks=["203.0.113.0/24"])

        async def post(path: str = "/oauth2/token", **request: Any) -> httpx2.Response:
            return await api.http.post(path, **request)

        form = {"content-type": "application/x-www-form-urlencoded"}
        for answer, status, error in (
            (await post(data=GRANT), 401, "invalid_client"),
            (await post(data={**GRANT, "client_id": known[0]}), 401, "invalid_client"),
            (await ask(api, (known[0], elsewhere[1])), 401, "invalid_client"),
            (await ask(api, known, scope="everything"), 400, "invalid_scope"),
            (
                await post(data={"grant_type": "password"}, auth=known),
                400,
                "unsupported_grant_type",
            ),
            (await post(data={"scope": "read"}, auth=known), 400, "invalid_request"),
            (await post(json=GRANT, auth=known), 400, "invalid_request"),
            (await post(content=b"a=1&a=2", headers=form, auth=known), 400, "invalid_request"),
            (
                await post(content=b"a=" + b"x" * 9000, headers=form, auth=known),
                400,
                "invalid_request",
            ),
            (await post(content=b"\xff\xfe", headers=form, auth=known), 400, "invalid_request"),
            (await ask(api, elsewhere), 403, "access_denied"),
            (await post("/oauth2/revoke", data={}, auth=known), 400, "invalid_request"),
            (await post("/oauth2/revoke", data={"token": "x"}), 401, "invalid_client"),
        ):
            assert error_of(answer) == (status, error), answer.text
            assert set(answer.json()) == {"error", "error_description"}
            assert answer.headers["cache-control"] == "no-store"
            if status == 401:
                assert answer.headers["www-authenticate"] == 'Basic realm="hashseal"'
        for header in (
            b"Basic \xff\xfe",
            b"Basic /w==",
            b"Basic",
            b"Basic " + b"A" * 9000,
            b"\xff",
        ):
            answer = await post(data=GRANT, headers=[(b"authorization", header)])
            assert error_of(answer) == (401, "invalid_client")
        assert (await api.http.get("/oauth2/token")).status_code == 405
        # Its networks are those of its access tokens, too.
        far = httpx2.ASGITransport(api.app, client=("203.0.113.9", 4711))
        async with httpx2.AsyncClient(transport=far, base_url="http://service") as there:
            answer = await there.post("/oauth2/token", data=GRANT, auth=elsewhere)
            head = {"authorization": f"Bearer {answer.json()['access_token']}"}
            assert (await there.get("/v1/seals", headers=head)).status_code == 200
        refused = await api.http.get("/v1/seals", headers=head)
        assert (refused.status_code, refused.json()["code"]) == (403, "address-not-allowed")
        # A client's secret is no token, and a token is no client's secret.
        token = await access(api, known)
        for wrong in (known[1], token[:-8] + known[1][-8:]):
            answer = await api.http.get("/v1/seals", headers={"authorization": f"Bearer {wrong}"})
            assert answer.json()["code"] == "token-invalid"
        assert error_of(await ask(api, (known[0], token))) == (401, "invalid_client")
        # Another client's token is nothing to this one; nobody learns whether there is one.
        other = await a_client(api)
        for name in (token, api.token, "hs_nonsense"):
            answer = await post("/oauth2/revoke", data={"token": name}, auth=other)
            assert (answer.status_code, answer.json()) == (200, {})
        assert await works(api, token) == 200
        assert (await api.get("/v1/seals")).status_code == 200

    service(scenario)


def test_what_is_revoked_stops_at_once_on_every_replica(replicas) -> None:
    async def scenario(apis) -> None:
        one, other = apis
        for how in ("token", "client", "rotation", "access"):
            if how == "token":
                made = await one.operator.accounts.create_token(one.account)
                token = made.text
            else:
                known = await a_client(one)
                token = await access(one, known)
            assert [await works(api, token) for api in apis] == [200, 200]
            if how == "token":
                await one.operator.accounts.revoke_token(made.id)
            elif how == "client":
                await one.operator.clients.revoke(one.account, known[0])
            elif how == "rotation":
                await one.operator.clients.rotate(one.account, known[0], timedelta())
            else:
                sent = {"token": token}
                answer = await one.http.post("/oauth2/revoke", data=sent, auth=known)
                assert answer.status_code == 200
            assert [await works(api, token) for api in (other, one)] == [401, 401], how

    replicas(2, scenario)


@pytest.mark.parametrize("other_settings", [{"wrong_secrets_per_minute": 0}])
def test_no_token_is_given_behind_a_revocation(replicas) -> None:
    """Whatever was given while a client was being revoked is good for nothing afterwards."""

    async def scenario(apis) -> None:
        for _ in range(3):
            client_id, secret = await a_client(apis[0])
            given: list[str] = []

            async def get(api: Any, client_id: str = client_id, secret: str = secret) -> None:
                head = "Basic " + base64.b64encode(f"{client_id}:{secret}".encode()).decode()
                try:
                    found = await api.operator.clients.token(Asked(GRANT, head))
                except HashsealError:
                    return
                given.append(found.text)  # noqa: B023 - it has ended before the next round

            asking = [asyncio.create_task(get(apis[n % 2])) for n in range(24)]
            await asyncio.sleep(0.01)
            await apis[1].operator.clients.revoke(apis[1].account, client_id)
            refused = [await works(apis[n % 2], one) for n, one in enumerate(list(given))]
            await asyncio.gather(*asking)
            refused += [await works(apis[0], one) for one in given]
            assert set(refused) <= {401}

    replicas(2, scenario)


def test_the_key_of_the_hashes_is_replaced_while_tokens_are_in_use(service, tmp_path: Path) -> None:
    async def scenario(api) -> None:
        settings: Settings = api.operator.settings
        known = await a_client(api)
        new = tmp_path / "token-key"
        new.write_text(secrets.token_hex(32))
        new.chmod(0o600)
        unused = (await api.operator.accounts.create_token(api.account)).text
        old = settings.data_dir / "secret"

        async def outcome(*files: Path) -> list[int]:
            """Statuses of two tokens, and of the client, with these keys."""
            with_keys = settings.model_copy(update={"token_key_files": files})
            async with operator(with_keys) as opened:
                statuses = []
                for text_ in (api.token,) if len(files) == 2 else (api.token, unused):
                    try:
                        await opened.accounts.authenticate(f"Bearer {text_}")
                        statuses.append(200)
                    except HashsealError:
                        statuses.append(401)
                await opened.accounts.note_uses()
                head = "Basic " + base64.b64encode(":".join(known).encode()).decode()
                try:
                    await opened.clients.token(Asked(GRANT, head))
                    statuses.append(200)
                except HashsealError:
                    statuses.append(401)
                return statuses

        assert await outcome(old, new) == [200, 200]
        assert await outcome(new, old) == [200, 200]
        # What was used meanwhile has moved to the new key; what was not has not.
        assert await outcome(new) == [200, 401, 200]
        short = tmp_path / "short"
        short.write_text("x" * 31)
        short.chmod(0o600)
        with pytest.raises(ConfigurationInvalid, match="32 octets"):
            await outcome(short)

    service(scenario)


@SQLITE
@pytest.mark.parametrize("other_settings", [{"requests_per_minute": 10}])
def test_a_client_has_one_limit_whatever_the_number_of_its_tokens(service) -> None:
    async def scenario(api) -> None:
        moment = datetime(2026, 1, 31, 12, 0, 0, tzinfo=UTC)
        api.operator.clients._limits._now = lambda: moment
        known = await a_client(api)
        answers = [await ask(api, known) for _ in range(12)]
        assert [answer.status_code for answer in answers] == [200] * 10 + [429] * 2
        assert error_of(answers[-1]) == (429, "server_error")
        assert answers[-1].headers["retry-after"] == "60"

    service(scenario)


@SQLITE
def test_a_client_is_given_few_tokens_a_minute(service) -> None:
    async def scenario(api) -> None:
        moment = datetime(2026, 1, 31, 12, 0, 45, tzinfo=UTC)
        api.operator.clients._grants._now = lambda: moment
        known, other = await a_client(api), await a_client(api)
        answers = [await ask(api, known) for _ in range(62)]
        assert [answer.status_code for answer in answers] == [200] * 60 + [429] * 2
        assert error_of(answers[-1]) == (429, "server_error")
        assert set(answers[-1].json()) == {"error", "error_description"}
        assert answers[-1].headers["retry-after"] == "15"
        await api.operator.audit.sequence()
        entries = await api.operator.audit.entries()
        assert sum(one.event == "access.granted" for one in entries) == 60
        # What it has been given works, and can be ended; others are given theirs.
        token = answers[0].json()["access_token"]
        assert await works(api, token) == 200
        ended = await api.http.post("/oauth2/revoke", data={"token": token}, auth=known)
        assert ended.status_code == 200
        assert (await ask(api, other)).status_code == 200
        moment += timedelta(seconds=15)
        assert (await ask(api, known)).status_code == 200

    service(scenario)


def test_secrets_are_nowhere(service, capfd) -> None:
    """I20, for what is new here: nothing that is shown once is kept, logged or repeated."""

    async def scenario(api) -> None:
        made = await api.operator.accounts.create_token(
            api.account, read_terms(scopes=["manage", "sign", "read"])
        )
        head = {"authorization": f"Bearer {made.text}"}
        post = functools.partial(api.http.post, headers=head)
        token = (await post("/v1/tokens", json={"label": "x"})).json()
        turned = (await post(f"/v1/tokens/{token['token']['id']}/rotate", json={})).json()
        own = (await post("/v1/tokens/organisation/regenerate", json={})).json()
        client = (await post("/v1/clients", json={"label": "x"})).json()
        known = client["client_id"], client["client_secret"]
        again = (await post(f"/v1/clients/{known[0]}/rotate", json={})).json()["client_secret"]
        given = await access(api, known)
        shown = [
            made.text, token["secret"], turned["secret"], own["secret"], known[1], again, given,
        ]  # fmt: skip
        answers = [
            await post("/oauth2/revoke", data={"token": given}, auth=known),
            await ask(api, (known[0], given)),
            await ask(api, (given, given)),
            await ask(api, known, scope=given),
            await api.http.post("/oauth2/token", content=again, auth=known),
            await post("/v1/tokens", json={"label": again, "scopes": [again]}),
            await post("/v1/tokens", json={again: again}),
            await post(f"/v1/tokens/{given}/rotate", json={}),
            await post(f"/v1/clients/{again}/revoke"),
            await api.http.get("/v1/tokens", headers=head),
            await api.http.get("/v1/clients", headers=head),
            await api.http.get("/metrics"),
        ]
        await api.operator.accounts.note_uses()
        await api.operator.audit.sequence()
        rows: list[bytes] = []
        async with api.operator.database.read() as connection:
            for table in ("api_token", "oauth_client", "audit_record", "rate_window", "ledger"):
                for row in await connection.execute(text(f"SELECT * FROM {table}")):
                    rows += [v if isinstance(v, bytes) else repr(v).encode() for v in row]
        printed = capfd.readouterr()
        places = {
            "log": api.log.getvalue(),
            "output": printed.out + printed.err,
            "answers": "\n".join(one.text + repr(one.headers) for one in answers),
            "database": b"\n".join(rows).decode("latin-1"),
        }
        needles = [one.rpartition("_")[2][:40] for one in shown]
        for place, content in places.items():
            assert not [needle[:6] for needle in needles if needle in content], place
        assert len(places["database"]) > 5000

    service(scenario)
