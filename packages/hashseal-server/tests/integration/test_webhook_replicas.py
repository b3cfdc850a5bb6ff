"""A process that dies while it delivers: another one does it again, with the same id."""

from __future__ import annotations

import asyncio
import signal
from pathlib import Path
from typing import Any

import pytest
from fetching import LOOPBACK
from postmen import Postmen
from receiver import receiving

CLAIMED = 8.0


@pytest.fixture
def other_settings() -> dict[str, Any]:
    return {"outbound_networks": LOOPBACK}


@pytest.mark.parametrize("database_url", ["postgresql"], indirect=True)
def test_a_killed_process_leaves_its_delivery_to_another(service, tmp_path: Path) -> None:
    async def scenario(api: Any) -> None:
        postmen = Postmen(api.operator.settings, CLAIMED, tmp_path)
        book = api.operator.notifying.webhooks
        made = await book.create(api.account, receiver.url())
        try:
            await asyncio.to_thread(postmen.start, "one", "two")
            postmen.started["two"].send_signal(signal.SIGSTOP)  # so that it is known who delivers
            event = await book.test(api.account, made.endpoint.id)
            await asyncio.to_thread(receiver.wait, 1)
            await asyncio.to_thread(postmen.kill, "one")
            assert len(receiver.messages) == 1
            receiver.slow = 0
            postmen.started["two"].send_signal(signal.SIGCONT)
            await asyncio.to_thread(receiver.wait, 2, 60)
            for _ in range(400):
                ((delivery,), _) = await book.deliveries(api.account, made.endpoint.id, None, 10)
                if delivery.attempts:
                    break
                await asyncio.sleep(0.05)
            assert (delivery.state, len(delivery.attempts)) == ("delivered", 1)
            # The tick of the dead one is taken over, and finds that there is nothing to do.
            await asyncio.to_thread(postmen.tells, "two", '"event":"taken-over"')
            await asyncio.sleep(2)
            assert [one.id for one in receiver.messages] == [event.id, event.id]
            for message in receiver.messages:
                message.check(made.secret)
        finally:
            await asyncio.to_thread(postmen.stop)

    with receiving(slow=60) as receiver:
        service(scenario)
