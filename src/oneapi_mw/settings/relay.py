"""Settings of the way to the providers: time, channels, formats, and what becomes of requests on it."""

from __future__ import annotations

import base64
import binascii
import re
from typing import Literal

from pydantic import field_validator

from oneapi_mw.settings.kinds import Destinations, NonNegative, Positive, Proxy, Seconds, SecondsOrNone, Secret
from oneapi_mw.settings.section import Section


class RelaySettings(Section):
    """Upstream requests."""

    connect_timeout: Seconds = 5
    """Seconds for a connection to an upstream: name, TCP and TLS."""
    first_byte_timeout: Seconds = 60
    """Seconds for an upstream to begin its answer."""
    idle_timeout: Seconds = 30
    """Seconds that an upstream may be silent in the middle of its answer."""
    relay_timeout: SecondsOrNone = 0
    """Seconds that one upstream request may take; 0 is the longest there is, half an hour."""
    retry_times: NonNegative = 0
    """Further attempts on other channels after the first."""
    relay_proxy: Proxy = ""
    """Proxy for upstream requests. Empty is none."""
    user_content_request_enabled: bool = True
    """Fetch images and PDFs that clients name by URL, where the provider cannot."""
    user_content_request_proxy: Proxy = ""
    """Proxy for fetching them. Empty is none."""
    user_content_request_timeout: Seconds = 30
    """Seconds that fetching one of them may take."""
    user_content_request_allow_http: bool = False
    """Fetch from addresses without TLS, too."""
    user_content_request_allowlist: Destinations = ()
    """Hosts and networks that may be fetched from although they are not public: `media.example.com`, `10.0.0.0/8:8080`.
    Such an entry also allows http, and the port it names. Link-local and metadata addresses stay closed."""
    max_inline_image_size_mb: NonNegative = 16
    """MiB: the largest file that is fetched, and half of what one request may have fetched; 0 fetches none."""
    polling_interval: SecondsOrNone = 0
    """Seconds between two channels when all are tested or asked for their balance."""
    default_max_token: Positive = 2048
    """Tokens: output limit for providers that need one, when the client gave none."""
    default_use_min_max_tokens_model: bool = False
    """Among equal channels prefer those with the smallest output limit that is enough."""
    mcp_max_tool_rounds: Positive = 10
    """Rounds of tool calls in one chat request with MCP tools."""
    mcp_tool_call_timeout: Seconds = 60
    """Seconds that one MCP call may take."""


class ChannelSettings(Section):
    """When a channel is left alone, tested, and with what."""

    channel_suspend_seconds_for_429: SecondsOrNone = 60
    """Seconds that a channel is not used for a model after it answered 429."""
    channel_suspend_seconds_for_5xx: SecondsOrNone = 30
    """Seconds that a channel is not used for a model after it failed."""
    channel_suspend_seconds_for_auth: SecondsOrNone = 60
    """Seconds that a channel is not used for a model after it refused its own key, or was out of credit."""
    channel_test_frequency: NonNegative = 0
    """Minutes between two tests of all channels; 0 tests none."""
    test_prompt: str = "2 + 2 = ?"
    """Prompt of a channel test."""
    test_max_tokens: Positive = 1024
    """Tokens: output limit of a channel test."""


class ProviderSettings(Section):
    """Habits of single providers."""

    gemini_safety_setting: Literal["BLOCK_NONE", "BLOCK_LOW_AND_ABOVE", "BLOCK_MEDIUM_AND_ABOVE", "BLOCK_ONLY_HIGH"] = (
        "BLOCK_NONE"
    )
    """Threshold of every Gemini safety category."""
    gemini_version: Literal["v1", "v1beta"] = "v1"
    """Version of the Gemini API when the channel gives none."""
    openrouter_provider_sort: Literal["", "throughput", "price", "latency"] = ""
    """What OpenRouter sorts its providers by. Empty leaves it to OpenRouter."""


class ConversionSettings(Section):
    """What happens where two formats differ."""

    auto_detect_api_format: bool = True
    """Notice Responses and Claude bodies on the wrong path."""
    auto_detect_api_format_action: Literal["transparent", "redirect"] = "transparent"
    """Serve them in place, or answer 302."""
    strict_conversion: bool = False
    """Refuse with 400 what would be dropped or emulated."""
    strict_passthrough: bool = False
    """Same format on both sides: leave out nothing, even what the model is known to refuse."""
    emulate_stop: bool = True
    """Cut at stop sequences here when the target has none."""
    emulate_prefill: bool = False
    """Emulate a begun answer on targets that refuse one."""
    emulate_client_tools: bool = False
    """Offer bash, text editor and the like as functions elsewhere."""
    drop_hosted_tools: bool = False
    """Leave out a hosted tool that the target lacks, and say so, instead of refusing."""
    fan_out_n: bool = False
    """Answer `n` above 1 by several upstream requests, each of them billed."""
    reasoning_format_default: Literal["auto", "reasoning_content", "reasoning", "thinking"] = "auto"
    """Field for reasoning when a request names none."""
    reasoning_carrier: Literal["details", "none"] = "details"
    """Whether opaque reasoning travels in `reasoning_details` of chat answers."""
    reasoning_envelope: Literal["signed", "encrypted"] = "signed"
    """How opaque reasoning of another vendor is protected on its way through the client."""
    reasoning_lost: Literal["drop", "text"] = "drop"
    """What becomes of reasoning that cannot be sent back as such."""


class ResponseStateSettings(Section):
    """Stored responses and conversations."""

    response_state_enabled: bool | None = None
    """Keep responses for `previous_response_id`, and conversations. Empty keeps them."""
    response_state_encryption_keys: Secret = ""
    """Without effect: what is stored is sealed with ONEAPI_SECRET_KEY. `version:key` entries, keys in base64."""
    response_state_shadow: bool = False
    """Write state, but do not serve from it."""
    response_state_allowlist: str = ""
    """Who may keep state: `user:1,token:2,channel:3`, ids or UUIDs. Empty is everybody."""
    response_state_legacy_passthrough: bool = False
    """Send unknown response ids upstream."""
    response_state_max_chain_depth: Positive = 64
    """Links of one chain of responses."""
    response_state_max_item_count: Positive = 2048
    """Items of one request or conversation."""
    response_state_max_record_bytes: Positive = 8 * 1024 * 1024
    """Bytes of one record."""
    response_state_max_hydrated_bytes: Positive = 32 * 1024 * 1024
    """Bytes of one request after its history has been put in."""
    response_state_max_hydrated_tokens: Positive = 1_000_000
    """Tokens of one request after its history has been put in."""
    response_state_response_ttl_days: Positive = 30
    """Days that a response is kept."""
    response_state_max_responses_per_user: Positive = 20_000
    """Responses of one user; the oldest make room."""
    response_state_max_conversations_per_user: Positive = 2000
    """Conversations of one user; more are refused."""
    response_state_conversation_idle_ttl_days: NonNegative = 0
    """Days without use after which a conversation goes; 0 is never."""

    @field_validator("response_state_encryption_keys")
    @classmethod
    def _has_keys(cls, text: str) -> str:
        for entry in re.split(r"[,\s]+", text.strip()) if text else ():
            version, _, key = entry.partition(":")
            if not version or not _is_base64(key):
                raise ValueError("version:key entries, each key in base64, separated by commas")
        return text


def _is_base64(text: str) -> bool:
    try:
        return bool(base64.b64decode(text, validate=True))
    except (binascii.Error, ValueError):
        return False
