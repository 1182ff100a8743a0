"""What the management API needs from the gateway it belongs to."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from starlette.types import Scope

from oneapi_mw import __version__
from oneapi_mw.ledger.base import Ledger
from oneapi_mw.pricing.live import LivePrices
from oneapi_mw.principal import Principal
from oneapi_mw.providers.catalogue import get_provider
from oneapi_mw.store.base import Store


class Passwords(Protocol):
    """Slow hashing, done off the event loop."""

    async def hash(self, password: str) -> str:
        """A salted hash in a self-describing text form."""

    async def verify(self, password: str, hashed: str) -> bool:
        """Whether `password` is the one `hashed` was made from."""


class KeyCheck(Protocol):
    """Says whose API key a request has."""

    async def __call__(self, scope: Scope, *, used_up: bool = False) -> Principal:
        """The key, checked; with `used_up` one whose quota is used up will do. Raises `GatewayError`."""


def catalogue_base_url(channel_type: int) -> str | None:
    """Where a channel of this type goes unless it says otherwise."""
    provider = get_provider(channel_type)
    return provider.spec.base_url if provider else None


def catalogue_name(channel_type: int) -> str | None:
    """The provider's name in the catalogue."""
    provider = get_provider(channel_type)
    return provider.spec.name if provider else None


@dataclass(frozen=True, slots=True, kw_only=True)
class AdminServices:
    """Resources and options of one gateway instance; nothing here is shared between instances."""

    store: Store
    passwords: Passwords
    ledger: Ledger
    authenticate_key: KeyCheck
    client_address: Callable[[Scope], str | None]
    clock: Callable[[], float] = time.time
    """Unix seconds."""
    default_base_url: Callable[[int], str | None] = catalogue_base_url
    provider_name: Callable[[int], str | None] = catalogue_name

    token_key_prefix: str = "sk-"  # noqa: S105 -- what is shown before every key
    mask_admin_token_keys: bool = False
    """Show administrators only the ends of other people's API keys. One API shows them whole."""
    cookie_name: str = "session"
    """Two gateways on one host need two names."""
    cookie_secure: bool = True
    cookie_max_age: int = 7 * 24 * 3600
    """Seconds."""
    strict_http_status: bool = False
    """Answer refused requests with 400, 404, 409 or 422 instead of 200 and `success: false`."""
    public_cost_lookup: bool = True
    """Whether a request id alone is enough to see what the request cost."""
    max_items_per_page: int = 100
    external_seconds: int = 600
    """How long an amount set aside by an external service is held when it does not say."""
    external_max_seconds: int = 3600
    external_overrun: bool = True
    """Whether an external service may charge more than it set aside and the balance has."""
    max_transactions: int = 1000
    """External transactions that an API key sees, newest first."""
    redeem_failures: int = 5
    """Wrong redemption codes from one user in ten minutes; 0 for no limit."""
    system_name: str = "One API"
    server_address: str = ""
    version: str = __version__
    start_time: int = 0
    """Unix seconds."""
    prices: LivePrices | None = None
    """Told of changed prices and group ratios, so that they are in force at once."""
    without_price: Callable[[], Mapping[str, Sequence[str]]] = dict
    """Models that enabled channels list and nobody has priced, with the names of these channels."""
