"""The key store fails when a unit is needed, then works again: few attempts, and tokens soon after."""

from __future__ import annotations

import asyncio
import json
import time
from datetime import UTC, datetime
from typing import Any

import pytest

from hashseal_core import tsp
from hashseal_core.algorithms import Digest, DigestAlgorithm
from hashseal_core.errors import KeystoreUnavailable, TimestampUnavailable
from hashseal_server.tsa import custody

QUERY = tsp.build_request(Digest(DigestAlgorithm.SHA256, bytes(range(32))))


@pytest.fixture
def database_url() -> None:
    """SQLite: nothing of the database is the point."""


async def granted(api: Any) -> bool:
    headers = {"content-type": "application/timestamp-query"}
    answer = await api.http.post("/tsa", content=QUERY, headers=headers)
    try:
        tsp.token_of_response(answer.content)
    except TimestampUnavailable:
        return False
    return True


async def figure(api: Any) -> str:
    lines = (await api.http.get("/metrics")).text.splitlines()
    [line] = [one for one in lines if one.startswith("hashseal_timestamping_unit_failures ")]
    return line.split()[1]


def test_a_unit_that_cannot_be_made_is_tried_again_and_told(
    service, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(custody, "_ROUNDS", 1)
    monkeypatch.setattr(custody, "_FIRST_WAIT", 1.0)
    attempts: list[float] = []

    def broken(*_: object) -> None:
        attempts.append(time.monotonic())
        raise KeystoreUnavailable("no token in slot 3")

    async def scenario(api) -> None:
        assert await granted(api)
        assert await figure(api) == "0.0"
        serial = (await api.operator.timestamps()).standing.serial
        with monkeypatch.context() as away:
            away.setattr(api.operator.keystore, "generate", broken)
            await api.operator.authority.revoke(serial, "keyCompromise", at=datetime.now(UTC))
            until = time.monotonic() + 40
            while len(attempts) < 3:
                assert time.monotonic() < until
                await granted(api)  # calls do not make it try more often
                await asyncio.sleep(0.02)
            assert attempts[1] - attempts[0] >= 1
            assert attempts[2] - attempts[1] >= 2
            assert not await granted(api)
            assert await figure(api) == "3.0"
        lines = [json.loads(line) for line in api.log.getvalue().splitlines()]
        told = [one for one in lines if one["event"] == "timestamping-unit-not-made"]
        assert [(one["failures"], one["again_in_seconds"]) for one in told] == [
            (1, 1.0),
            (2, 2.0),
            (3, 4.0),
        ]
        assert {(one["code"], one["why"]) for one in told} == {
            ("keystore-unavailable", "no token in slot 3")
        }
        [reason] = [
            one["reason"]
            for one in lines
            if one["event"] == "timestamping-unit" and "made" in one.get("reason", "")
        ]
        assert reason == "no timestamping unit can be made (keystore-unavailable)"
        begun = time.monotonic()
        while not await granted(api):
            assert time.monotonic() - begun < 10
            await asyncio.sleep(0.02)
        assert await figure(api) == "0.0"

    service(scenario)
