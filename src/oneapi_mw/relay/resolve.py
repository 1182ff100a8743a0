"""Host names to addresses, remembered for a while."""

from __future__ import annotations

import asyncio
import ipaddress
import socket
from collections.abc import Sequence
from dataclasses import dataclass, field

from aiohappyeyeballs import AddrInfoType

from oneapi_mw.relay.upstream import ConnectFailed

MAX_NAMES = 1024
"""Remembered at once."""


@dataclass(slots=True)
class _Name:
    """What is known of one host and port. `lock` is held while it is being looked up."""

    lock: asyncio.Lock = field(default_factory=asyncio.Lock)
    addresses: Sequence[AddrInfoType] = ()
    expires: float = 0.0
    failed_at: float = 0.0


class Resolver:
    """Looks names up with the system's resolver, each once at a time.

    There is no task behind a lookup: when the caller that does it is cancelled, the next one in line takes over.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop, *, ttl: float) -> None:
        """
        Args:
            ttl: seconds an answer is used.
        """
        self._loop = loop
        self._ttl = ttl
        self._names: dict[tuple[str, int], _Name] = {}

    async def lookup(self, host: str, port: int) -> Sequence[AddrInfoType]:
        """At least one address, in the order of the system's preference. Raises `ConnectFailed`."""
        literal = _literal(host, port)
        if literal is not None:
            return [literal]
        name = self._name(host, port)
        asked = self._loop.time()
        if asked < name.expires:
            return name.addresses
        async with name.lock:
            if asked < name.expires:
                return name.addresses
            if asked < name.failed_at:  # while we waited: asking again would only repeat it
                raise ConnectFailed("name not resolved")
            return await self._ask(name, host, port)

    async def _ask(self, name: _Name, host: str, port: int) -> Sequence[AddrInfoType]:
        found: Sequence[AddrInfoType]
        try:
            found = await self._loop.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_ADDRCONFIG)
        except (OSError, UnicodeError):  # the latter: a name that no DNS name can be
            found = ()
        if not found:
            name.failed_at = self._loop.time()
            raise ConnectFailed("name not resolved")
        name.addresses = found
        name.expires = self._loop.time() + self._ttl
        return found

    def _name(self, host: str, port: int) -> _Name:
        name = self._names.get((host, port))
        if name is None:
            if len(self._names) >= MAX_NAMES:
                self._names.pop(next(iter(self._names)))
            name = self._names[host, port] = _Name()
        return name


def _literal(host: str, port: int) -> AddrInfoType | None:
    """The address that `host` spells out, if it does."""
    try:
        version = ipaddress.ip_address(host).version
    except ValueError:
        return None
    if version == 4:
        return socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP, "", (host, port)
    return socket.AF_INET6, socket.SOCK_STREAM, socket.IPPROTO_TCP, "", (host, port, 0, 0)
