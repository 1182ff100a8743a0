"""Where a fetch on behalf of a client may go: public https addresses, and what the operator opened.

One parser decides, and the connection is made from what it read. Python's `is_global` is no help: it calls
multicast, NAT64, 6to4 and some metadata services global (CPython 3.11).
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network
from typing import TypeAlias
from urllib.parse import quote, urljoin

from oneapi_mw.immutable import immutable
from oneapi_mw.settings.kinds import split_destination

Address: TypeAlias = IPv4Address | IPv6Address
Network: TypeAlias = IPv4Network | IPv6Network

PORTS: Mapping[str, int] = {"http": 80, "https": 443}
MAX_URL_CHARS = 8192


def _networks(**categories: str) -> tuple[tuple[str, Network], ...]:
    return tuple((category, ip_network(text)) for category, texts in categories.items() for text in texts.split())


# Registries: https://www.iana.org/assignments/iana-ipv4-special-registry, .../iana-ipv6-special-registry (2026-11)
_CLOSED = _networks(
    loopback="127.0.0.0/8 ::1/128",
    private="10.0.0.0/8 172.16.0.0/12 192.168.0.0/16 fc00::/7",
    shared="100.64.0.0/10",
    benchmark="198.18.0.0/15",
)
"""What is not public, but may be opened by the operator."""
_NEVER = _networks(
    metadata="168.63.129.16/32 192.0.0.192/32 100.100.100.200/32 fd00:ec2::/32 fd20:ce::/32",
    link_local="169.254.0.0/16 fe80::/10 fec0::/10",
    unspecified="0.0.0.0/8 ::/128",
    multicast="224.0.0.0/4 ff00::/8",
    reserved="192.0.0.0/24 192.88.99.0/24 240.0.0.0/4 2001::/23",
    documentation="192.0.2.0/24 198.51.100.0/24 203.0.113.0/24 2001:db8::/32 3fff::/20",
    embedded="::ffff:0:0/96 ::/96 ::ffff:0:0:0/96 64:ff9b::/96 64:ff9b:1::/48 2002::/16",
)
"""What nobody may open: services of the machine or its cloud, and addresses that stand for other ones."""
_LOOPBACK_6 = IPv6Address("::1")
_UNICAST_6 = IPv6Network("2000::/3")
"""All of IPv6 that is given out."""
_ISATAP = (b"\x00\x00\x5e\xfe", b"\x02\x00\x5e\xfe")
"""How the interface identifiers begin that hold an IPv4 address."""

_URL = re.compile(
    r"(?P<scheme>[A-Za-z][A-Za-z0-9+.-]*)://(?P<authority>[^/?#]*)(?P<path>[^?#]*)(?P<query>\?[^#]*)?(?:#.*)?"
)
_AUTHORITY = re.compile(r"(?:\[(?P<v6>[0-9A-Fa-f:.]+)\]|(?P<name>[A-Za-z0-9._-]+))(?::(?P<port>[0-9]{1,5}))?")
_LABEL = re.compile(r"(?!-)[a-z0-9_-]{1,63}(?<!-)")
_NUMERIC = re.compile(r"[0-9]+|0x[0-9a-f]*")
_UNFIT = re.compile(r"[\x00-\x20\x7f-\x9f\\\"<>^`{|}]")
"""Characters that parsers disagree about, or that end a request line."""


class UrlRefused(Exception):
    """This URL is not fetched; nothing was asked of any server. The text says why, and only of the URL itself."""


class AddressRefused(Exception):
    """A name leads where no fetch may go. The text is a category, for the log alone."""


@immutable
class Destination:
    """A URL, taken apart once and for all."""

    scheme: str
    host: str
    """Lower case; an IPv6 address without brackets."""
    port: int
    target: str
    """Path and query."""
    literal: Address | None = None
    """The address that `host` spells."""

    @property
    def authority(self) -> str:
        """For the `Host` field."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return host if self.port == PORTS[self.scheme] else f"{host}:{self.port}"

    @property
    def url(self) -> str:
        return f"{self.scheme}://{self.authority}{self.target}"


@immutable
class AllowList:
    """What the operator opened beside the public internet. An entry without a port means the usual two."""

    hosts: frozenset[tuple[str, int | None]] = frozenset()
    networks: tuple[tuple[Network, int | None], ...] = ()

    @staticmethod
    def of(entries: Iterable[str]) -> AllowList:
        """From entries such as `media.intranet`, `10.0.0.0/8:8080`, `[fd00::/8]:443`. Raises `ValueError`."""
        hosts, networks = [], []
        for entry in entries:
            where, port = split_destination(entry)
            if isinstance(where, str):
                hosts.append((where, port))
            else:
                networks.append((where, port))
        return AllowList(frozenset(hosts), tuple(networks))

    def has_host(self, destination: Destination) -> bool:
        named = (destination.host, destination.port) in self.hosts
        return named or (destination.port in PORTS.values() and (destination.host, None) in self.hosts)

    def has_address(self, address: Address, port: int) -> bool:
        return any(
            address in network and (port == opened or (opened is None and port in PORTS.values()))
            for network, opened in self.networks
        )


