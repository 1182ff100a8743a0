"""What becomes of reasoning on its way to one client. Applied to bytes of Chat Completions by `chat_reasoning`, to
events and answers by `reasoning_view`."""

from __future__ import annotations

from oneapi_mw.immutable import immutable
from oneapi_mw.wire.thinktags import TagMode
from oneapi_mw.wire.wish import ReasoningFormat

__all__ = ["THINK_CLOSE", "THINK_OPEN", "ReasoningView"]

THINK_OPEN, THINK_CLOSE = "<think>\n", "\n</think>\n\n"
"""Around reasoning that is shown in the text."""


@immutable
class ReasoningView:
    """What becomes of reasoning on its way to one client."""

    shown: ReasoningFormat | None = None
    """`None`: under the name it came with."""
    tags: TagMode = "off"
    """How tags in the text are read."""
    off: bool = False
    """The model was told not to reason: what it reasons all the same is not shown."""
    candidates: int = 1
    """How many answers were asked for."""

    @property
    def hides(self) -> bool:
        return self.off or self.shown == "hidden"

    @property
    def leaves_fields(self) -> bool:
        """Whether reasoning that came in a field stays there."""
        return self.shown is None and not self.off

    @property
    def leaves_everything(self) -> bool:
        return self.leaves_fields and self.tags == "off"

    @property
    def changes_events(self) -> bool:
        """Whether events change; the name of a field is none of theirs."""
        return self.hides or self.shown == "raw" or self.tags != "off"
