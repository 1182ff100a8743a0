"""What a wire format is: a JSON dialect between clients or upstreams and the canonical model.

Every format is one subclass in one file (or small package) exporting `FORMAT`, listed in `wire/registry.py`.
Nothing here waits, reads a clock or touches a socket.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, ClassVar, Protocol

from oneapi_mw.canonical.call import BODY_ALONE, Call, Outside
from oneapi_mw.canonical.frames import Answer, Frame
from oneapi_mw.errors import GatewayError, UpstreamError
from oneapi_mw.immutable import immutable
from oneapi_mw.jsontext import dumps, dumps_well_formed
from oneapi_mw.types import JsonObject
from oneapi_mw.usage import NO_TOOLS, ToolUsage, Usage
from oneapi_mw.wire.said import Said
from oneapi_mw.wire.target import Target

if TYPE_CHECKING:  # the model is loaded with the first codec
    from oneapi_mw.canonical.events import Event
    from oneapi_mw.canonical.request import Request
    from oneapi_mw.canonical.response import Response
    from oneapi_mw.wire.restore import Restoration


@immutable
class Encoded:
    """A canonical request in a target's format."""

    body: JsonObject
    dropped: tuple[str, ...] = ()
    """Canonical paths of what the format cannot say; `path=emulated` for what is said by other means."""
    headers: tuple[tuple[str, str], ...] = ()
    """Fields the body needs beside it (`anthropic-beta`)."""
    restore: Restoration | None = None
    """What of the answer must be changed back before anybody sees it (`wire.restore`)."""
    hidden: bool = False
    """The client wants no reasoning and the model cannot be kept from it: its text shall not be shown."""


@immutable
class Outgoing:
    """A request as it leaves for an upstream."""

    body: bytes
    headers: tuple[tuple[str, str], ...] = ()
    dropped: tuple[str, ...] = ()
    restore: Restoration | None = None
    hidden: bool = False
    """Both as in `Encoded`."""


def outgoing(encoded: Encoded, body: JsonObject) -> Outgoing:
    """`encoded` as it leaves, with `body` in its place."""
    return Outgoing(dumps_well_formed(body), encoded.headers, encoded.dropped, encoded.restore, encoded.hidden)


class StreamDecoder(Protocol):
    """Bytes of an upstream's stream to frames. Feed what the network brought, in order, then close once."""

    def feed(self, data: bytes) -> list[Frame]:
        """Frames that are complete now. After a frame with `Ended` or `Failed` nothing follows."""

    def close(self) -> list[Frame]:
        """The input has ended. A stream without its terminator ends in `Failed`, never in a success."""

    def fail(self, error: UpstreamError) -> list[Frame]:
        """The input has broken off with `error`: what ends the stream instead of `close`."""

    def text_bytes(self) -> int:
        """UTF-8 bytes of generated text, reasoning and tool arguments so far; may decode what was skipped."""

    def text(self) -> str:
        """That text, or its beginning when it is longer than `said.KEPT_BYTES`, to be counted."""

    def unreported(self) -> bool:
        """Whether there is text that the last report of usage was too early to cover; may decode what was skipped."""

    def tools(self) -> ToolUsage:
        """What hosted tools have done so far; may decode what was skipped."""


class StreamEncoder(Protocol):
    """Canonical events to the bytes of a client's stream."""

    def feed(self, events: Sequence[Event]) -> bytes: ...

    def observe(self, events: Sequence[Event]) -> None:
        """Note `events` that went to the client as original bytes, so that encoded ones fit in between."""

    def close(self) -> bytes:
        """Whatever is still held back. Empty after a terminal event."""


