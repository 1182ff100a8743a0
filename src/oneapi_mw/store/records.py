"""What repositories return: frozen rows without secrets in the clear, unless a field says so."""

from __future__ import annotations

from enum import IntEnum
from typing import Any

from oneapi_mw.immutable import immutable
from oneapi_mw.types import Quota


@immutable
class UserRecord:
    id: int
    uuid: str
    username: str
    display_name: str
    role: int
    status: int
    email: str
    github_id: str
    wechat_id: str
    lark_id: str
    oidc_id: str
    quota: Quota
    used_quota: Quota
    request_count: int
    group: str
    aff_code: str
    inviter_uuid: str | None
    mcp_tool_blacklist: tuple[str, ...]
    metadata: dict[str, Any]
    created_at: int
    updated_at: int
    password_hash: str = ""
    """Only filled by look-ups for login."""


@immutable
class TokenRecord:
    id: int
    uuid: str
    user_id: int
    user_uuid: str
    key: str
    """The unsealed key without its prefix."""
    status: int
    name: str
    created_time: int
    accessed_time: int
    expired_time: int
    remain_quota: Quota
    unlimited_quota: bool
    used_quota: Quota
    models: str | None
    subnet: str | None
    created_at: int
    updated_at: int


@immutable
class ChannelRecord:
    """A channel as stored: JSON columns are still text."""

    id: int
    uuid: str
    type: int
    key: str
    """The unsealed provider key."""
    status: int
    name: str
    weight: int
    created_time: int
    test_time: int
    response_time: int
    base_url: str
    other: str | None
    balance: str
    balance_updated_time: int
    models: str
    hidden_models: str | None
    model_configs: str | None
    group: str
    used_quota: Quota
    model_mapping: str | None
    priority: int
    config: str
    ratelimit: int
    system_prompt: str | None
    testing_model: str | None
    model_ratio: str | None
    completion_ratio: str | None
    inference_profile_arn_map: str | None
    created_at: int
    updated_at: int


@immutable
class LogRecord:
    uuid: str
    user_id: int
    user_uuid: str
    token_id: int | None
    token_uuid: str | None
    channel_uuid: str | None
    channel_name: str
    created_at: int
    type: int
    content: str
    username: str
    token_name: str
    model_name: str
    origin_model_name: str
    quota: Quota
    prompt_tokens: int
    completion_tokens: int
    cached_prompt_tokens: int
    request_id: str
    trace_id: str
    elapsed_time: int
    is_stream: bool
    system_prompt_reset: bool
    metadata: dict[str, Any] | None
    updated_at: int


@immutable
class CostRecord:
    uuid: str
    request_id: str
    user_uuid: str
    quota: Quota
    state: str
    """`pending` (quota is the hold), `final` or `void`."""
    estimated: bool
    """Whether a sweep has ended it and nobody has said since what it cost."""
    created_time: int
    created_at: int
    updated_at: int
    guessable: bool = False
    """The id was made from what a client said, and not by us at random: knowing it proves nothing."""
    adjusted: Quota = 0
    """What was given back of an estimate when it was known what the request cost, or, negative, charged besides:
    `quota` is that cost, and the log row still shows the sum of both."""


@immutable
class EntryRecord:
    """A credit or an adjustment, as it is booked."""

    user_id: int
    amount: Quota
    kind: str
    remark: str
    first: bool = True
    """Whether this very call booked it; otherwise it was booked under its key before."""


class RedemptionStatus(IntEnum):
    ENABLED = 1
    DISABLED = 2
    USED = 3


@immutable
class RedemptionRecord:
    id: int
    uuid: str
    user_uuid: str
    """Who made it."""
    key: str
    """The code in the clear."""
    status: int
    name: str
    quota: Quota
    created_time: int
    redeemed_time: int
    redeemed_by: str | None
    """Uuid of the user who redeemed it."""
    created_at: int
    updated_at: int


class TransactionStatus(IntEnum):
    """States of an external transaction; numbers as One API stores them."""

    PENDING = 1
    CONFIRMED = 2
    AUTO_CONFIRMED = 3
    CANCELED = 4


@immutable
class TransactionRecord:
    """A call of the external billing API and how its hold stands."""

    hold_key: str
    uuid: str
    transaction_id: str
    token_uuid: str
    user_uuid: str
    reason: str
    request_id: str
    trace_id: str
    body_hash: str
    status: TransactionStatus
    pre_quota: Quota
    final_quota: Quota | None
    """`None` while pending."""
    log_uuid: str
    """Empty until charged."""
    expires_at: int
    """Unix seconds; 0 when it has ended."""
    elapsed_time_ms: int | None
    created_at: int
    ended_at: int | None
    """Unix milliseconds."""

    @property
    def updated_at(self) -> int:
        return self.created_at if self.ended_at is None else self.ended_at


@immutable
class Page:
    """Which rows of a list: `offset` rows are skipped, at most `limit` returned."""

    offset: int = 0
    limit: int = 10
    sort: str = "id"
    descending: bool = True


@immutable
class LogFilter:
    user_id: int | None = None
    token_id: int | None = None
    type: int = 0
    """0 is every type."""
    start: int = 0
    """Unix seconds, inclusive; 0 is open."""
    end: int = 0
    """Unix seconds, inclusive; 0 is open."""
    username: str = ""
    token_name: str = ""
    model_name: str = ""
    channel_uuid: str = ""
    keyword: str = ""
    """Part of the content; a UUID matches the uuid columns instead."""
