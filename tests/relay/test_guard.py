"""Where fetches may go: spellings, ranges, ports, redirects."""

from __future__ import annotations

from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network

import pytest
from hypothesis import given
from hypothesis import strategies as st

from oneapi_mw.relay.guard import AddressRefused, AllowList, Destination, Guard, UrlRefused, addresses_of, parse

PUBLIC = Guard()


def named(host: str = "e.org", port: int = 443, scheme: str = "https") -> Destination:
    return Destination(scheme, host, port, "/")


@pytest.mark.parametrize(
    ("url", "destination"),
    [
        ("https://e.org/a.png", Destination("https", "e.org", 443, "/a.png")),
        ("HTTPS://E.Org/A.png?b=%20c", Destination("https", "e.org", 443, "/A.png?b=%20c")),
        ("https://e.org", Destination("https", "e.org", 443, "/")),
        ("https://e.org?q", Destination("https", "e.org", 443, "/?q")),
        ("https://e.org/a#b", Destination("https", "e.org", 443, "/a")),
        ("https://e.org:443/", Destination("https", "e.org", 443, "/")),
        ("https://e.org/ä?ö", Destination("https", "e.org", 443, "/%C3%A4?%C3%B6")),
        ("https://xn--mnchen-3ya.example/", Destination("https", "xn--mnchen-3ya.example", 443, "/")),
        ("https://8.8.8.8/", Destination("https", "8.8.8.8", 443, "/", IPv4Address("8.8.8.8"))),
        (
            "https://[2606:4700::0001]/",
            Destination("https", "2606:4700::1", 443, "/", IPv6Address("2606:4700::1")),
        ),
        ("https://e.org/@a:b//..", Destination("https", "e.org", 443, "/@a:b//..")),
    ],
)
def test_what_is_read(url: str, destination: Destination) -> None:
    assert PUBLIC.read(url) == destination


def test_the_host_field_names_unusual_ports_and_brackets_addresses() -> None:
    assert parse("https://[::1]:8443/").authority == "[::1]:8443"
    assert parse("http://e.org:80/x").authority == "e.org"
    assert parse("http://e.org:443/x").url == "http://e.org:443/x"


REFUSED = {
    "schemes": [
        "file:///etc/passwd",
        "gopher://e.org/",
        "ftp://e.org/",
        "dict://e.org:11211/",
        "http+unix://%2Fsock/",
        "//e.org/",
        "e.org/a.png",
        "data:image/png;base64,AA==",
        "http://e.org/",
        "",
    ],
    "ports": [
        "https://e.org:22/",
        "https://e.org:6379/",
        "https://e.org:80/",
        "https://e.org:0/",
        "https://e.org:65536/",
        "https://e.org:443x/",
        "https://e.org:/",
        "https://e.org:٤٤٣/",
    ],
    "authority": [
        "https://user@e.org/",
        "https://user:password@e.org/",
        "https://e.org@127.0.0.1/",
        "https://e.org%40127.0.0.1/",
        "https://e.org\\@127.0.0.1/",
        "https://e.org\\.evil.org/",
        "https:///a",
        "https://[::1/",
        "https://[fe80::1%25eth0]/",
        "https://[::ffff:127.0.0.1]:443@e.org/",
        "https://[1]/",
    ],
    "characters": [
        "https://e.org/a b",
        "https://e.org/a\tb",
        "https://e.org/\r\nhost: x",
        "https://e.org/\x00",
        " https://e.org/",
        "https://e.org/\x85",
        "https://e.org/\ud800",
        "https://e.org/" + "a" * 9000,
    ],
    "names": [
        "https://localhost/",
        "https://intranet/",
        "https://e.org./",
        "https://.e.org/",
        "https://e..org/",
        "https://-e.org/",
        "https://e-.org/",
        "https://%65.org/",
        "https://münchen.example/",
        "https://e。org/",
        "https://" + "a" * 64 + ".org/",
        "https://" + "a." * 130 + "org/",
        "https://./",
    ],
    "spellings of loopback": [
        "https://127.0.0.1/",
        "https://127.1/",
        "https://0x7f.1/",
        "https://0x7f000001/",
        "https://2130706433/",
        "https://0177.0.0.1/",
        "https://127.0.0.01/",
        "https://0/",
        "https://127.0.0.1./",
        "https://127.0.0.0x1/",
        "https://①②⑦.⓪.⓪.①/",
        "https://127。0。0。1/",
        "https://[::1]/",
        "https://[::127.0.0.1]/",
        "https://[::ffff:127.0.0.1]/",
        "https://[::ffff:7f00:1]/",
        "https://[64:ff9b::7f00:1]/",
        "https://[2002:7f00:1::]/",
    ],
}


