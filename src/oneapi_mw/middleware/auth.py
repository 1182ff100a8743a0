"""API keys to principals."""

from __future__ import annotations

import hmac
import ipaddress
import re
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import lru_cache
from typing import Protocol
from urllib.parse import parse_qsl

from starlette.types import ASGIApp, Receive, Scope, Send

from oneapi_mw.errors import (
    AddressNotAllowed,
    ChannelPinForbidden,
    InvalidRequest,
    TokenDisabled,
    TokenExhausted,
    TokenExpired,
    Unauthorized,
    UserDisabled,
)
from oneapi_mw.principal import PRINCIPAL, Principal, Role, TokenStatus, UserStatus
from oneapi_mw.scope import route_path

CREDENTIAL_HEADERS = frozenset({b"authorization", b"x-api-key", b"api-key", b"x-goog-api-key"})
MAX_KEY_BYTES = 256
_PIN = re.compile(r"(.+)-([0-9]{1,19}|[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12})")


class PrincipalSource(Protocol):
    async def find(self, key: str) -> Principal | None:
        """The principal of a key without prefix; `None` when there is no such key."""


class AuthMiddleware:
    """Let a request in only with a valid API key, and say who it is.

    Takes the key from `Authorization`, `X-Api-Key`, `Api-Key` or `X-Goog-Api-Key`. Provides `PRINCIPAL`.
    Raises `Unauthorized` or a `Forbidden` before the inner app has been called; `StoreUnavailable`, never 401,
    when the store cannot be asked.

    Args:
        principals: where keys are looked up.
        key_prefix: what the gateway shows before its keys; dropped from incoming ones.
        address_of: the client's address for subnet rules; by default the socket's peer.
        clock: Unix seconds.
    """

    requires, provides = (), (PRINCIPAL,)

    def __init__(
        self,
        app: ASGIApp,
        *,
        principals: PrincipalSource,
        key_prefix: str = "sk-",
        address_of: Callable[[Scope], str | None] | None = None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self.app = app
        self._principals = principals
        self._prefixes = (key_prefix, "sk-", "laisky-")  # the same one twice too: clients prepend what is there already
        self._address_of = address_of or peer_address
        self._clock = clock

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] not in ("http", "websocket"):
            await self.app(scope, receive, send)
            return
        principal = await self.authenticate(scope)
        await self.app(PRINCIPAL.put(scope, principal), receive, send)

    async def authenticate(self, scope: Scope, *, used_up: bool = False) -> Principal:
        """The principal of the request in `scope`, checked; with `used_up` a key whose quota is used up will do, for
        what ends a hold. Raises as the class says."""
        principal = await self._find(presented_key(scope, self._prefixes))
        self._check(principal, scope, used_up=used_up)
        if principal.channel_pin is not None and principal.role < Role.ADMIN:
            raise ChannelPinForbidden("Ordinary users do not support specifying channels")
        return principal

    async def _find(self, key: str) -> Principal:
        principal = await self._principals.find(key)
        if principal is not None:
            return principal
        pinned = _PIN.fullmatch(key)
        if pinned is not None:
            principal = await self._principals.find(pinned[1])
        if pinned is None or principal is None:
            raise Unauthorized("No such API key: check the key, or create one in the console")
        return replace(principal, channel_pin=pinned[2])

    def _check(self, principal: Principal, scope: Scope, *, used_up: bool) -> None:
        name = principal.token_name
        exhausted = principal.token_status == TokenStatus.EXHAUSTED
        if principal.token_status != TokenStatus.ENABLED and not (exhausted and used_up):
            if exhausted:
                raise token_exhausted(principal)
            if principal.token_status == TokenStatus.EXPIRED:
                raise TokenExpired(f"API key {name!r} has expired: extend it, or create a new one")
            raise TokenDisabled(f"API key {name!r} is disabled: enable it, or use another key")
        if principal.expires_at != -1 and principal.expires_at <= self._clock():
            raise TokenExpired(f"API key {name!r} has expired: extend it, or create a new one")
        if principal.user_status != UserStatus.ENABLED:
            raise UserDisabled("User has been banned")
        if principal.subnets and not _inside(self._address_of(scope), principal.subnets):
            raise AddressNotAllowed("This API key can only be used in the specified subnet")


def token_exhausted(principal: Principal) -> TokenExhausted:
    return TokenExhausted(f"The quota of API key {principal.token_name!r} is used up: raise it, or use another key")


def peer_address(scope: Scope) -> str | None:
    """The address of the socket's other end."""
    client = scope.get("client")
    return client[0] if client else None


def presented_key(scope: Scope, prefixes: Sequence[str] = ()) -> str:
    """The one credential of a request, without any of `prefixes`.

    Raises: `Unauthorized` without one; `InvalidRequest` when a header is repeated or two headers disagree.
    """
    found: str | None = None
    seen: set[bytes] = set()
    for name, value in scope["headers"]:
        if name in CREDENTIAL_HEADERS:
            if name in seen:
                raise InvalidRequest(f"Header {name.decode()} is sent twice: send it once", code="duplicate_header")
            seen.add(name)
            if len(value) > MAX_KEY_BYTES or not value.isascii() or not value.decode().isprintable():
                raise Unauthorized("No such API key: check the key, or create one in the console")
            key = canonical_key(value.decode().strip(), prefixes)
            if not key:
                continue
            if found is None:
                found = key
            elif not hmac.compare_digest(found, key):
                raise InvalidRequest("Two different API keys are sent: send one", code="ambiguous_credentials")
    if not found and b"key=" in scope.get("query_string", b""):
        found = _key_of_query(scope, prefixes)
    if not found:
        raise Unauthorized("No token provided: send your API key as 'Authorization: Bearer ...'")
    return found


def _key_of_query(scope: Scope, prefixes: Sequence[str]) -> str | None:
    """`?key=`, where Google's clients may put it; nowhere else, since addresses end up in logs."""
    if not route_path(scope).startswith(("/v1beta/", "/v1/models")):
        return None
    keys = [value for name, value in parse_qsl(scope["query_string"].decode("latin-1")) if name == "key"]
    if len(keys) != 1 or len(keys[0]) > MAX_KEY_BYTES or not keys[0].isascii() or not keys[0].isprintable():
        return None
    return canonical_key(keys[0].strip(), prefixes)


def canonical_key(key: str, prefixes: Sequence[str]) -> str:
    """`key` as it is stored: the scheme and each known prefix dropped once, in order."""
    scheme, _, rest = key.partition(" ")
    if scheme.lower() == "bearer":
        key = rest.strip()
    for prefix in prefixes:
        key = key.removeprefix(prefix)
    return key


@lru_cache(maxsize=1024)
def _networks(subnets: tuple[str, ...]) -> tuple[ipaddress.IPv4Network | ipaddress.IPv6Network, ...]:
    return tuple(ipaddress.ip_network(subnet, strict=False) for subnet in subnets)


def _inside(address: str | None, subnets: tuple[str, ...]) -> bool:
    if address is None:
        return False
    try:
        parsed = ipaddress.ip_address(address)
        networks = _networks(subnets)
    except ValueError:
        return False
    if isinstance(parsed, ipaddress.IPv6Address) and parsed.ipv4_mapped is not None:
        parsed = parsed.ipv4_mapped
    return any(parsed in network for network in networks if network.version == parsed.version)
