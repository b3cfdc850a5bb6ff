"""I15: another account's objects can be neither listed, guessed nor delayed.

That they can be neither read nor used is shown by `test_i15_tenant_matrix`.
"""

from __future__ import annotations

import asyncio
import re
from typing import Any

import pytest

from hashseal_core.algorithms import KeyAlgorithm
from hashseal_server.accounts.token_model import read_terms
from hashseal_server.pki.model import LegalPerson

SUBJECT = LegalPerson("Other Seal", "Other Organisation", "NTRCH-2", "CH")


async def another(api: Any) -> dict[str, str]:
    """A second account with one of everything; afterwards the api speaks for the first again."""
    account = await api.operator.accounts.create("Other Organisation")
    token = await api.operator.accounts.create_token(account.id)
    book = await api.operator.seals()
    seal = await book.create(account.id, SUBJECT, kind="official", algorithm=KeyAlgorithm.P256)
    order = await api.operator.accounts.record_order(account.id, 100)
    client, _ = await api.operator.clients.create(account.id, read_terms())
    own = api.token, api.seal
    api.token, api.seal = token.text, seal.id
    signed = (await api.sign("theirs", key="their-key", level="B-T")).json()
    api.token, api.seal = own
    return {
        "account": account.id,
        "token": token.text,
        "seal": seal.id,
        "order": order.id,
        "token_id": token.id,
        "client": client.id,
        "signature": signed["signatures"][0]["id"],
        "call": signed["id"],
    }


def test_lists_hold_only_what_is_one_s_own(service) -> None:
    async def scenario(api) -> None:
        theirs = await another(api)
        await api.sign("mine")
        for path in ("/v1/seals", "/v1/signatures", "/v1/usage", "/v1/account"):
            listed = (await api.get(path)).text
            for what, one in theirs.items():
                assert one not in listed, (path, what)
        # A page position is no key to another account's log.
        for position in range(3):
            listed = await api.get(f"/v1/signatures?after={position:016x}")
            assert listed.status_code == 200
            assert theirs["signature"] not in listed.text

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
