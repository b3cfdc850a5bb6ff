"""Places are bounded, shared in turn, and given back whatever happens."""

from __future__ import annotations

import asyncio
import random

import pytest

from hashseal_core.errors import Overloaded
from hashseal_server.infra.admission import Admission


def test_one_owner_leaves_places_for_the_others() -> None:
    async def scenario() -> None:
        admission = Admission(running=4, running_each=3, waiting=10, waiting_each=8)
        order: list[str] = []
        go_on = asyncio.Event()

        async def call(owner: str) -> None:
            async with admission.admitted(owner):
                order.append(owner)
                await go_on.wait()

        greedy = [asyncio.create_task(call("greedy")) for _ in range(9)]
        await asyncio.sleep(0)
        assert (admission.running, admission.waiting) == (3, 6)
        modest = asyncio.create_task(call("modest"))
        await asyncio.sleep(0)
        assert order == ["greedy"] * 3 + ["modest"]
        late = asyncio.create_task(call("late"))
        await asyncio.sleep(0)
        go_on.set()
        await asyncio.gather(*greedy, modest, late)
        # Who came last did not wait for all of those who came first.
        assert order.index("late") < 6
        assert (admission.running, admission.waiting) == (0, 0)

    asyncio.run(scenario())


def test_what_does_not_fit_is_refused_at_once() -> None:
    async def scenario() -> None:
        admission = Admission(running=2, running_each=1, waiting=3, waiting_each=2)
        go_on = asyncio.Event()

        async def call(owner: str) -> str:
            try:
                async with admission.admitted(owner):
                    await go_on.wait()
                    return "done"
            except Overloaded:
                return "refused"

        tasks = [asyncio.create_task(call("a")) for _ in range(5)]
        tasks += [asyncio.create_task(call("b")) for _ in range(4)]
        await asyncio.sleep(0)
        go_on.set()
        assert await asyncio.gather(*tasks) == (
            ["done"] * 3 + ["refused"] * 2 + ["done"] * 2 + ["refused"] * 2
        )

    asyncio.run(scenario())


@pytest.mark.parametrize("seed", range(30))
def test_no_place_is_lost_when_callers_go_away(seed: int) -> None:
    async def scenario() -> None:
        choose = random.Random(seed)
        admission = Admission(running=3, running_each=2, waiting=20, waiting_each=10)
        most = 0

        async def call(owner: str) -> None:
            nonlocal most
            async with admission.admitted(owner):
                most = max(most, admission.running)
                for _ in range(choose.randrange(4)):
                    await asyncio.sleep(0)
                if choose.random() < 0.2:
                    raise RuntimeError

        tasks = []
        for _ in range(60):
            tasks.append(asyncio.create_task(call(choose.choice("abc"))))
            for _ in range(choose.randrange(3)):
                await asyncio.sleep(0)
            if choose.random() < 0.4:
                choose.choice(tasks).cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        assert (admission.running, admission.waiting) == (0, 0)
        assert 0 < most <= 3
        async with admission.admitted("a"):
            assert admission.running == 1

    asyncio.run(scenario())


def test_a_refused_owner_leaves_nothing_behind() -> None:
    async def scenario() -> None:
        admission = Admission(running=1, running_each=1, waiting=1, waiting_each=1)
        go_on = asyncio.Event()

        async def call(owner: str) -> None:
            async with admission.admitted(owner):
                await go_on.wait()

        first, second = asyncio.create_task(call("a")), asyncio.create_task(call("b"))
        await asyncio.sleep(0)
        with pytest.raises(Overloaded):
            await call("c")
        go_on.set()
        await asyncio.gather(first, second)
        await call("c")
        assert (admission.running, admission.waiting) == (0, 0)

    asyncio.run(scenario())


def test_a_place_is_not_given_to_a_caller_who_has_just_gone() -> None:
    async def scenario() -> None:
        admission = Admission(running=1, running_each=1, waiting=4, waiting_each=4)
        go_on = asyncio.Event()

        async def call() -> None:
            async with admission.admitted("a"):
                await go_on.wait()

        calls = [asyncio.create_task(call()) for _ in range(3)]
        await asyncio.sleep(0)
        calls[0].cancel()  # its place becomes free before the other knows that it is gone
        calls[1].cancel()
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        assert (admission.running, admission.waiting) == (1, 0)
        go_on.set()
        outcomes = await asyncio.gather(*calls, return_exceptions=True)
        assert [type(one).__name__ for one in outcomes] == [
            "CancelledError", "CancelledError", "NoneType",
        ]  # fmt: skip
        assert (admission.running, admission.waiting) == (0, 0)

    asyncio.run(scenario())


def test_who_would_be_refused_is_told_before_anything_is_done() -> None:
    async def scenario() -> None:
        admission = Admission(running=2, running_each=1, waiting=3, waiting_each=2)
        admission.require_chance("one")
        admission.require_chance(None)
        go_on = asyncio.Event()

        async def call(owner: str) -> None:
            async with admission.admitted(owner):
                await go_on.wait()

        calls = [asyncio.create_task(call("one")) for _ in range(3)]
        await asyncio.sleep(0)
        with pytest.raises(Overloaded):
            admission.require_chance("one")
        admission.require_chance("two")  # a place is free for it
        admission.require_chance(None)
        calls += [asyncio.create_task(call("two")) for _ in range(2)]
        await asyncio.sleep(0)
        for owner in ("three", None):
            with pytest.raises(Overloaded):
                admission.require_chance(owner)
        go_on.set()
        await asyncio.gather(*calls)
        admission.require_chance("one")

    asyncio.run(scenario())
