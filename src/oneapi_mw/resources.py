"""Everything a running gateway holds open: store, ledger, upstream connections, background tasks."""

from __future__ import annotations

import asyncio
import logging
import os
import secrets
import socket
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from functools import partial
from pathlib import Path

from oneapi_mw.background import Background
from oneapi_mw.immutable import immutable
from oneapi_mw.ledger.base import REMIND_BELOW, Ledger
from oneapi_mw.ledger.events import Delivery
from oneapi_mw.ledger.hold import RunningCosts
from oneapi_mw.ledger.limits import MAX_QUOTA
from oneapi_mw.ledger.open import open_ledger
from oneapi_mw.ledger.rollup import Rollup
from oneapi_mw.ledger.spool import Spooling, hindrance
from oneapi_mw.pricing.live import LivePrices
from oneapi_mw.pricing.shipped import shipped_table
from oneapi_mw.relay.http1_upstream import Http1Upstream
from oneapi_mw.relay.upstream import Upstream
from oneapi_mw.routing.live import LiveRouter
from oneapi_mw.routing.terms import BillingTerms
from oneapi_mw.settings import Settings
from oneapi_mw.store.base import Store
from oneapi_mw.store.bootstrap import ensure_root
from oneapi_mw.store.dsn import DatabaseUrl, parse_dsn
from oneapi_mw.store.engine import EngineOptions
from oneapi_mw.store.keyring import KeyRing
from oneapi_mw.store.passwords import verify_password
from oneapi_mw.store.sql import SqlStore
from oneapi_mw.types import Quota
from oneapi_mw.wire.envelope import Envelopes
from oneapi_mw.wire.target import ConversionOptions

log = logging.getLogger("oneapi_mw")

DEFAULT_ROOT_PASSWORD = "123456"  # noqa: S105 -- One API's, in force only where nobody else can connect
RENEW_SECONDS = 20.0
SWEEP_SECONDS = 30.0
ROLLUP_SECONDS = 2.0
DELIVERY_SECONDS = 10.0
OPTIONS_SECONDS = 30.0
REMIND_OPTION = "QuotaRemindThreshold"
PRICE_SECONDS = 3.0
"""How often other workers' changes to prices and group ratios are looked for."""
SPOOL = "BILLING_SPOOL_PATH"


class UnsafeConfiguration(RuntimeError):
    """The gateway refuses to start like this; the message says what to change."""


class UnusableSettings(ValueError):
    """A setting turned out to be wrong when it was used; the message says what to write instead."""


@immutable
class Resources:
    store: Store
    ledger: Ledger
    upstream: Upstream
    router: LiveRouter
    envelopes: Envelopes
    prices: LivePrices
    running: RunningCosts
    """What streams under way have cost: noted in the ledger from time to time."""


def database_url(settings: Settings) -> DatabaseUrl:
    """Where the settings say the database is. Raises `UnusableSettings`."""
    try:
        return parse_dsn(settings.sql_dsn, sqlite_path=settings.sqlite_path)
    except ValueError as exc:
        raise UnusableSettings(str(exc)) from exc


def key_file(settings: Settings) -> Path:
    """Where the secret is kept when the settings have none: beside the SQLite file."""
    return Path(settings.sqlite_path).with_suffix(".key")


def spooling(settings: Settings) -> Spooling | None:
    """Where charges wait while the database is away."""
    if not settings.billing_spool_max_mb:
        return None
    folder = settings.billing_spool_path or Path(settings.sqlite_path).with_suffix(".spool")
    return Spooling(Path(folder), settings.billing_spool_max_mb * 2**20)


def open_keyring(settings: Settings) -> KeyRing:
    """The keys that protect what is stored; makes the key file when there is no secret. Raises `UnusableSettings`."""
    try:
        return KeyRing.load(settings.secret(), key_file(settings))
    except ValueError as exc:
        raise UnusableSettings(str(exc)) from exc


def engine_options(settings: Settings) -> EngineOptions:
    """One API's settings give thousands of connections; as many as we want are enough, fewer are respected."""
    usual = EngineOptions()
    return EngineOptions(
        connections=min(settings.sql_max_idle_conns, usual.connections),
        max_connections=min(settings.sql_max_open_conns, usual.max_connections),
        lifetime=settings.sql_max_lifetime,
        busy_timeout=settings.sqlite_busy_timeout / 1000,
    )


