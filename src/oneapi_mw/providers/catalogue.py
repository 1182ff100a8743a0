"""The providers, by One API's channel type number."""

from __future__ import annotations

from oneapi_mw.providers.anthropic import Anthropic
from oneapi_mw.providers.base import Provider, ProviderSpec
from oneapi_mw.providers.gemini import Gemini
from oneapi_mw.providers.openai import CHAT, RESPONSES, OpenAI, OpenAICompatible

_TEXT = frozenset({"chat"})
_OPENAI_DOCS = "https://platform.openai.com/docs/api-reference"
_ANTHROPIC_DOCS = "https://platform.claude.com/docs/en/api/messages"
_GEMINI_DOCS = "https://ai.google.dev/api/generate-content"

ROWS = (
    ProviderSpec(1, "openai", "https://api.openai.com", (CHAT, RESPONSES), _TEXT, _OPENAI_DOCS),
    ProviderSpec(8, "custom", "", (CHAT,), _TEXT, _OPENAI_DOCS),
    ProviderSpec(14, "anthropic", "https://api.anthropic.com", ("anthropic_messages",), _TEXT, _ANTHROPIC_DOCS),
    ProviderSpec(24, "gemini", "https://generativelanguage.googleapis.com", ("gemini",), _TEXT, _GEMINI_DOCS),
    ProviderSpec(50, "openai-compatible", "", (CHAT,), _TEXT, _OPENAI_DOCS),
    ProviderSpec(52, "claude-compatible", "", ("anthropic_messages",), _TEXT, _ANTHROPIC_DOCS),
)

_CLASSES: dict[int, type[Provider]] = {
    1: OpenAI,
    8: OpenAICompatible,
    14: Anthropic,
    24: Gemini,
    50: OpenAICompatible,
    52: Anthropic,
}
_PROVIDERS = {row.id: _CLASSES.get(row.id, Provider)(row) for row in ROWS}


def get_provider(channel_type: int) -> Provider | None:
    """The provider of a channel type; `None` for a number this version cannot speak to."""
    return _PROVIDERS.get(channel_type)
