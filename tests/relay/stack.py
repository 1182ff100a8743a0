"""A whole stack in memory: default stages around the relay, a scripted upstream, a ledger one can look into."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import orjson
from starlette.types import ASGIApp

from oneapi_mw.ledger.base import Ledger, LogFacts, Settled
from oneapi_mw.ledger.hold import RunningCosts
from oneapi_mw.ledger.memory import MemoryHold, MemoryLedger
from oneapi_mw.middleware.counting import TokenCounter
from oneapi_mw.middleware.drain import Drain
from oneapi_mw.middleware.idempotency import CostLookup
from oneapi_mw.middleware.precharge import BACKGROUND_OUTPUT_TOKENS
from oneapi_mw.middleware.remainders import RemainderTasks
from oneapi_mw.pipeline import build, default_stages
from oneapi_mw.pricing.groups import GroupRatioMode
from oneapi_mw.pricing.price import RATIO_SCALE
from oneapi_mw.principal import Principal, Role, TokenStatus, UserStatus
from oneapi_mw.relay.app import Relay, RelayLimits
from oneapi_mw.relay.fanout import AT_ONCE, FanOut
from oneapi_mw.relay.upstream import BodyCut, BodyTooLarge, Timeouts, Upstream
from oneapi_mw.routing.channel import Channel, Secret
from oneapi_mw.routing.live import LiveRouter
from oneapi_mw.store.base import IdempotencyKeys
from oneapi_mw.types import Quota, RawHeaders
from oneapi_mw.wire.target import ConversionOptions
from tests.support.harness import Client, Exchanged, call, http_scope

MODEL = "small"
PATH = "/v1/chat/completions"
KEY = "abc"
FUNDS = 1_000_000
PRICE = {"input_usd_per_mtok": 2, "output_usd_per_mtok": 8}  # 1 and 4 quota units a token
USAGE = {"prompt_tokens": 11, "completion_tokens": 7, "total_tokens": 18}
COST = 11 * 1 + 7 * 4
JSON_TYPE = [(b"content-type", b"application/json")]
SSE_TYPE = [(b"content-type", b"text/event-stream; charset=utf-8")]


class Gate:
    """A place where a script waits until the test lets it go on, or fail."""

    def __init__(self) -> None:
        self.reached = asyncio.Event()
        self._verdict: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    async def wait(self) -> None:
        self.reached.set()
        await asyncio.shield(self._verdict)

    def open(self) -> None:
        self._verdict.set_result(None)

    def fail(self, error: Exception) -> None:
        self._verdict.set_exception(error)


Step = bytes | Gate | Exception


@dataclass
class Reply:
    """What the upstream does with one request.

    connecting: before any byte has left; waiting: until the headers are there; body: after them, in order.
    """

    body: Sequence[Step] = ()
    status: int = 200
    headers: RawHeaders = field(default_factory=lambda: JSON_TYPE)
    connecting: Gate | Exception | None = None
    waiting: Gate | Exception | None = None


@dataclass
class Request:
    """A request as the upstream got it."""

    url: str
    headers: list[tuple[str, str]]
    body: Any
    timeouts: Timeouts


class ScriptedUpstream:
    """An `Upstream` that plays `Reply` after `Reply`."""

    def __init__(self, *replies: Reply, tells: bool = True) -> None:
        self._replies = list(replies)
        self._tells = tells  # whether `on_dispatch` is called
        self.requests: list[Request] = []
        self.responses: list[ScriptedResponse] = []

    async def send(
        self,
        method: str,
        url: str,
        headers: Sequence[tuple[str, str]],
        body: bytes,
        timeouts: Timeouts,
        *,
        on_dispatch: Callable[[], None] | None = None,
    ) -> ScriptedResponse:
        self.requests.append(Request(url, list(headers), orjson.loads(body), timeouts))
        reply = self._replies.pop(0)
        await _step(reply.connecting)
        if on_dispatch is not None and self._tells:
            on_dispatch()
        await _step(reply.waiting)
        response = ScriptedResponse(reply)
        self.responses.append(response)
        return response

    async def aclose(self) -> None:
        """Nothing is open."""

    @property
    def all_closed(self) -> bool:
        return all(response.closed for response in self.responses)


class ScriptedResponse:
    def __init__(self, reply: Reply) -> None:
        self.status, self.headers = reply.status, reply.headers
        self._steps = list(reply.body)
        self.closed = False
        self.ended = False
        """Whether the message was received to its end, which lets the connection be used again."""

    def chunks(self) -> AsyncIterator[bytes]:
        return self

    def __aiter__(self) -> AsyncIterator[bytes]:
        return self

    async def __anext__(self) -> bytes:
        while self._steps:
            step = self._steps[0]
            if not isinstance(step, bytes):
                try:
                    await _step(step)
                except asyncio.CancelledError:  # as the protocol says, that closes the connection
                    self.closed = True
                    self._steps = [BodyCut()]
                    raise
            self._steps.pop(0)
            if isinstance(step, bytes):
                return step
        self.ended = True
        raise StopAsyncIteration

    async def read(self, limit: int) -> bytes:
        data = b"".join([chunk async for chunk in self])
        if len(data) > limit:
            raise BodyTooLarge
        return data

    async def aclose(self) -> None:
        self.closed = True


async def _step(step: Gate | Exception | None) -> None:
    if isinstance(step, Exception):
        raise step
    if step is not None:
        await step.wait()


class WatchedLedger(MemoryLedger):
    """A ledger that counts how often a hold ended, and can be slow or away at that moment.

    As the interface promises, what was asked for is carried out, whether or not anybody waits for the answer.
    """

    endings: list[str]
    settling: Gate | None = None
    away: Exception | None = None
    extending: Exception | None = None

    def __init__(self, funds: Quota = FUNDS, *, token: Quota | None = None) -> None:
        super().__init__()
        self.endings = []
        self.open_account(1, funds)
        self.open_token(1, 1, token or 0, unlimited=token is None)

    async def settle(self, key: str, final: Quota, facts: LogFacts) -> Settled:
        settled = await super().settle(key, final, facts)
        return await self._answer(settled)

    async def void(self, key: str, *, reason: str = "") -> Settled:
        return await self._answer(await super().void(key, reason=reason))

    async def extend(self, key: str, by: Quota, *, mark: Quota = 0) -> Any:
        if self.extending is not None:
            raise self.extending
        return await super().extend(key, by, mark=mark)

    async def _answer(self, settled: Settled) -> Settled:
        if settled.first:
            self.endings.append(settled.state)
        if self.away is not None:
            raise self.away
        if self.settling is not None:
            await self.settling.wait()
        return settled

    @property
    def hold(self) -> MemoryHold:
        """The one hold there is."""
        (hold,) = self.holds.values()
        return hold

    async def check(self) -> Quota:
        """What the one request was charged, after checking that the books are in order and its hold ended once."""
        assert list(await self.audit()) == []
        assert len(self.holds) == 1
        assert self.endings == [self.hold.state]
        balance = await self.user_balance(1)
        assert balance.quota + balance.used_quota == sum_of_credits(self)
        charged = balance.used_quota
        assert charged == self.hold.final
        assert [entry.quota for entry in self.log] == ([charged] if self.hold.state == "settled" else [])
        return charged


def sum_of_credits(ledger: MemoryLedger) -> Quota:
    return ledger._users[1].credits


def principal(**changes: Any) -> Principal:
    fields: dict[str, Any] = {
        "user_id": 1,
        "user_uuid": "u-1",
        "username": "ada",
        "group": "default",
        "role": Role.COMMON,
        "user_status": UserStatus.ENABLED,
        "token_id": 1,
        "token_uuid": "t-1",
        "token_name": "laptop",
        "token_status": TokenStatus.ENABLED,
        **changes,
    }
    return Principal(**fields)


@dataclass
class Keys:
    """A `PrincipalSource`."""

    known: dict[str, Principal]
    asked: list[str] = field(default_factory=list)

    async def find(self, key: str) -> Principal | None:
        self.asked.append(key)
        return self.known.get(key)


def channel(number: int = 1, **changes: Any) -> Channel:
    fields: dict[str, Any] = {
        "id": number,
        "uuid": f"c-{number}",
        "name": f"channel {number}",
        "type": 8,
        "base_url": f"http://upstream-{number}.test",
        "key": Secret(f"sk-secret-{number}"),
        "models": (MODEL,),
        "model_configs": {MODEL: PRICE},
        "priority": -number,
        **changes,
    }
    return Channel(**fields)


@dataclass
class Channels:
    """A `ChannelSource`."""

    channels: Sequence[Channel]

    def snapshot(self) -> Sequence[Channel]:
        return self.channels

    def version(self) -> int:
        return 1


def gateway(
    upstream: Upstream,
    ledger: Ledger,
    *,
    channels: Sequence[Channel] | None = None,
    retries: int = 0,
    who: Principal | None = None,
    limits: RelayLimits | None = None,
    group_ratio: int = RATIO_SCALE,
    group_ratios: Mapping[str, int] | None = None,
    group_ratio_mode: GroupRatioMode = "user",
    fan_out_n: bool = False,
    at_once: int = AT_ONCE,
    idempotency: IdempotencyKeys | None = None,
    costs: CostLookup | None = None,
    drain: Drain | None = None,
    remainders: RemainderTasks | None = None,
    counter: TokenCounter | None = None,
    clamp_output: bool = False,
    background_output: int = BACKGROUND_OUTPUT_TOKENS,
    running: RunningCosts | None = None,
) -> ASGIApp:
    """The default stages around the relay."""
    stages = default_stages(
        principals=Keys({KEY: who or principal()}),
        router=LiveRouter(
            Channels(channels if channels is not None else [channel(n) for n in (1, 2, 3)]),
            group_ratios={"default": group_ratio, **(group_ratios or {})},
            group_ratio_mode=group_ratio_mode,
            options=ConversionOptions(fan_out_n=fan_out_n),
        ),
        ledger=ledger,
        idempotency=idempotency,
        costs=costs,
        drain=drain,
        remainders=remainders or RemainderTasks(drain=drain),
        counter=counter,
        clamp_output=clamp_output,
        background_output=background_output,
        running=running,
    )
    relay = Relay(upstream=upstream, limits=limits or RelayLimits(Timeouts(), retries=retries))
    return build(FanOut(relay, at_once=at_once), stages)


def body(**changes: Any) -> dict[str, Any]:
    return {"model": MODEL, "messages": [{"role": "user", "content": "Say hello"}], "max_tokens": 50, **changes}


HEADERS = {"authorization": f"Bearer sk-{KEY}", "content-type": "application/json"}


async def ask(app: ASGIApp, **changes: Any) -> Exchanged:
    """One request whose client stays."""
    return await call(app, "POST", PATH, json=body(**changes), headers=HEADERS)


class Asking:
    """One request under way."""

    def __init__(self, app: ASGIApp, client: Client, task: asyncio.Task[None]) -> None:
        self.app, self.client, self.task = app, client, task

    @property
    def exchanged(self) -> Exchanged:
        return self.client.exchanged

    async def end(self) -> Exchanged:
        """Wait until the app has returned, however."""
        await asyncio.gather(self.task, return_exceptions=True)
        return self.exchanged


def begin(app: ASGIApp, *, pause_after: int | None = None, path: str = PATH, **changes: Any) -> Asking:
    """Start a request; at another path than that of chat `changes` are its whole body."""
    client = Client(orjson.dumps(body(**changes) if path == PATH else changes), pause_after=pause_after)
    scope = http_scope("POST", path, headers=HEADERS)
    return Asking(app, client, asyncio.ensure_future(app(scope, client.receive, client.send)))


def answer(text: str = "Hello!", *, usage: Any = USAGE, model: str = MODEL, **message: Any) -> bytes:
    """A buffered answer."""
    whole = {
        "id": "chatcmpl-1",
        "object": "chat.completion",
        "created": 1,
        "model": model,
        "choices": [
            {"index": 0, "message": {"role": "assistant", "content": text, **message}, "finish_reason": "stop"}
        ],
    }
    return orjson.dumps(whole if usage is None else {**whole, "usage": usage})


def chunk(delta: dict[str, Any], finish: str | None = None, *, model: str = MODEL) -> bytes:
    """One event of a stream."""
    return event(
        {
            "id": "chatcmpl-1",
            "object": "chat.completion.chunk",
            "created": 1,
            "model": model,
            "choices": [{"index": 0, "delta": delta, "finish_reason": finish}],
        }
    )


def event(data: Any) -> bytes:
    return b"data: " + orjson.dumps(data) + b"\n\n"


def usage_chunk(usage: Any = USAGE) -> bytes:
    return event(
        {
            "id": "chatcmpl-1",
            "object": "chat.completion.chunk",
            "created": 1,
            "model": MODEL,
            "choices": [],
            "usage": usage,
        }
    )


DONE = b"data: [DONE]\n\n"
FIRST = chunk({"role": "assistant", "content": ""})


def stream(*texts: str, usage: Any = USAGE) -> list[bytes]:
    """The events of a whole stream."""
    events = [FIRST, *(chunk({"content": text}) for text in texts), chunk({}, "stop")]
    return [*events, *([] if usage is None else [usage_chunk(usage)]), DONE]


def buffered(*steps: Step, **changes: Any) -> Reply:
    return Reply(steps or (answer(),), **changes)


def streamed(*steps: Step, **changes: Any) -> Reply:
    return Reply(steps or stream("Hel", "lo!"), headers=SSE_TYPE, **changes)