@asynccontextmanager
async def open_store(settings: Settings) -> AsyncIterator[Store]:
    """The store of the configured database, its schema brought up to date.

    Raises: `StoreUnavailable`, `SchemaError`, `UnusableSettings`; `RuntimeError` when a driver is not installed.
    """
    store = SqlStore(
        database_url(settings),
        open_keyring(settings),
        options=engine_options(settings),
        migrate=settings.node_type != "slave",
    )
    await store.start()
    try:
        yield store
    finally:
        await store.aclose()


async def prepare(settings: Settings, *, loopback: bool | None) -> bool:
    """What must be done once, before any worker starts: schema, key file, root account.

    Returns whether root still has the default password. Raises as `open_resources` does.
    """
    async with open_store(settings) as store:
        await _bootstrap(store, settings, loopback)
        return await has_default_root_password(store)


@asynccontextmanager
async def open_resources(
    settings: Settings,
    *,
    store: Store | None,
    ledger: Ledger | None,
    upstream: Upstream | None,
    loopback: bool | None,
) -> AsyncIterator[Resources]:
    """Open what was not given, and close that again on the way out, last opened first.

    Raises: `UnsafeConfiguration`; as `open_store`.
    """
    async with AsyncExitStack() as stack:
        url = database_url(settings)
        owns_store = store is None
        if store is None:
            store = await stack.enter_async_context(open_store(settings))
            await _bootstrap(store, settings, loopback)
        worker = f"{socket.gethostname()[:32]}-{os.getpid()}-{secrets.token_hex(4)}"
        background = Background()
        if ledger is None:
            spool = spooling(settings)
            if spool is not None and (reason := hindrance(spool.folder)) is not None:
                log.warning("charges cannot be kept on disk while the database is away: %s; set %s", reason, SPOOL)
            ledger = open_ledger(url, worker=worker, spooling=spool, on_crash=settings.billing_on_crash)
            await ledger.start()
            stack.push_async_callback(ledger.aclose)
            rollup = Rollup(url)
            stack.push_async_callback(rollup.aclose)
            background.every(ROLLUP_SECONDS, "rollup", rollup.run)
            delivery = Delivery(url)
            stack.push_async_callback(delivery.aclose)
            background.every(DELIVERY_SECONDS, "events", delivery.run)
            await apply_options(store, ledger)
            background.every(OPTIONS_SECONDS, "options", partial(apply_options, store, ledger))
        if upstream is None:
            upstream = Http1Upstream()
            stack.push_async_callback(upstream.aclose)
        stack.push_async_callback(background.aclose)
        owned = ledger
        running = RunningCosts()
        background.every(RENEW_SECONDS, "renew", partial(_renew, ledger, running))
        background.every(SWEEP_SECONDS, "sweep", owned.sweep)
        prices = await _open_prices(settings, store, background)
        router = LiveRouter(
            store.channel_table,
            prices=prices,
            options=conversion_options(settings),
            terms=billing_terms(settings),
            group_ratio_mode=settings.group_ratio_mode,
        )
        _warn_of_unpriced(router)
        envelopes = Envelopes(
            _envelope_keys(settings, own=owns_store), encrypt=settings.reasoning_envelope == "encrypted"
        )
        yield Resources(store, ledger, upstream, router, envelopes, prices, running)


async def _renew(ledger: Ledger, running: RunningCosts) -> None:
    """Keep the holds of what runs, and note what it has cost."""
    marks: dict[str, Quota] = {}
    try:
        marks = running.marks()
    except Exception:  # what one stream has cost is little beside the leases of all
        log.exception("what streams under way have cost cannot be noted")
    await ledger.renew(marks)
    running.note(marks)


async def _open_prices(settings: Settings, store: Store, background: Background) -> LivePrices:
    """The shipped prices with the operator's on top, which are looked for from now on."""
    prices = LivePrices(
        await asyncio.to_thread(shipped_table),
        policy=settings.price_policy(),
        tools_use_group_ratio=settings.tools_use_group_ratio,
    )

    async def look() -> None:
        prices.take(await store.options.all())

    await look()
    background.every(PRICE_SECONDS, "prices", look)
    return prices


