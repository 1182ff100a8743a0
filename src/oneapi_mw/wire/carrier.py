"""How opaque reasoning parts of one vendor travel through a client that speaks another's format."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from oneapi_mw.canonical.events import Event
    from oneapi_mw.canonical.request import Request
    from oneapi_mw.canonical.response import Response


class Carrier(Protocol):
    """Of one request and its answer."""

    def hide(self) -> None:
        """The client is not to see the text of reasoning: then nobody may read it in what carries it either."""

    def open_request(self, request: Request) -> Request:
        """The request with the parts its client brings back."""

    def seal_events(self, events: Iterable[Event]) -> Sequence[Event]:
        """The next events of a stream, as the client may see them."""

    def seal_response(self, response: Response) -> Response:
        """The same for a whole answer."""
