"""Whose address it is."""

from __future__ import annotations

import pytest

from oneapi_mw.middleware.address import ClientAddress
from tests.support.harness import http_scope

TRUSTED = ("10.0.0.0/8", "::1/128")


@pytest.mark.parametrize(
    ("peer", "forwarded", "address"),
    [
        ("1.1.1.1", None, "1.1.1.1"),
        ("1.1.1.1", "9.9.9.9", "1.1.1.1"),
        ("10.0.0.1", None, "10.0.0.1"),
        ("10.0.0.1", "9.9.9.9", "9.9.9.9"),
        ("10.0.0.1", "6.6.6.6, 9.9.9.9", "9.9.9.9"),
        ("10.0.0.1", "6.6.6.6, 9.9.9.9, 10.0.0.2", "9.9.9.9"),
        ("::1", "9.9.9.9", "9.9.9.9"),
        ("::ffff:10.0.0.1", "9.9.9.9", "9.9.9.9"),
        ("10.0.0.1", "10.0.0.2, ,", "10.0.0.1"),
        ("10.0.0.1", "nonsense", "nonsense"),
        ("/run/socket", "9.9.9.9", "/run/socket"),
    ],
)
def test_behind_proxies(peer: str, forwarded: str | None, address: str) -> None:
    headers = {} if forwarded is None else {"x-forwarded-for": forwarded}
    scope = http_scope(headers=headers, client=(peer, 1))
    assert ClientAddress(TRUSTED)(scope) == address


def test_nobody_is_trusted_by_default() -> None:
    assert ClientAddress()(http_scope(headers={"x-forwarded-for": "9.9.9.9"})) == "127.0.0.1"
    assert ClientAddress()(http_scope(client=None)) is None
    assert ClientAddress(TRUSTED)(http_scope(client=None, headers={"x-forwarded-for": "9.9.9.9"})) is None
