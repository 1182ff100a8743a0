"""Chunks of a stream to canonical events.

`SignificantReader` finds what every stage needs to know: that the answer began, its usage, how it ended.
`ChunkReader` finds all of it. Both judge beginning, usage and ending by the same code, so they agree.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from oneapi_mw.canonical.blocks import Extras
from oneapi_mw.canonical.events import Ended, Event, Finished, Started, UsageReported
from oneapi_mw.usage import Usage, service_variant
from oneapi_mw.wire.extras import mapped
from oneapi_mw.wire.openai_chat.choice import Choice
from oneapi_mw.wire.openai_chat.chunk import MAX_INDEX, MalformedChunkError
from oneapi_mw.wire.openai_chat.content import NAME, extras
from oneapi_mw.wire.openai_chat.finish import decode_finish, prefer, with_calls
from oneapi_mw.wire.openai_chat.usage import decode_usage, find_usage, says_zero, unmapped_usage

MAX_ACCUMULATED_CHARS = 32 * 1024 * 1024

_ENVELOPE = mapped("id", "object", "created", "model", "choices", "usage", "system_fingerprint", "service_tier")
_CHOICE = mapped("index", "delta", "message", "finish_reason", "logprobs", "stop_reason", "matched_stop")


class SignificantReader:
    """Beginning, usage and ending of a stream; its content is not looked at.

    Args:
        model: name to report in place of the upstream's.
    """

    def __init__(self, model: str | None = None) -> None:
        self._model = model
        self._identity: dict[str, Any] = {}
        self._usage: Usage | None = None
        self._zero = False
        self._finishes: dict[int, Finished] = {}
        self.report: Mapping[str, Any] = {}
        """Usage as the upstream told it last."""
        self.started = False

    def read(self, chunk: Mapping[str, Any]) -> list[Event]:
        """Events of one parsed chunk, in order. Raises `MalformedChunkError`."""
        for key in ("id", "model", "created", "system_fingerprint", "service_tier"):
            if not self._identity.get(key) and (value := chunk.get(key)):
                self._identity[key] = value
        events: list[Event] = []
        choices, usage = chunk.get("choices"), find_usage(chunk)
        if choices is not None and not isinstance(choices, list):
            raise MalformedChunkError("choices is not a list")
        if not self.started and (choices or usage is not None):
            self.started = True
            events.append(self._start(chunk))
        for choice in choices or ():
            if not isinstance(choice, dict):
                raise MalformedChunkError("a choice is not an object")
            index = choice.get("index")
            index = 0 if index is None else index
            if type(index) is not int or not 0 <= index <= MAX_INDEX:
                raise MalformedChunkError("the index of a choice is out of range")
            self._choice(index, choice, events)
        if usage is not None:
            self._report(usage, events)
        return events

    def _start(self, chunk: Mapping[str, Any]) -> Started:
        text = {key: value for key, value in self._identity.items() if isinstance(value, str)}
        created = self._identity.get("created")
        return Started(
            id=text.get("id", ""),
            model=self._model if self._model is not None else text.get("model", ""),
            created=created if type(created) is int else 0,
            fingerprint=text.get("system_fingerprint"),
            tier=text.get("service_tier"),
        )

    def _choice(self, index: int, choice: Mapping[str, Any], events: list[Event]) -> None:
        finished = decode_finish(choice, index)
        if finished is not None:
            self._finishes[index] = prefer(self._finishes.get(index), finished)

    def _report(self, report: Mapping[str, Any], events: list[Event]) -> None:
        self.report = report
        usage = decode_usage(report)
        variant = service_variant(self._identity.get("service_tier"))
        if usage is not None and variant:
            usage = replace(usage, variant=variant)
        if usage is None or usage == self._usage:
            self._zero = usage is None and says_zero(report)
            return
        self._usage = usage
        rest = unmapped_usage(report)
        extras: Extras = {NAME: rest} if rest else {}
        events.append(UsageReported(usage, extras))

    @property
    def answering_model(self) -> object:
        """What the upstream calls its model; `None` until it does."""
        return self._identity.get("model")

    @property
    def says_zero(self) -> bool:
        """Whether the only usage reported is that there was none."""
        return self._zero and self._usage is None

    def finished(self) -> set[int]:
        """Choices that have said how they ended."""
        return set(self._finishes)

    def end(self) -> list[Event]:
        """The stream is complete: what was kept until now, and `Ended`."""
        return [*(self._finishes[index] for index in sorted(self._finishes)), Ended()]


class ChunkReader(SignificantReader):
    """Every event of a stream."""

    def __init__(self, model: str | None = None) -> None:
        super().__init__(model)
        self._choices: dict[int, Choice] = {}
        self._size = 0

    def _start(self, chunk: Mapping[str, Any]) -> Started:
        return replace(super()._start(chunk), extras=extras(chunk, _ENVELOPE))

    def _choice(self, index: int, choice: Mapping[str, Any], events: list[Event]) -> None:
        machine = self._choices.get(index)
        if machine is None:
            machine = self._choices[index] = Choice(index, (self._identity.get("id"), self._identity.get("created")))
        before = machine.size
        machine.read(choice, events)
        self._size += machine.size - before
        if self._size > MAX_ACCUMULATED_CHARS:
            raise MalformedChunkError("the answer is too large to convert")
        super()._choice(index, choice, events)
        if index in self._finishes:
            machine.finish(events)
            machine.extras = machine.extras or extras(choice, _CHOICE)

    def started_choices(self) -> set[int]:
        return set(self._choices)

    def end(self) -> list[Event]:
        events: list[Event] = []
        for index in sorted(self._choices):
            machine = self._choices[index]
            machine.finish(events)
            machine.end_audio(events)
            finished = self._finishes.get(index) or Finished(index, "unknown")
            finished = with_calls(finished, complete=machine.calls.complete, any_call=machine.calls.any)
            events.append(replace(finished, extras=machine.extras) if machine.extras else finished)
        events.append(Ended())
        return events