@pytest.mark.parametrize("url", [url for urls in REFUSED.values() for url in urls])
def test_refused_without_asking_anybody(url: str) -> None:
    with pytest.raises(UrlRefused):
        PUBLIC.read(url)


def test_a_refusal_does_not_repeat_the_url() -> None:
    with pytest.raises(UrlRefused) as refused:
        PUBLIC.read("https://u:geheim@e.org/")
    assert "geheim" not in str(refused.value)


CLOSED = [
    *("0.0.0.0/8", "10.0.0.0/8", "100.64.0.0/10", "127.0.0.0/8", "169.254.0.0/16", "172.16.0.0/12", "192.0.0.0/24"),
    *("192.0.2.0/24", "192.88.99.0/24", "192.168.0.0/16", "198.18.0.0/15", "198.51.100.0/24", "203.0.113.0/24"),
    *("224.0.0.0/4", "240.0.0.0/4", "168.63.129.16/32", "192.0.0.192/32", "100.100.100.200/32"),
    *("::/96", "::ffff:0:0/96", "::ffff:0:0:0/96", "64:ff9b::/96", "64:ff9b:1::/48", "100::/64", "2001::/32"),
    *("2001:db8::/32", "2002::/16", "3fff::/20", "5f00::/16", "fc00::/7", "fd00:ec2::254/128", "fe80::/10"),
    *("fec0::/10", "ff00::/8", "2606:4700::5efe:0:0/96", "2606:4700::200:5efe:0:0/96"),
]


@given(data=st.data(), network=st.sampled_from(CLOSED))
def test_no_address_of_a_closed_range_is_admitted(data: st.DataObject, network: str) -> None:
    found = ip_network(network)
    last = int(found.broadcast_address)
    number = data.draw(st.sampled_from([int(found.network_address), last]) | st.integers(int(found[0]), last))
    address = type(found.network_address)(number)
    with pytest.raises(AddressRefused):
        PUBLIC.admit(named(), [ip_address("8.8.8.8"), address])


@pytest.mark.parametrize(
    "address",
    [
        *("1.1.1.1", "9.255.255.255", "11.0.0.0", "100.63.255.255", "100.128.0.0", "126.255.255.255", "128.0.0.0"),
        *("172.15.255.255", "172.32.0.0", "192.167.255.255", "192.169.0.0", "198.17.255.255", "198.20.0.0"),
        *("223.255.255.255", "169.253.255.255", "169.255.0.0", "2606:4700::1111", "2a00::", "2001:4860:4860::8888"),
    ],
)
def test_neighbours_of_closed_ranges_are_admitted(address: str) -> None:
    PUBLIC.admit(named(), [ip_address(address)])


@given(st.integers(0, 2**32 - 1))
def test_embedded_addresses_are_refused_whatever_they_embed(number: int) -> None:
    for prefix in ("::", "::ffff:0:0", "64:ff9b::", "2606:4700:0:0:0:5efe::"):
        address = IPv6Address(int(IPv6Address(prefix)) + number)
        if address != IPv6Address("::1"):
            with pytest.raises(AddressRefused):
                Guard(AllowList.of(["::/0"])).admit(named(), [address])


def test_zones_are_refused() -> None:
    with pytest.raises(AddressRefused):
        addresses_of(["8.8.8.8", "fe80::1%eth0"])
    assert addresses_of(["8.8.8.8", "2a00::1"]) == (ip_address("8.8.8.8"), ip_address("2a00::1"))


# What the operator opens.


