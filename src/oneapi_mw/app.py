"""The gateway: which path goes where, and its life."""

from __future__ import annotations

import secrets
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import orjson
from starlette.middleware import Middleware
from starlette.types import ASGIApp, Receive, Scope, Send

from oneapi_mw.admin.app import build_admin
from oneapi_mw.admin.endpoint import PREFIXES
from oneapi_mw.admin.models import ModelDialectMiddleware, build_models, is_models_path
from oneapi_mw.admin.responses import build_response_api, serves
from oneapi_mw.admin.services import AdminServices
from oneapi_mw.canonical.call import CALL
from oneapi_mw.errors import Draining, GatewayError, NotFound, NotStarted
from oneapi_mw.exchange import EXCHANGE
from oneapi_mw.ids import request_id
from oneapi_mw.immutable import immutable
from oneapi_mw.ledger.base import Ledger
from oneapi_mw.middleware.address import ClientAddress
from oneapi_mw.middleware.auth import AuthMiddleware
from oneapi_mw.middleware.body import BodyLimits
from oneapi_mw.middleware.convert import ConvertMiddleware, Misrouted
from oneapi_mw.middleware.drain import Drain, DrainMiddleware
from oneapi_mw.middleware.errors import ErrorsMiddleware, send_error
from oneapi_mw.middleware.exchange import ExchangeMiddleware
from oneapi_mw.middleware.history import StateOptions
from oneapi_mw.middleware.remainders import RemainderTasks
from oneapi_mw.middleware.state import StateMiddleware
from oneapi_mw.pipeline import build, default_stages
from oneapi_mw.principal import PRINCIPAL
from oneapi_mw.ratelimit.memory import MemoryLimiter
from oneapi_mw.relay.app import Relay, RelayLimits
from oneapi_mw.relay.counting import TokenCounting
from oneapi_mw.relay.fanout import FanOut
from oneapi_mw.relay.fetch import Fetcher, FetchLimits
from oneapi_mw.relay.guard import AllowList, Guard
from oneapi_mw.relay.passage import Proxy
from oneapi_mw.relay.upstream import Timeouts, Upstream
from oneapi_mw.resources import Resources, open_resources
from oneapi_mw.routing.plan import Route
from oneapi_mw.scope import route_path
from oneapi_mw.settings import Settings
from oneapi_mw.store.base import Store
from oneapi_mw.store.passwords import Argon2Passwords
from oneapi_mw.store.reasoning_cache import MemoryReasoningCache
from oneapi_mw.tokenizer import Tokenizer
from oneapi_mw.wire.carrier import Carrier
from oneapi_mw.wire.envelope import Courier, Envelopes
from oneapi_mw.wire.reasoning_cache import CacheKeys, Recaller
from oneapi_mw.wire.registry import endpoint_for, formats, get_format

StageEditor = Callable[[list[Middleware]], list[Middleware]]
RELAY_WINDOW_SECONDS = 180.0
UNLIMITED_STREAM_SECONDS = 30 * 60.0


