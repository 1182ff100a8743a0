"""The output of an answer, as far as a client was told of it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from oneapi_mw.types import JsonObject
from oneapi_mw.wire.openai_responses.content import digest
from oneapi_mw.wire.openai_responses.items import PREFIXES


class Output:
    """Items that are done, and the numbers of the events that told of them."""

    def __init__(self) -> None:
        self.response_id = ""
        """Of the answer; ids of items are made from it."""
        self.items: list[JsonObject] = []
        self.refused = False
        """Whether a refusal was told whole."""
        self._number = 0

    @property
    def next_index(self) -> int:
        """The place of an item that begins now, with every earlier one done."""
        return len(self.items)

    def event(self, kind: str, **members: Any) -> JsonObject:
        event = {"type": f"response.{kind}", "sequence_number": self._number, **members}
        self._number += 1
        return event

    def foreign(self, event: Mapping[str, Any]) -> JsonObject:
        """An event of an upstream of this format, with the number it has here."""
        numbered = {**event, "sequence_number": self._number}
        self._number += 1
        return numbered

    def added(self, index: int, item: JsonObject) -> JsonObject:
        return self.event("output_item.added", output_index=index, item=item)

    def done(self, index: int, item: JsonObject) -> JsonObject:
        self.items.append(item)
        return self.event("output_item.done", output_index=index, item=item)

    def new_id(self, kind: str, upstream_id: str | None = None) -> str:
        """The upstream's id when it is one of this format, else one made of the answer's and the place in it."""
        prefix = PREFIXES[kind]
        taken = (item.get("id") for item in self.items)
        if upstream_id is not None and upstream_id.startswith(prefix) and upstream_id not in taken:
            return upstream_id
        return prefix + digest(self.response_id, len(self.items))[:48]
