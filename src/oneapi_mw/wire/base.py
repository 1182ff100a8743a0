"""What a wire format is: a JSON dialect between clients or upstreams and the canonical model.

Every format is one subclass in one file (or small package) exporting `FORMAT`, listed in `wire/registry.py`.
Nothing here waits, reads a clock or touches a socket.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import Protocol

from oneapi_mw.canonical.call import Call
from oneapi_mw.canonical.events import Event
from oneapi_mw.canonical.frames import Answer, Frame
from oneapi_mw.canonical.request import Request
from oneapi_mw.canonical.response import Response
from oneapi_mw.errors import GatewayError, UpstreamError
from oneapi_mw.types import JsonObject
from oneapi_mw.usage import Usage


class StreamDecoder(Protocol):
    """Bytes of an upstream's stream to frames. Feed what the network brought, in order, then close once."""

    def feed(self, data: bytes) -> list[Frame]:
        """Frames that are complete now. After a frame with `Ended` or `Failed` nothing follows."""

    def close(self) -> list[Frame]:
        """The input has ended. A stream without its terminator ends in `Failed`, never in a success."""

    def text_bytes(self) -> int:
        """UTF-8 bytes of generated text, reasoning and tool arguments so far; may decode what was skipped."""


class StreamEncoder(Protocol):
    """Canonical events to the bytes of a client's stream."""

    def feed(self, events: Sequence[Event]) -> bytes: ...

    def close(self) -> bytes:
        """Whatever is still held back. Empty after a terminal event."""


class WireFormat(ABC):
    """One wire format, both directions."""

    name: str
    paths: Mapping[str, str]
    """Client path below the mount -> operation, for paths without parameters."""
    stream_content_type: str = "text/event-stream; charset=utf-8"

    @abstractmethod
    def decode_call(self, raw: bytes, *, operation: str) -> Call:
        """Check and read the fields the gateway needs. Raises `InvalidRequest` naming the field to change."""

    @abstractmethod
    def decode_request(self, body: JsonObject) -> Request: ...

    @abstractmethod
    def encode_request(self, request: Request) -> JsonObject: ...

    @abstractmethod
    def decode_response(self, body: JsonObject) -> Response: ...

    @abstractmethod
    def encode_response(self, response: Response) -> JsonObject: ...

    @abstractmethod
    def read_usage(self, body: JsonObject) -> Usage | None:
        """Usage of a buffered answer; `None` when it reports none."""

    @abstractmethod
    def answer_text_bytes(self, body: JsonObject) -> int:
        """UTF-8 bytes of generated text, reasoning and tool arguments in a buffered answer."""

    @abstractmethod
    def prepare_upstream(self, call: Call, *, model: str, include_usage: bool) -> bytes:
        """The body to send to an upstream that speaks this format too: the client's own bytes where nothing
        must change, else the parsed body with only `model` and the stream options the gateway must set changed."""

    @abstractmethod
    def restore_model(self, answer: Answer, model: str) -> Answer:
        """The answer naming the model the client asked for."""

    @abstractmethod
    def stream_decoder(self, *, full: bool, model: str | None, hide_usage: bool) -> StreamDecoder:
        """A decoder for one stream.

        Args:
            full: decode every event; else only significant ones and pass bytes (see `Offer.full`).
            model: name to put into each chunk in place of the upstream's; `None` leaves them alone.
            hide_usage: drop the usage-only chunk from the bytes (the gateway asked for it, not the client).
        """

    @abstractmethod
    def stream_encoder(self, call: Call) -> StreamEncoder: ...

    @abstractmethod
    def read_error(self, status: int, body: bytes) -> UpstreamError | None:
        """The error in an upstream's answer; `None` when a 2xx body is not an error."""

    @abstractmethod
    def encode_error(self, error: GatewayError, *, request_id: str) -> JsonObject: ...

    @abstractmethod
    def encode_stream_error(self, error: GatewayError, *, request_id: str) -> bytes:
        """The bytes that end a stream that has already begun. Never the success terminator."""
