"""What the repository of stored responses and conversations takes and returns."""

from __future__ import annotations

from dataclasses import field

from oneapi_mw.immutable import immutable


@immutable
class Owner:
    """Whose response state it is. The same user with another token is somebody else."""

    user_id: int
    token_id: int


@immutable
class ResponseLink:
    """What a stored answer is and what it continues, without its content. Times are Unix milliseconds."""

    id: str
    previous_id: str | None
    conversation_id: str | None
    position: int
    """Of the conversation: the items before it were part of the request."""
    channel_id: int | None
    """The channel that made the answer."""
    item_count: int
    size: int
    """Bytes of the content."""
    created_at: int
    expires_at: int


@immutable
class ResponseRecord:
    link: ResponseLink
    content: bytes = field(repr=False)


@immutable
class ConversationRecord:
    """Times are Unix milliseconds."""

    id: str
    metadata: str
    """JSON, kept as it is."""
    channel_id: int | None
    """The channel that answered last."""
    item_count: int
    size: int
    """Bytes of all items."""
    next_position: int
    created_at: int
    expires_at: int


@immutable
class ItemRecord:
    """An item of a conversation."""

    id: str
    content: bytes = field(repr=False)


@immutable
class ItemRange:
    """Which items of a conversation. `after` is the id of an item; one that is not there means none."""

    after: str | None = None
    limit: int | None = None
    descending: bool = False
    before: int | None = None
    """Position."""


ALL_ITEMS = ItemRange()


@immutable
class ConversationLimits:
    """How much there may be of one user's conversations."""

    conversations: int = 2000
    items: int = 2048
    """Of one conversation."""
    bytes: int = 32 * 1024 * 1024
    """Of one conversation."""
    user_bytes: int = 1024 * 1024 * 1024
    """Of all of them: keeping conversations costs the user nothing, so something has to end it."""
