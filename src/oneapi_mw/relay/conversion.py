"""The way to an upstream that speaks another format than the client, and the way back."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from oneapi_mw.canonical.call import Call
from oneapi_mw.canonical.events import Event
from oneapi_mw.canonical.request import Request
from oneapi_mw.canonical.response import Response
from oneapi_mw.errors import InvalidRequest, UpstreamError
from oneapi_mw.immutable import immutable
from oneapi_mw.models.depth import HIDDEN_DISPLAYS
from oneapi_mw.wire.base import Outgoing
from oneapi_mw.wire.carrier import Carrier
from oneapi_mw.wire.client_fields import client_fields
from oneapi_mw.wire.envelope_bodies import may_hold_envelopes, without_envelopes
from oneapi_mw.wire.reasoning_view import EventView, view_response
from oneapi_mw.wire.recovery import Remedy, repaired
from oneapi_mw.wire.registry import get_format
from oneapi_mw.wire.restore import Restorer, restored
from oneapi_mw.wire.stopper import StopCutter, cut_response
from oneapi_mw.wire.target import Target
from oneapi_mw.wire.view import ReasoningView
from oneapi_mw.wire.wish_applied import apply_to_body, apply_wish

if TYPE_CHECKING:
    from oneapi_mw.routing.plan import Route

STOP_EMULATED = "stop=emulated"


@immutable
class Recovery:
    """A request is sent once more, without what its client has lost."""

    wire: str
    """Wire format of the upstream that refused it: another format is written anew, and needs no repair."""
    remedy: Remedy
    refusal: UpstreamError


class Conversion:
    """What an answer in another format goes through before anybody else sees it: what was renamed or emulated is
    changed back, the text is cut at stop sequences the upstream does not know, opaque parts are wrapped, and reasoning
    that nobody wanted and that could not be switched off is hidden."""

    def __init__(self, request: Request, outgoing: Outgoing, carrier: Carrier | None) -> None:
        self._restoration = outgoing.restore
        self._restorer = Restorer(outgoing.restore) if outgoing.restore else None
        self._stops = request.stop if STOP_EMULATED in outgoing.dropped else ()
        self._cutter = StopCutter(self._stops, candidates=request.candidates or 1) if self._stops else None
        self._carrier = carrier
        self._view = _hiding(request, outgoing)
        self._hider = EventView(self._view) if self._view is not None else None
        if carrier is not None and self._view is not None:
            carrier.hide()

    @property
    def is_cut(self) -> bool:
        """Whether nothing the upstream may still say is wanted."""
        return self._cutter is not None and self._cutter.cut

    def feed(self, events: Iterable[Event]) -> Sequence[Event]:
        """The next events of a stream."""
        if self._restorer is not None:
            events = self._restorer.feed(events)
        if self._cutter is not None:
            events = self._cutter.feed(events)
        if self._carrier is not None:
            events = self._carrier.seal_events(events)
        return tuple(events) if self._hider is None else self._hider.feed(events)

    def response(self, response: Response) -> Response:
        """A whole answer."""
        if self._restoration is not None:
            response = restored(response, self._restoration)
        if self._stops:
            response = cut_response(response, self._stops)
        if self._carrier is not None:
            response = self._carrier.seal_response(response)
        return response if self._view is None else view_response(response, self._view)


def _hiding(request: Request, outgoing: Outgoing) -> ReasoningView | None:
    """How the text of reasoning is kept from a client that wants none of it, or none of its text."""
    if outgoing.hidden:
        return ReasoningView(off=True, candidates=request.candidates or 1)
    display = request.reasoning.display if request.reasoning is not None else None
    return ReasoningView("hidden", candidates=request.candidates or 1) if display in HIDDEN_DISPLAYS else None


def outgoing_call(
    call: Call,
    route: Route,
    *,
    provider: str,
    include_usage: bool,
    carriers: Callable[[Route], Carrier | None] | None = None,
    recovery: Recovery | None = None,
) -> tuple[Outgoing, Conversion | None]:
    """What to send for `call`, and the way back where the upstream speaks another format.

    Raises: `InvalidRequest` for what cannot be said there; in strict conversion, for everything that would be left
    out or said by other means. The refusal of `recovery` where there is nothing to repair.
    """
    asked, conversion = call, None
    target = route.target
    ignored: tuple[str, ...] = ()
    if call.format == route.wire.name:
        call, ignored = _as_wished(call, route.target, provider)
        outgoing = route.wire.prepare_upstream(call, target=route.target, include_usage=include_usage)
    else:
        carrier = None if carriers is None else carriers(route)
        request = apply_wish(get_format(call.format).decode_request(call), call.wish)
        if call.kept:
            request = replace(request, state=replace(request.state, store=None))
        if carrier is not None:
            request = carrier.open_request(request)
        target = _target(route, recovery)
        outgoing = route.wire.encode_call(request, call, target=target)
        conversion = Conversion(request, outgoing, carrier)
    if outgoing.dropped:
        outgoing = replace(outgoing, dropped=client_fields(asked, outgoing.dropped))
    if outgoing.dropped and (call.strict or route.target.options.strict):
        raise _unsayable(call, outgoing.dropped)
    if recovery is not None and recovery.wire == route.wire.name:
        mended = repaired(outgoing, recovery.remedy, route.target)
        if mended is None and target is route.target:
            raise recovery.refusal
        outgoing = mended or outgoing
    if ignored:  # a wish that cannot be granted is said, and never an error
        outgoing = replace(outgoing, dropped=tuple(dict.fromkeys((*outgoing.dropped, *ignored))))
    return outgoing, conversion


def _unsayable(call: Call, dropped: Sequence[str]) -> InvalidRequest:
    names = [name.partition("=")[0] for name in dropped]
    return InvalidRequest(
        f"Model {call.model!r} cannot be asked for all of this: {', '.join(names)}. Leave that out, or ask "
        "without strict conversion",
        param=names[0],
        code="unsupported_parameter",
    )


def _target(route: Route, recovery: Recovery | None) -> Target:
    """Who to write for: a host that has asked for reasoning as text is told what there is."""
    target = route.target
    asked = recovery is not None and recovery.wire == route.wire.name and recovery.remedy == "fill_reasoning"
    if not asked or target.rules.reasoning_history == "require":
        return target
    return replace(target, rules=replace(target.rules, reasoning_history="require"))


def _as_wished(call: Call, target: Target, provider: str) -> tuple[Call, tuple[str, ...]]:
    """`call` for an upstream of its own format: with what was wished beside the body, and without parts of other
    vendors, which mean nothing there. The second is what cannot be had."""
    ignored: tuple[str, ...] = ()
    if call.wish is not None:
        edit = apply_to_body(call.format, call.body, call.wish, target, provider=provider)
        ignored = client_fields(call, edit.dropped)
        if edit.body is not call.body:
            call = call.with_body(edit.body)
    if call.raw is None or may_hold_envelopes(call.raw):
        body = without_envelopes(call.format, call.body)
        if body is not call.body:
            call = call.with_body(body)
    return call, ignored
