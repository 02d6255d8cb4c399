"""Who asks, behind which proxies."""

import pytest

from gateway.network import client_address, is_public, network_of, read_networks

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


@pytest.mark.parametrize("host", ["images.example.org", "a.org.", "1.1.1.1", "2606:4700:4700::1111"])
def test_a_host_on_the_internet(host) -> None:
    assert is_public(host)


@pytest.mark.parametrize(
    "host",
    [
        "", ".", "localhost", "gateway", "gateway.local", "Gateway.INTERNAL.", "a.test", "a.localhost", "a.home.arpa",
        "127.0.0.1", "10.1.2.3", "192.168.0.7", "169.254.1.1", "100.64.0.1", "0.0.0.0", "::1", "fd00::1", "fe80::1",
    ],
)  # fmt: skip
def test_a_host_that_nobody_out_there_reaches(host) -> None:
    assert not is_public(host)
