"""Reasoning in the representation the client asked for."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import replace
from typing import TYPE_CHECKING, cast

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from oneapi_mw.canonical.call import CALL, Call, Outside
from oneapi_mw.canonical.frames import ANSWER, EVENTS, Answer, Frame, Offer
from oneapi_mw.errors import UpstreamInvalidResponse
from oneapi_mw.exchange import EXCHANGE
from oneapi_mw.jsontext import dumps, loads
from oneapi_mw.middleware.body import BodyLimits, ClientDisconnected, read_body
from oneapi_mw.models.catalogue import rules_of
from oneapi_mw.models.rules import UNKNOWN, ModelRules
from oneapi_mw.routing.plan import PLAN, Candidate
from oneapi_mw.scope import header, route_path
from oneapi_mw.types import JsonObject, RawHeaders
from oneapi_mw.wire.chat_reasoning import ChatReasoningStream, rewrite_answer
from oneapi_mw.wire.framing.sse import EventTooLargeError, SseCutter
from oneapi_mw.wire.registry import get_format
from oneapi_mw.wire.switches import asks_to_reason, switched_off
from oneapi_mw.wire.target import Target
from oneapi_mw.wire.thinktags import TAG_MODES, TagMode
from oneapi_mw.wire.view import ReasoningView
from oneapi_mw.wire.wish import FieldName, ReasoningWish, read_wish

if TYPE_CHECKING:
    from oneapi_mw.canonical.events import Event
    from oneapi_mw.wire.reasoning_view import EventView

CHAT, COMPLETIONS = "openai_chat", "openai_completions"
CHAT_PATHS = ("/v1/chat/completions", "/chat/completions")
MAX_ANSWER_BYTES = 64 * 1024 * 1024
"""A buffered answer beyond this passes as it is."""
ANY_NUMBER = 1 << 30
"""Of candidates, where nobody has looked into the request."""


class ReasoningMiddleware:
    """Show reasoning as the client asked: under which name, in the text, hidden, or told apart from it.

    Reads `CALL`; `PLAN` and `EXCHANGE` where they are there tell what kind of model answers. Offers events to inner
    stages again, all of them only where that is needed. Where nothing is to change nothing is done.

    Alone, around an app that speaks Chat Completions in bytes, it reads the wish from query and headers itself: the
    request's body is edited only when the model is to be asked for something, and answers are rewritten on their way.

    Raises `InvalidRequest` for a wish that is none, before the inner app has been called.

    Args:
        provider: whose words the inner app knows when this stage stands alone, by its name in the catalogue.
        think_tags: how text between tags is read when this stage stands alone; otherwise channels say it.
        fallback: name of the field for requests that name none, when this stage stands alone.
        paths: where the inner app answers chats, below the mount.
        limits: of bodies that are edited.
    """

    requires, provides = (CALL,), ()

    def __init__(
        self,
        app: ASGIApp,
        *,
        provider: str = "openai-compatible",
        think_tags: TagMode = "auto",
        fallback: FieldName | None = None,
        paths: Collection[str] = CHAT_PATHS,
        limits: BodyLimits | None = None,
    ) -> None:
        self.app = app
        self._provider = provider
        self._think_tags: TagMode = think_tags
        self._fallback = fallback
        self._paths = frozenset(paths)
        self._limits = limits or BodyLimits()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        call, offer = CALL.find(scope), Offer.find(scope)
        if call is None:
            await self._alone(scope, receive, send)
        elif offer is None or not _may_change(call, scope):
            await self.app(scope, receive, send)
        else:
            # Bytes of a chat are rewritten as they are; other formats have to be taken apart.
            full = offer.full or (call.format != CHAT and _shown(call) == "hidden")
            inner = scope if full == offer.full else replace(offer, full=full).put(scope)
            await self.app(inner, receive, _Rewriting(send, call, scope))

    async def _alone(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["method"] != "POST" or route_path(scope) not in self._paths:
            await self.app(scope, receive, send)
            return
        outside = Outside(route_path(scope), scope.get("query_string", b""), scope["headers"])
        wish = read_wish(outside, {}, fallback=self._fallback)
        if wish is None:
            await self.app(scope, receive, send)
            return
        body: JsonObject | None = None
        if wish.asks:
            try:
                raw = await read_body(scope, receive, self._limits)
            except ClientDisconnected:
                return
            body = _parsed(raw)
            if body is not None:
                from oneapi_mw.wire.wish_applied import apply_to_chat_body

                target = Target(str(body.get("model")), rules_of(str(body.get("model"))))
                raw = dumps(apply_to_chat_body(body, wish, target, provider=self._provider).body)
            scope, receive = _with_length(scope, len(raw)), _Replay(raw, receive)
        view = self._view(wish, body)
        await self.app(_accepting_plain(scope), receive, _BytesRewriting(send, view))

    def _view(self, wish: ReasoningWish, body: JsonObject | None) -> ReasoningView:
        rules = rules_of(str(body.get("model"))) if body is not None else UNKNOWN
        asks = bool(wish.thinking) or wish.effort not in (None, "none") or wish.format not in (None, "raw")
        tags = _tags(self._think_tags, rules, asks=asks, off=wish.off)
        return ReasoningView(wish.shown_as, tags, wish.off, ANY_NUMBER if body is None else _count(body.get("n")))


# What is to be shown.


def _may_change(call: Call, scope: Scope) -> bool:
    """Whether anything of the answer may have to be shown differently. Every request comes by here."""
    if call.format == COMPLETIONS:  # shows text as it is, and nothing else
        return False
    wish = call.wish
    if wish is not None and (_shown(call) is not None or wish.off):
        return True
    plan = PLAN.find(scope)
    asks = call.format != CHAT or _asks(call)
    if plan is None:
        return asks
    for candidate in plan.candidates:
        if _tags_of(candidate, call, asks=asks) != "off":
            return True
    return call.format == CHAT and switched_off(call.body)


def _shown(call: Call) -> str | None:
    """Other formats than chat have one place for reasoning: there it can only be hidden."""
    if call.wish is None:
        return None
    shown = call.wish.shown_as
    return shown if call.format == CHAT or shown == "hidden" else None


def _view_of(call: Call, scope: Scope) -> ReasoningView:
    """The view of an answer that has begun: it is known by now who gives it."""
    wish = call.wish or ReasoningWish()
    plan, exchange = PLAN.find(scope), EXCHANGE.find(scope)
    asks = call.format != CHAT or _asks(call)
    if exchange is None or not exchange.attempts or plan is None:
        tags: TagMode = "auto" if asks else "off"
    else:
        tags = _tags_of(plan.candidates[exchange.attempts[-1].candidate], call, asks=asks)
    if call.format == CHAT:
        off = wish.off or (not wish.asks and switched_off(call.body))
        return ReasoningView(wish.shown_as, tags, off, call.candidates)
    return ReasoningView("hidden" if wish.format == "hidden" else None, tags, wish.off, call.candidates)


def _tags_of(candidate: Candidate, call: Call, *, asks: bool) -> TagMode:
    route = candidate.route(call)
    if route.wire.name != CHAT or call.body.get("logprobs"):  # text with scores cannot be taken apart
        return "off"
    setting = candidate.channel.config.get("think_tags")
    if setting not in TAG_MODES:
        setting = "auto"
        asks = asks and not route.target.official  # whose models have a field for it, or none
    off = call.wish is not None and call.wish.off
    return _tags(cast(TagMode, setting), candidate.rules, asks=asks, off=off)


def _tags(setting: TagMode, rules: ModelRules, *, asks: bool, off: bool) -> TagMode:
    """How tags are read, after what the channel says, what the model does and whether anybody wants reasoning."""
    if setting == "auto":
        if not asks and rules.think_tags == "no":
            return "off"
        setting = "prefilled" if rules.think_tags == "prefilled" else "auto"
    # a model that was told not to reason has no open tag in its prompt
    return "auto" if setting == "prefilled" and off else setting


def _asks(call: Call) -> bool:
    """Whether a chat asks for reasoning, and not for the text as it is."""
    wish = call.wish
    if wish is not None and wish.format == "raw":
        return False
    if wish is not None and (wish.thinking or wish.effort not in (None, "none") or wish.format is not None):
        return True
    return asks_to_reason(call.body)


# Inside the pipeline.


class _Rewriting:
    """`send` for the inner stages."""

    __slots__ = ("_call", "_events", "_scope", "_send", "_stream", "_view")

    def __init__(self, send: Send, call: Call, scope: Scope) -> None:
        self._send = send
        self._call = call
        self._scope = scope
        self._view: ReasoningView | None = None
        self._stream: ChatReasoningStream | None = None
        self._events: EventView | None = None

    async def __call__(self, message: Message) -> None:
        kind = message["type"]
        if kind in (EVENTS, ANSWER):
            if self._view is None:
                self._view = _view_of(self._call, self._scope)
            if kind == EVENTS:
                message = {**message, "frames": self._frames(message["frames"], self._view)}
            else:
                message = {**message, "answer": self._answer(message["answer"], self._view)}
        await self._send(message)

    def _frames(self, frames: list[Frame], view: ReasoningView) -> list[Frame]:
        shown: list[Frame] = []
        for frame in frames:
            if frame.raw is not None and frame.format == CHAT == self._call.format:
                shown.append(self._bytes(frame, view))
            elif frame.raw is not None and frame.format == self._call.format and view.shown != "hidden":
                shown.append(frame)
            else:
                if self._stream is not None and (held := self._stream.close()):
                    shown.append(Frame((), held, CHAT))
                shown.append(self._viewed(frame, view))
        return shown

    def _bytes(self, frame: Frame, view: ReasoningView) -> Frame:
        if view.leaves_everything:
            return frame
        if self._stream is None:
            self._stream = ChatReasoningStream(view)
        assert frame.raw is not None
        raw = self._stream.feed(frame.raw)
        return frame if raw is frame.raw else Frame(frame.events, raw, CHAT)

    def _viewed(self, frame: Frame, view: ReasoningView) -> Frame:
        if not view.changes_events or not frame.events:
            return frame
        if self._events is None:
            from oneapi_mw.wire.reasoning_view import EventView

            self._events = EventView(view)
        events: list[Event] = self._events.feed(frame.events)
        return Frame(events)

    def _answer(self, answer: Answer, view: ReasoningView) -> Answer:
        call = self._call
        if call.format == CHAT:
            return answer if view.leaves_everything else self._chat_answer(answer, view)
        if not view.changes_events or (answer.response is None and view.shown != "hidden"):
            return answer
        from oneapi_mw.wire.reasoning_view import view_response

        response = answer.response or get_format(answer.format).decode_response(answer.body)
        return replace(answer, response=view_response(response, view))

    def _chat_answer(self, answer: Answer, view: ReasoningView) -> Answer:
        """A chat's answer, whatever format it came in: the shapes are those of the JSON."""
        if answer.response is None and answer.format == CHAT:
            body = rewrite_answer(answer.body, view)
            return answer if body is answer.body else Answer(CHAT, dumps(body), body)
        exchange = EXCHANGE.find(self._scope)
        response = answer.response or get_format(answer.format).decode_response(answer.body)
        encoded = get_format(CHAT).encode_response(
            response,
            self._call,
            request_id=exchange.request_id if exchange is not None else "",
            created=int(exchange.started_at) if exchange is not None else 0,
        )
        body = rewrite_answer(encoded, view)
        return Answer(CHAT, dumps(body), body)


