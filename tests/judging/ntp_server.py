"""An NTP server of a test's own, which may be wrong (RFC 5905, 7.3)."""

from __future__ import annotations

import asyncio
import struct
import time
from typing import Any

SINCE_1900 = 2_208_988_800


class NtpServer(asyncio.DatagramProtocol):
    """Answers with this machine's time and `wrong` seconds; None does not answer."""

    wrong: float | None = 0.0

    def connection_made(self, transport: Any) -> None:
        self.transport = transport

    def datagram_received(self, data: bytes, addr: Any) -> None:
        if self.wrong is None:
            return
        stamp = int((time.time() + self.wrong + SINCE_1900) * 2**32)
        sent = struct.pack(
            "!BBbbII4s8x8sQQ", 0x24, 2, 6, -20, 0, 64, b"TEST", data[40:48], stamp, stamp
        )
        self.transport.sendto(sent, addr)
