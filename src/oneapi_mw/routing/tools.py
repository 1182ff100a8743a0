"""Hosted tools at admission: a request goes to channels that may run what it declares, or nowhere."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from oneapi_mw.canonical.call import Call
from oneapi_mw.errors import ToolNotAllowed
from oneapi_mw.pricing.book import is_free_channel
from oneapi_mw.pricing.price import CompiledPrice
from oneapi_mw.pricing.tools import IMAGES, DeclaredTool, declared_tools, declares_tools
from oneapi_mw.routing.plan import Candidate, Plan
from oneapi_mw.wire.hosted import is_written_anew


def with_tools_allowed(plan: Plan, call: Call) -> Plan:
    """`plan` with the candidates that may run every tool which `call` declares.

    A channel with a whitelist may run what is on it, and any channel what somebody has priced, be it at zero. Where the
    models that nobody has priced are free, so are such tools.

    Raises: `ToolNotAllowed` when there is none, saying what the first of them lacks.
    """
    if not declares_tools(call.body):
        return plan
    declared = list(declared_tools(call.body))
    if not any(tool.hosted for tool in declared):
        return plan
    refusals = [_refusal(candidate, call, declared) for candidate in plan.candidates]
    allowed = tuple(each for each, refusal in zip(plan.candidates, refusals, strict=True) if refusal is None)
    if not allowed and refusals[0] is not None:
        raise refusals[0]
    return plan if len(allowed) == len(plan.candidates) else replace(plan, candidates=allowed)


def _refusal(candidate: Candidate, call: Call, declared: Sequence[DeclaredTool]) -> ToolNotAllowed | None:
    price = candidate.price
    free = price.layer == "free" or is_free_channel(candidate.channel.config)
    for tool in declared:
        if not tool.hosted or _is_left_out(tool, candidate, call):
            continue
        if not price.allows(tool.priced_as):
            return ToolNotAllowed(
                f"The tool {tool.name!r} is not allowed with model {call.model!r}: leave it out, or have {tool.kind!r} "
                "added to the whitelist in the tooling of a channel that serves the model",
                param=tool.where,
            )
        if tool.has_fee and not free and not _is_priced(tool, price):
            return ToolNotAllowed(
                f"The tool {tool.name!r} has no price with model {call.model!r}: leave it out, or have {tool.kind!r} "
                "added to the pricing in the tooling of a channel that serves the model",
                param=tool.where,
            )
    return None


def _is_priced(tool: DeclaredTool, price: CompiledPrice) -> bool:
    return price.of_tool(tool.priced_as) is not None or (tool.kind == IMAGES and price.prices_images)


def _is_left_out(tool: DeclaredTool, candidate: Candidate, call: Call) -> bool:
    """Whether what goes to `candidate` will not have the tool, as its format has none of the kind. What has no fee is
    not asked for: it has ways of its own to other formats."""
    route = candidate.route(call)
    if not tool.has_fee or route.wire.name == call.format or not route.target.options.drop_hosted_tools:
        return False
    return not is_written_anew(tool.kind, route.wire.name)
