"""How often one network may send secrets that are wrong.

A secret is too long to be found by trying; but whoever tries costs a look at the database each
time. So one network may fail so often with one id, and with so many ids, in a minute; then it is
refused before that look. A program that goes on with a token that has ended is held by the first
and holds up nobody else; whoever tries many is held by the second. An id whose right secret this
process has seen is always heard: callers that work go on working, whoever their neighbours are.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from datetime import datetime
from ipaddress import IPv4Address

from hashseal_core.errors import RateLimited
from hashseal_server.accounts.networks import Origin

_MINUTE = 60
_MOST = 10_000
"""Networks, and ids that are known, which are remembered."""


class Guesses:
    """Failures of this minute, as one process sees them; `limit` 0 is no limit."""

    def __init__(self, limit: int, now: Callable[[], datetime]) -> None:
        self._limit = limit
        self._now = now
        self._minute = 0
        self._failed: dict[int, Counter[str]] = {}
        self._known: set[str] = set()

    def require_chance(self, identity: str, origin: Origin) -> None:
        """Make sure that the network of a caller has not failed too often.

        Raises:
            RateLimited: it has, and nobody has shown the secret of this id here yet.
        """
        if not self._failed or identity in self._known:
            return
        seconds = self._turn()
        failed = self._failed.get(_network(origin))
        if failed and (len(failed) >= self._limit or failed[identity] >= self._limit):
            raise RateLimited(
                "too many wrong secrets from this network",
                limit=self._limit,
                seconds=_MINUTE - seconds % _MINUTE,
            )

    def failed(self, identity: str, origin: Origin) -> None:
        """A secret was wrong."""
        if not self._limit:
            return
        self._turn()
        network = _network(origin)
        if network in self._failed or len(self._failed) < _MOST:
            self._failed.setdefault(network, Counter())[identity] += 1

    def succeeded(self, identity: str) -> None:
        """The secret of this id was right."""
        if identity not in self._known:
            if len(self._known) >= _MOST:
                self._known.clear()
            self._known.add(identity)

    def _turn(self) -> int:
        """The second that it is; with a new minute everybody begins anew."""
        seconds = int(self._now().timestamp())
        if seconds // _MINUTE != self._minute:
            self._minute = seconds // _MINUTE
            self._failed.clear()
        return seconds


def _network(origin: Origin) -> int:
    """An address of IPv4, or the /64 of IPv6 that one customer has; 0 when nobody can tell."""
    address = origin.address
    if address is None:
        return 0
    number = int(address)
    return number if isinstance(address, IPv4Address) else -(number >> 64)
