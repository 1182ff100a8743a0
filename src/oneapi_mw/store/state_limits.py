"""How much may be kept of conversations, the same in every store."""

from __future__ import annotations

from oneapi_mw.store.base import StateFull
from oneapi_mw.store.state_records import ConversationLimits


def check_conversation(items: int, size: int, limits: ConversationLimits) -> None:
    """Raises `StateFull` for more than one conversation may hold."""
    if items > limits.items:
        raise StateFull(f"a conversation may have {limits.items} items")
    if size > limits.bytes:
        raise StateFull(f"a conversation may have {limits.bytes} bytes")


def check_conversations(count: int, size: int, limits: ConversationLimits) -> None:
    """Raises `StateFull` for more than one user may have."""
    if count > limits.conversations:
        raise StateFull(f"a user may have {limits.conversations} conversations")
    if size > limits.user_bytes:
        raise StateFull(f"all conversations of a user may have {limits.user_bytes} bytes")
