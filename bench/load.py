"""Callers for a benchmark: keep-alive connections that sign new hashes, as little client as can be.

    python bench/load.py '{"url": …, "token": …, "seal": …, "connections": 64, "seconds": 5, …}'

`rate` 0: each connection sends its next call when the last is answered. Otherwise that many calls a
second begin whatever happens to the others. Prints one JSON object.
"""

from __future__ import annotations

import asyncio
import base64
import json
import os
import re
import sys
import time
from collections import Counter
from typing import cast
from urllib.parse import urlsplit

import uvloop

_LENGTH = re.compile(rb"\r\ncontent-length: *(\d+)\r\n", re.IGNORECASE)


class Caller(asyncio.Protocol):
    """One connection; it answers with the status, as soon as the whole answer is there."""

    def __init__(self, order: dict[str, object]) -> None:
        place = urlsplit(str(order["url"]))
        self._host, self._port = str(place.hostname), int(place.port or 80)
        self._transport: asyncio.Transport | None = None
        self._answer: asyncio.Future[int] | None = None
        self._octets = bytearray()
        self._size = int(str(order.get("size", 1)))
        self._query = base64.b64decode(str(order.get("query", "")))
        self._head = (
            f"POST /tsa HTTP/1.1\r\nHost: x\r\nContent-Type: application/timestamp-query\r\n"
            f"Content-Length: {len(self._query)}\r\n\r\n"
            if self._query
            else f"POST /v1/documents/sign HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
            f"Authorization: Bearer {order['token']}\r\nContent-Length: %d\r\nIdempotency-Key: %s\r\n\r\n"
        )
        self._body = (
            f'{{"seal_id":"{order.get("seal")}","level":"{order.get("level")}","hashes":["%s"]}}'
        )

    def _request(self) -> bytes:
        if self._query:
            return self._head.encode() + self._query
        drawn = os.urandom(32 * self._size + 12)
        hashes = '","'.join(
            base64.b64encode(drawn[start : start + 32]).decode()
            for start in range(0, 32 * self._size, 32)
        )
        body = self._body % hashes
        return (self._head % (len(body), drawn[-12:].hex()) + body).encode()

    async def call(self) -> int:
        """Send one request, read the answer; its status.

        Raises:
            OSError: the connection broke first.
        """
        loop = asyncio.get_running_loop()
        if self._transport is None or self._transport.is_closing():
            await loop.create_connection(lambda: self, self._host, self._port)
        if self._transport is None:
            raise ConnectionError
        self._answer = loop.create_future()
        self._octets.clear()
        self._transport.write(self._request())
        return await self._answer

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """See `asyncio.Protocol`."""
        self._transport = cast("asyncio.Transport", transport)

    def data_received(self, data: bytes) -> None:
        """See `asyncio.Protocol`."""
        self._octets += data
        end = self._octets.find(b"\r\n\r\n")
        if end < 0 or self._answer is None:
            return
        length = _LENGTH.search(self._octets, 0, end + 2)
        if length and len(self._octets) >= end + 4 + int(length[1]) and not self._answer.done():
            self._answer.set_result(int(self._octets[9:12]))

    def connection_lost(self, exc: Exception | None) -> None:
        """See `asyncio.Protocol`."""
        self._transport = None
        if self._answer is not None and not self._answer.done():
            self._answer.set_exception(exc or ConnectionError())

    def close(self) -> None:
        """Close the connection."""
        if self._transport is not None:
            self._transport.close()


async def closed(order: dict[str, object]) -> tuple[Counter[int], list[float]]:
    """Every connection calls as fast as it is answered."""
    until = time.perf_counter() + float(str(order["seconds"]))
    statuses: Counter[int] = Counter()
    latencies: list[float] = []

    async def one() -> None:
        caller = Caller(order)
        while (began := time.perf_counter()) < until:
            status = await caller.call()
            statuses[status] += 1
            if status == 200:
                latencies.append(time.perf_counter() - began)
        caller.close()

    await asyncio.gather(*(one() for _ in range(int(str(order["connections"])))))
    return statuses, latencies


async def opened(order: dict[str, object]) -> tuple[Counter[int], list[float]]:
    """Calls begin at a fixed rate; connections are kept and more are made as they are needed."""
    rate, seconds = float(str(order["rate"])), float(str(order["seconds"]))
    statuses: Counter[int] = Counter()
    latencies: list[float] = []
    idle: list[Caller] = []
    tasks: set[asyncio.Task[None]] = set()

    async def one() -> None:
        caller = idle.pop() if idle else Caller(order)
        began = time.perf_counter()
        try:
            async with asyncio.timeout(20):
                status = await caller.call()
        except OSError:  # also a time-out
            statuses[0] += 1
            caller.close()
            return
        statuses[status] += 1
        if status == 200:
            latencies.append(time.perf_counter() - began)
        idle.append(caller)

    begin = time.perf_counter()
    sent = 0
    while (elapsed := time.perf_counter() - begin) < seconds:
        while sent < elapsed * rate:
            task = asyncio.create_task(one())
            tasks.add(task)
            task.add_done_callback(tasks.discard)
            sent += 1
        await asyncio.sleep(0.005)
    await asyncio.gather(*tasks)
    for caller in idle:
        caller.close()
    return statuses, latencies


def main() -> None:
    """Run the order that stands in the argument."""
    order = json.loads(sys.argv[1])
    began = time.perf_counter()
    statuses, latencies = uvloop.run((opened if order.get("rate") else closed)(order))
    latencies.sort()
    middle = latencies[len(latencies) // 2] if latencies else 0.0
    late = latencies[len(latencies) * 99 // 100] if latencies else 0.0
    print(
        json.dumps(
            {
                "seconds": time.perf_counter() - began,
                "statuses": dict(statuses),
                "p50": middle,
                "p99": late,
            }
        )
    )


if __name__ == "__main__":
    main()
