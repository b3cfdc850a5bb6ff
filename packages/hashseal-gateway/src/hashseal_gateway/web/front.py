"""How browsers reach the gateway: at which address, over TLS or not, and from where."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network
from typing import Any
from urllib.parse import SplitResult, urlsplit

from litestar import Request

from hashseal_core.errors import Denied

AnyRequest = Request[Any, Any, Any]
Network = IPv4Network | IPv6Network
_LOOPBACK_NAMES = frozenset({"localhost", "ip6-localhost"})
_USUAL = {"http": 80, "https": 443}
_MAX_FORWARDED = 4096
_PREFIX_OF_A_HOST = 64
"""An IPv6 user has a whole /64 to try from."""
NOBODY = "unknown"


@dataclass(frozen=True, slots=True)
class Front:
    """The address that people type, if it is not the gateway's own, and proxies in between."""

    public_url: str | None
    proxies: Sequence[Network]

    def is_secure(self, request: AnyRequest) -> bool:
        """Cookies are for TLS only; on the gateway's own machine there need be none."""
        if self.public_url is not None:
            return self.public_url.startswith("https://")
        return not is_loopback(_host(request))

    def require_same_origin(self, request: AnyRequest) -> None:
        """The request comes from one of our own pages, says the browser.

        Raises:
            Denied: another site made it, or nobody can tell.
        """
        origin = request.headers.get("origin", "")
        site = request.headers.get("sec-fetch-site", "same-origin")
        if site != "same-origin" or not origin or origin == "null":
            raise Denied("this was not sent by a page of the gateway; open the page here again")
        if self.public_url is not None:
            if _place(origin) != _place(self.public_url):
                raise Denied(
                    "the pages are at another address: open them at the gateway's public_url"
                )
            return
        found = _parted(origin.lower())
        if found.netloc != _host(request).lower():
            raise Denied(
                "the proxy in front hides the address that you opened; "
                "the administrator must set public_url"
            )
        if found.scheme != "https" and not is_loopback(found.netloc):
            raise Denied(
                "passwords do not travel in clear: open the pages over https, "
                "or on the gateway's own machine"
            )

    def address_of(self, request: AnyRequest) -> str:
        """Where a request comes from, as tries to log in are counted.

        Only what proxies of the administrator's own say of it counts: the last address in
        X-Forwarded-For that is none of them.
        """
        nearest = _address(request.client.host if request.client else "")
        # Some proxies append to the field, others add one more: together they are one list.
        fields = request.headers.getall("x-forwarded-for", [])
        forwarded = ",".join(fields)[-_MAX_FORWARDED:]
        for written in reversed(forwarded.split(",") if forwarded else []):
            if nearest is None or not self._is_proxy(nearest):
                break
            nearest = _address(written.strip())
        if nearest is None:
            return NOBODY
        if isinstance(nearest, IPv6Address):
            return str(ip_network((nearest, _PREFIX_OF_A_HOST), strict=False))
        return str(nearest)

    def _is_proxy(self, address: IPv4Address | IPv6Address) -> bool:
        return any(address in network for network in self.proxies)


def is_loopback(netloc: str) -> bool:
    """A host, with or without a port, is this very machine."""
    host = _parted(f"//{netloc}").hostname or ""
    if host in _LOOPBACK_NAMES:
        return True
    found = _address(host)
    return found is not None and found.is_loopback


def _place(url: str) -> tuple[str, str, int | None]:
    """Scheme, host and port; browsers leave out the usual port (RFC 6454, 6.1)."""
    found = _parted(url.lower())
    try:
        port = found.port
    except ValueError:
        return found.scheme, found.netloc, None
    return found.scheme, found.hostname or "", port or _USUAL.get(found.scheme)


def _parted(url: str) -> SplitResult:
    """Its parts; none of an address that cannot be one."""
    try:
        return urlsplit(url)
    except ValueError:  # such as `[` without its other half
        return urlsplit("")


def _host(request: AnyRequest) -> str:
    return request.headers.get("host", "")


def _address(written: str) -> IPv4Address | IPv6Address | None:
    try:
        found = ip_address(written)
    except ValueError:
        return None
    mapped = found.ipv4_mapped if isinstance(found, IPv6Address) else None
    return mapped or found
