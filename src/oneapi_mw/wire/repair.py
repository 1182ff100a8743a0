"""Histories made legal for wires that insist on order: every call answered right behind it, sides taking turns.

What a repair does to a turn depends on that turn and its neighbours up to the next assistant turn, never on what
comes later: a history that grows is repaired the same way up to where it ended before, so that prompt caches and
signatures bound to a prefix stay valid.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

from oneapi_mw.canonical.blocks import Block, Text, ToolCall, ToolResult
from oneapi_mw.canonical.request import Turn
from oneapi_mw.immutable import immutable
from oneapi_mw.wire.ids import unique_id
from oneapi_mw.wire.losses import Losses

NO_RESULT = "No result was provided."


@immutable
class Repaired:
    turns: tuple[Turn, ...]
    reported: tuple[str, ...] = ()
    """Canonical paths of what was dropped, with `=emulated` of what is said by other means."""


def pair_results(turns: Sequence[Turn], *, join_calls: bool = True, keep_orphans: bool = False) -> Repaired:
    """The turns with the results of each assistant turn's calls in a user turn of their own, right behind it.

    What else the user said follows in its own turns, in order; so do instructions between a call and its result.
    A call without a result gets one that says so; a result without a call becomes text; of two results of one call
    the last counts. A result counts for the calls since the last user turn only: later ones are text, as moving them
    would rewrite what an earlier request has sent. A call whose id was used before gets another one.

    Args:
        join_calls: assistant turns in a row become one turn, whose calls were made together.
        keep_orphans: leave results without a call where they are (their call is in the vendor's memory).
    """
    repaired: list[Turn] = []
    losses = Losses()
    used: set[str] = set()
    start = 0
    while start < len(turns):
        middle = start
        while middle < len(turns) and turns[middle].role == "assistant":
            middle += 1
        end = middle
        while end < len(turns) and turns[end].role != "assistant":
            end += 1
        step = _Step(list(turns[start:middle]), list(turns[middle:end]), start, middle, losses)
        repaired += step.repaired(used, join_calls=join_calls, keep_orphans=keep_orphans)
        start = end
    return Repaired(tuple(repaired), losses.found())


@dataclass(slots=True)
class _Step:
    """What the assistant said until the user spoke, and what the user said until the assistant spoke again."""

    said: list[Turn]
    replied: list[Turn]
    said_at: int
    replied_at: int
    losses: Losses
    _ids: dict[str, list[str]] = field(default_factory=dict)
    """The step's calls: ids the client gave, to ids that are unique in the request."""

    def repaired(self, used: set[str], *, join_calls: bool, keep_orphans: bool) -> list[Turn]:
        said = [self._with_unique_ids(turn, used) for turn in self.said]
        results, replied = self._taken_apart(keep_orphans=keep_orphans)
        if join_calls:
            said = list(merge_turns(said))
        turns: list[Turn] = []
        for place, turn in enumerate(said):
            turns.append(turn)
            calls = [block.id for block in turn.blocks if isinstance(block, ToolCall)]
            if calls:
                turns.append(Turn("user", self._answers(calls, results, self.said_at + place)))
        return turns + replied

    def _with_unique_ids(self, turn: Turn, used: set[str]) -> Turn:
        blocks: list[Block] = []
        for block in turn.blocks:
            if isinstance(block, ToolCall):
                unique = unique_id(block.id, used)
                used.add(unique)
                self._ids.setdefault(block.id, []).append(unique)
                if unique != block.id:
                    block = replace(block, id=unique)
            blocks.append(block)
        return replace(turn, blocks=tuple(blocks)) if turn.blocks != tuple(blocks) else turn

    def _taken_apart(self, *, keep_orphans: bool) -> tuple[dict[str, ToolResult], list[Turn]]:
        """Results by the id of their call, and the turns without them."""
        results: dict[str, ToolResult] = {}
        rest: list[Turn] = []
        for place, turn in enumerate(self.replied):
            if not any(isinstance(block, ToolResult) for block in turn.blocks):
                rest.append(turn)
                continue
            where = f"turns[{self.replied_at + place}]"
            blocks: list[Block] = []
            for block in turn.blocks:
                if not isinstance(block, ToolResult):
                    blocks.append(block)
                elif (ids := self._ids.get(block.call_id)) is not None:
                    # calls that share an id are answered in turn
                    call_id = next((unique for unique in ids if unique not in results), ids[-1])
                    if call_id in results:
                        self.losses.drop(f"{where}.duplicate_result")
                    results[call_id] = block if block.call_id == call_id else replace(block, call_id=call_id)
                elif keep_orphans:
                    blocks.append(block)
                else:
                    self.losses.emulate(f"{where}.orphan_result")
                    blocks += orphan_text(block)
            if blocks:
                rest.append(replace(turn, blocks=tuple(blocks)))
        return results, rest

    def _answers(self, calls: list[str], results: dict[str, ToolResult], place: int) -> tuple[ToolResult, ...]:
        """Results of `calls`, as they came; after them those nobody gave."""
        wanted = set(calls)
        answers = [result for call_id, result in results.items() if call_id in wanted]
        for call_id in calls:
            if call_id not in results:
                self.losses.emulate(f"turns[{place}].missing_result")
                answers.append(ToolResult(call_id, (Text(NO_RESULT),), is_error=True))
        return tuple(answers)


def orphan_text(result: ToolResult) -> list[Block]:
    """What a result without its call says."""
    heading = f"Result of tool call {result.call_id}:"
    first, *others = result.blocks or (Text(""),)
    if isinstance(first, Text):
        return [Text(f"{heading} {first.text}".rstrip(), cache=first.cache), *others]
    return [Text(heading), first, *others]


def merge_turns(turns: Sequence[Turn], *, results_apart: bool = False) -> tuple[Turn, ...]:
    """Turns of the same side in a row as one, their blocks one after another.

    Args:
        results_apart: a turn of nothing but results stays alone (Gemini).
    """
    merged: list[Turn] = []
    for turn in turns:
        last = merged[-1] if merged else None
        if last is None or last.role != turn.role or (results_apart and _is_results(last) != _is_results(turn)):
            merged.append(turn)
        else:
            name = last.name if last.name == turn.name else None
            merged[-1] = Turn(last.role, (*last.blocks, *turn.blocks), name, {**turn.extras, **last.extras})
    return tuple(merged)


def _is_results(turn: Turn) -> bool:
    return bool(turn.blocks) and all(isinstance(block, ToolResult) for block in turn.blocks)
