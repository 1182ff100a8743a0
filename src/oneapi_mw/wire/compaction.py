"""Summaries that a vendor has put in the place of earlier turns, as another vendor can be told of them."""

from __future__ import annotations

from oneapi_mw.canonical.blocks import Opaque
from oneapi_mw.errors import InvalidRequest


def summary_of(block: Opaque) -> str:
    """The summary in a block of another vendor's compaction: one in plain words is worth more than silence.

    Raises: `InvalidRequest` for one that only its vendor can read.
    """
    summary = block.value.get("content") if isinstance(block.value, dict) else None
    if isinstance(summary, str) and summary.strip():
        return summary
    raise InvalidRequest(
        "The conversation was compacted by another vendor, who alone can read the summary: send the turns themselves",
        status=409,
        code="state_not_portable",
    )
