"""Where a request comes from, and from where a token may be used."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from functools import lru_cache
from ipaddress import (
    IPv4Address,
    IPv4Network,
    IPv6Address,
    IPv6Network,
    ip_address,
    ip_network,
)
from typing import TypeAlias

from hashseal_core.errors import InvalidValue

Address: TypeAlias = IPv4Address | IPv6Address
Network: TypeAlias = IPv4Network | IPv6Network
MAX_NETWORKS = 32
_MAX_FORWARDED = 4_096
_MAX_ADDRESS = 45
_WRITTEN = re.compile(r"[0-9A-Fa-f:.]+(/[0-9]{1,3})?")


class Origin:
    """Where a request comes from.

    `peer` is the other end of the connection. Only when that is a proxy of the operator's own does
    `forwarded`, an X-Forwarded-For header, count: in it the last address that is none of these
    proxies is the caller's, since everything before was written by whoever wanted to.
    """

    __slots__ = ("_forwarded", "_peer", "_trusted")

    def __init__(
        self, peer: str | None, forwarded: str | None = None, trusted: Sequence[Network] = ()
    ) -> None:
        self._peer = peer
        self._forwarded = forwarded
        self._trusted = trusted

    @property
    def address(self) -> Address | None:
        """The caller's address; None when nobody can tell."""
        nearest = _address(self._peer)
        if nearest is None or not _within(nearest, self._trusted) or self._forwarded is None:
            return nearest
        for written in reversed(self._forwarded[-_MAX_FORWARDED:].split(",")):
            nearest = _address(written.strip())
            if nearest is None or not _within(nearest, self._trusted):
                break
        return nearest


NOWHERE = Origin(None)
"""Whoever is called without a connection."""


def read_networks(written: Iterable[str]) -> tuple[str, ...]:
    """Networks in CIDR notation, or single addresses, in their one usual form.

    Raises:
        InvalidValue: one of them is none, has bits beyond its prefix, or there are too many.
    """
    found: list[str] = []
    for text in written:
        if len(found) == MAX_NETWORKS:
            raise InvalidValue(f"{MAX_NETWORKS} networks at most", field="networks")
        try:
            if not _WRITTEN.fullmatch(text):
                raise ValueError  # noqa: TRY301 - as for what the parser below refuses
            network = ip_network(text)
        except ValueError as error:
            detail = "networks look like 192.0.2.0/24 or 2001:db8::/32, without bits beyond that"
            raise InvalidValue(detail, field="networks") from error
        found.append(str(network))
    return tuple(dict.fromkeys(found))


def allows(networks: str, address: Address | None) -> bool:
    """An address is in one of the networks, which are written as they are kept."""
    return address is not None and _within(address, _networks(networks))


@lru_cache(maxsize=1024)
def _networks(written: str) -> tuple[Network, ...]:
    return tuple(ip_network(one) for one in written.split())


def _within(address: Address, networks: Sequence[Network]) -> bool:
    return any(address.version == one.version and address in one for one in networks)


def _address(written: str | None) -> Address | None:
    """One address; an IPv4 one that came over IPv6 is an IPv4 one."""
    if written is None or len(written) > _MAX_ADDRESS:
        return None
    try:
        found = ip_address(written)
    except ValueError:
        return None
    mapped = found.ipv4_mapped if isinstance(found, IPv6Address) else None
    return mapped or found