@pytest.mark.parametrize(
    ("entry", "host", "address", "port", "scheme", "admitted"),
    [
        ("media.intranet", "media.intranet", "10.0.0.5", 443, "https", True),
        ("media.intranet", "media.intranet", "10.0.0.5", 80, "http", True),
        ("media.intranet", "media.intranet", "10.0.0.5", 8080, "http", False),
        ("media.intranet:8080", "media.intranet", "10.0.0.5", 8080, "http", True),
        ("media.intranet:8080", "media.intranet", "10.0.0.5", 443, "https", False),
        ("media.intranet", "evil.example", "10.0.0.5", 443, "https", False),
        ("media.intranet", "x.media.intranet", "10.0.0.5", 443, "https", False),
        ("media", "media", "10.0.0.5", 443, "https", True),
        ("10.0.0.0/8", "a.example", "10.0.0.5", 443, "https", True),
        ("10.0.0.0/8", "a.example", "10.0.0.5", 8080, "http", False),
        ("10.0.0.0/8:8080", "a.example", "10.0.0.5", 8080, "http", True),
        ("10.0.0.0/8", "a.example", "192.168.0.1", 443, "https", False),
        ("10.0.0.0/8", "a.example", "8.8.8.8", 443, "https", True),
        ("10.0.0.0/8", "a.example", "8.8.8.8", 80, "http", False),
        ("127.0.0.1:9000", "a.example", "127.0.0.1", 9000, "http", True),
        ("[fd12::/16]:443", "a.example", "fd12::1", 443, "https", True),
        ("::1", "a.example", "::1", 443, "https", True),
        ("media.intranet", "media.intranet", "169.254.169.254", 80, "http", False),
        ("169.254.0.0/16", "a.example", "169.254.169.254", 80, "http", False),
        ("fd00::/8", "a.example", "fd00:ec2::254", 443, "https", False),
        ("0.0.0.0/0", "a.example", "100.100.100.200", 443, "https", False),
        ("0.0.0.0/0", "a.example", "0.0.0.0", 443, "https", False),
        ("0.0.0.0/0", "a.example", "168.63.129.16", 443, "https", False),
    ],
)
def test_the_allow_list(entry: str, host: str, address: str, port: int, scheme: str, admitted: bool) -> None:
    guard = Guard(AllowList.of([entry]))
    try:
        guard.admit(guard.read(f"{scheme}://{host}:{port}/"), [ip_address(address)])
        found = True
    except (AddressRefused, UrlRefused):
        found = False
    assert found is admitted


def test_literal_addresses_on_the_list_may_be_written() -> None:
    guard = Guard(AllowList.of(["127.0.0.1:9000", "[::1]:9000"]))
    assert guard.read("http://127.0.0.1:9000/a").port == 9000
    assert guard.read("http://[::1]:9000/a").literal == IPv6Address("::1")
    with pytest.raises(UrlRefused):
        guard.read("http://127.0.0.1:9001/a")


def test_http_can_be_opened_for_public_addresses() -> None:
    guard = Guard(allow_http=True)
    guard.admit(guard.read("http://e.org/"), [ip_address("8.8.8.8")])
    with pytest.raises(UrlRefused):
        guard.read("http://e.org:8080/")
    with pytest.raises(AddressRefused):
        guard.admit(guard.read("http://e.org/"), [ip_address("10.0.0.1")])


# Redirects.


@pytest.mark.parametrize(
    ("location", "url"),
    [
        ("/b.png", "https://e.org/b.png"),
        ("b.png?x", "https://e.org/a/b.png?x"),
        ("//f.org/c", "https://f.org/c"),
        ("https://f.org", "https://f.org/"),
        ("/ä", "https://e.org/%C3%A4"),
    ],
)
def test_redirects_are_joined(location: str, url: str) -> None:
    assert PUBLIC.redirected(PUBLIC.read("https://e.org/a/x"), location).url == url


@pytest.mark.parametrize(
    "location",
    [
        "http://e.org/",
        "https://127.0.0.1/",
        "https://[::1]/",
        "https://169.254.169.254/latest/meta-data/",
        "//localhost/",
        "file:///etc/passwd",
        "https://a@e.org/",
        "https://e.org:8443/",
        "https://e.\torg/",
        "https://[/",
        "/a b",
    ],
)
def test_redirects_pass_the_whole_check(location: str) -> None:
    guard = Guard(allow_http=True)
    with pytest.raises(UrlRefused):
        guard.redirected(guard.read("https://e.org/"), location)


@given(st.text(max_size=60) | st.from_regex(r"https?://[\w.:@\[\]%\\-]{0,30}(/[\w?#]{0,9})?", fullmatch=True))
def test_whatever_is_read_is_plain_and_means_the_same_when_it_is_read_again(text: str) -> None:
    try:
        found = parse(text)
    except UrlRefused:
        return
    assert found.target.isascii()
    assert found.target.isprintable()
    assert " " not in found.target
    assert set(found.host) <= set("abcdefghijklmnopqrstuvwxyz0123456789._-:")
    assert parse(found.url) == found
