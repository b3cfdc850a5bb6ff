"""One request to the outside, as the service makes it."""

from __future__ import annotations

import asyncio
from ipaddress import ip_network
from typing import Any

from hashseal_server.infra.outbound import Answer, Outbound

LOOPBACK = (ip_network("127.0.0.0/8"), ip_network("::1/128"))


def fetch(url: str, *, largest: int = 1000, **settings: Any) -> Answer:
    """One GET with a new `Outbound`."""

    async def run() -> Answer:
        outbound = Outbound(**settings)
        try:
            return await outbound.get(url, largest=largest)
        finally:
            await outbound.close()

    return asyncio.run(run())
