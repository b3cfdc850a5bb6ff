"""Where a request comes from, and from where a token may be used."""

from __future__ import annotations

from ipaddress import ip_address, ip_network

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hashseal_core.errors import AddressNotAllowed, InvalidValue
from hashseal_server.accounts.networks import NOWHERE, Origin, allows, read_networks
from hashseal_server.accounts.recognition import Kept, require_origin

PROXIES = (ip_network("10.0.0.0/8"), ip_network("fd00::/8"))
ADDRESSES = st.one_of(st.ip_addresses(v=4), st.ip_addresses(v=6))


@pytest.mark.parametrize(
    ("peer", "forwarded", "address"),
    [
        ("192.0.2.1", None, "192.0.2.1"),
        ("192.0.2.1", "198.51.100.7", "192.0.2.1"),  # whoever is no proxy may write what it likes
        ("10.1.1.1", None, "10.1.1.1"),
        ("10.1.1.1", "198.51.100.7", "198.51.100.7"),
        ("10.1.1.1", "203.0.113.1, 198.51.100.7", "198.51.100.7"),
        ("10.1.1.1", "203.0.113.1, 198.51.100.7, 10.2.2.2", "198.51.100.7"),
        ("fd00::1", "2001:db8::7", "2001:db8::7"),
        ("::ffff:10.1.1.1", "::ffff:198.51.100.7", "198.51.100.7"),
        ("10.1.1.1", "10.3.3.3, 10.2.2.2", "10.3.3.3"),
        ("10.1.1.1", "198.51.100.7, unknown", None),
        ("10.1.1.1", "198.51.100.7:443", None),
        ("10.1.1.1", "", None),
        ("not an address", "198.51.100.7", None),
        (None, "198.51.100.7", None),
    ],
)
def test_the_caller_s_address(peer: str | None, forwarded: str | None, address: str | None) -> None:
    expected = None if address is None else ip_address(address)
    assert Origin(peer, forwarded, PROXIES).address == expected
    assert NOWHERE.address is None


@given(st.text(max_size=200), ADDRESSES)
def test_nobody_outside_can_write_another_address_in_front(written: str, caller) -> None:
    real = Origin(str(caller)).address
    if any(real.version == one.version and real in one for one in PROXIES):
        return
    assert Origin("10.1.1.1", f"{written}, {caller}", PROXIES).address == real
    assert Origin(str(caller), written, PROXIES).address == real


@given(st.text(), st.text())
def test_whatever_is_written(peer: str, forwarded: str) -> None:
    Origin(peer, forwarded, PROXIES)  # no error, and an answer that may be none
    found = Origin("10.1.1.1", forwarded, PROXIES).address
    assert found is None or found == ip_address(str(found))


def test_networks_have_one_form() -> None:
    written = ["192.0.2.0/24", "2001:DB8::/32", "198.51.100.7", "192.0.2.0/24"]
    assert read_networks(written) == ("192.0.2.0/24", "2001:db8::/32", "198.51.100.7/32")
    assert read_networks([]) == ()


@pytest.mark.parametrize(
    "written",
    ["", "192.0.2.1/24", "192.0.2.0/33", "example.com", "1", "192.0.2.0/255.255.255.0", "fe80::1%eth0",
     "192.0.2.0/24 ", "010.0.0.1", "::/129", "\u0661.1.1.1"],
)  # fmt: skip
def test_what_is_no_network(written: str) -> None:
    with pytest.raises(InvalidValue) as refused:
        read_networks([written])
    assert refused.value.field == "networks"


@given(st.text())
def test_whatever_a_network_is_said_to_be(written: str) -> None:
    try:
        (found,) = read_networks([written])
    except InvalidValue:
        return
    assert str(ip_network(found)) == found


def test_at_most_so_many() -> None:
    with pytest.raises(InvalidValue, match="32"):
        read_networks(f"192.0.2.{n}" for n in range(33))


def test_only_from_there() -> None:
    kept = Kept(b"", networks="192.0.2.0/24 2001:db8::/32")
    for inside in ("192.0.2.200", "2001:db8:ffff::1", "::ffff:192.0.2.1"):
        require_origin(kept, Origin(inside))
    for outside in ("192.0.3.1", "2001:db9::1", "::c000:201", None):
        with pytest.raises(AddressNotAllowed) as refused:
            require_origin(kept, Origin(outside))
        # Neither the networks nor the address are told.
        assert "192" not in refused.value.detail
    require_origin(Kept(b""), NOWHERE)
    assert not allows("0.0.0.0/0", ip_address("2001:db8::1"))
    assert allows("0.0.0.0/0", ip_address("203.0.113.1"))