class Gateway:
    """The whole gateway as one ASGI app.

    Served alone it starts and stops with the server's lifespan. Mounted in a host, which does not pass lifespan
    events on, the host enters `lifespan()` in its own. Nothing happens at construction: no file, no connection,
    no environment variable, no signal handler, no logging set-up.

    Args:
        settings: all of it has defaults; `Settings.from_environment()` reads the environment.
        store, ledger, upstream: use these instead of opening our own. What is given is not closed by the gateway.
        stages: receives the default stages, outermost first, and returns those to use.
        loopback: whether only this machine can reach the server. `True` creates the account `root` with the
            password `123456` in an empty database, `False` refuses to start while that password is in force.
            `None`, for hosts that did not say, never creates it: without `INITIAL_ROOT_PASSWORD` root gets a
            random password.
    """

    def __init__(
        self,
        settings: Settings | None = None,
        *,
        store: Store | None = None,
        ledger: Ledger | None = None,
        upstream: Upstream | None = None,
        stages: StageEditor | None = None,
        loopback: bool | None = None,
    ) -> None:
        self.settings = settings or Settings()
        self._given_store, self._given_ledger, self._given_upstream = store, ledger, upstream
        self._edit_stages = stages
        self._loopback = loopback
        self._running: _Running | None = None

    @property
    def store(self) -> Store:
        """The store, while the gateway runs. Raises `NotStarted` otherwise."""
        return self._require().resources.store

    @property
    def ledger(self) -> Ledger:
        """The ledger, while the gateway runs. Raises `NotStarted` otherwise."""
        return self._require().resources.ledger

    @asynccontextmanager
    async def lifespan(self) -> AsyncIterator[Gateway]:
        """Start the gateway, and stop it on the way out: running requests first, then what they need.

        Raises: `UnsafeConfiguration`, `StoreUnavailable`, `ValueError`; `RuntimeError` when it runs already.
        """
        if self._running is not None:
            raise RuntimeError("this gateway is running already: enter its lifespan once")
        async with open_resources(
            self.settings,
            store=self._given_store,
            ledger=self._given_ledger,
            upstream=self._given_upstream,
            loopback=self._loopback,
        ) as resources:
            drain = Drain()
            self._running = _Running(resources, _routes(self.settings, resources, self._edit_stages, drain), drain)
            try:
                yield self
            finally:
                await drain.finish(self.settings.shutdown_timeout)
                self._running = None

    async def drain(self) -> bool:
        """Refuse new requests from now on and wait for the running ones, `shutdown_timeout` seconds at most.

        What still runs then is cut: its client gets the error `draining`, what it has cost so far is settled.
        `/readyz` answers 503 meanwhile. Leaving the lifespan does the same; a server calls this earlier, to close
        connections only afterwards. Returns whether every request has ended. Raises `NotStarted`.
        """
        return await self._require().drain.finish(self.settings.shutdown_timeout)

    def cut(self) -> None:
        """Do not wait any longer: end the running requests as `drain` does after its time. Raises `NotStarted`."""
        self._require().drain.cut()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await self._serve_lifespan(receive, send)
        elif scope["type"] == "http":
            running = self._running
            if running is None:
                await _refuse(scope, send, _not_started())
            else:
                await running.answer(scope, receive, send)
        elif scope["type"] == "websocket":
            await receive()
            await send({"type": "websocket.close", "code": 1008, "reason": "not supported"})
        else:
            raise RuntimeError(f"scope type {scope['type']!r} is not supported")

    def _require(self) -> _Running:
        if self._running is None:
            raise _not_started()
        return self._running

    async def _serve_lifespan(self, receive: Receive, send: Send) -> None:
        await receive()
        started = False
        try:
            async with self.lifespan():
                started = True
                await send({"type": "lifespan.startup.complete"})
                await receive()
        except Exception as exc:
            kind = "shutdown" if started else "startup"
            await send({"type": f"lifespan.{kind}.failed", "message": str(exc) or type(exc).__name__})
            raise
        await send({"type": "lifespan.shutdown.complete"})


@immutable
class _Running:
    """A started gateway."""

    resources: Resources
    routes: _Routes
    drain: Drain

    async def answer(self, scope: Scope, receive: Receive, send: Send) -> None:
        path = route_path(scope)
        if path in ("/healthz", "/readyz"):
            await _health(send, ready=path == "/healthz" or not self.drain.closed)
        elif self.drain.closed:
            await _refuse(scope, send, Draining("The gateway is shutting down: try again in a moment", retry_after=1))
        else:
            await self.routes.find(path)(scope, receive, send)


@immutable
class _Routes:
    relay: ASGIApp
    counting: ASGIApp
    state: ASGIApp | None
    """`None`: answers are not kept."""
    admin: ASGIApp
    models: ASGIApp
    fallback: ASGIApp

    def find(self, path: str) -> ASGIApp:
        endpoint = endpoint_for(path)
        if endpoint is not None:
            return self.counting if endpoint.operation == "count_tokens" else self.relay
        if self.state is not None and serves(path):
            return self.state
        if path.startswith(PREFIXES) or path == "/api":
            return self.admin
        if is_models_path(path):
            return self.models
        return self.fallback


