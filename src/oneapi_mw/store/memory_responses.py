"""Answers and conversations that later requests continue, in dictionaries. Nothing survives the process."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace

from oneapi_mw.store.base import Conflict, StateBusy
from oneapi_mw.store.state_limits import check_conversation, check_conversations
from oneapi_mw.store.state_records import (
    ALL_ITEMS,
    ConversationLimits,
    ConversationRecord,
    ItemRange,
    ItemRecord,
    Owner,
    ResponseLink,
    ResponseRecord,
)

SWEEP_EVERY = 256
"""Answers after which expired ones are removed: nobody else does it here."""


@dataclass(slots=True)
class _Answer:
    owner: Owner
    record: ResponseRecord
    item_ids: frozenset[str]


@dataclass(slots=True)
class _Talk:
    """A conversation."""

    owner: Owner
    record: ConversationRecord
    items: dict[int, ItemRecord] = field(default_factory=dict)  # by position
    busy_by: str = ""
    busy_until: float = 0.0


class MemoryResponses:
    """Implements `store.base.ResponseStates`. Args: clock: Unix seconds."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._answers: dict[str, _Answer] = {}
        self._talks: dict[str, _Talk] = {}
        self._added = 0

    # Answers.

    async def add(
        self,
        owner: Owner,
        response: ResponseRecord,
        *,
        item_ids: Sequence[str] = (),
        renew: Sequence[str] = (),
        most: int,
    ) -> None:
        link = response.link
        if link.id in self._answers:
            raise Conflict("id")
        self._added += 1
        if self._added % SWEEP_EVERY == 0:
            await self.sweep()
        self._answers[link.id] = _Answer(owner, response, frozenset(item_ids))
        for id_ in renew:
            older = self._answer(owner, id_)
            if older is not None and older.record.link.expires_at < link.expires_at:
                older.record = replace(older.record, link=replace(older.record.link, expires_at=link.expires_at))
        if len(self._answers) <= most:
            return
        theirs = [a.record.link for a in self._answers.values() if a.owner.user_id == owner.user_id]
        for gone in sorted(theirs, key=lambda each: (each.expires_at, each.id))[: max(0, len(theirs) - most)]:
            del self._answers[gone.id]

    async def links(self, owner: Owner, response_id: str, *, most: int) -> list[ResponseLink]:
        found: list[ResponseLink] = []
        next_id: str | None = response_id
        while next_id is not None and len(found) < most:
            answer = self._answer(owner, next_id)
            if answer is None:
                break
            found.append(answer.record.link)
            next_id = answer.record.link.previous_id
        return found

    async def read(self, owner: Owner, response_ids: Sequence[str]) -> dict[str, ResponseRecord]:
        found = {id_: self._answer(owner, id_) for id_ in response_ids}
        return {id_: answer.record for id_, answer in found.items() if answer is not None}

    async def find_items(self, owner: Owner, item_ids: Sequence[str]) -> list[ResponseLink]:
        wanted = frozenset(item_ids)
        found = [
            answer.record.link
            for id_, answer in self._answers.items()
            if answer.item_ids & wanted and self._answer(owner, id_) is not None
        ]
        return sorted(found, key=lambda link: (link.created_at, link.id))

    async def delete(self, owner: Owner, response_id: str) -> bool:
        if self._answer(owner, response_id) is None:
            return False
        del self._answers[response_id]
        return True

    # Conversations.

    async def create_conversation(
        self,
        owner: Owner,
        conversation_id: str,
        *,
        metadata: str,
        items: Sequence[ItemRecord] = (),
        expires_at: int,
        limits: ConversationLimits,
    ) -> ConversationRecord:
        size = sum(len(item.content) for item in items)
        check_conversation(len(items), size, limits)
        count, total = self._totals(owner)
        check_conversations(count + 1, total + size, limits)
        record = ConversationRecord(
            conversation_id, metadata, None, len(items), size, len(items), self._now(), expires_at
        )
        self._talks[conversation_id] = _Talk(owner, record, dict(enumerate(items)))
        return record

    async def conversation(self, owner: Owner, conversation_id: str) -> ConversationRecord | None:
        talk = self._talk(owner, conversation_id)
        return None if talk is None else talk.record

    async def set_metadata(self, owner: Owner, conversation_id: str, metadata: str) -> ConversationRecord | None:
        talk = self._talk(owner, conversation_id)
        if talk is None:
            return None
        talk.record = replace(talk.record, metadata=metadata)
        return talk.record

    async def delete_conversation(self, owner: Owner, conversation_id: str) -> bool:
        if self._talk(owner, conversation_id) is None:
            return False
        del self._talks[conversation_id]
        return True

    async def claim(
        self, owner: Owner, conversation_id: str, *, holder: str, seconds: float
    ) -> ConversationRecord | None:
        talk = self._talk(owner, conversation_id)
        if talk is None:
            return None
        if talk.busy_until > self._clock() and talk.busy_by != holder:
            raise StateBusy
        talk.busy_by, talk.busy_until = holder, self._clock() + seconds
        return talk.record

    async def release(self, owner: Owner, conversation_id: str, *, holder: str) -> None:
        talk = self._talk(owner, conversation_id)
        if talk is not None and talk.busy_by == holder:
            talk.busy_by, talk.busy_until = "", 0.0

    async def append(
        self,
        owner: Owner,
        conversation_id: str,
        items: Sequence[ItemRecord],
        *,
        holder: str = "",
        channel_id: int | None = None,
        expires_at: int,
        limits: ConversationLimits,
    ) -> bool:
        talk = self._talk(owner, conversation_id)
        if talk is None:
            return False
        if talk.busy_by != holder and (holder or talk.busy_until > self._clock()):
            raise StateBusy
        record, size = talk.record, sum(len(item.content) for item in items)
        check_conversation(record.item_count + len(items), record.size + size, limits)
        count, total = self._totals(owner)
        check_conversations(count, total + size, limits)
        talk.items.update(enumerate(items, start=record.next_position))
        talk.record = replace(
            record,
            item_count=record.item_count + len(items),
            size=record.size + size,
            next_position=record.next_position + len(items),
            channel_id=record.channel_id if channel_id is None else channel_id,
            expires_at=expires_at,
        )
        talk.busy_by, talk.busy_until = "", 0.0
        return True

    async def items(self, owner: Owner, conversation_id: str, which: ItemRange = ALL_ITEMS) -> list[ItemRecord] | None:
        talk = self._talk(owner, conversation_id)
        if talk is None:
            return None
        places = sorted(talk.items, reverse=which.descending)
        if which.before is not None:
            places = [place for place in places if place < which.before]
        if which.after is not None:
            edge = _place_of(talk, which.after)
            if edge is None:
                return []
            places = [place for place in places if (place < edge if which.descending else place > edge)]
        return [talk.items[place] for place in places[: which.limit]]

    async def item(self, owner: Owner, conversation_id: str, item_id: str) -> ItemRecord | None:
        talk = self._talk(owner, conversation_id)
        place = None if talk is None else _place_of(talk, item_id)
        return None if talk is None or place is None else talk.items[place]

    async def delete_item(self, owner: Owner, conversation_id: str, item_id: str) -> bool:
        talk = self._talk(owner, conversation_id)
        if talk is None:
            return False
        if talk.busy_until > self._clock():
            raise StateBusy
        kept = {place: item for place, item in talk.items.items() if item.id != item_id}
        gone = len(talk.items) - len(kept)
        size = sum(len(item.content) for item in kept.values())
        talk.record, talk.items = replace(talk.record, item_count=len(kept), size=size), kept
        return bool(gone)

    async def sweep(self) -> int:
        now = self._now()
        answers = [id_ for id_, answer in self._answers.items() if answer.record.link.expires_at <= now]
        talks = [id_ for id_, talk in self._talks.items() if talk.record.expires_at <= now]
        for id_ in answers:
            del self._answers[id_]
        for id_ in talks:
            del self._talks[id_]
        return len(answers) + len(talks)

    # What an owner may see.

    def _now(self) -> int:
        return int(self._clock() * 1000)

    def _answer(self, owner: Owner, response_id: str) -> _Answer | None:
        answer = self._answers.get(response_id)
        there = answer is not None and answer.owner == owner and answer.record.link.expires_at > self._now()
        return answer if there else None

    def _talk(self, owner: Owner, conversation_id: str) -> _Talk | None:
        talk = self._talks.get(conversation_id)
        there = talk is not None and talk.owner == owner and talk.record.expires_at > self._now()
        return talk if there else None

    def _totals(self, owner: Owner) -> tuple[int, int]:
        """How many conversations the user has, and their bytes."""
        theirs = [talk.record.size for talk in self._talks.values() if talk.owner.user_id == owner.user_id]
        return len(theirs), sum(theirs)


def _place_of(talk: _Talk, item_id: str) -> int | None:
    """The place of the newest item of that id."""
    return max((place for place, item in talk.items.items() if item.id == item_id), default=None)
