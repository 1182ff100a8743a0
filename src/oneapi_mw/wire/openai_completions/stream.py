"""A stream's bytes to frames: the chunks are those of Chat Completions, with their text in the choice itself."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from oneapi_mw.canonical.events import Event
from oneapi_mw.wire.openai_chat.reader import ChunkReader
from oneapi_mw.wire.openai_chat.stream import ChatStreamDecoder
from oneapi_mw.wire.openai_completions.response import as_chat

NAME = "openai_completions"


class CompletionReader(ChunkReader):
    """Every event of a stream."""

    def _choice(self, index: int, choice: Mapping[str, Any], events: list[Event]) -> None:
        super()._choice(index, as_chat(choice), events)


class CompletionStreamDecoder(ChatStreamDecoder):
    """See `StreamDecoder`."""

    name = NAME
    content = b'"text":"'
    reader = CompletionReader
