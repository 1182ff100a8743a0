"""The consume-log row of a request: what was used, and what is charged for it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import lru_cache

from oneapi_mw.canonical.call import Call
from oneapi_mw.exchange import Exchange
from oneapi_mw.ledger.base import LogFacts
from oneapi_mw.middleware.charges import Charged
from oneapi_mw.pricing.facts import CALLS, PRICE, call_facts, price_facts
from oneapi_mw.pricing.price import RATIO_SCALE, SCALE, CompiledPrice
from oneapi_mw.principal import Principal
from oneapi_mw.routing.plan import Plan
from oneapi_mw.types import JsonObject
from oneapi_mw.usage import Usage, total_usage

HOLD_CHARGED = "hold_charged"
"""Flag of a log row: what was set aside is charged, as what was worked out cannot be right."""


def log_facts(
    exchange: Exchange,
    call: Call,
    plan: Plan,
    principal: Principal,
    charges: Sequence[Charged],
    *,
    archived: Callable[[CompiledPrice], bool],
) -> LogFacts:
    """The consume-log row of a request.

    Args:
        charges: its upstream calls, mostly one; the last names the channel.
        archived: whether a price's card can be found by its id.
    """
    attempt, last, price, ratio, _ = charges[-1]
    usage = total_usage([one.usage for one in charges])
    channel = plan.candidates[attempt.candidate].channel
    metadata: dict[str, object] = {
        "user_api_format": call.format,
        "upstream_api_format": attempt.wire,
        "upstream_endpoint": attempt.url,
    }
    if usage.cache_write_5m or usage.cache_write_1h:
        metadata["cache_write_tokens"] = {
            "ephemeral_5m": usage.cache_write_5m,
            "ephemeral_1h": usage.cache_write_1h,
        }
    if usage.source != "upstream":
        metadata["usage_source"] = usage.source
    if exchange.outcome not in ("complete", "pending"):
        metadata["outcome"] = exchange.outcome
    if len(charges) == 1:
        metadata[PRICE] = _price_facts(charges[0], archived)
    else:
        metadata[CALLS] = [call_facts(one.usage, _price_facts(one, archived)) for one in charges]
    return LogFacts(
        user_uuid=principal.user_uuid,
        username=principal.username,
        token_uuid=principal.token_uuid,
        token_name=principal.token_name,
        channel_id=channel.id,
        channel_uuid=channel.uuid,
        channel_name=channel.name,
        model_name=attempt.model,
        origin_model_name=call.model,
        prompt_tokens=usage.input_tokens,
        completion_tokens=usage.output_tokens,
        cached_prompt_tokens=usage.cache_read,
        content=describe_price(price.for_size(last.input_tokens, last.output_tokens), usage, group_ratio=ratio),
        elapsed_time=exchange.elapsed_ms,
        is_stream=call.stream,
        metadata=metadata,
    )


def _price_facts(one: Charged, archived: Callable[[CompiledPrice], bool]) -> JsonObject:
    return price_facts(one.made, one.price, one.usage, group_ratio=one.group_ratio, archived=archived(one.price))


def unexplained(exchange: Exchange, call: Call, principal: Principal) -> LogFacts:
    """The consume-log row of a request whose cost could not be worked out."""
    return LogFacts(
        user_uuid=principal.user_uuid,
        username=principal.username,
        token_uuid=principal.token_uuid,
        token_name=principal.token_name,
        model_name=call.model,
        origin_model_name=call.model,
        prompt_tokens=call.input_estimate,
        content="its cost could not be worked out: what was set aside is charged",
        elapsed_time=exchange.elapsed_ms,
        is_stream=call.stream,
        metadata={PRICE: {"flags": [HOLD_CHARGED]}},
    )


def describe_price(price: CompiledPrice, usage: Usage, *, group_ratio: int) -> str:
    """The log row's text, in the words that One API's log views know."""
    return (
        f"{_rates(price.input, price.output, group_ratio)}, cached_prompt {usage.cache_read}, "
        f"cache_write_5m {usage.cache_write_5m}, cache_write_1h {usage.cache_write_1h}"
    )


@lru_cache(maxsize=1024)
def _rates(input_price: int, output_price: int, group_ratio: int) -> str:
    completion = output_price / input_price if input_price else 0.0
    return (
        f"model rate {input_price / SCALE:.2f}, group rate {group_ratio / RATIO_SCALE:.2f}, "
        f"completion rate {completion:.2f}"
    )
