"""What one client request accumulates on its way in and out.

`Exchange` is the one mutable object the stages share: inner stages write what outer stages report.
"""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal, Protocol, TypeAlias

from oneapi_mw.errors import GatewayError
from oneapi_mw.immutable import immutable
from oneapi_mw.scope import ScopeKey
from oneapi_mw.usage import Produced, Usage

if TYPE_CHECKING:
    from oneapi_mw.wire.recovery.signs import Remedy

Outcome: TypeAlias = Literal["pending", "complete", "failed", "client_gone", "cancelled"]


@dataclass(slots=True)
class Attempt:
    """One upstream call. Times are `time.perf_counter()` seconds."""

    channel_id: int
    channel_uuid: str
    channel_name: str
    model: str
    """Model name sent upstream."""
    url: str
    wire: str
    """Wire format spoken upstream."""
    started_at: float = field(default_factory=time.perf_counter)
    status: int | None = None
    error: str | None = None
    dispatched: bool = False
    """Whether at least one byte of the request may have reached the upstream."""
    refused: bool = False
    """The upstream answered with a definite error before any output: nothing is owed for it."""
    first_byte_at: float | None = None
    candidate: int = 0
    """Index in the plan of the candidate that was tried: its price applies."""
    lost: Remedy | None = None
    """Refused for reasoning that the client has lost or changed, and what helps. That is no fault of the channel, and
    no other one would do better."""
    goes_on: bool = False
    """Its upstream works on when nobody listens (see `WireFormat.goes_on`)."""
    outlives: bool = False
    """Its answer is read to the end when the client leaves."""
    whole: bool = False
    """The upstream's answer came to its end although the client had left."""
    usage: Usage | None = None
    """What the upstream told of an attempt that failed."""


class Remainders(Protocol):
    """Who sees to answers whose clients have left."""

    def has_room(self) -> bool:
        """Whether one more can be seen to."""


@dataclass(slots=True)
class Exchange:
    """One client request. Created by the exchange stage, filled by the stages inside it."""

    request_id: str
    started_at: float = field(default_factory=time.time)
    """Unix seconds; the instant prices are looked up for."""
    clock: float = field(default_factory=time.perf_counter)
    attempts: list[Attempt] = field(default_factory=list)
    usage: Usage | None = None
    """As the upstream reported it; the last report wins."""
    produced: Produced = field(default_factory=Produced)
    outcome: Outcome = "pending"
    status: int = 0
    """Status sent to the client, 0 before the response began."""
    code: str | None = None
    """Error code when the request failed."""
    format: str | None = None
    """Wire format of the client where its body told another than its path."""
    charged: int | None = None
    """Quota units settled; `None` until settled."""
    owed: int | None = None
    """Quota units that the ledger was asked to charge, whether or not it has answered; `None` until then."""
    response_headers: list[tuple[bytes, bytes]] = field(default_factory=list)
    """Header fields that inner stages want in the response, whoever starts it."""
    dropped: list[str] = field(default_factory=list)
    """Request fields the target could not express (the `X-Oneapi-Dropped` header)."""
    end_stream: Callable[[GatewayError], bytes] | None = None
    """How a stream that has begun ends in an error, set by the stage that encodes it: only that one knows how it is
    framed and what of it was said."""
    parts: list[Exchange] = field(default_factory=list)
    """Of a request that takes several upstream calls at once: one for each. They tell what is owed, each for itself;
    what stands above sums them up."""
    input_estimate: int = 0
    """Of a part: its input tokens, estimated."""
    remainders: Remainders | None = None
    """Set by a stage that will await what is left in `unfinished`, and then settle."""
    unfinished: list[Callable[[], Awaitable[None]]] = field(default_factory=list)
    """What the relay still has to do for an answer whose client has left, before it is known what is owed."""

    @property
    def elapsed_ms(self) -> int:
        return int((time.perf_counter() - self.clock) * 1000)


EXCHANGE: ScopeKey[Exchange] = ScopeKey("oneapi_mw.exchange")


@immutable
class Endpoint:
    """What a path asks for: the operation and the wire format the client speaks there."""

    operation: str
    format: str


ENDPOINT: ScopeKey[Endpoint] = ScopeKey("oneapi_mw.endpoint")