# Alone.


class _Replay:
    """`receive` for the inner app: the edited body, then what the server says."""

    __slots__ = ("_body", "_receive")

    def __init__(self, body: bytes, receive: Receive) -> None:
        self._body: bytes | None = body
        self._receive = receive

    async def __call__(self) -> Message:
        body, self._body = self._body, None
        if body is not None:
            return {"type": "http.request", "body": body, "more_body": False}
        return await self._receive()


class _BytesRewriting:
    """`send` for an app that answers in bytes of Chat Completions. Anything but a success in JSON or in events passes.

    A JSON answer is collected, and its start waits with it; events are rewritten as they come.
    """

    __slots__ = ("_collected", "_cutter", "_send", "_size", "_start", "_stream", "_view")

    def __init__(self, send: Send, view: ReasoningView) -> None:
        self._send = send
        self._view = view
        self._start: Message | None = None  # of a JSON answer
        self._collected: list[bytes] = []
        self._size = 0
        self._cutter = SseCutter()
        self._stream: ChatReasoningStream | None = None

    async def __call__(self, message: Message) -> None:
        kind = message["type"]
        if kind == "http.response.start":
            await self._begin(message)
        elif kind != "http.response.body":
            await self._release()
            await self._send(message)
        elif self._stream is not None:
            await self._pass_events(self._stream, message)
        elif self._start is not None:
            await self._collect(message)
        else:
            await self._send(message)

    async def _begin(self, message: Message) -> None:
        fields = dict(message.get("headers", ()))
        kind = fields.get(b"content-type", b"").partition(b";")[0].strip().lower()
        plain = fields.get(b"content-encoding", b"identity") == b"identity" and message["status"] == 200
        if plain and kind == b"application/json":
            self._start = message
            return
        if plain and kind == b"text/event-stream":
            self._stream = ChatReasoningStream(self._view)
            headers = [field for field in message.get("headers", ()) if field[0] != b"content-length"]
            message = {**message, "headers": headers}
        await self._send(message)

    async def _pass_events(self, stream: ChatReasoningStream, message: Message) -> None:
        more = message.get("more_body", False)
        try:
            block = self._cutter.feed(message.get("body", b""))
        except EventTooLargeError as exc:
            raise UpstreamInvalidResponse("The upstream sent an event that is too large") from exc
        if not more:
            block += self._cutter.close()
        shown = stream.feed(block) if block else b""
        if not more:
            shown += stream.close()
        if shown or not more:
            await self._send({**message, "body": shown})

    async def _collect(self, message: Message) -> None:
        body = message.get("body", b"")
        self._collected.append(body)
        self._size += len(body)
        if self._size > MAX_ANSWER_BYTES:
            await self._release(more=message.get("more_body", False))
            return
        if message.get("more_body", False):
            return
        raw = b"".join(self._collected)
        answer = _parsed(raw)
        shown = answer if answer is None else rewrite_answer(answer, self._view)
        start, self._start = self._start, None
        assert start is not None
        if shown is not answer:
            raw = dumps(shown)
            headers = [field for field in start.get("headers", ()) if field[0] != b"content-length"]
            start = {**start, "headers": [*headers, (b"content-length", b"%d" % len(raw))]}
        await self._send(start)
        await self._send({**message, "body": raw})

    async def _release(self, *, more: bool = True) -> None:
        """What waits goes as it is."""
        start, self._start = self._start, None
        if start is None:
            return
        await self._send(start)
        collected, self._collected = b"".join(self._collected), []
        if collected:
            await self._send({"type": "http.response.body", "body": collected, "more_body": more})


def _parsed(raw: bytes) -> JsonObject | None:
    """`None` for what is no JSON object: whoever was to read it says so."""
    try:
        body = loads(raw)
    except ValueError:
        return None
    return body if isinstance(body, dict) else None


def _count(value: object) -> int:
    return value if type(value) is int and value > 0 else 1


def _with_length(scope: Scope, length: int) -> Scope:
    """`scope` with the header fields of a plain body of `length` bytes."""
    names = (b"content-encoding", b"content-length", b"transfer-encoding")
    headers = [field for field in scope["headers"] if field[0] not in names]
    return {**scope, "headers": [*headers, (b"content-length", b"%d" % length)]}


def _accepting_plain(scope: Scope) -> Scope:
    """`scope` of a client that takes nothing compressed: what cannot be read cannot be rewritten."""
    if header(scope, b"accept-encoding") is None:
        return scope
    headers: RawHeaders = [field for field in scope["headers"] if field[0] != b"accept-encoding"]
    return {**scope, "headers": headers}
