"""Where an outbound connection may go: the form of a URL, and the addresses behind its name.

Nothing here touches the network. The form is narrower than RFC 3986: what two parsers could read in
two ways is not taken at all.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from ipaddress import (
    IPv4Address,
    IPv4Network,
    IPv6Address,
    IPv6Network,
    ip_address,
    ip_network,
)
from typing import TypeAlias

from hashseal_core.errors import OutboundRefused

Address: TypeAlias = IPv4Address | IPv6Address
Network: TypeAlias = IPv4Network | IPv6Network

LARGEST_URL = 2048
_LARGEST_NAME = 253
_PORTS = {"http": 80, "https": 443}
_LAST_PORT = 65_535

# RFC 3986 (3.3, 3.4) without the fragment; a host of ASCII letters, digits, dots and hyphens.
_URL = re.compile(
    r"(?P<scheme>https?)://"
    r"(?P<host>\[[0-9a-f:.]{2,45}\]|[a-z0-9.-]{1,255})"
    r"(?::(?P<port>[1-9][0-9]{0,4}))?"
    r"(?P<path>/(?:[a-z0-9._~!$&'()*+,;=:@/-]|%[0-9a-f]{2})*)?"
    r"(?P<query>\?(?:[a-z0-9._~!$&'()*+,;=:@/?-]|%[0-9a-f]{2})*)?",
    re.ASCII | re.IGNORECASE,
)
_LABEL = re.compile(r"[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?", re.ASCII)
_NUMBER = re.compile(r"[0-9]+|0x[0-9a-f]*", re.ASCII)

# IANA registries of special-purpose addresses; outside 2000::/3 no IPv6 address is global, which
# takes mapped and NAT64 addresses away, too.
_SPECIAL: tuple[Network, ...] = tuple(
    ip_network(text)
    for text in (
        *("0.0.0.0/8", "10.0.0.0/8", "100.64.0.0/10", "127.0.0.0/8", "169.254.0.0/16"),
        *("172.16.0.0/12", "192.0.0.0/24", "192.0.2.0/24", "192.88.99.0/24", "192.168.0.0/16"),
        *("198.18.0.0/15", "198.51.100.0/24", "203.0.113.0/24", "224.0.0.0/4", "240.0.0.0/4"),
        *("2001::/23", "2001:db8::/32", "2002::/16", "3fff::/20"),
    )
)
_GLOBAL_6 = IPv6Network("2000::/3")
_NEVER: tuple[Network, ...] = tuple(
    ip_network(text)
    for text in ("0.0.0.0/32", "224.0.0.0/4", "255.255.255.255/32", "::/128", "ff00::/8")
)


@dataclass(frozen=True, slots=True)
class Destination:
    """A URL taken apart.

    Attributes:
        scheme: `http` or `https`.
        host: a name in lower case, or an address without brackets.
        port: the one that is written, or the scheme's.
        target: path and query, as they are sent.
    """

    scheme: str
    host: str
    port: int
    target: str

    @property
    def authority(self) -> str:
        """Host and port for the Host header and for messages: without path, which may be secret."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return host if self.port == _PORTS[self.scheme] else f"{host}:{self.port}"


def destination(url: str) -> Destination:
    """Take a URL apart, without the network.

    Raises:
        OutboundRefused: not `http` or `https`; a user, a fragment, a zone, a port out of range; a
            host that is no DNS name in ASCII and no address in its one usual form.
    """
    found = _URL.fullmatch(url) if len(url) <= LARGEST_URL else None
    if found is None:
        raise OutboundRefused(
            "the address must be http:// or https:// with an ASCII host, and have no user name, "
            f"no fragment and at most {LARGEST_URL} characters"
        )
    scheme, host = found["scheme"].lower(), found["host"].lower()
    port = int(found["port"]) if found["port"] else _PORTS[scheme]
    if port > _LAST_PORT:
        raise OutboundRefused(f"the address has a port above {_LAST_PORT}")
    if host.startswith("["):
        host = _address(IPv6Address, host[1:-1])
    elif _NUMBER.fullmatch(host.rsplit(".", 1)[-1]):
        host = _address(IPv4Address, host)
    elif len(host) > _LARGEST_NAME or not all(map(_LABEL.fullmatch, host.split("."))):
        raise OutboundRefused("the host of the address is no DNS name; write it without end dot")
    target = (found["path"] or "/") + (found["query"] or "")
    return Destination(scheme, host, port, target)


def _address(kind: type[Address], text: str) -> str:
    """IPv4 as four decimal numbers, or IPv6; shortened, octal and hexadecimal IPv4 is refused."""
    try:
        return str(kind(text))
    except ValueError as error:
        raise OutboundRefused(
            "the host of the address is a number, but no IP address in its usual form"
        ) from error


def require_permitted_form(url: str) -> None:
    """The form of a URL that the service could call; asks no network.

    Raises:
        OutboundRefused: as `destination`.
    """
    destination(url)


def require_permitted(url: str, allowed: Sequence[Network]) -> None:
    """The form of a URL and, if an address stands in it, that it may be called; asks no network.

    What is said does not tell a name's addresses, which may be nobody else's business.

    Raises:
        OutboundRefused: as `destination`, or it may not be called.
    """
    host = destination(url).host
    try:
        address = ip_address(host)
    except ValueError:
        return  # a name; it is resolved and checked when it is called
    if not is_permitted(address, allowed):
        raise OutboundRefused("the address is not public and may not be called")


def is_permitted(address: Address, allowed: Sequence[Network]) -> bool:
    """Whether a connection may go there: globally reachable, or in a network that is allowed.

    Allowing a network of IPv4 does not allow the IPv6 addresses that stand for it. Unspecified,
    multicast and broadcast addresses cannot be allowed.
    """
    if any(address in network for network in _NEVER):
        return False
    if any(address in network for network in allowed):
        return True
    if isinstance(address, IPv6Address) and address not in _GLOBAL_6:
        return False
    return not any(address in network for network in _SPECIAL)
