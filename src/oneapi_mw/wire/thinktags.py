"""Reasoning that a model writes into its text between tags, told apart from the answer wherever deltas cut it.

    START   white space, the beginning of an open tag -> held
            an open tag                               -> INSIDE, the white space before it is dropped
            anything else                             -> AFTER, as text (a prefilled model: INSIDE, as reasoning)
    INSIDE  text                                      -> reasoning; what may be the beginning of a close tag is held
            a close tag                               -> GAP
    GAP     up to two newlines                        -> dropped
            anything else                             -> START once more
    AFTER   text                                      -> text, untouched: a tag in it is prose

White space alone between two tags is no reasoning. Nothing else is ever removed, and nothing is trimmed.
Source: conversion reference for reasoning, section 5.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, TypeAlias

__all__ = ["TAG_MODES", "Kind", "Pieces", "TagMode", "ThinkSplitter", "joined", "split"]

TagMode: TypeAlias = Literal["off", "auto", "always", "prefilled", "harmony"]
"""How a channel's answers are read. When `auto` means yes is decided by whoever knows the request: here it does.
`prefilled`: the open tag stands in the prompt. `harmony`: what gpt-oss writes when nobody parses it."""
TAG_MODES: tuple[TagMode, ...] = ("off", "auto", "always", "prefilled", "harmony")

Kind: TypeAlias = Literal["text", "reasoning"]
Pieces: TypeAlias = list[tuple[Kind, str]]

MAX_SPACE = 64
"""Characters of white space that are held ahead of a tag."""

_CLOSE_OF: dict[str, tuple[str, ...]] = {
    **{f"<{name}>": (f"</{name}>",) for name in ("think", "thinking", "thought", "reasoning", "seed:think")},
    "[think]": ("[/think]",),
    "◁think▷": ("◁/think▷",),
    "\\u003cthink\\u003e": ("\\u003c/think\\u003e",),  # as proxies write it that escape twice
}
"""Tags in lower case, and what ends them: only a close tag of the same name."""
_HARMONY_FINAL = "<|channel|>final<|message|>"
_HARMONY_ANALYSIS = "<|channel|>analysis<|message|>"
_HARMONY_SPEAKER = "<|start|>assistant"
_HARMONY_CLOSE_OF = {
    _HARMONY_ANALYSIS: ("<|end|>", _HARMONY_FINAL),
    _HARMONY_SPEAKER + _HARMONY_ANALYSIS: ("<|end|>", _HARMONY_FINAL),
}
_HARMONY_ANSWER = (_HARMONY_FINAL, _HARMONY_SPEAKER + _HARMONY_FINAL)
"""What announces the answer itself."""
_PREFILLED_CLOSE = _CLOSE_OF["<think>"]

_SPACE = " \t\r\n"
_LOWER = str.maketrans("ABCDEFGHIJKLMNOPQRSTUVWXYZ", "abcdefghijklmnopqrstuvwxyz")

_START, _INSIDE, _GAP, _AFTER = range(4)


class ThinkSplitter:
    """The text of one answer. Feed it as it comes; close it at its end, at a tool call, and when reasoning comes in a
    field of its own. At most `MAX_SPACE` characters and a tag are held back."""

    __slots__ = (
        "_answers",
        "_close",
        "_close_of",
        "_held",
        "_newlines",
        "_prefilled",
        "_said",
        "_space",
        "_state",
        "closed",
    )

    def __init__(self, mode: TagMode) -> None:
        self._close_of = _HARMONY_CLOSE_OF if mode == "harmony" else _CLOSE_OF
        self._answers = _HARMONY_ANSWER if mode == "harmony" else ()
        self._prefilled = mode == "prefilled"
        self._state = _AFTER if mode == "off" else _START
        self._held = ""
        self._close: tuple[str, ...] = ()
        self._newlines = 0  # that may still be dropped here
        self._space = ""  # at the beginning of reasoning that has said nothing yet
        self._said = False
        self.closed = False
        """Whether a close tag has come."""

    @property
    def over(self) -> bool:
        """Whether all that still comes is text."""
        return self._state == _AFTER

    def feed(self, text: str) -> Pieces:
        """What `text` says, in order; neighbours may be of one kind."""
        if self._state == _AFTER:
            return [("text", text)] if text else []
        self._held += text
        out: Pieces = []
        while self._held and self._step(out):
            pass
        return out

    def close(self) -> Pieces:
        """What was held back. All that comes after this is text."""
        held, self._held = self._held, ""
        state, self._state = self._state, _AFTER
        if state == _INSIDE:
            held, self._space = self._space + held, ""
            return [("reasoning", held)] if held else []
        return [("text", held)] if held else []

    def _step(self, out: Pieces) -> bool:
        """One move. Returns whether there may be another."""
        if self._state == _START:
            return self._begin(out)
        if self._state == _INSIDE:
            return self._think(out)
        if self._state == _GAP:
            return self._leave()
        out.append(("text", self._held))
        self._held = ""
        return False

    def _begin(self, out: Pieces) -> bool:
        waiting = self._held.lstrip(_SPACE)
        space = len(self._held) - len(waiting)
        if space <= MAX_SPACE:
            if not waiting:
                return False
            head = waiting[:_LONGEST].translate(_LOWER)
            for tag, close in self._close_of.items():
                if head.startswith(tag):
                    self._enter(waiting[len(tag) :], close)
                    self._newlines = 1
                    return True
            for tag in self._answers:
                if head.startswith(tag):
                    self._held, self._state = waiting[len(tag) :], _AFTER
                    return True
            if any(tag.startswith(head) for tag in (*self._close_of, *self._answers)):
                return False
        if self._prefilled:
            self._enter(self._held, _PREFILLED_CLOSE)
        else:
            self._state = _AFTER
        return True

    def _enter(self, held: str, close: tuple[str, ...]) -> None:
        self._held, self._close = held, close
        self._state = _INSIDE
        self._prefilled = self._said = False
        self._newlines = 0

    def _think(self, out: Pieces) -> bool:
        if self._newlines:
            self._newlines = 0
            self._held = self._held.removeprefix("\n")
        lower = self._held.translate(_LOWER)
        found = [(place, len(tag)) for tag in self._close if (place := lower.find(tag)) >= 0]
        if not found:
            self._reason(len(lower) - _may_begin(self._close, lower), out)
            return False
        place, length = min(found)
        self._reason(place, out)
        self._held = self._held[length:]
        self._space = ""
        self._state, self._newlines = _GAP, 2
        self.closed = True
        return True

    def _reason(self, length: int, out: Pieces) -> None:
        """The first `length` characters are reasoning, unless white space is all there is of it."""
        text, self._held = self._held[:length], self._held[length:]
        if not self._said:
            text, self._space = self._space + text, ""
            if len(text) <= MAX_SPACE and not text.strip(_SPACE):
                self._space = text
                return
            self._said = True
        if text:
            out.append(("reasoning", text))

    def _leave(self) -> bool:
        while self._newlines and self._held.startswith("\n"):
            self._held = self._held[1:]
            self._newlines -= 1
        if self._held:
            self._state = _START
        return bool(self._held)


_LONGEST = max(map(len, (*_CLOSE_OF, *_HARMONY_CLOSE_OF, *_HARMONY_ANSWER)))


def _may_begin(tags: Sequence[str], text: str) -> int:
    """Length of the longest end of `text` that is the beginning of a tag."""
    longest = min(max(map(len, tags)) - 1, len(text))
    for length in range(longest, 0, -1):
        end = text[-length:]
        if any(tag.startswith(end) for tag in tags):
            return length
    return 0


def joined(pieces: Pieces) -> Pieces:
    """`pieces` with neighbours of one kind in one."""
    out: Pieces = []
    for kind, text in pieces:
        if out and out[-1][0] == kind:
            out[-1] = (kind, out[-1][1] + text)
        else:
            out.append((kind, text))
    return out


def split(text: str, mode: TagMode, *, complete: bool = True) -> Pieces:
    """A whole text, by the same machine.

    Args:
        complete: whether the answer ended of its own accord. Then a prefilled model that never closed its tag has
            not reasoned at all, and the text is the answer.
    """
    splitter = ThinkSplitter(mode)
    pieces = joined([*splitter.feed(text), *splitter.close()])
    if mode == "prefilled" and complete and not splitter.closed:
        return [("text", text)] if text else []
    return pieces
