"""I4: quota is never oversold, by however many replicas, and nothing is held by the dead."""

from __future__ import annotations

import asyncio
from collections import Counter

import pytest
from books import check_audit, check_books

from hashseal_server.infra.group import Group


@pytest.mark.parametrize("left", [1, 3, 10])
def test_200_clients_race_for_the_last_calls_over_4_replicas(replicas, left: int) -> None:
    async def scenario(apis) -> None:
        assert (await apis[0].sign(*[f"t{n}" for n in range(100 - left)])).status_code == 200
        answers = await asyncio.gather(
            *(apis[n % 4].sign(f"last {n}", key=f"racer-{n}") for n in range(200))
        )
        assert Counter(answer.status_code for answer in answers) == {200: left, 402: 200 - left}
        assert {a.json()["code"] for a in answers if a.status_code == 402} == {"quota-exhausted"}
        assert await apis[1].left() == (0, 0)
        calls = await check_books(apis[2].operator.database)
        assert calls == 1 + left
        await check_audit(apis[3].operator.audit, calls)

    replicas(4, scenario)


def test_calls_of_many_sizes_share_what_is_left_exactly(replicas) -> None:
    async def scenario(apis) -> None:
        sizes = [1, 2, 3, 5, 7, 11, 13, 17] * 6
        answers = await asyncio.gather(
            *(
                apis[n % 4].sign(*[f"{n}-{k}" for k in range(size)], key=f"size-{n}")
                for n, size in enumerate(sizes)
            )
        )
        taken = sum(
            size for size, answer in zip(sizes, answers, strict=True) if answer.status_code == 200
        )
        free, paid = await apis[0].left()
        assert (taken + free, paid) == (100, 0)
        # Whatever was refused would not have fitted into what is left now.
        refused = [s for s, a in zip(sizes, answers, strict=True) if a.status_code == 402]
        assert refused
        assert min(refused) > free
        await check_books(apis[0].operator.database)

    replicas(4, scenario)


def test_orders_recorded_during_the_race_are_not_lost(replicas) -> None:
    async def scenario(apis) -> None:
        async def buy(n: int) -> None:
            await apis[n % 4].operator.accounts.record_order(apis[0].account, 5)

        outcomes = await asyncio.gather(
            *(apis[n % 4].sign(f"t{n}", key=f"k{n}") for n in range(120)),
            *(buy(n) for n in range(20)),
        )
        granted = sum(1 for answer in outcomes[:120] if answer.status_code == 200)
        free, paid = await apis[0].left()
        assert granted + free + paid == 200
        await check_books(apis[0].operator.database)

    replicas(4, scenario)


def test_one_refused_call_does_not_harm_its_group() -> None:
    sizes: list[int] = []

    async def commit(items):
        sizes.append(len(items))
        await asyncio.sleep(0.01)
        return [item if item % 3 else ZeroQuota("none") for item in items]

    async def scenario() -> None:
        group: Group[int, int] = Group(commit, limit=16, waiting=64)
        outcomes = await asyncio.gather(
            *(group.submit(n) for n in range(80)), return_exceptions=True
        )
        overloaded = [o for o in outcomes if type(o).__name__ == "Overloaded"]
        assert len(overloaded) == 80 - 64
        assert [o for o in outcomes if isinstance(o, int)] == [n for n in range(64) if n % 3]
        assert sizes == [16, 16, 16, 16]
        gone = asyncio.create_task(group.submit(1))
        waits = asyncio.create_task(group.submit(2))
        await asyncio.sleep(0)
        gone.cancel()
        assert await waits == 2
        assert sizes[-1] == 1
        assert group.depth == 0

    from hashseal_core.errors import QuotaExhausted as ZeroQuota

    asyncio.run(scenario())
