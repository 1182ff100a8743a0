"""Where the server listens: `--bind` to sockets."""

from __future__ import annotations

import errno
import ipaddress
import os
import socket
import stat
from collections.abc import Sequence

from oneapi_mw.cli.failure import CommandFailed, Misused
from oneapi_mw.immutable import immutable

BACKLOG = 512
DEFAULT_HOST = "127.0.0.1"
DEFAULT_PORT = 3000


@immutable
class Address:
    """One place to listen at: host and port, or the path of a Unix socket."""

    host: str = ""
    port: int = 0
    """0 takes any free port."""
    path: str = ""

    def __str__(self) -> str:
        if self.path:
            return f"unix:{self.path}"
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


def parse_address(text: str) -> Address:
    """`HOST:PORT`, `HOST`, `[IPV6]:PORT` or `unix:PATH`. Raises `Misused`."""
    if text.startswith("unix:"):
        if not text[5:]:
            raise Misused(f"{text!r} names no file: write unix:/run/oneapi.sock")
        return Address(path=text[5:])
    host, colon, port = text.rpartition(":")
    if not colon or text.endswith("]") or _is_ipv6(text):
        host, port = text, str(DEFAULT_PORT)
    if not (port.isascii() and port.isdecimal() and int(port) < 65536):
        raise Misused(f"{text!r} is not an address to listen at: write HOST:PORT, [IPV6]:PORT or unix:PATH")
    if not host:
        raise Misused(f"{text!r} names no host: write 127.0.0.1{text}, or 0.0.0.0{text} for every interface")
    return Address(host.removeprefix("[").removesuffix("]"), int(port))


def _is_ipv6(text: str) -> bool:
    try:
        return ipaddress.ip_address(text).version == 6
    except ValueError:
        return False


def bind(addresses: Sequence[Address]) -> list[socket.socket]:
    """A bound socket for each address; nobody can connect before `listen`.

    Raises: `CommandFailed` naming the address and what to do.
    """
    sockets: list[socket.socket] = []
    try:
        for address in addresses:
            sockets.append(_bind_unix(address) if address.path else _bind_port(address))
    except OSError as exc:
        close(sockets, addresses[: len(sockets)])
        raise CommandFailed(f"cannot listen on {address}: {_explain(exc)}") from exc
    return sockets


def listen(sockets: Sequence[socket.socket]) -> None:
    """Let clients connect; they wait until somebody accepts them. Raises `CommandFailed`."""
    for listener in sockets:
        try:
            listener.listen(BACKLOG)
        except OSError as exc:
            raise CommandFailed(f"cannot listen on {url(listener)}: {_explain(exc)}") from exc


def close(sockets: Sequence[socket.socket], addresses: Sequence[Address] = ()) -> None:
    """Close what is open still, and remove the files of Unix sockets among `addresses`."""
    for listener in sockets:
        listener.close()
    for address in addresses:
        if address.path:
            remove_stale(address.path)


def is_loopback(listener: socket.socket) -> bool:
    """Whether only this machine can connect. Asks the socket, not the name it was bound by."""
    if listener.family == socket.AF_UNIX:
        return True
    address = ipaddress.ip_address(listener.getsockname()[0].partition("%")[0])
    mapped = getattr(address, "ipv4_mapped", None)
    return bool((mapped or address).is_loopback)


def url(listener: socket.socket) -> str:
    """Where a client finds the socket, with its real port."""
    name = listener.getsockname()
    if listener.family == socket.AF_UNIX:
        return f"unix:{name}"
    return f"http://[{name[0]}]:{name[1]}" if listener.family == socket.AF_INET6 else f"http://{name[0]}:{name[1]}"


def _bind_port(address: Address) -> socket.socket:
    found = socket.getaddrinfo(address.host, address.port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    family, kind, protocol, _, where = found[0]
    listener = socket.socket(family, kind, protocol)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(where)
    except BaseException:
        listener.close()
        raise
    return listener


def _bind_unix(address: Address) -> socket.socket:
    """Replaces the file that a killed server has left behind, but nothing that is in use."""
    listener = socket.socket(socket.AF_UNIX)
    try:
        if listener.connect_ex(address.path) == errno.ECONNREFUSED:
            remove_stale(address.path)
        listener.close()
        listener = socket.socket(socket.AF_UNIX)
        listener.bind(address.path)
    except BaseException:
        listener.close()
        raise
    return listener


def remove_stale(path: str) -> None:
    """Remove the socket file at `path`; other kinds of files stay."""
    try:
        if stat.S_ISSOCK(os.stat(path).st_mode):
            os.unlink(path)
    except FileNotFoundError:
        pass  # somebody else has removed it


def _explain(exc: OSError) -> str:
    if exc.errno == errno.EADDRINUSE:
        return "another program listens there: stop it, or choose another port with --bind"
    if exc.errno == errno.EACCES:
        return "permission denied: choose a port from 1024 up, or run with the right to use this one"
    if isinstance(exc, socket.gaierror):
        return "the host name is not known: write an address of this machine"
    if exc.errno == errno.EADDRNOTAVAIL:
        return "this machine has no such address: write one of its own, or 0.0.0.0 for all"
    return exc.strerror or str(exc)
