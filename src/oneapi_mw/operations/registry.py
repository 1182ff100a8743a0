"""The operations of this version."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from oneapi_mw.operations.base import Operation

ROWS = (Operation("chat", body="json", metered="tokens", endpoint="chat_completions", streams=True),)

OPERATIONS: Mapping[str, Operation] = MappingProxyType({row.name: row for row in ROWS})

ENDPOINT_OF_PATH: Mapping[str, str] = MappingProxyType(
    {
        "/v1/chat/completions": "chat_completions",
        "/v1/completions": "completions",
        "/v1/embeddings": "embeddings",
        "/v1/moderations": "moderations",
        "/v1/images/generations": "images_generations",
        "/v1/images/edits": "images_edits",
        "/v1/audio/speech": "audio_speech",
        "/v1/audio/transcriptions": "audio_transcription",
        "/v1/audio/translations": "audio_translation",
        "/v1/rerank": "rerank",
        "/v1/responses": "response_api",
        "/v1/messages": "claude_messages",
        "/v1/realtime": "realtime",
        "/v1/videos": "videos",
        "/api/paas/v4/layout_parsing": "ocr",
    }
)
"""Paths and the names One API gives them in the `config` of channels. Those of operations this version does not
have are here too: stored channels name them."""

ENDPOINT_NAMES = frozenset(ENDPOINT_OF_PATH.values())


def get_operation(name: str) -> Operation:
    """The operation of that name. Raises `KeyError`."""
    return OPERATIONS[name]