def _routes(settings: Settings, resources: Resources, edit: StageEditor | None, drain: Drain) -> _Routes:
    formats()  # loaded now, so that no request waits for it
    address = ClientAddress(settings.trusted_proxies)
    limiter = None
    if settings.global_relay_rate_limit > 0 and not settings.rate_limit_disabled:
        limiter = MemoryLimiter(limit=settings.global_relay_rate_limit, seconds=RELAY_WINDOW_SECONDS)
    state_options = StateOptions.of(settings)
    body_limits = BodyLimits(max_bytes=settings.max_body_mb * 1024 * 1024, timeout=settings.body_timeout)
    tokenizer = Tokenizer()
    stages = default_stages(
        principals=resources.store.principals,
        router=resources.router,
        ledger=resources.ledger,
        limiter=limiter,
        key_prefix=settings.token_key_prefix,
        address_of=address,
        body_limits=body_limits,
        misrouted=_misrouted(settings),
        reasoning_field=None if settings.reasoning_format_default == "auto" else settings.reasoning_format_default,
        drain=drain,
        states=resources.store.responses if state_options is not None else None,
        state_options=state_options,
        idempotency=resources.store.idempotency,
        costs=resources.store.costs,
        cards=resources.store.cards,
        remainders=RemainderTasks(
            seconds=settings.disconnect_drain_seconds, at_once=settings.disconnect_drain_at_once, drain=drain
        ),
        counter=tokenizer,
        clamp_output=settings.on_short_balance == "clamp_output",
        running=resources.running,
        background_output=settings.preconsume_token_for_background_request,
    )
    relay = FanOut(
        Relay(
            upstream=resources.upstream,
            limits=_relay_limits(settings),
            carriers=_carriers(settings, resources.envelopes),
            fetcher=_fetcher(settings),
        )
    )
    auth = AuthMiddleware(
        _not_found, principals=resources.store.principals, key_prefix=settings.token_key_prefix, address_of=address
    )
    services = AdminServices(
        store=resources.store,
        ledger=resources.ledger,
        passwords=Argon2Passwords(),
        authenticate_key=auth.authenticate,
        client_address=address,
        token_key_prefix=settings.token_key_prefix,
        cookie_secure=settings.enable_cookie_secure,
        cookie_max_age=settings.cookie_maxage_hours * 3600,
        strict_http_status=settings.strict_http_status,
        public_cost_lookup=settings.public_cost_lookup,
        max_items_per_page=settings.max_items_per_page,
        external_seconds=settings.external_billing_default_timeout,
        external_max_seconds=settings.external_billing_max_timeout,
        external_overrun=settings.external_overrun == "allow",
        max_transactions=settings.token_transactions_max_history,
        redeem_failures=0 if settings.rate_limit_disabled else settings.redeem_failure_rate_limit,
        start_time=int(time.time()),
        prices=resources.prices,
        without_price=lambda: resources.router.table().without_price(),
    )
    outer = [Middleware(ExchangeMiddleware), Middleware(ErrorsMiddleware), Middleware(DrainMiddleware, drain=drain)]
    signed_in = Middleware(
        AuthMiddleware,
        principals=resources.store.principals,
        key_prefix=settings.token_key_prefix,
        address_of=address,
    )
    state = []
    if state_options is not None:
        state.append(Middleware(StateMiddleware, states=resources.store.responses, options=state_options))
    return _Routes(
        relay=build(relay, edit(stages) if edit else stages),
        state=None
        if state_options is None
        else build(build_response_api(resources.store.responses, state_options), [*outer, signed_in]),
        counting=build(
            TokenCounting(tokenizer), [*outer, signed_in, Middleware(ConvertMiddleware, limits=body_limits), *state]
        ),
        admin=build(build_admin(services), outer),
        models=build(build_models(services), [outer[0], Middleware(ModelDialectMiddleware), *outer[1:], signed_in]),
        fallback=build(_not_found, outer),
    )


