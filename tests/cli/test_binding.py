"""Where the server listens, and who can connect there."""

from __future__ import annotations

import socket
from pathlib import Path

import pytest

from oneapi_mw.cli import binding
from oneapi_mw.cli.binding import Address, parse_address
from oneapi_mw.cli.failure import CommandFailed, Misused


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("127.0.0.1:80", Address("127.0.0.1", 80)),
        ("localhost", Address("localhost", 3000)),
        ("localhost:0", Address("localhost", 0)),
        ("[::1]:80", Address("::1", 80)),
        ("[::1]", Address("::1", 3000)),
        ("::1", Address("::1", 3000)),
        ("unix:/run/x.sock", Address(path="/run/x.sock")),
    ],
)
def test_spellings(text: str, address: Address) -> None:
    assert parse_address(text) == address


@pytest.mark.parametrize("text", ["", ":80", "host:", "host:x", "host:65536", "host:-1", "host:٣", "unix:"])
def test_what_is_no_address(text: str) -> None:
    with pytest.raises(Misused):
        parse_address(text)


@pytest.mark.parametrize(
    ("text", "alone"),
    [("127.0.0.1:0", True), ("127.1.2.3:0", True), ("localhost:0", True), ("[::1]:0", True), ("0.0.0.0:0", False),
     ("[::]:0", False)],
)  # fmt: skip
def test_loopback_is_what_the_socket_says(text: str, alone: bool) -> None:
    if text.startswith("[") and not _has_ipv6():
        pytest.skip("no IPv6 here")
    sockets = binding.bind([parse_address(text)])
    assert binding.is_loopback(sockets[0]) is alone
    binding.close(sockets)


def _has_ipv6() -> bool:
    try:
        with socket.socket(socket.AF_INET6) as probe:
            probe.bind(("::1", 0))
    except OSError:
        return False
    return True


def test_the_url_has_the_real_port() -> None:
    sockets = binding.bind([Address("127.0.0.1", 0)])
    port = sockets[0].getsockname()[1]
    assert port
    assert binding.url(sockets[0]) == f"http://127.0.0.1:{port}"
    binding.close(sockets)


def test_a_port_in_use_is_named_and_nothing_stays_bound(tmp_path: Path) -> None:
    file = tmp_path / "first.sock"
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = other.getsockname()[1]
        with pytest.raises(CommandFailed, match=rf"127\.0\.0\.1:{port}: another program listens there"):
            binding.bind([Address(path=str(file)), Address("127.0.0.1", port)])
    assert not file.exists()


def test_an_address_of_another_machine() -> None:
    with pytest.raises(CommandFailed, match="no such address"):
        binding.bind([Address("203.0.113.77", 0)])


def test_an_unknown_host(monkeypatch: pytest.MonkeyPatch) -> None:
    def unknown(*args: object, **kwargs: object) -> None:
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    monkeypatch.setattr("socket.getaddrinfo", unknown)
    with pytest.raises(CommandFailed, match="the host name is not known"):
        binding.bind([Address("gateway.example", 0)])


def test_unix_socket(tmp_path: Path) -> None:
    path = tmp_path / "gateway.sock"
    first = binding.bind([Address(path=str(path))])
    binding.listen(first)
    assert binding.is_loopback(first[0])
    assert binding.url(first[0]) == f"unix:{path}"
    with pytest.raises(CommandFailed, match="another program listens there"):
        binding.bind([Address(path=str(path))])
    binding.close(first)  # as a killed server does: the file stays

    second = binding.bind([Address(path=str(path))])
    binding.close(second, [Address(path=str(path))])
    assert not path.exists()


def test_only_sockets_are_removed(tmp_path: Path) -> None:
    path = tmp_path / "notes.txt"
    path.write_text("mine")
    with pytest.raises(CommandFailed):
        binding.bind([Address(path=str(path))])
    assert path.read_text() == "mine"
