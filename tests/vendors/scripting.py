"""What the model behind a stand-in says, in words that belong to no vendor."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal, TypeAlias

from tests.vendors.schemas import sample

Json = dict[str, Any]

Finish = Literal["stop", "stop_sequence", "length", "tool_calls", "content_filter", "refusal"]


@dataclass(frozen=True, slots=True)
class Call:
    """One call of a tool the client declared."""

    name: str
    arguments: Json | str = field(default_factory=dict)
    """Text for a custom tool."""


@dataclass(frozen=True, slots=True)
class Citation:
    """A page the answer rests on; `start` and `end` count code points of the text."""

    url: str
    title: str
    start: int
    end: int


@dataclass(frozen=True, slots=True)
class Tokens:
    """Inclusive counts: `cached` and `written` are parts of `input`, `reasoning` is a part of `output`."""

    input: int
    output: int
    cached: int = 0
    written: int = 0
    reasoning: int = 0


@dataclass(frozen=True, slots=True)
class Scripted:
    """One answer. What is left `None` follows from the request."""

    text: str | None = None
    reasoning: str | None = None
    """Given only when the model thinks in this request; `None`: it makes something up."""
    tool_calls: Sequence[Call] = ()
    finish: Finish | None = None
    usage: Tokens | None = None
    refusal: str | None = None
    citations: Sequence[Citation] = ()
    stop_sequence: str | None = None
    """The one that ended the text."""


@dataclass(frozen=True, slots=True)
class Fault:
    """A failure instead of an answer."""

    status: int = 503
    message: str = "The model is overloaded. Please try again later."
    after: int | None = None
    """Events of a stream that still come before it; `None`: it is the HTTP answer."""
    cut: bool = False
    """The stream just ends, without saying why."""
    retry_after: int | None = None


@dataclass(frozen=True, slots=True)
class Tool:
    """One tool as the client declared it."""

    name: str
    schema: Json
    custom: bool = False


@dataclass(frozen=True, slots=True)
class Asked:
    """A request as any vendor understands it."""

    model: str
    text: str
    """Of the last user message."""
    last: Literal["user", "tool"]
    """Who spoke last."""
    prompt: str
    """Everything there was to read, for counting."""
    system: str = ""
    tools: tuple[Tool, ...] = ()
    choice: Literal["auto", "none", "required"] = "auto"
    only: tuple[str, ...] = ()
    """Tools the choice is restricted to."""
    results: tuple[str, ...] = ()
    """Of the tools that were just called, in order."""
    images: tuple[str, ...] = ()
    """Media types of the images of the last user message."""
    thinks: bool = False
    shows: bool = False
    """Whether what it thinks may be seen."""
    schema: Json | None = None
    """Of the answer; `{}` asks for any JSON object."""
    max_output: int | None = None
    stop: tuple[str, ...] = ()
    stream: bool = False

    @property
    def read(self) -> int:
        """Tokens of the prompt."""
        return max(1, len(tokens(self.prompt.strip())))


Step: TypeAlias = Scripted | Fault
Script: TypeAlias = Step | Sequence[Step] | Callable[[Asked], Step] | None
"""One answer for every request, answers in order and then the default, a function, or the default behaviour."""


def tokens(text: str) -> list[str]:
    """Pieces of `text` that are counted as one token each and sent as one delta each."""
    return re.findall(r"\S+\s*|\s+", text)


def default_answer(asked: Asked) -> Scripted:
    """What a stand-in says without a script."""
    if asked.tools and asked.choice != "none" and (asked.last == "user" or asked.choice == "required"):
        allowed = [tool for tool in asked.tools if not asked.only or tool.name in asked.only]
        tool = allowed[0]
        return Scripted(tool_calls=(Call(tool.name, asked.text if tool.custom else sample(tool.schema)),))
    if asked.schema is not None:
        return Scripted(text=as_json(sample(asked.schema) if asked.schema else {"echo": asked.text}))
    if asked.last == "tool":
        return Scripted(text="The tools said: " + "; ".join(asked.results))
    seen = "".join(f" I see {kind}." for kind in asked.images)
    return Scripted(text=f"You said: {asked.text}.{seen}")


def as_json(value: Any) -> str:
    """Compact JSON, as models write arguments."""
    return json.dumps(value, separators=(",", ":"), ensure_ascii=False)


@dataclass(frozen=True, slots=True)
class Answer:
    """What is sent: a script with every gap filled."""

    text: str
    reasoning: str | None
    """`None` when it did not think."""
    calls: tuple[Call, ...]
    finish: Finish
    usage: Tokens
    refusal: str | None
    citations: tuple[Citation, ...]
    stop_sequence: str | None


def completed(scripted: Scripted, asked: Asked) -> Answer:
    """`scripted` as an answer to `asked`: thought about, cut at stop sequences and limits, counted."""
    if scripted.refusal is not None:
        scripted = replace(scripted, text=None, tool_calls=())
    reasoning = None
    if asked.thinks:
        reasoning = f"I was asked: {asked.text}" if scripted.reasoning is None else scripted.reasoning
    text, stopped = _stopped(scripted.text or "", asked.stop)
    stopped = scripted.stop_sequence or stopped
    text, calls, cut = _limited(text, reasoning or "", scripted.tool_calls, asked.max_output)
    return Answer(
        text=text,
        reasoning=reasoning,
        calls=calls,
        finish=scripted.finish or _finish(scripted, cut, stopped, calls),
        usage=scripted.usage or _counted(text, reasoning or "", calls, scripted.refusal, asked),
        refusal=scripted.refusal,
        citations=tuple(scripted.citations),
        stop_sequence=stopped,
    )


def _finish(scripted: Scripted, cut: bool, stopped: str | None, calls: tuple[Call, ...]) -> Finish:
    if cut:
        return "length"
    if calls:
        return "tool_calls"
    if scripted.refusal is not None:
        return "refusal"
    return "stop" if stopped is None else "stop_sequence"


def _stopped(text: str, stops: Sequence[str]) -> tuple[str, str | None]:
    """`text` up to the first stop sequence in it, and which one that was."""
    found = [(text.index(stop), stop) for stop in stops if stop in text]
    if not found:
        return text, None
    place, stop = min(found)
    return text[:place], stop


def _limited(text: str, reasoning: str, calls: Sequence[Call], limit: int | None) -> tuple[str, tuple[Call, ...], bool]:
    """What fits into `limit` tokens, and whether something did not."""
    if limit is None:
        return text, tuple(calls), False
    left = limit - len(tokens(reasoning))
    pieces = tokens(text)
    if len(pieces) > left:
        return "".join(pieces[: max(left, 0)]), (), True
    left -= len(pieces)
    kept: list[Call] = []
    for call in calls:
        left -= _call_tokens(call)
        if left < 0:
            return text, tuple(kept), True
        kept.append(call)
    return text, tuple(kept), False


def _call_tokens(call: Call) -> int:
    return 1 + len(tokens(arguments_text(call)))


def arguments_text(call: Call) -> str:
    return call.arguments if isinstance(call.arguments, str) else as_json(call.arguments)


def _counted(text: str, reasoning: str, calls: Sequence[Call], refusal: str | None, asked: Asked) -> Tokens:
    thought = len(tokens(reasoning))
    said = len(tokens(text)) + len(tokens(refusal or "")) + sum(map(_call_tokens, calls))
    return Tokens(input=asked.read, output=thought + said, reasoning=thought)


def steps(script: Script) -> Iterator[Callable[[Asked], Step]]:
    """What answers each request, one after the other, without end."""
    if isinstance(script, Sequence):
        for step in script:
            yield _always(step)
        script = None
    behaviour = default_answer if script is None else script
    while True:
        yield behaviour if callable(behaviour) else _always(behaviour)


def _always(step: Step) -> Callable[[Asked], Step]:
    return lambda asked: step