def _carriers(settings: Settings, envelopes: Envelopes) -> Callable[[Scope, Route], Carrier]:
    """How opaque reasoning parts travel: in envelopes that only their own user can send back, and in memory for users
    whose clients do not."""
    cache, secret = MemoryReasoningCache(), secrets.token_bytes(32)

    def carrier(scope: Scope, route: Route) -> Carrier:
        call, attempts, wish = CALL.get(scope), EXCHANGE.get(scope).attempts, CALL.get(scope).wish
        principal = PRINCIPAL.find(scope)
        courier = Courier(
            envelopes,
            tenant=principal.user_uuid if principal is not None else "",
            client=call.format,
            served=lambda: (attempts[-1].model, attempts[-1].channel_uuid),
            hidden=wish is not None and (wish.format == "hidden" or wish.off),
            carry=settings.reasoning_carrier != "none" or call.format != "openai_chat",
        )
        if principal is None:
            return courier
        keys = CacheKeys(secret, principal.user_uuid)
        return Recaller(courier, cache, keys, wire=route.wire.name, model=route.target.model)

    return carrier


def _fetcher(settings: Settings) -> Fetcher:
    """Fetches for all requests. Whether it is asked is decided where a request meets its upstream."""
    limits = FetchLimits(
        max_bytes=settings.max_inline_image_size_mb * 1024 * 1024, seconds=settings.user_content_request_timeout
    )
    guard = Guard(
        AllowList.of(settings.user_content_request_allowlist), allow_http=settings.user_content_request_allow_http
    )
    return Fetcher(guard, limits=limits, proxy=Proxy.of(settings.user_content_request_proxy))


def _misrouted(settings: Settings) -> Misrouted:
    if not settings.auto_detect_api_format:
        return "ignore"
    return "redirect" if settings.auto_detect_api_format_action == "redirect" else "serve"


def _relay_limits(settings: Settings) -> RelayLimits:
    total = settings.relay_timeout or UNLIMITED_STREAM_SECONDS
    timeouts = Timeouts(
        connect=settings.connect_timeout,
        first_byte=settings.first_byte_timeout,
        idle=settings.idle_timeout,
        total=total,
    )
    return RelayLimits(timeouts, retries=settings.retry_times, enforce_usage=settings.enforce_include_usage)


async def _not_found(scope: Scope, receive: Receive, send: Send) -> None:
    raise NotFound(f"Invalid URL ({scope['method']} {route_path(scope)})")


async def _health(send: Send, *, ready: bool) -> None:
    """`/healthz`: the process is alive. `/readyz`: it takes requests."""
    headers = [(b"content-type", b"text/plain; charset=utf-8"), (b"cache-control", b"no-store")]
    await send({"type": "http.response.start", "status": 200 if ready else 503, "headers": headers})
    await send({"type": "http.response.body", "body": b"ok\n" if ready else b"draining\n"})


def _not_started() -> NotStarted:
    return NotStarted(
        "The gateway is not running: enter `async with gateway.lifespan():` in the host's lifespan, or serve it "
        "with a server that sends lifespan events",
        retry_after=1,
    )


async def _refuse(scope: Scope, send: Send, error: GatewayError) -> None:
    path = route_path(scope)
    if not path.startswith("/api/"):
        endpoint = endpoint_for(path)
        wire = get_format(endpoint.format if endpoint else "openai_chat")
        await send_error(send, error, wire=wire, request_id=request_id())
        return
    body = orjson.dumps({"success": False, "message": error.message, "code": error.code})
    headers = [(b"content-type", b"application/json"), (b"content-length", b"%d" % len(body))]
    await send({"type": "http.response.start", "status": error.status, "headers": headers})
    await send({"type": "http.response.body", "body": body})
