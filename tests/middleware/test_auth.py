"""Keys in headers, and what may be wrong with them."""

from __future__ import annotations

from typing import Any

import pytest
from starlette.types import Receive, Scope, Send

from oneapi_mw.errors import GatewayError, StoreUnavailable
from oneapi_mw.middleware.auth import AuthMiddleware, canonical_key, presented_key
from oneapi_mw.principal import PRINCIPAL, Principal, Role, TokenStatus, UserStatus
from tests.relay.stack import KEY, Keys, principal
from tests.support.harness import Client, http_scope

PREFIXES = ("sk-", "laisky-")


def scope_of(*headers: tuple[str, str], kind: str = "http", client: Any = ("127.0.0.1", 1)) -> Scope:
    raw = [(name.encode(), value.encode("latin-1")) for name, value in headers]
    return {**http_scope("POST", "/x", client=client), "headers": raw, "type": kind}


async def admit(scope: Scope, keys: Keys, **options: Any) -> Principal:
    """Who the inner app sees."""
    seen: list[Principal] = []

    async def inner(scope: Scope, receive: Receive, send: Send) -> None:
        seen.append(PRINCIPAL.get(scope))

    client = Client()
    await AuthMiddleware(inner, principals=keys, **options)(scope, client.receive, client.send)
    (found,) = seen
    return found


async def refused(scope: Scope, keys: Keys, **options: Any) -> GatewayError:
    with pytest.raises(GatewayError) as caught:
        await admit(scope, keys, **options)
    return caught.value


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("authorization", "Bearer sk-abc"),
        ("authorization", "bearer   sk-abc "),
        ("authorization", "BEARER abc"),
        ("authorization", "abc"),
        ("x-api-key", "sk-abc"),
        ("x-api-key", "Bearer sk-abc"),
        ("api-key", "laisky-abc"),
        ("x-goog-api-key", "sk-laisky-abc"),
        ("authorization", "Bearer mine-sk-laisky-abc"),
    ],
)
@pytest.mark.parametrize("kind", ["http", "websocket"])
async def test_where_a_key_may_be(name: str, value: str, kind: str) -> None:
    keys = Keys({KEY: principal()})
    assert await admit(scope_of((name, value), kind=kind), keys, key_prefix="mine-") == principal()
    assert keys.asked == [KEY]


@pytest.mark.parametrize(
    ("key", "stored"),
    [
        ("abc", "abc"),
        ("sk-abc", "abc"),
        ("sk-sk-abc", "sk-abc"),
        ("SK-abc", "SK-abc"),
        ("laisky-sk-abc", "sk-abc"),
        ("sk-laisky-abc", "abc"),
        ("Bearer", ""),
        ("sk-", ""),
    ],
)
def test_each_prefix_is_dropped_once_and_in_order(key: str, stored: str) -> None:
    assert canonical_key(key, PREFIXES) == stored


@pytest.mark.parametrize(
    ("headers", "status", "code"),
    [
        ([], 401, "invalid_api_key"),
        ([("authorization", "Bearer ")], 401, "invalid_api_key"),
        ([("authorization", "Bearer sk-")], 401, "invalid_api_key"),
        ([("authorization", "Bearer nobody")], 401, "invalid_api_key"),
        ([("authorization", "Bearer sk-ABC")], 401, "invalid_api_key"),
        ([("authorization", "Basic YWJj")], 401, "invalid_api_key"),
        ([("authorization", "Bearer sch\xf6n")], 401, "invalid_api_key"),
        ([("authorization", "Bearer a\0b")], 401, "invalid_api_key"),
        ([("x-api-key", "x" * 100_000)], 401, "invalid_api_key"),
        ([("authorization", "Bearer abc"), ("authorization", "Bearer abc")], 400, "duplicate_header"),
        ([("x-api-key", "abc"), ("x-api-key", "def")], 400, "duplicate_header"),
        ([("authorization", "Bearer abc"), ("x-api-key", "def")], 400, "ambiguous_credentials"),
    ],
)
async def test_what_is_no_key(headers: list[tuple[str, str]], status: int, code: str) -> None:
    error = await refused(scope_of(*headers), Keys({KEY: principal()}))
    assert (error.status, error.code) == (status, code)
    assert "abc" not in error.message.lower()


async def test_two_spellings_of_one_key_are_one_key() -> None:
    headers = ("authorization", "Bearer sk-abc"), ("x-api-key", "abc"), ("api-key", "")
    assert await admit(scope_of(*headers), Keys({KEY: principal()})) == principal()


def test_a_missing_key_is_told_from_a_wrong_one() -> None:
    for value in ("Bearer ", "", "sk-"):
        with pytest.raises(GatewayError, match="No token provided"):
            presented_key(scope_of(("authorization", value)), PREFIXES)


@pytest.mark.parametrize(
    ("changes", "status", "code"),
    [
        ({"token_status": TokenStatus.DISABLED}, 401, "token_disabled"),
        ({"token_status": 99}, 401, "token_disabled"),
        ({"token_status": TokenStatus.EXPIRED}, 401, "token_expired"),
        ({"token_status": TokenStatus.EXHAUSTED}, 401, "token_exhausted"),
        ({"expires_at": 1000}, 401, "token_expired"),
        ({"expires_at": 0}, 401, "token_expired"),
        ({"user_status": UserStatus.DISABLED}, 403, "user_disabled"),
        ({"user_status": UserStatus.DELETED}, 403, "user_disabled"),
        ({"subnets": ("10.0.0.0/8",)}, 403, "ip_not_allowed"),
        ({"token_status": TokenStatus.DISABLED, "user_status": UserStatus.DISABLED}, 401, "token_disabled"),
    ],
)
async def test_what_a_known_key_may_lack(changes: dict[str, Any], status: int, code: str) -> None:
    scope = scope_of(("authorization", "Bearer abc"))
    error = await refused(scope, Keys({KEY: principal(**changes)}), clock=lambda: 1000.0)
    assert (error.status, error.code) == (status, code)
    assert "10.0.0.0" not in error.message


