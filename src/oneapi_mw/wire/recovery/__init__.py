"""Requests that an upstream refused because reasoning of earlier turns was lost or changed, made acceptable.

Clients drop signatures, shorten signed texts, move a conversation to another model or account. What an upstream says
then is recognised (`signs`), and the request is sent once more without what nobody can bring back. A repair works on
the body as it goes upstream, in that upstream's own format: the same for a client that wrote it and for a codec.

Source: conversion reference on reasoning, 4.3 and 4.6
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace

from oneapi_mw.jsontext import dumps, loads
from oneapi_mw.types import JsonObject
from oneapi_mw.wire.base import Outgoing
from oneapi_mw.wire.losses import EMULATED
from oneapi_mw.wire.recovery import anthropic, chat, gemini, responses
from oneapi_mw.wire.recovery.signs import Remedy, recognised
from oneapi_mw.wire.target import Target

__all__ = ["Remedy", "recognised", "repaired"]

_REPAIRS: Mapping[Remedy, Callable[[JsonObject, Target], JsonObject]] = {
    "stop_thinking": anthropic.without_forced_thinking,
    "forget_thinking": anthropic.without_reasoning,
    "forget_last_thinking": anthropic.without_last_reasoning,
    "drop_mismatched": anthropic.dropping_mismatched,
    "sign_calls": gemini.with_signed_calls,
    "forget_signatures": gemini.without_signatures,
    "forget_items": responses.without_reasoning,
    "forget_ids": responses.without_ids,
    "fill_reasoning": chat.with_reasoning,
    "strip_reasoning": chat.without_reasoning,
}
_PRETENDED: frozenset[Remedy] = frozenset({"sign_calls", "fill_reasoning"})


def repaired(outgoing: Outgoing, remedy: Remedy, target: Target) -> Outgoing | None:
    """`outgoing` with what `remedy` says, and a word about it among what was dropped; `None` where that changes
    nothing: then asking again would end the same way."""
    body = loads(outgoing.body)
    edited = _REPAIRS[remedy](body, target)
    if edited is body or edited == body:
        return None
    edited, headers = anthropic.with_betas(edited, outgoing.headers, target)
    note = f"reasoning{EMULATED}" if remedy in _PRETENDED else "reasoning=lost"
    dropped = outgoing.dropped if note in outgoing.dropped else (*outgoing.dropped, note)
    return replace(outgoing, body=dumps(edited), headers=headers, dropped=dropped)
