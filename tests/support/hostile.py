"""A server that does on the wire exactly what a test tells it to, right or wrong.

    async def script(peer: Peer) -> None:
        await peer.request()
        await peer.send(b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nhel")

    async with serve(script) as server:
        ...server.url...

A script runs once per connection, and the connection is closed when it returns. What a script raises is raised
again where the server was opened.
"""

from __future__ import annotations

import asyncio
import datetime
import ipaddress
import socket
import ssl
import struct
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID


@dataclass(frozen=True, slots=True)
class Received:
    """One request as it came over the wire."""

    method: str
    target: str
    headers: list[tuple[str, str]]
    body: bytes

    def header(self, name: str) -> str | None:
        return next((value for key, value in self.headers if key.lower() == name), None)


@dataclass(eq=False)
class Peer:
    """The server's end of one connection."""

    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter
    received: list[Received] = field(default_factory=list)
    gone: asyncio.Event = field(default_factory=asyncio.Event)
    """The client has closed the connection, and a script has seen it (`request`, `until_gone`)."""

    async def request(self) -> Received | None:
        """The next request, or `None` when the client has closed the connection instead."""
        try:
            head = await self.reader.readuntil(b"\r\n\r\n")
            request = _parse(head)
            body = await self.reader.readexactly(int(request.header("content-length") or 0))
        except (asyncio.IncompleteReadError, ConnectionError):
            self.gone.set()
            return None
        request = Received(request.method, request.target, request.headers, body)
        self.received.append(request)
        return request

    async def send(self, data: bytes) -> None:
        self.writer.write(data)
        await self.writer.drain()

    async def until_gone(self) -> None:
        """Wait until the client has closed the connection, by FIN or RST; what it still sends is thrown away."""
        try:
            while await self.reader.read(65536):
                pass
        except ConnectionError:
            pass
        self.gone.set()

    def reset(self) -> None:
        """Close with RST instead of FIN."""
        sock = self.writer.get_extra_info("socket")
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.writer.transport.abort()


Script = Callable[[Peer], Awaitable[None]]


@dataclass
class HostileServer:
    url: str
    peers: list[Peer] = field(default_factory=list)
    """Every connection there was, in order."""

    @property
    def received(self) -> list[Received]:
        return [request for peer in self.peers for request in peer.received]


@asynccontextmanager
async def serve(script: Script, *, tls: ssl.SSLContext | None = None) -> AsyncIterator[HostileServer]:
    """Listen on a free loopback port and run `script` for each connection."""
    tasks: set[asyncio.Task[None]] = set()
    failures: list[BaseException] = []

    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        tasks.add(task)
        peer = Peer(reader, writer)
        hostile.peers.append(peer)
        try:
            await script(peer)
        except ConnectionError:
            pass  # the client left while being written to: an ordinary end
        except asyncio.CancelledError:
            pass  # the server is closing
        except BaseException as exc:  # noqa: BLE001 -- raised again by `serve`
            failures.append(exc)
        finally:
            writer.close()
            tasks.discard(task)

    server = await asyncio.start_server(handle, "127.0.0.1", 0, ssl=tls)
    port = server.sockets[0].getsockname()[1]
    hostile = HostileServer(f"{'https' if tls else 'http'}://127.0.0.1:{port}")
    try:
        yield hostile
    finally:
        server.close()
        running = list(tasks)
        for task in running:
            task.cancel()
        await asyncio.gather(*running, return_exceptions=True)
        for peer in hostile.peers:
            peer.writer.transport.abort()
    if failures:
        raise failures[0]


def respond(data: bytes) -> Script:
    """Answer every request on a connection with these bytes."""

    async def script(peer: Peer) -> None:
        while await peer.request():
            await peer.send(data)

    return script


def respond_once(data: bytes) -> Script:
    """Answer the first request with these bytes, then close the connection."""

    async def script(peer: Peer) -> None:
        if await peer.request():
            await peer.send(data)

    return script


def message(body: bytes, *fields: bytes, status: bytes = b"200 OK") -> bytes:
    """A well-formed response."""
    head = b"".join(line + b"\r\n" for line in (b"content-length: %d" % len(body), *fields))
    return b"HTTP/1.1 " + status + b"\r\n" + head + b"\r\n" + body


async def arrival() -> None:
    """Wait until what was sent over loopback before has been received: this goes the same way, and later."""

    async def echo(peer: Peer) -> None:
        await peer.send(await peer.reader.readexactly(1))

    async with serve(echo) as server:
        reader, writer = await asyncio.open_connection("127.0.0.1", int(server.url.rpartition(":")[2]))
        writer.write(b"?")
        await reader.readexactly(1)
        writer.close()
        await writer.wait_closed()


def unused_port() -> int:
    """A loopback port nobody listens on."""
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        port: int = sock.getsockname()[1]
        return port


def self_signed(folder: Path) -> tuple[ssl.SSLContext, Path]:
    """A server's TLS context for 127.0.0.1, and its certificate, which nobody trusts."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "127.0.0.1")])
    now = datetime.datetime.now(datetime.UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]), False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), True)
        .sign(key, hashes.SHA256())
    )
    chain, secret = folder / "certificate.pem", folder / "key.pem"
    chain.write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    secret.write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(chain, secret)
    return context, chain


def _parse(head: bytes) -> Received:
    start, *lines = head[:-4].decode("latin-1").split("\r\n")
    method, target, _ = start.split(" ")
    fields = [(name, value.strip()) for name, _, value in (line.partition(":") for line in lines)]
    return Received(method, target, fields, b"")
