"""What was said before a request, as the stage and the endpoints of response state need it: limits, and errors that
clients understand."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import field
from typing import TYPE_CHECKING, Final, TypeVar

from oneapi_mw.errors import InvalidRequest, NotFound, RequestTooLarge, StoreUnavailable
from oneapi_mw.ids import uuid7s
from oneapi_mw.immutable import immutable
from oneapi_mw.jsontext import loads
from oneapi_mw.principal import Principal
from oneapi_mw.store.base import ResponseStates, StateBusy, StateFull
from oneapi_mw.store.state_records import (
    ConversationLimits,
    ConversationRecord,
    ItemRange,
    ItemRecord,
    Owner,
    ResponseLink,
)
from oneapi_mw.types import JsonObject
from oneapi_mw.wire.response_state import SELECTOR, Kept, replayed

if TYPE_CHECKING:  # pydantic takes longer to load than everything a stage needs
    from oneapi_mw.settings import Settings

INLINE_BYTES = 20 * 1024
"""What is longer is parsed and written in a thread."""
NEVER: Final = 1 << 62
DAY_MS: Final = 86_400_000

T = TypeVar("T")


@immutable
class StateOptions:
    """How much is remembered, for how long, and for whom."""

    max_chain_depth: int = 64
    max_item_count: int = 2048
    max_record_bytes: int = 8 * 1024 * 1024
    max_hydrated_bytes: int = 32 * 1024 * 1024
    max_hydrated_tokens: int = 1_000_000
    max_responses: int = 20_000
    """Per user."""
    max_conversations: int = 2000
    """Per user."""
    response_days: int = 30
    conversation_idle_days: int = 0
    """0 is forever."""
    passthrough: bool = False
    """Ids that are not ours are sent upstream."""
    shadow: bool = False
    """Answers are kept, and nothing is made of them."""
    allowed: frozenset[str] = field(default_factory=frozenset)
    """`user:1`, `token:2`, `channel:3`, by id or uuid; empty is everybody."""

    @staticmethod
    def of(settings: Settings) -> StateOptions | None:
        """`None` when state is switched off."""
        if settings.response_state_enabled is False:
            return None
        return StateOptions(
            max_chain_depth=settings.response_state_max_chain_depth,
            max_item_count=settings.response_state_max_item_count,
            max_record_bytes=settings.response_state_max_record_bytes,
            max_hydrated_bytes=settings.response_state_max_hydrated_bytes,
            max_hydrated_tokens=settings.response_state_max_hydrated_tokens,
            max_responses=settings.response_state_max_responses_per_user,
            max_conversations=settings.response_state_max_conversations_per_user,
            response_days=settings.response_state_response_ttl_days,
            conversation_idle_days=settings.response_state_conversation_idle_ttl_days,
            passthrough=settings.response_state_legacy_passthrough,
            shadow=settings.response_state_shadow,
            allowed=_allowed(settings.response_state_allowlist),
        )

    @property
    def conversation_limits(self) -> ConversationLimits:
        return ConversationLimits(self.max_conversations, self.max_item_count, self.max_hydrated_bytes)

    def admits(self, principal: Principal) -> bool:
        """Whether anything is remembered for `principal`: on some channels, maybe."""
        return not self.allowed or self._names(principal) or any(word.startswith("channel:") for word in self.allowed)

    def admits_answer(self, principal: Principal, channel_id: int, channel_uuid: str) -> bool:
        """Whether an answer of that channel is kept."""
        channel = {f"channel:{channel_id}", f"channel:{channel_uuid}"}
        return not self.allowed or self._names(principal) or not self.allowed.isdisjoint(channel)

    def _names(self, principal: Principal) -> bool:
        users = {f"user:{principal.user_id}", f"user:{principal.user_uuid}"}
        return not self.allowed.isdisjoint({*users, f"token:{principal.token_id}", f"token:{principal.token_uuid}"})

    def response_expiry(self, now: int) -> int:
        return now + self.response_days * DAY_MS

    def conversation_expiry(self, now: int) -> int:
        return now + self.conversation_idle_days * DAY_MS if self.conversation_idle_days else NEVER


def _allowed(text: str) -> frozenset[str]:
    words = text.replace(",", " ").split()
    return frozenset(word.lower() if ":" in word else f"user:{word.lower()}" for word in words)


def owner_of(principal: Principal) -> Owner:
    return Owner(principal.user_id, principal.token_id)


def new_ids(prefix: str, count: int) -> list[str]:
    """Ids that sort by time: 48 bits of it, then random ones."""
    return [prefix + uuid.replace("-", "") for uuid in uuid7s(count)]


async def apart(size: int, work: Callable[[], T]) -> T:
    """What `work` returns; in a thread when it has much to do."""
    return await asyncio.to_thread(work) if size > INLINE_BYTES else work()


# Errors.


def previous_not_found(response_id: str) -> InvalidRequest:
    return InvalidRequest(
        f"Previous response with id {response_id!r} not found: it was not stored, has expired or was deleted",
        param="previous_response_id",
        code="previous_response_not_found",
    )


def response_not_found(response_id: str) -> NotFound:
    return NotFound(f"Response with id {response_id!r} not found", code="response_not_found")


def conversation_not_found(conversation_id: str) -> NotFound:
    return NotFound(f"Conversation with id {conversation_id!r} not found", code="conversation_not_found")


def too_large(message: str) -> RequestTooLarge:
    return RequestTooLarge(message, code="state_limit_exceeded")


@contextmanager
def state_errors() -> Iterator[None]:
    """What a store says, in words for clients."""
    try:
        yield
    except StateBusy:
        raise InvalidRequest(
            "Another request is writing to this conversation: try again when it has been answered",
            status=409,
            code="conversation_conflict",
        ) from None
    except StateFull as exc:
        raise too_large(f"The conversation cannot grow: {exc}") from None
    except StoreUnavailable as exc:
        raise StoreUnavailable(
            "Stored responses cannot be reached: try again in a moment, or send the whole input without them",
            code="state_store_unavailable",
            retry_after=exc.retry_after or 1,
        ) from exc


# What was said.


@immutable
class History:
    """What came before a request, oldest first."""

    items: list[JsonObject] = field(default_factory=list)
    channel_id: int | None = None
    """The channel that answered last."""
    chain: tuple[str, ...] = ()
    """Ids of the answers it consists of."""
    position: int = 0
    """Of the conversation, at its end."""


NOTHING: Final = History()


class Histories:
    """Reads histories within limits. Everything here raises what `state_errors` says."""

    def __init__(self, states: ResponseStates, options: StateOptions) -> None:
        self._states = states
        self._options = options

    async def chain(self, owner: Owner, response_id: str) -> History:
        """An answer and all it continues. Raises `InvalidRequest` when any of it is missing."""
        most = self._options.max_chain_depth
        links = await self._states.links(owner, response_id, most=most + 1)
        if not links:
            raise previous_not_found(response_id)
        if len(links) > most:
            raise too_large(f"More than {most} responses continue each other: start anew with the items that matter")
        oldest = links[-1]
        if oldest.previous_id is not None:
            raise previous_not_found(oldest.previous_id)
        links.reverse()
        before: list[JsonObject] = []
        if oldest.conversation_id is not None:
            which = ItemRange(before=oldest.position)
            found = await self._states.items(owner, oldest.conversation_id, which)
            if found is None:
                raise previous_not_found(response_id)
            before = await _parsed(found)
        kept = await self.kept(owner, links)
        if len(kept) < len(links):
            raise previous_not_found(response_id)
        items = [*replayed(before), *(item for each in kept for item in each.history())]
        return History(items, links[-1].channel_id, tuple(link.id for link in links))

    async def conversation(self, owner: Owner, record: ConversationRecord) -> History:
        """All that was said in a conversation."""
        found = await self._states.items(owner, record.id, ItemRange(before=record.next_position))
        if found is None:
            raise conversation_not_found(record.id)
        return History(replayed(await _parsed(found)), record.channel_id, position=record.next_position)

    async def referenced(self, owner: Owner, item_ids: Sequence[str]) -> tuple[dict[str, JsonObject], int | None]:
        """Items of earlier answers by id, those that are found; and the channel that made the newest of them."""
        links = await self._states.find_items(owner, item_ids)
        wanted = frozenset(item_ids)
        found: dict[str, JsonObject] = {}
        for kept in await self.kept(owner, links):
            found.update((item["id"], item) for item in kept.output if item.get("id") in wanted)
        return found, links[-1].channel_id if links else None

    async def kept(self, owner: Owner, links: Sequence[ResponseLink]) -> list[Kept]:
        """The turns of `links` that are there. Raises `RequestTooLarge` before they are loaded."""
        self.check(sum(link.item_count for link in links), sum(link.size for link in links))
        records = await self._states.read(owner, [link.id for link in links])
        contents = [records[link.id].content for link in links if link.id in records]
        return await apart(sum(map(len, contents)), lambda: [Kept.read(content) for content in contents])

    def check(self, items: int, size: int) -> None:
        """Raises `RequestTooLarge` for more than one request may hold."""
        options = self._options
        if items > options.max_item_count:
            raise too_large(f"With what it continues the request has {items} items: {options.max_item_count} may be")
        if size > options.max_hydrated_bytes:
            raise too_large(
                f"With what it continues the request is larger than {options.max_hydrated_bytes} bytes: start anew "
                "with the items that matter"
            )


async def _parsed(items: Sequence[ItemRecord]) -> list[JsonObject]:
    return await apart(sum(len(item.content) for item in items), lambda: [loads(item.content) for item in items])


def unknown_item(item_id: str, index: int) -> InvalidRequest:
    return InvalidRequest(
        f"Item with id {item_id!r} not found: it is of no stored response; send the item itself",
        param=f"input[{index}].id",
        code=SELECTOR,
    )