class Guard:
    """Says yes or no to a URL and, once its name is resolved, to each of its addresses.

    Args:
        allow_http: fetch from public addresses without TLS, too.
    """

    def __init__(self, allowed: AllowList | None = None, *, allow_http: bool = False) -> None:
        self._allowed = allowed or AllowList()
        self._allow_http = allow_http

    def read(self, url: str) -> Destination:
        """The destination of `url`. Raises `UrlRefused` for everything that can be told without asking anybody."""
        destination = parse(url)
        if self._allowed.has_host(destination):
            return destination
        if destination.literal is not None:
            try:
                self.admit(destination, (destination.literal,))
            except AddressRefused:
                raise UrlRefused(self._unusual(destination) or "its address is not a public one") from None
        elif not self._allowed.networks and (unusual := self._unusual(destination)):
            raise UrlRefused(unusual)
        return destination

    def redirected(self, destination: Destination, location: str) -> Destination:
        """Where a redirect leads. Raises `UrlRefused`, also for the step from https to http."""
        if _UNFIT.search(location):  # joining would leave some of them out
            raise UrlRefused("it contains characters that must be percent-encoded")
        try:
            url = urljoin(destination.url, location)
        except ValueError:
            raise UrlRefused("it is no URL") from None
        found = self.read(url)
        if destination.scheme == "https" and found.scheme != "https":
            raise UrlRefused("it leads from https to http")
        return found

    def admit(self, destination: Destination, addresses: Sequence[Address]) -> None:
        """Raises `AddressRefused` when any of `addresses`, those of `destination`, is closed to it."""
        opened = self._allowed.has_host(destination)
        for address in addresses:
            if never := _never(address):
                raise AddressRefused(never)
            if opened or self._allowed.has_address(address, destination.port):
                continue
            if closed := _closed(address) or ("port" if self._unusual(destination) else ""):
                raise AddressRefused(closed)

    def _unusual(self, destination: Destination) -> str:
        """What nobody may ask for who is not on the list; empty when there is nothing."""
        if destination.scheme == "http" and not self._allow_http:
            return "it must begin with https://"
        if destination.port != PORTS[destination.scheme]:
            return f"it must not name another port than {PORTS[destination.scheme]}"
        if destination.literal is None and "." not in destination.host:
            return "its host must be a public name"
        return ""


def parse(url: str) -> Destination:
    """Take `url` apart. Raises `UrlRefused` for what is no http or https URL in its plainest spelling."""
    if len(url) > MAX_URL_CHARS:
        raise UrlRefused(f"it is longer than {MAX_URL_CHARS} characters")
    if _UNFIT.search(url):
        raise UrlRefused("it contains characters that must be percent-encoded")
    found = _URL.fullmatch(url)
    scheme = found["scheme"].lower() if found else ""
    if found is None or scheme not in PORTS:
        raise UrlRefused("it must begin with https://")
    if "@" in found["authority"]:
        raise UrlRefused("it must not contain a user name or password")
    authority = _AUTHORITY.fullmatch(found["authority"])
    if authority is None:
        raise UrlRefused("its host must be a name in ASCII, or an address")
    port = int(authority["port"] or PORTS[scheme])
    if not 0 < port < 65536:
        raise UrlRefused("its port does not exist")
    host, literal = _host(authority)
    target = (found["path"] or "/") + (found["query"] or "")
    if not target.isascii():
        try:
            target = quote(target, safe="/%:@!$&'()*+,;=-._~?[]#")
        except UnicodeEncodeError:  # half a character
            raise UrlRefused("it contains characters that must be percent-encoded") from None
    return Destination(scheme, host, port, target, literal)


def _host(authority: re.Match[str]) -> tuple[str, Address | None]:
    """The host in lower case, and the address it spells. An address has one spelling."""
    if authority["v6"] is not None:
        try:
            address = IPv6Address(authority["v6"])
        except ValueError:
            raise UrlRefused("its host is not a valid IPv6 address") from None
        return str(address), address
    name = authority["name"].lower()
    labels = name.split(".")
    if _NUMERIC.fullmatch(labels[-1] or labels[-2]):  # the last one is empty behind a trailing dot
        # resolvers take 0x7f.1, 2130706433 and 0177.0.0.1 for addresses, too
        try:
            return name, IPv4Address(name)
        except ValueError:
            raise UrlRefused("an IPv4 address must be written as four decimal numbers") from None
    if len(name) > 253 or not all(_LABEL.fullmatch(label) for label in labels):
        raise UrlRefused("its host is not a valid name")
    return name, None


def addresses_of(texts: Iterable[str]) -> tuple[Address, ...]:
    """What a resolver found. Raises `AddressRefused` for addresses with a zone, which are on this very link."""
    found = []
    for text in texts:
        if "%" in text:
            raise AddressRefused("link_local")
        found.append(ip_address(text))
    return tuple(found)


def _never(address: Address) -> str:
    """Why nobody may go there; empty when somebody may."""
    if isinstance(address, IPv6Address):
        if address == _LOOPBACK_6:
            return ""
        if address.packed[8:12] in _ISATAP:
            return "embedded"
    return _category(address, _NEVER)


def _closed(address: Address) -> str:
    """Why it is not public; empty when it is."""
    is_unicast = isinstance(address, IPv4Address) or address in _UNICAST_6
    return _category(address, _CLOSED) or ("" if is_unicast else "reserved")


def _category(address: Address, table: Iterable[tuple[str, Network]]) -> str:
    return next((category for category, network in table if address in network), "")