async def test_a_key_that_expires_later_is_good() -> None:
    keys = Keys({KEY: principal(expires_at=1001)})
    await admit(scope_of(("api-key", KEY)), keys, clock=lambda: 1000.9)


@pytest.mark.parametrize(
    ("subnets", "client", "inside"),
    [
        (("127.0.0.0/8",), ("127.0.0.1", 1), True),
        (("10.0.0.0/8", "127.0.0.1/32"), ("127.0.0.1", 1), True),
        (("10.1.2.3/8",), ("10.200.0.1", 1), True),
        (("127.0.0.0/8",), ("::ffff:127.0.0.1", 1), True),
        (("2001:db8::/32",), ("2001:db8::1", 1), True),
        (("2001:db8::/32",), ("127.0.0.1", 1), False),
        (("127.0.0.0/8",), None, False),
        (("127.0.0.0/8",), ("not an address", 1), False),
        (("nonsense",), ("127.0.0.1", 1), False),
    ],
)
async def test_subnets(subnets: tuple[str, ...], client: Any, inside: bool) -> None:
    scope, keys = scope_of(("api-key", KEY), client=client), Keys({KEY: principal(subnets=subnets)})
    if inside:
        await admit(scope, keys)
    else:
        assert (await refused(scope, keys)).code == "ip_not_allowed"


async def test_the_address_can_come_from_elsewhere() -> None:
    keys = Keys({KEY: principal(subnets=("10.0.0.0/8",))})
    await admit(scope_of(("api-key", KEY)), keys, address_of=lambda scope: "10.1.1.1")


UUID = "0190f5a0-1234-7abc-8def-0123456789ab"


@pytest.mark.parametrize("pin", ["12", UUID])
async def test_an_admin_pins_a_channel(pin: str) -> None:
    found = await admit(scope_of(("api-key", f"sk-abc-{pin}")), Keys({KEY: principal(role=Role.ADMIN)}))
    assert found.channel_pin == pin


@pytest.mark.parametrize(
    ("key", "role", "code"),
    [
        ("abc-12", Role.COMMON, "channel_pin_forbidden"),
        (f"abc-{UUID}", Role.COMMON, "channel_pin_forbidden"),
        (f"abc-{UUID.upper()}", Role.ROOT, "invalid_api_key"),
        ("abc-x1", Role.ROOT, "invalid_api_key"),
        ("abc-", Role.ROOT, "invalid_api_key"),
        ("abc-\u0661", Role.ROOT, "invalid_api_key"),
        ("def-12", Role.ROOT, "invalid_api_key"),
    ],
)
async def test_pins_that_do_not_hold(key: str, role: Role, code: str) -> None:
    scope = {**scope_of(), "headers": [(b"api-key", key.encode())]}
    assert (await refused(scope, Keys({KEY: principal(role=role)}))).code == code


async def test_a_disabled_key_is_not_told_about_pins() -> None:
    keys = Keys({KEY: principal(token_status=TokenStatus.DISABLED)})
    assert (await refused(scope_of(("api-key", "abc-12")), keys)).code == "token_disabled"


async def test_a_key_may_look_like_a_pin() -> None:
    assert (await admit(scope_of(("api-key", "abc-12")), Keys({"abc-12": principal()}))).channel_pin is None


async def test_a_store_that_is_away_is_not_a_wrong_key() -> None:
    class Away(Keys):
        async def find(self, key: str) -> Principal | None:
            raise StoreUnavailable("away", retry_after=1)

    assert (await refused(scope_of(("api-key", KEY)), Away({}))).status == 503


async def test_other_scopes_pass() -> None:
    seen: list[Scope] = []

    async def inner(scope: Scope, receive: Receive, send: Send) -> None:
        seen.append(scope)

    client = Client()
    await AuthMiddleware(inner, principals=Keys({}))({"type": "lifespan"}, client.receive, client.send)
    assert seen == [{"type": "lifespan"}]


@pytest.mark.parametrize(
    ("path", "query", "found"),
    [
        ("/v1beta/models/m:generateContent", b"key=sk-abc", True),
        ("/v1beta/models/m:streamGenerateContent", b"alt=sse&key=abc", True),
        ("/v1/models/m:generateContent", b"key=abc", True),
        ("/v1/chat/completions", b"key=abc", False),
        ("/v1beta/models/m:generateContent", b"key=abc&key=abc", False),
        ("/v1beta/models/m:generateContent", b"key=", False),
        ("/v1beta/models/m:generateContent", b"monkey=abc", False),
    ],
)
async def test_googles_clients_may_put_the_key_into_the_query(path: str, query: bytes, found: bool) -> None:
    scope = http_scope("POST", path, query=query)
    keys = Keys({KEY: principal()})
    if found:
        assert await admit(scope, keys) == principal()
    else:
        assert (await refused(scope, keys)).status == 401


async def test_a_key_in_a_header_goes_before_one_in_the_query() -> None:
    scope = http_scope("POST", "/v1beta/models", query=b"key=other", headers={"x-goog-api-key": "abc"})
    assert await admit(scope, Keys({KEY: principal()})) == principal()
