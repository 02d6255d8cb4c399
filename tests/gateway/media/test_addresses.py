"""Which URLs are fetched and which addresses are public: the rules alone."""

from ipaddress import ip_address

import pytest

from gateway.media.addresses import is_public, read_target
from gateway.media.errors import MediaRefused


@pytest.mark.parametrize(
    "address",
    ["93.184.215.14", "8.8.8.8", "168.63.129.17", "172.32.0.1", "2606:2800:21f:cb07::1", "2a00:1450::1",
     "2001:4860:4860::8888", "3ffe::1"],
)  # fmt: skip
def test_public_addresses(address) -> None:
    assert is_public(ip_address(address))


@pytest.mark.parametrize(
    "address",
    ["127.0.0.1", "127.255.255.254", "0.0.0.0", "0.1.2.3", "10.0.0.1", "172.31.255.255", "192.168.0.1",
     "169.254.169.254", "100.64.0.1", "100.100.100.200", "192.0.0.9", "192.0.0.192", "192.0.2.1",
     "192.88.99.1", "198.18.0.1", "198.19.255.255", "198.51.100.1", "203.0.113.1", "224.0.0.1",
     "239.255.255.250", "240.0.0.1", "255.255.255.255", "168.63.129.16",
     "::", "::1", "::127.0.0.1", "::ffff:127.0.0.1", "::ffff:8.8.8.8", "::ffff:0:127.0.0.1",
     "64:ff9b::8.8.8.8", "64:ff9b:1::1", "100::1", "2001::1", "2001:0:7f00:1::", "2001:10::1",
     "2001:20::1", "2001:db8::1", "2002:7f00:1::", "3fff::1", "4000::1", "5f00::1", "fc00::1",
     "fd00:ec2::254", "fe80::1", "fe80::1%eth0", "fec0::1", "ff02::1", "2606:2800::1%eth0"],
)  # fmt: skip
def test_addresses_that_are_not(address) -> None:
    assert not is_public(ip_address(address))


@pytest.mark.parametrize(
    ("text", "host", "sent"),
    [
        ("https://Example.org", "example.org", "https://example.org/"),
        ("https://example.org:443/a", "example.org", "https://example.org/a"),
        ("https://b\xfccher.example/\xfc", "xn--bcher-kva.example", "https://xn--bcher-kva.example/%C3%BC"),
        ("https://[2606:2800:0::1]/a", "2606:2800::1", "https://[2606:2800::1]/a"),
        ("https://8.8.8.8/a", "8.8.8.8", "https://8.8.8.8/a"),
        ("https://a_b.example.org/#x@y", "a_b.example.org", "https://a_b.example.org/"),
        ("https://x.org/a%2Fb/../c?s=%2B+%20&e=", "x.org", "https://x.org/a%2Fb/../c?s=%2B+%20&e="),
        ("https://x.org/a@b?c@d", "x.org", "https://x.org/a@b?c@d"),
    ],
)
def test_a_signed_url_is_asked_for_to_the_letter(text, host, sent) -> None:
    target = read_target(text)
    assert (target.host, str(target.url), target.allowed) == (host, sent, False)


@pytest.mark.parametrize(
    ("text", "allow"),
    [("http://store:9000/a", ("store", 9000)), ("http://STORE:9000/a", ("store", 9000)),
     ("https://[::1]/a", ("::1", 443)), ("http://10.0.0.7/a", ("10.0.0.7", 80))],
)  # fmt: skip
def test_allowed_pairs(text, allow) -> None:
    assert read_target(text, {allow}).allowed
    with pytest.raises(MediaRefused):
        read_target(text, {(allow[0], 1)}, ports={443} if "443" not in str(allow) else {1})


def test_a_refusal_tells_no_secret() -> None:
    with pytest.raises(MediaRefused) as caught:
        read_target("https://me:hush@example.org/?token=hush")
    assert "hush" not in str(caught.value)


@pytest.mark.parametrize(
    "text",
    ["https://x.org/\t", "https://x.org/\r\nA: b", " https://x.org/", "https://x.org/ ", "https://x.org/\x00",
     "https://x.org/\x7f", "https://x.org\\@y.org/", "https://x.org/\\", "https://x.org/\u2028",
     "https://x\u200b.org/", "https://x.org/\ud800"],
)  # fmt: skip
def test_what_parsers_read_in_two_ways(text) -> None:
    with pytest.raises(MediaRefused, match=r"holds a space|only https"):
        read_target(text)


@pytest.mark.parametrize(
    "host",
    ["127.1", "0x7f000001", "0x7f.0.0.1", "2130706433", "0177.0.0.1", "08.8.8.8", "8.8.8.8.", "8.8.8",
     "8.8.8.0x8", "x.org.", "a..b", "-", "*", "x.org%2f", "a b", "[::1%25lo]", "[v1.x]", "x" * 64,
     ".".join(["x" * 60] * 5), "x.1", "x.0x"],
)  # fmt: skip
def test_hosts_in_another_spelling(host) -> None:
    with pytest.raises(MediaRefused, match=r"no plain name|holds a space"):
        read_target(f"https://{host}/")
