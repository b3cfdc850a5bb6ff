"""Callers for a benchmark: keep-alive connections that sign new hashes, as little client as can be.

    python bench/load.py '{"url": …, "token": …, "seal": …, "connections": 64, "seconds": 5, …}'

`rate` 0: each connection sends its next call when the last is answered. Otherwise that many calls a
second begin whatever happens to the others. Prints one JSON object.
"""

from __future__ import annotations

import asyncio
import base64
import json
import secrets
import sys
import time
from collections import Counter
from urllib.parse import urlsplit

import uvloop


class Caller:
    """One connection."""

    def __init__(self, order: dict[str, object]) -> None:
        place = urlsplit(str(order["url"]))
        self._host, self._port = str(place.hostname), int(place.port or 80)
        self._order = order
        self._streams: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None

    def _request(self) -> bytes:
        order = self._order
        if order.get("query"):
            body = base64.b64decode(str(order["query"]))
            head = "POST /tsa HTTP/1.1\r\nHost: x\r\nContent-Type: application/timestamp-query\r\n"
        else:
            hashes = [
                base64.b64encode(secrets.token_bytes(32)).decode()
                for _ in range(int(str(order["size"])))
            ]
            body = json.dumps(
                {"seal_id": order["seal"], "level": order["level"], "hashes": hashes}
            ).encode()
            head = (
                "POST /v1/documents/sign HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
                f"Authorization: Bearer {order['token']}\r\nIdempotency-Key: {secrets.token_hex(12)}\r\n"
            )
        return f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body

    async def call(self) -> int:
        """Send one request, read the answer; its status."""
        if self._streams is None:
            self._streams = await asyncio.open_connection(self._host, self._port)
        reader, writer = self._streams
        writer.write(self._request())
        head = (await reader.readuntil(b"\r\n\r\n")).lower()
        length = int(head.partition(b"content-length:")[2].split(b"\r\n", 1)[0])
        await reader.readexactly(length)
        return int(head.split(b" ", 2)[1])

    def close(self) -> None:
        """Close the connection."""
        if self._streams is not None:
            self._streams[1].close()
            self._streams = None


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
            status = await asyncio.wait_for(caller.call(), 20)
        except (OSError, asyncio.IncompleteReadError, TimeoutError):
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
