"""Settings of rate limits and of billing."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field

from oneapi_mw.settings.kinds import Dollars, Limit, NonNegative, Positive, Seconds
from oneapi_mw.settings.section import Section


def _same_as_relay(earlier: dict[str, Any]) -> int:
    return int(earlier["global_relay_rate_limit"])


class RateLimitSettings(Section):
    """Requests per window; 0 or less is no limit."""

    rate_limit_disabled: bool = False
    """No limit at all, whatever the others say."""
    global_api_rate_limit: Limit = 480
    """Requests to the management API in 180 s from one address."""
    global_web_rate_limit: Limit = 240
    """Requests to the web console in 180 s from one address."""
    global_relay_rate_limit: Limit = 480
    """Relay requests in 180 s with one API key."""
    global_channel_rate_limit: bool = False
    """Limit relay requests in 180 s with one API key to one channel; the channel says to how many."""
    critical_rate_limit: Limit = 20
    """Requests in 1200 s from one address to what can be misused by trying, such as logins."""
    low_balance_rate_limit_threshold: Dollars = 0.5
    """US dollars: a balance below it makes the two limits that follow apply."""
    low_balance_relay_rate_limit: Limit = Field(default_factory=_same_as_relay)
    """Relay requests of one user with a low balance. Empty is GLOBAL_RELAY_RATE_LIMIT."""
    low_balance_relay_rate_limit_duration: Seconds = 180
    """Seconds in which those are counted."""
    redeem_failure_rate_limit: Limit = 5
    """Wrong redemption codes in 600 s from one user."""
    conversation_rate_limit: Limit = 240
    """Requests to stored conversations with one API key."""
    conversation_rate_limit_duration: Seconds = 60
    """Seconds in which those are counted."""


class BillingSettings(Section):
    """What is set aside and when it is charged."""

    unknown_model_policy: Literal["reject", "default_price", "reference"] = "reject"
    """A model without a price: refused, billed by the card `default` of the option PriceOverrides, or billed like One
    API does, at 2.5 US dollars a million tokens."""
    group_ratio_mode: Literal["user", "channel_min"] = "user"
    """Whose ratio of the option GroupRatio is charged: that of the group through which a request is admitted, or, like
    One API does, the smallest among all groups of the channel that answers."""
    tools_use_group_ratio: bool = False
    """Multiply what calls of hosted tools cost by the group ratio, too."""
    preconsume_token_for_background_request: NonNegative = 15_000
    """Output tokens that are set aside for a Responses request with `background: true` and no limit, and charged for it
    when its end is not seen here."""
    billing_on_crash: Literal["prompt_cost", "void", "hold"] = "prompt_cost"
    """A request whose worker was killed before it noted what it costs: the price of its prompt, nothing, or all that
    was set aside."""
    billing_spool_path: str = ""
    """Folder, on a local disk, for charges that wait while the database is away. Empty is one beside the SQLite file,
    with `.spool` for its ending."""
    billing_spool_max_mb: NonNegative = 64
    """Megabytes of such charges per worker from which on requests are refused. 0 keeps them in memory only."""
    billing_timeout: Seconds = 300
    """Seconds that one settlement may take."""
    streaming_billing_interval: Seconds = 3
    """Seconds between two charges during a stream."""
    on_short_balance: Literal["reject", "clamp_output"] = "reject"
    """A request that may cost more than is left: refused, or its output limit lowered to what can be paid."""
    ambiguous_attempts: Literal["void", "prompt_cost", "hold"] = "prompt_cost"
    """Charged for a request that was sent upstream and got not one byte of an answer: nothing, its prompt, or all that
    was set aside. `ambiguous` in a channel's config comes first."""
    bills_after_disconnect: bool = False
    """Providers charge for whole answers whatever becomes of the connection: those whose client has left are read to
    their end. The same key in a channel's config comes first."""
    disconnect_drain_seconds: Seconds = 120
    """Seconds for which such an answer is read at most."""
    disconnect_drain_at_once: NonNegative = 64
    """Such answers of one worker that are read at the same time; further ones are cut off."""
    bill_failed_attempts: bool = False
    """Charge attempts that failed where the upstream told what they consumed. The same key in a channel's config comes
    first."""
    external_billing_default_timeout: Positive = 600
    """Seconds that an amount set aside by an external service is held when it does not say."""
    external_billing_max_timeout: Positive = 3600
    """Seconds that such an amount is held at most."""
    external_overrun: Literal["allow", "reject"] = "allow"
    """A charge of an external service above what it set aside and what the balance has: booked, or refused."""
    enforce_include_usage: bool = True
    """Ask every upstream stream for usage, whether or not the client did, and pass it on."""