def _warn_of_unpriced(router: LiveRouter) -> None:
    unpriced = router.table().without_price()
    if unpriced:
        shown = ", ".join(f"{model} ({', '.join(channels[:3])})" for model, channels in list(unpriced.items())[:20])
        log.warning(
            "%d models of enabled channels have no price and are refused: %s. See GET /api/pricing/missing, or "
            "'oneapi-mw prices show MODEL'",
            len(unpriced),
            shown,
        )


async def apply_options(store: Store, ledger: Ledger) -> None:
    """What administrators set at run time and the ledger goes by. A value that is no number changes nothing."""
    value = (await store.options.all()).get(REMIND_OPTION)
    try:
        ledger.remind_below = REMIND_BELOW if value is None else min(max(int(value), 0), MAX_QUOTA)
    except ValueError:
        log.warning("option %s is not a whole number: %r", REMIND_OPTION, value)


def _envelope_keys(settings: Settings, *, own: bool) -> Sequence[bytes]:
    """Keys of what travels through clients. Beside a store that was given, which has keys of its own, and without a
    secret they last as long as the process."""
    if own or settings.secret():
        return open_keyring(settings).envelope_keys
    return (secrets.token_bytes(32),)


def conversion_options(settings: Settings) -> ConversionOptions:
    """How far conversion may go, before what single channels say."""
    limit = settings.default_max_token if "default_max_token" in settings.model_fields_set else None
    return ConversionOptions(
        strict=settings.strict_conversion,
        strict_passthrough=settings.strict_passthrough,
        emulate_stop=settings.emulate_stop,
        emulate_prefill=settings.emulate_prefill,
        emulate_client_tools=settings.emulate_client_tools,
        drop_hosted_tools=settings.drop_hosted_tools,
        fan_out_n=settings.fan_out_n,
        reasoning_lost=settings.reasoning_lost,
        default_max_output=limit,  # the setting's own default cuts answers: the model's limit is better
        gemini_safety=settings.gemini_safety_setting,
        fetches_urls=settings.user_content_request_enabled and settings.max_inline_image_size_mb > 0,
    )


def billing_terms(settings: Settings) -> BillingTerms:
    """Who pays for answers that nobody got, before what single channels say."""
    return BillingTerms(
        ambiguous=settings.ambiguous_attempts,
        bills_after_disconnect=settings.bills_after_disconnect,
        bill_failed_attempts=settings.bill_failed_attempts,
    )


async def _bootstrap(store: Store, settings: Settings, loopback: bool | None) -> None:
    """Make sure there is a root account, and that nobody else can log in as it."""
    password = settings.initial_root_password
    if not password:
        password = DEFAULT_ROOT_PASSWORD if loopback else secrets.token_urlsafe(24)
        if loopback is None and await store.users.count() == 0:
            log.warning(
                "root was created with a random password: set INITIAL_ROOT_PASSWORD before the first start, or run "
                "'oneapi-mw user password root'"
            )
    if loopback is False and not settings.initial_root_password and await store.users.count() == 0:
        raise UnsafeConfiguration(
            "The server is reachable from other machines and there is no root account yet: set INITIAL_ROOT_PASSWORD"
        )
    try:
        await ensure_root(
            store,
            password=password,
            access_token=settings.initial_root_access_token or None,
            api_key=settings.initial_root_token or None,
            key_prefix=settings.token_key_prefix,
        )
    except ValueError as exc:
        raise UnsafeConfiguration(str(exc)) from exc
    if loopback is False and await has_default_root_password(store):
        raise UnsafeConfiguration(
            "The server is reachable from other machines and root still has the password 123456: change it with "
            "'oneapi-mw user password root', or bind to 127.0.0.1"
        )


async def has_default_root_password(store: Store) -> bool:
    """Whether anybody could log in as root."""
    root = await store.users.find_login("root")
    return root is not None and await verify_password(DEFAULT_ROOT_PASSWORD, root.password_hash)
