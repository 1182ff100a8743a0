"""What every stand-in does: read a request, refuse or answer it, remember both. Pure ASGI, no framework."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import count
from typing import Any, ClassVar
from urllib.parse import parse_qs, unquote

import orjson
from starlette.types import Receive, Scope, Send

from tests.vendors.scripting import Answer, Asked, Fault, Script, Tokens, completed, steps
from tests.vendors.signing import Signer

Json = dict[str, Any]
KEY = "sk-stand-in-key"


@dataclass
class Request:
    """One request as it arrived."""

    method: str
    path: str
    query: dict[str, list[str]]
    headers: dict[str, str]
    raw: bytes
    body: Any = None
    """Parsed JSON."""
    refusal: Refused | None = None
    """Why it was not answered."""
    notes: list[str] = field(default_factory=list)
    """What the vendor put up with: `placeholder` for each signature that was only pretended (Gemini)."""


class Refused(Exception):
    """The vendor's 4xx or 5xx. `kind` is his word for the class of error, `code` and `param` where he has them."""

    def __init__(
        self,
        message: str,
        *,
        status: int = 400,
        kind: str = "",
        code: str | None = None,
        param: str | None = None,
        headers: Sequence[tuple[str, str]] = (),
        details: Sequence[Json] = (),
    ) -> None:
        super().__init__(message)
        self.message = message
        self.status = status
        self.kind = kind
        self.code = code
        self.param = param
        self.headers = tuple(headers)
        self.details = tuple(details)


@dataclass(frozen=True, slots=True)
class Reply:
    """What goes back. A stream is a list of parts, each of which leaves alone."""

    body: Json | None = None
    stream: Sequence[bytes] = ()
    content_type: str = "application/json"
    cut: bool = False
    """The connection is dropped in place of the end of the body."""


class Vendor(ABC):
    """An ASGI app that is one vendor.

    Args:
        script: what the model says; see `scripting.Script`.
        key: the only credential that is accepted.
    """

    name: ClassVar[str]
    request_id_header: ClassVar[str] = "x-request-id"

    def __init__(self, *, script: Script = None, key: str = KEY) -> None:
        self.key = key
        self.url = ""
        """Set while it is served."""
        self.requests: list[Request] = []
        self.asked: list[Asked] = []
        """What was understood of each request that was not refused."""
        self.ledger: dict[str, Tokens] = {}
        """What each answer would cost, by the request id in its header."""
        self.signer = Signer(self.name)
        self.script = script
        self._numbers = count(1)

    @property
    def script(self) -> Script:
        return self._script

    @script.setter
    def script(self, script: Script) -> None:
        """From the next request on."""
        self._script = script
        self._steps = steps(script)

    @property
    def refusals(self) -> list[str]:
        """Messages of everything refused so far."""
        return [request.refusal.message for request in self.requests if request.refusal is not None]

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await _lifespan(receive, send)
            return
        request = _request(scope, await _body(receive))
        self.requests.append(request)
        request_id = f"req_{self.name.replace('_', '')}{next(self._numbers):06d}"
        headers = [(self.request_id_header, request_id)]
        try:
            reply = self.reply(request, request_id)
        except Refused as refused:
            request.refusal = refused
            body = self.envelope(refused, request, request_id)
            await _send(send, refused.status, Reply(body), [*headers, *refused.headers])
            return
        await _send(send, 200, reply, headers)

    @abstractmethod
    def reply(self, request: Request, request_id: str) -> Reply:
        """The answer. Raises `Refused`."""

    @abstractmethod
    def envelope(self, refused: Refused, request: Request, request_id: str) -> Any:
        """`refused` as the vendor writes it."""

    @abstractmethod
    def fault(self, fault: Fault) -> Refused:
        """A scripted failure in the vendor's words."""

    @abstractmethod
    def failed(self, refused: Refused) -> bytes:
        """The bytes that tell of a failure in the middle of a stream."""

    def say(self, asked: Asked, request_id: str) -> tuple[Answer, Fault | None]:
        """The next answer of the script, and what breaks its stream. Raises `Refused` for a scripted failure."""
        self.asked.append(asked)
        step = next(self._steps)(asked)
        fault = None
        if isinstance(step, Fault):
            if step.after is None or not asked.stream:
                raise self.fault(step)
            fault, step = step, steps_default(asked)
        answer = completed(step, asked)
        self.ledger[request_id] = answer.usage
        return answer, fault

    def streamed(
        self, parts: Sequence[bytes], fault: Fault | None, *, content_type: str = "text/event-stream"
    ) -> Reply:
        """A stream of `parts`, unless `fault` breaks it."""
        if fault is None:
            return Reply(stream=parts, content_type=content_type)
        ending = () if fault.cut else (self.failed(self.fault(fault)),)
        return Reply(stream=[*parts[: fault.after], *ending], content_type=content_type)

    def parsed(self, request: Request) -> Json:
        """The body as an object. Raises `Refused`."""
        try:
            request.body = orjson.loads(request.raw)
        except orjson.JSONDecodeError:
            raise self.not_json() from None
        if not isinstance(request.body, dict):
            raise self.not_json()
        return request.body

    @abstractmethod
    def not_json(self) -> Refused: ...


def steps_default(asked: Asked) -> Any:
    """The default behaviour, as a step."""
    return next(steps(None))(asked)


def event(data: Json, name: str = "") -> bytes:
    """One server-sent event, named as OpenAI's Responses and Anthropic name theirs."""
    head = f"event: {name}\n".encode() if name else b""
    return head + b"data: " + orjson.dumps(data) + b"\n\n"


def _request(scope: Scope, raw: bytes) -> Request:
    headers = {name.decode("latin-1"): value.decode("latin-1") for name, value in scope["headers"]}
    query = parse_qs(scope.get("query_string", b"").decode("latin-1"))
    return Request(scope["method"], unquote(scope["path"]), query, headers, raw)


async def _body(receive: Receive) -> bytes:
    parts = []
    while True:
        message = await receive()
        parts.append(message.get("body", b""))
        if not message.get("more_body"):
            return b"".join(parts)


async def _send(send: Send, status: int, reply: Reply, headers: Sequence[tuple[str, str]]) -> None:
    fields = [("content-type", reply.content_type), *headers]
    if reply.body is not None:
        data = orjson.dumps(reply.body)
        fields.append(("content-length", str(len(data))))
        await send({"type": "http.response.start", "status": status, "headers": _encoded(fields)})
        await send({"type": "http.response.body", "body": data})
        return
    await send({"type": "http.response.start", "status": status, "headers": _encoded(fields)})
    for part in reply.stream:
        await send({"type": "http.response.body", "body": part, "more_body": True})
    await send({"type": "http.response.body", "body": b""})


def _encoded(headers: Sequence[tuple[str, str]]) -> list[tuple[bytes, bytes]]:
    return [(name.encode(), value.encode()) for name, value in headers]


async def _lifespan(receive: Receive, send: Send) -> None:
    while True:
        message = await receive()
        await send({"type": message["type"] + ".complete"})
        if message["type"] == "lifespan.shutdown":
            return
