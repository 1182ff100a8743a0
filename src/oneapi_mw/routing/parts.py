"""Requests that one upstream call cannot answer, taken apart into calls that can be made at once.

| the request holds                        | the first candidate            | calls                            |
|------------------------------------------|--------------------------------|----------------------------------|
| one input, as many answers as it gives   | any                            | one                              |
| one input, more answers than it gives    | `fan_out_n` on                 | one for each answer              |
|                                          | `fan_out_n` off                | one, which its codec refuses     |
| several inputs                           | speaks the client's own format | one                              |
|                                          | speaks another                 | one for each input, or as above  |
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from itertools import takewhile

from oneapi_mw.canonical.call import Call
from oneapi_mw.immutable import immutable
from oneapi_mw.routing.plan import Candidate, Plan
from oneapi_mw.wire.registry import get_format


@immutable
class Part:
    """One of the calls that answer a request together."""

    call: Call
    first: int
    """Index of its first answer among all of them."""


def parts_of(call: Call, plan: Plan) -> Sequence[Part]:
    """The parts of `call`, in the order of their answers; none where one upstream call answers all of it.

    Raises: `InvalidRequest` for what cannot be taken apart.
    """
    if call.candidates == 1 or _answers_whole(plan.candidates[0], call):
        return ()
    route = plan.candidates[0].route(call)
    each = call.candidates // call.inputs
    alone = each > route.wire.most_candidates(route.target) and route.target.options.fan_out_n
    if call.inputs == 1 and not alone:
        return ()
    parts: list[Part] = []
    first = 0
    for part in get_format(call.format).split(call, candidates=alone):
        parts.append(Part(part, first))
        first += part.candidates
    return parts if len(parts) > 1 else ()


def plan_of_whole(call: Call, plan: Plan) -> Plan:
    """`plan` for a call that was not taken apart: up to the first candidate that could not answer it."""
    if call.candidates == 1 or not _answers_whole(plan.candidates[0], call):
        return plan
    able = tuple(takewhile(lambda candidate: _answers_whole(candidate, call), plan.candidates))
    return plan if len(able) == len(plan.candidates) else replace(plan, candidates=able)


def _answers_whole(candidate: Candidate, call: Call) -> bool:
    route = candidate.route(call)
    if call.inputs > 1 and route.wire.name != call.format:
        return False
    return call.candidates // call.inputs <= route.wire.most_candidates(route.target)