class WireFormat(ABC):
    """One wire format, both directions.

    Of a request, `decode_call` reads the few fields every stage needs; `decode_request` reads everything, and only
    when an upstream speaks another format. Unknown fields are carried in `extras` and written back to this format.
    """

    name: ClassVar[str]
    paths: ClassVar[Mapping[str, str]]
    """Client path below the mount -> operation, for paths without parameters."""
    vendor: ClassVar[str] = ""
    """Whose opaque reasoning parts its own upstreams make and read (`ReasoningOpaque.vendor`)."""
    stream_content_type: ClassVar[str] = "text/event-stream; charset=utf-8"

    limit_fields: ClassVar[tuple[str, ...]] = ("max_tokens",)
    """Where a request says how much an answer may have. The first is written where there is none."""
    least_output: ClassVar[int] = 1
    """Tokens that an answer may be limited to, at least."""

    def limit_output(self, call: Call, total: int) -> Call | None:
        """`call` asking for at most `total` tokens over all of its answers, and else for what it did. `None` when that
        is less than an answer may be limited to."""
        each = total // self.answers_made(call)
        body = self.with_limit(call.body, each) if each >= self.least_output else None
        return None if body is None else replace(call.with_body(body), max_output=each * self.answers_made(call))

    def goes_on(self, call: Call) -> bool:
        """Whether an upstream of this format works on at `call` when nobody listens, so that what it costs in the end
        need never be told here."""
        return False

    def answers_made(self, call: Call) -> int:
        """Answers that are generated, and paid for."""
        return call.candidates

    def with_limit(self, body: JsonObject, tokens: int) -> JsonObject | None:
        """`body` with that limit for one answer; `None` when it cannot have it."""
        present = [name for name in self.limit_fields if body.get(name)]
        return {**body, **dict.fromkeys(present or self.limit_fields[:1], tokens)}

    def stream_type(self, call: Call) -> str:
        """Content type of the stream that answers `call`."""
        return self.stream_content_type

    def passes_frames(self, call: Call) -> bool:
        """Whether bytes of an upstream's stream in this format are what the client of `call` is to get."""
        return True

    def operation_at(self, path: str) -> str | None:
        """What a client path below the mount asks for; `None` when it is not one of this format. Formats with
        parameters in their paths (a model, an action) override this."""
        return self.paths.get(path)

    def upstream_path(self, operation: str, *, model: str, stream: bool) -> str:
        """The path below an upstream's base URL. Raises `KeyError` for an operation the format does not have."""
        for path, served in self.paths.items():
            if served == operation:
                return path
        raise KeyError(operation)

    @abstractmethod
    def decode_call(
        self, raw: bytes, *, operation: str, outside: Outside = BODY_ALONE, body: JsonObject | None = None
    ) -> Call:
        """Check and read the fields the gateway needs. Raises `InvalidRequest` naming the field to change.

        Args:
            body: `raw` parsed, when somebody has done so already.
        """

    @abstractmethod
    def decode_request(self, call: Call) -> Request:
        """The whole request. Raises `InvalidRequest` naming the field to change."""

    @abstractmethod
    def encode_request(self, request: Request, target: Target) -> Encoded:
        """The request for `target`. Raises `InvalidRequest` for what cannot be said there and nobody may leave out."""

    def encode_call(self, request: Request, call: Call, *, target: Target) -> Outgoing:
        """What to send to an upstream that speaks this format, for a call that came in another one."""
        encoded = self.encode_request(replace(request, model=target.model), target)
        return outgoing(encoded, encoded.body)

    def most_candidates(self, target: Target) -> int:
        """Answers to one request that an upstream of this format gives at most."""
        return 1

    def split(self, call: Call, *, candidates: bool) -> Sequence[Call]:
        """Calls that together ask for what `call`, of this format, does: one for each input, or with `candidates`
        one for each answer. In the order of the answers. Raises `InvalidRequest` for what cannot be taken apart."""
        return (call,)

    @abstractmethod
    def decode_response(self, body: JsonObject) -> Response: ...

    @abstractmethod
    def encode_response(self, response: Response, call: Call, *, request_id: str = "", created: int = 0) -> JsonObject:
        """The answer to `call`, which may have come in any format.

        Args:
            request_id: what an id is made from when the upstream told none.
            created: Unix seconds to write when the upstream told none.
        """

    @abstractmethod
    def read_usage(self, body: JsonObject) -> Usage | None:
        """Usage of a buffered answer; `None` when it reports none."""

    def read_tools(self, body: JsonObject) -> ToolUsage:
        """What hosted tools did for a buffered answer, whether or not it reports usage. Formats with such tools
        override this."""
        return NO_TOOLS

    @abstractmethod
    def answer_said(self, body: JsonObject) -> Said:
        """Generated text, reasoning and tool arguments in a buffered answer."""

    @abstractmethod
    def prepare_upstream(self, call: Call, *, target: Target, include_usage: bool) -> Outgoing:
        """What to send to an upstream that speaks this format too: the client's own bytes, with only `model` and
        the stream options the gateway must set changed."""

    def restore_model(self, answer: Answer, model: str) -> Answer:
        """The answer naming the model the client asked for. Formats that name it elsewhere override this."""
        if answer.body.get("model") == model or "model" not in answer.body:
            return answer
        body = {**answer.body, "model": model}
        return Answer(answer.format, dumps(body), body)

    @abstractmethod
    def stream_decoder(self, *, full: bool, model: str | None, hide_usage: bool) -> StreamDecoder:
        """A decoder for one stream.

        Args:
            full: decode every event; else only significant ones and pass bytes (see `Offer.full`).
            model: name to put into each chunk in place of the upstream's; `None` leaves them alone.
            hide_usage: drop the usage-only chunk from the bytes (the gateway asked for it, not the client).
        """

    @abstractmethod
    def stream_encoder(self, call: Call, *, request_id: str = "", created: int = 0) -> StreamEncoder:
        """An encoder for the stream that answers `call`. `request_id` and `created` as for `encode_response`;
        the id is named in errors, too."""

    @abstractmethod
    def read_error(self, status: int, body: bytes) -> UpstreamError | None:
        """The error in an upstream's answer; `None` when a 2xx body is not an error."""

    @abstractmethod
    def encode_error(self, error: GatewayError, *, request_id: str) -> JsonObject: ...

    @abstractmethod
    def encode_stream_error(self, error: GatewayError, *, request_id: str) -> bytes:
        """The bytes that end a stream of server-sent events that has begun and that nobody here encodes. Never the
        success terminator."""
