"""What an upstream has not told of the usage of its answer, so that it has to be counted."""

from __future__ import annotations

from oneapi_mw.exchange import Exchange
from oneapi_mw.wire.base import StreamDecoder


def tells_usage(exchange: Exchange) -> bool:
    """Whether the upstream has reported what it read and what it generated. A zero is not believed unseen."""
    usage = exchange.usage
    return usage is not None and usage.output_tokens > 0 and usage.input_tokens > 0


def note_untold(exchange: Exchange, decoder: StreamDecoder) -> None:
    """Keep the text of a complete stream whose upstream has not told the usage of all of it."""
    unreported = decoder.unreported()
    if unreported or not tells_usage(exchange):
        produced = exchange.produced
        produced.text_bytes, produced.text, produced.unreported = decoder.text_bytes(), decoder.text(), unreported
