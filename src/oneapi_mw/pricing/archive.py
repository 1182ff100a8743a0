"""Cards that were charged by, kept so that each is found by its id as long as its bills are."""

from __future__ import annotations

from typing import Protocol


class CardArchive(Protocol):
    def has(self, card_id: str) -> bool:
        """Whether the card is known to be kept. Asks nobody."""

    async def keep(self, card_id: str, card: str) -> None:
        """Keep a card, as JSON; nothing when it is kept already. Raises `StoreUnavailable`."""

    async def find(self, card_id: str) -> str | None:
        """The card as JSON; `None` when it was never kept. Raises `StoreUnavailable`."""
