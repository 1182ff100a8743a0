"""OpenAI, and everybody who speaks as OpenAI does."""

from __future__ import annotations

from collections.abc import Collection

from oneapi_mw.canonical.call import Call
from oneapi_mw.models.rules import ModelRules
from oneapi_mw.providers.base import Provider
from oneapi_mw.routing.channel import Channel

CHAT, RESPONSES, COMPLETIONS = "openai_chat", "openai_responses", "openai_completions"
_API_FORMATS = {
    "chat_completion": CHAT,
    "chat": CHAT,
    "chatcompletion": CHAT,
    "chat-completion": CHAT,
    "response": RESPONSES,
    "responses": RESPONSES,
    "response_api": RESPONSES,
    "responseapi": RESPONSES,
}
"""Words of `config.api_format`."""


class OpenAI(Provider):
    """Chat goes out as chat and Responses as Responses. Only at OpenAI's own host another format may be chosen, and
    only where that gains something: models and calls that Chat Completions does not serve, and reasoning, which
    only Responses shows."""

    def choose(self, call: Call, rules: ModelRules, wires: Collection[str]) -> str | None:
        if RESPONSES not in wires or rules.family != "openai":
            return None
        if call.format != CHAT and call.format in wires:
            return None
        if rules.responses_only:
            return RESPONSES
        if call.format == COMPLETIONS:  # it shows no reasoning, and Responses has less of its settings
            return None
        if call.format != CHAT:
            return RESPONSES if rules.thinking == "effort" else None
        tools_refused = rules.tools_need_effort_none and call.body.get("reasoning_effort", "") != "none"
        return RESPONSES if tools_refused and call.body.get("tools") else None

    def wires(self, channel: Channel, rules: ModelRules) -> tuple[str, ...]:
        return (CHAT, RESPONSES, *_completions(channel, rules))


class OpenAICompatible(Provider):
    """Speaks one of OpenAI's two formats; `api_format` in the channel's config says which."""

    def wires(self, channel: Channel, rules: ModelRules) -> tuple[str, ...]:
        named = str(channel.config.get("api_format") or "").strip().lower()
        return (_API_FORMATS.get(named, CHAT), *_completions(channel, rules))


def _completions(channel: Channel, rules: ModelRules) -> tuple[str, ...]:
    """Text completions as they are: of models that do nothing else, and of hosts that continue texts with any model.
    Which hosts do, `supported_endpoints` in the channel's config says."""
    endpoints = channel.config.get("supported_endpoints")
    named = isinstance(endpoints, list) and "completions" in endpoints
    return (COMPLETIONS,) if named or rules.completes_only else ()
