"""I15: another account's objects can be neither read, used, listed, guessed nor delayed."""

from __future__ import annotations

import asyncio
import base64
import re
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from hashseal_core.algorithms import KeyAlgorithm
from hashseal_server.pki.model import LegalPerson

SUBJECT = LegalPerson("Other Seal", "Other Organisation", "NTRCH-2", "CH")
ABSENT = "f" * 32


async def another(api: Any) -> dict[str, str]:
    """A second account with one of everything; afterwards the api speaks for the first again."""
    account = await api.operator.accounts.create("Other Organisation")
    token = await api.operator.accounts.create_token(account.id)
    book = await api.operator.seals()
    seal = await book.create(account.id, SUBJECT, kind="official", algorithm=KeyAlgorithm.P256)
    order = await api.operator.accounts.record_order(account.id, 100)
    own = api.token, api.seal
    api.token, api.seal = token.text, seal.id
    signed = (await api.sign("theirs", key="their-key", level="B-T")).json()
    api.token, api.seal = own
    return {
        "account": account.id,
        "token": token.text,
        "seal": seal.id,
        "order": order.id,
        "signature": signed["signatures"][0]["id"],
        "call": signed["id"],
    }


def told(answer: Any) -> tuple[int, str, list[tuple[str, str]]]:
    """All that an answer says, but for the id of the request."""
    body = re.sub(r'"request_id":"[0-9a-f]+"', "", answer.text)
    skipped = {"x-request-id", "date"}
    heads = sorted((name, value) for name, value in answer.headers.items() if name not in skipped)
    return answer.status_code, body, heads


def test_foreign_and_absent_look_the_same(service) -> None:
    async def scenario(api) -> None:
        theirs = await another(api)
        uses: dict[str, Callable[[str], Awaitable[Any]]] = {
            "seal": lambda one: api.get(f"/v1/seals/{one}"),
            "signature": lambda one: api.get(f"/v1/signatures/{one}"),
            "order": lambda one: api.get(f"/v1/orders/{one}"),
        }
        for what, use in uses.items():
            foreign, absent = await use(theirs[what]), await use(ABSENT)
            assert foreign.status_code == 404
            assert told(foreign) == told(absent), what

        digest = (await api.sign("y")).json()["signatures"][0]["hash"]

        async def sign(seal: str) -> Any:
            return await api.sign("x", seal_id=seal)

        async def timestamp(signature: str) -> Any:
            return await api.post("/v1/timestamps", {"signature_id": signature, "hash": digest})

        assert told(await sign(theirs["seal"])) == told(await sign(ABSENT))
        assert told(await timestamp(theirs["signature"])) == told(await timestamp(ABSENT))

    service(scenario)


def test_lists_hold_only_what_is_one_s_own(service) -> None:
    async def scenario(api) -> None:
        theirs = await another(api)
        await api.sign("mine")
        for path in ("/v1/seals", "/v1/signatures", "/v1/usage", "/v1/account"):
            listed = (await api.get(path)).text
            for what, one in theirs.items():
                assert one not in listed, (path, what)
        # A page position is no key to another account's log.
        for position in (b"p0", b"p1", b"p2"):
            cursor = base64.b64encode(position).decode()
            listed = (await api.get(f"/v1/signatures?after={cursor}")).text
            assert theirs["signature"] not in listed

    service(scenario)


def test_the_same_key_belongs_to_each_account_alone(service) -> None:
    async def scenario(api) -> None:
        theirs = await another(api)
        mine = await api.sign("theirs", key="their-key", level="B-T")
        assert mine.status_code == 200
        assert mine.json()["id"] != theirs["call"]
        assert await api.left() == (99, 0)

    service(scenario)


def test_ids_cannot_be_guessed(service) -> None:
    async def scenario(api) -> None:
        theirs = await another(api)
        for what in ("account", "seal", "order", "signature"):
            digits = re.sub(r"[^0-9a-f]", "", theirs[what].partition("-")[0])
            assert len(digits) >= 16, what  # 64 random bits and more
        made = [(await api.sign(f"{n}")).json()["signatures"][0]["id"] for n in range(20)]
        assert len({one[:8] for one in made}) == 20

    service(scenario)


@pytest.mark.parametrize("other_settings", [{"requests_per_minute": 0}])
def test_one_account_s_flood_does_not_hold_up_the_others(service) -> None:
    async def scenario(api) -> None:
        theirs = await another(api)
        await api.operator.accounts.record_order(api.account, 20_000)
        finished: list[str] = []

        async def flood(number: int) -> None:
            answer = await api.sign(*[f"{number}-{k}" for k in range(40)], key=f"f{number}")
            finished.append(f"flood {answer.status_code}")

        async def modest(number: int) -> None:
            headers = {
                "authorization": f"Bearer {theirs['token']}",
                "idempotency-key": f"m{number}",
            }
            body = {"seal_id": theirs["seal"], "level": "B-B", "hashes": [digest]}
            answer = await api.http.post("/v1/documents/sign", json=body, headers=headers)
            assert answer.status_code == 200, answer.text
            finished.append("modest")

        digest = (await api.sign("hash")).json()["signatures"][0]["hash"]
        floods = [asyncio.create_task(flood(n)) for n in range(300)]
        await asyncio.sleep(0.2)
        await asyncio.gather(*(modest(n) for n in range(4)))
        ahead = finished.count("flood 200")
        await asyncio.gather(*floods)
        # The flood was cut at what one account may have waiting; the rest of it was refused.
        assert finished.count("flood 503") > 0
        accepted = finished.count("flood 200")
        assert accepted > 90
        # The others did not wait until the flood had been worked off.
        assert ahead < accepted * 0.8

    service(scenario)
