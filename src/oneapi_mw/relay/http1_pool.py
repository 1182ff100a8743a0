"""Where connections come from: kept-alive ones, else new ones."""

from __future__ import annotations

import asyncio
import errno
import math
import socket
import ssl

from aiohappyeyeballs import AddrInfoType, start_connection

from oneapi_mw.relay.http1_connection import Connection, Origin
from oneapi_mw.relay.resolve import Resolver
from oneapi_mw.relay.upstream import ConnectFailed, ConnectTimeout, UpstreamFault

HAPPY_EYEBALLS_DELAY = 0.25
"""Seconds an address gets before the next one is tried beside it (RFC 8305)."""

HANDSHAKE_SECONDS = 24 * 3600.0
"""Our own limit ends a handshake long before this; the event loop insists on having one, too."""

PROBE_SECONDS = 60
"""A silent connection is probed this often: a model that thinks for minutes must not be forgotten by a NAT."""


class ConnectionPool:
    """Connections of one event loop. The one used last is used first, so that the others may expire."""

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        *,
        connections_per_host: int,
        keepalive: float,
        dns_ttl: float,
        tls: ssl.SSLContext | None,
    ) -> None:
        self._loop = loop
        self._keepalive = keepalive
        self._tls = tls
        self._tls_lock = asyncio.Lock()
        self._resolver = Resolver(loop, ttl=dns_ttl)
        self._limit = connections_per_host
        self._places: dict[Origin, asyncio.Semaphore] = {}
        self._connections: set[Connection] = set()
        """Every one there is."""
        self._idle: dict[Origin, dict[Connection, None]] = {}
        """Last released last."""
        self._sweeper: asyncio.TimerHandle | None = None
        self._closed = False

    def take(self, origin: Origin) -> Connection | None:
        """A connection that is there already. Always `None` in a pool with limits: `acquire` sees to the order."""
        return None if self._limit else self._take(origin)

    async def acquire(self, origin: Origin) -> Connection:
        """A connection, waiting for a place and making a new one if need be. Raises `ConnectFailed`, `ConnectTimeout`.

        It is the caller's until it is released, which sending a request and receiving its answer does.
        """
        if not self._limit:
            return await self._open(origin)
        places = self._places.setdefault(origin, asyncio.Semaphore(self._limit))
        await places.acquire()
        try:
            return self._take(origin) or await self._open(origin)
        except BaseException:
            places.release()
            raise

    def release(self, connection: Connection, *, reusable: bool) -> None:
        """See `Owner.release`."""
        connection.lent = False
        if self._limit:
            self._places[connection.origin].release()
        if not reusable:
            return
        if self._closed:
            connection.abort()
            return
        patience = self._keepalive if connection.patience is None else min(self._keepalive, connection.patience)
        connection.idle_until = self._loop.time() + patience
        self._idle.setdefault(connection.origin, {})[connection] = None
        if self._sweeper is None:
            self._sweeper = self._loop.call_at(connection.idle_until, self._sweep)

    def forget(self, connection: Connection) -> None:
        """See `Owner.forget`."""
        self._connections.discard(connection)
        idle = self._idle.get(connection.origin)
        if idle is not None:
            idle.pop(connection, None)

    async def aclose(self) -> None:
        """Close every connection, and wait until they are closed."""
        self._closed = True
        if self._sweeper is not None:
            self._sweeper.cancel()
            self._sweeper = None
        connections = list(self._connections)
        for connection in connections:
            connection.cut()
        for connection in connections:
            await connection.wait_gone()

    def _take(self, origin: Origin) -> Connection | None:
        idle = self._idle.get(origin)
        now = self._loop.time() if idle else 0.0
        while idle:
            connection, _ = idle.popitem()
            if now < connection.idle_until and not connection.closing:
                connection.lent = True
                return connection
            connection.abort()
        return None

    def _sweep(self) -> None:
        """Close what has been idle for too long, and come back when the next one will have been."""
        now = self._loop.time()
        upcoming = math.inf
        for origin, idle in list(self._idle.items()):
            for connection in list(idle):
                if connection.idle_until <= now:
                    del idle[connection]
                    connection.abort()
                else:
                    upcoming = min(upcoming, connection.idle_until)
            if not idle:
                del self._idle[origin]
        self._sweeper = self._loop.call_at(upcoming, self._sweep) if upcoming < math.inf else None

    async def _open(self, origin: Origin) -> Connection:
        context = await self._context() if origin.tls else None
        addresses = await self._resolver.lookup(origin.host, origin.port)
        try:
            sock = await start_connection(
                addresses,
                happy_eyeballs_delay=HAPPY_EYEBALLS_DELAY,
                loop=self._loop,
                socket_factory=_socket,
            )
            _, connection = await self._loop.create_connection(
                lambda: Connection(self, origin, self._loop),
                sock=sock,
                ssl=context,
                server_hostname=origin.host.rstrip(".") if context is not None else None,
                ssl_handshake_timeout=HANDSHAKE_SECONDS if context is not None else None,
            )
        except (OSError, RuntimeError) as exc:  # the latter: uvloop's word for some of the former
            raise _fault(exc) from None
        if connection.closing:  # already: it was there for a moment only
            raise ConnectFailed
        # Not before: cancelled while it makes one, uvloop closes a connection without saying so to its protocol.
        self._connections.add(connection)
        connection.lent = True
        return connection

    async def _context(self) -> ssl.SSLContext:
        """Made when first needed, in a thread: it reads all certificates the system trusts."""
        async with self._tls_lock:
            if self._tls is None:
                self._tls = await asyncio.to_thread(_verifying_context)
        return self._tls


def _verifying_context() -> ssl.SSLContext:
    context = ssl.create_default_context()
    context.set_alpn_protocols(["http/1.1"])
    return context


def _socket(address: AddrInfoType) -> socket.socket:
    family, kind, protocol, _, _ = address
    sock = socket.socket(family, kind, protocol)
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    for option in ("TCP_KEEPIDLE", "TCP_KEEPINTVL"):  # not on every platform
        if hasattr(socket, option):
            sock.setsockopt(socket.IPPROTO_TCP, getattr(socket, option), PROBE_SECONDS)
    return sock


def _fault(exc: OSError | RuntimeError) -> UpstreamFault:
    match exc:
        case ssl.SSLCertVerificationError():
            return ConnectFailed("certificate not trusted")
        case ssl.SSLError():
            return ConnectFailed("no TLS")
        case TimeoutError():
            return ConnectTimeout()
        case OSError(errno=errno.ECONNREFUSED):
            return ConnectFailed("refused")
        case _:
            return ConnectFailed()
