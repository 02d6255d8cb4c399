"""Who asks, behind which proxies."""

import pytest

from gateway.network import client_address, network_of, read_networks

PROXIES = read_networks(("10.0.0.0/8", "127.0.0.1", "fd00::/8"))


@pytest.mark.parametrize(
    ("peer", "forwarded", "address"),
    [
        ("198.51.100.7", [], "198.51.100.7"),
        # Nobody but a proxy of ours is believed.
        ("198.51.100.7", ["203.0.113.9"], "198.51.100.7"),
        ("10.1.2.3", ["203.0.113.9"], "203.0.113.9"),
        ("10.1.2.3", ["1.1.1.1, 203.0.113.9"], "203.0.113.9"),
        ("10.1.2.3", ["1.1.1.1", "203.0.113.9, 10.9.9.9"], "203.0.113.9"),
        ("10.1.2.3", ["10.9.9.9"], "10.9.9.9"),
        ("10.1.2.3", ["1.1.1.1, somebody"], "10.1.2.3"),
        ("10.1.2.3", [""], "10.1.2.3"),
        ("::ffff:10.1.2.3", ["[2001:db8::1]"], "2001:db8::1"),
        ("fd00::1", ["::ffff:203.0.113.9"], "203.0.113.9"),
        (None, ["203.0.113.9"], "-"),
        ("testclient", ["203.0.113.9"], "-"),
    ],
)
def test_the_last_hop_that_is_no_proxy_of_ours(peer, forwarded, address) -> None:
    assert client_address(peer, forwarded, PROXIES) == address


@pytest.mark.parametrize(
    ("address", "network"),
    [
        ("203.0.113.9", "203.0.113.0/24"),
        ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"),
        ("-", "-"),
    ],
)
def test_what_one_subscriber_has(address, network) -> None:
    assert network_of(address) == network
