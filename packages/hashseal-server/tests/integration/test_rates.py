"""Requests a minute of one token: one limit over all replicas, told with the usual headers."""

from __future__ import annotations

import asyncio
from collections import Counter
from datetime import UTC, datetime, timedelta

import pytest

from hashseal_core.errors import RateLimited
from hashseal_server.infra.rates import Rates

LIMIT = 40


@pytest.mark.parametrize("other_settings", [{"requests_per_minute": LIMIT}])
def test_three_replicas_share_one_limit(replicas) -> None:
    async def scenario(apis) -> None:
        minute = datetime.now(UTC).minute
        answers = await asyncio.gather(*(apis[n % 3].get("/v1/seals") for n in range(3 * LIMIT)))
        codes = Counter(answer.status_code for answer in answers)
        # A run that crosses the full minute has two windows.
        windows = 1 if datetime.now(UTC).minute == minute else 2
        assert LIMIT <= codes[200] <= windows * LIMIT
        refused = next(answer for answer in answers if answer.status_code == 429)
        assert refused.json()["code"] == "rate-limited"
        assert refused.json()["retryable"] is True
        assert refused.headers["ratelimit-limit"] == str(LIMIT)
        assert refused.headers["ratelimit-remaining"] == "0"
        assert refused.headers["retry-after"] == refused.headers["ratelimit-reset"]
        assert 1 <= int(refused.headers["retry-after"]) <= 60

    replicas(3, scenario)


def test_the_limit_is_exact_and_begins_anew_each_minute(service) -> None:
    async def scenario(api) -> None:
        moment = datetime(2026, 1, 1, 12, 0, 30, tzinfo=UTC)
        database = api.operator.database
        replicas = [Rates(database, 100, lambda: moment) for _ in range(4)]

        refusals: list[tuple[int, int]] = []

        async def ask(number: int, caller: str = "token") -> bool:
            try:
                await replicas[number % 4].spend(caller)
            except RateLimited as error:
                refusals.append((error.limit, error.seconds))
                return False
            return True

        # One after the other, every permit is used; at once, blocks may be left in a replica.
        assert sum([await ask(n) for n in range(300)]) == 100
        assert await ask(0, "another") is True
        at_once = await asyncio.gather(*(ask(n, "crowd") for n in range(300)))
        assert 90 <= sum(at_once) <= 100
        assert set(refusals) == {(100, 30)}
        moment += timedelta(seconds=30)
        assert await ask(1) is True
        # A replica whose clock is behind counts in the window that the others are in.
        late = Rates(database, 100, lambda: moment - timedelta(seconds=40))
        for _ in range(98):
            await late.spend("token")
        with pytest.raises(RateLimited):
            for _ in range(3):
                await late.spend("token")

    service(scenario)


def test_without_a_limit_nothing_is_counted(service) -> None:
    async def scenario(api) -> None:
        rates = Rates(api.operator.database, 0, lambda: datetime.now(UTC))
        for _ in range(50):
            await rates.spend("token")

    service(scenario)
