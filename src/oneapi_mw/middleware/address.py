"""Whose request it is by address, behind proxies one trusts and not behind others."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable

from starlette.types import Scope

from oneapi_mw.scope import header


class ClientAddress:
    """The client's address: the socket's peer, unless that is a trusted proxy.

    Then the right-most entry of `X-Forwarded-For` that is not a trusted proxy itself; entries left of it are
    whatever the client cared to write.

    Args:
        trusted_proxies: networks in CIDR notation.
    """

    def __init__(self, trusted_proxies: Iterable[str] = ()) -> None:
        self._trusted = tuple(ipaddress.ip_network(network, strict=False) for network in trusted_proxies)

    def __call__(self, scope: Scope) -> str | None:
        client = scope.get("client")
        peer = client[0] if client else None
        if not self._trusted or not self._is_trusted(peer):
            return peer
        forwarded = header(scope, b"x-forwarded-for")
        hops = [hop.strip() for hop in (forwarded or b"").decode("latin-1").split(",")]
        for hop in reversed(hops):
            if hop and not self._is_trusted(hop):
                return hop
        return peer

    def _is_trusted(self, address: str | None) -> bool:
        try:
            parsed = ipaddress.ip_address(address or "")
        except ValueError:
            return False
        if isinstance(parsed, ipaddress.IPv6Address) and parsed.ipv4_mapped is not None:
            parsed = parsed.ipv4_mapped
        return any(parsed in network for network in self._trusted if network.version == parsed.version)
