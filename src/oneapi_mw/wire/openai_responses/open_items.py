"""Items of an answer while a client is told of them: each knows its own events, from the first to the last.

An item takes its id and its place when it is made: the one before it has to be closed by then. `begin` announces it,
`close` ends it, as incomplete where the answer was `cut`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any, TypeAlias

from oneapi_mw.canonical.blocks import (
    HostedCall,
    HostedResult,
    Image,
    Inline,
    Reasoning,
    ReasoningOpaque,
    Refusal,
    Text,
    ToolCall,
)
from oneapi_mw.canonical.events import PartialImage
from oneapi_mw.types import JsonObject
from oneapi_mw.wire.arguments import parsed
from oneapi_mw.wire.extras import merged
from oneapi_mw.wire.openai_responses.content import delta_logprobs, encode_annotations, extras_of
from oneapi_mw.wire.openai_responses.items import IMAGE, PREFIXES, call_item, hosted_item, message_item, output_part
from oneapi_mw.wire.openai_responses.output import Output


def _status(*, cut: bool) -> str:
    return "incomplete" if cut else "completed"


class OpenMessage:
    """A message, and the parts of it that are told."""

    def __init__(self, output: Output, upstream_id: str | None) -> None:
        self._output = output
        self.upstream_id = upstream_id
        self._id = output.new_id("message", upstream_id)
        self._index = output.next_index
        self._parts: list[Text | Refusal] = []
        self._refusal: bool | None = None  # kind of the open part; `None` when none is
        self._place: JsonObject = {}  # of the open part
        self._said: list[str] = []  # in the open part
        self._logprobs: list[Mapping[str, Any]] = []

    @property
    def in_part(self) -> bool:
        return self._refusal is not None

    def begin(self) -> Iterator[JsonObject]:
        item: JsonObject = {
            "id": self._id,
            "type": "message",
            "status": "in_progress",
            "role": "assistant",
            "content": [],
        }
        yield self._output.added(self._index, item)

    def say(self, text: str, *, refusal: bool, logprobs: Sequence[Mapping[str, Any]] = ()) -> list[JsonObject]:
        output, told = self._output, []
        if self._refusal is None:
            self._refusal = refusal
            self._place = {"item_id": self._id, "output_index": self._index, "content_index": len(self._parts)}
            part = output_part(Refusal("") if refusal else Text(""))
            told.append(output.event("content_part.added", **self._place, part=part))
        self._said.append(text)
        self._logprobs += logprobs
        if refusal:
            told.append(output.event("refusal.delta", **self._place, delta=text))
        else:
            entries = delta_logprobs(logprobs) if logprobs else []
            told.append(output.event("output_text.delta", **self._place, delta=text, logprobs=entries))
        return told

    def note(self, logprobs: Sequence[Mapping[str, Any]]) -> None:
        """Log probabilities that come behind their text: in the whole part only."""
        if self._refusal is not None:
            self._logprobs += logprobs

    def end_part(self, content: Text | Refusal) -> Iterator[JsonObject]:
        """The open part ends. The text of the deltas counts: it is what the client has seen."""
        if self._refusal is None:
            return
        said, logprobs = "".join(self._said), tuple(self._logprobs)
        event, place = self._output.event, self._place
        if isinstance(content, Refusal):
            self._output.refused = True
            part: Text | Refusal = replace(content, text=said, logprobs=logprobs)
            yield event("refusal.done", **place, refusal=said)
        else:
            part = replace(content, text=said, logprobs=logprobs)
            for number, annotation in enumerate(encode_annotations(content.citations, len(said))):
                yield event("output_text.annotation.added", **place, annotation_index=number, annotation=annotation)
            yield event("output_text.done", **place, text=said, logprobs=delta_logprobs(logprobs))
        yield event("content_part.done", **place, part=output_part(part))
        self._parts.append(part)
        self._said, self._logprobs, self._refusal = [], [], None

    def close(self, *, cut: bool) -> Iterator[JsonObject]:
        yield from self.end_part(Refusal("") if self._refusal else Text(""))
        yield self._output.done(self._index, message_item(self._parts, self._id, status=_status(cut=cut)))


class OpenThought:
    """Reasoning. It stays open when its block has ended, as the signature of a call may join it."""

    def __init__(self, output: Output, upstream_id: str | None) -> None:
        self._output = output
        self._id = output.new_id("reasoning", upstream_id)
        self._index = output.next_index
        self._place: JsonObject = {"item_id": self._id, "output_index": self._index, "summary_index": 0}
        self._said: list[str] = []
        self._opaque: ReasoningOpaque | None = None
        self._content: Reasoning | None = None  # once its block has ended

    @property
    def ended(self) -> bool:
        """Whether its block has ended: what is thought from now on is another item's."""
        return self._content is not None

    @property
    def signed(self) -> bool:
        return self._opaque is not None

    def begin(self) -> Iterator[JsonObject]:
        yield self._output.added(self._index, self._item("in_progress"))

    def _item(self, status: str) -> JsonObject:
        return {"id": self._id, "type": "reasoning", "status": status, "summary": []}

    def think(self, text: str) -> list[JsonObject]:
        output, place, told = self._output, self._place, []
        if not self._said:
            part = {"type": "summary_text", "text": ""}
            told.append(output.event("reasoning_summary_part.added", **place, part=part))
        self._said.append(text)
        told.append(output.event("reasoning_summary_text.delta", **place, delta=text))
        return told

    def sign(self, opaque: ReasoningOpaque) -> None:
        """The signature of the call behind it. Nothing more is thought here."""
        self._opaque = opaque
        self._content = self._content or Reasoning()

    def end(self, content: Reasoning) -> None:
        self._content, self._opaque = content, content.opaque

    def close(self, *, cut: bool) -> Iterator[JsonObject]:
        said, event, place = "".join(self._said), self._output.event, self._place
        item = self._item(_status(cut=cut))
        if said:
            part = {"type": "summary_text", "text": said}
            yield event("reasoning_summary_text.done", **place, text=said)
            yield event("reasoning_summary_part.done", **place, part=part)
            item["summary"] = [part]
        if self._opaque is not None:
            item["encrypted_content"] = self._opaque.data
        rest = extras_of(self._content.extras) if self._content is not None else {}
        yield self._output.done(self._index, merged(item, rest))


class OpenCall:
    """A call. It stays open when its block has ended, as only what comes next tells whether a limit has cut it."""

    def __init__(self, output: Output, call: ToolCall, upstream_id: str | None) -> None:
        self._output = output
        self._call = call
        custom = call.kind == "custom"
        self._id = output.new_id("custom_tool_call" if custom else "function_call", upstream_id)
        self._index = output.next_index
        self._member = "input" if custom else "arguments"
        self._events = "custom_tool_call_input" if custom else "function_call_arguments"
        self._said: list[str] = []
        self._content: ToolCall | None = None  # once its block has ended

    def begin(self) -> Iterator[JsonObject]:
        item = {**call_item(self._call, item_id=self._id, status="in_progress"), self._member: ""}
        yield self._output.added(self._index, item)

    def argue(self, text: str) -> JsonObject:
        self._said.append(text)
        return self._delta(text)

    def _delta(self, text: str) -> JsonObject:
        return self._output.event(f"{self._events}.delta", item_id=self._id, output_index=self._index, delta=text)

    def end(self, content: ToolCall) -> Iterator[JsonObject]:
        """The arguments are whole. What the client was told of the call before counts."""
        said, known = "".join(self._said), self._call
        arguments = said or content.arguments
        if known.kind == "function" and not arguments.strip():
            arguments = "{}"
        new = arguments.removeprefix(said)
        if new:
            yield self._delta(new)
        self._content = replace(content, id=known.id, name=known.name, kind=known.kind, arguments=arguments)

    def close(self, *, cut: bool) -> Iterator[JsonObject]:
        if self._content is None:
            yield from self.end(self._call)
        call = self._content or self._call
        members: JsonObject = {self._member: call.arguments}
        if call.kind == "function":
            members["name"] = call.name
        yield self._output.event(f"{self._events}.done", item_id=self._id, output_index=self._index, **members)
        cut = cut and (call.kind == "custom" or not _is_whole(call.arguments))
        yield self._output.done(self._index, call_item(call, item_id=self._id, status=_status(cut=cut)))


def _is_whole(arguments: str) -> bool:
    try:
        return isinstance(parsed(arguments), dict)
    except ValueError:
        return False


class OpenPicture:
    """A picture that is being made."""

    def __init__(self, output: Output, upstream_id: str | None) -> None:
        self._output = output
        self._id = output.new_id(IMAGE, upstream_id)
        self._index = output.next_index

    def begin(self) -> Iterator[JsonObject]:
        yield self._output.added(self._index, self._item("in_progress"))
        for step in ("in_progress", "generating"):
            yield self._step(step)

    def _item(self, status: str, data: str | None = None) -> JsonObject:
        return {"id": self._id, "type": IMAGE, "status": status, "result": data}

    def _step(self, step: str, **members: Any) -> JsonObject:
        return self._output.event(f"{IMAGE}.{step}", item_id=self._id, output_index=self._index, **members)

    def preview(self, event: PartialImage) -> Iterator[JsonObject]:
        yield self._step("partial_image", partial_image_index=event.index, partial_image_b64=event.data)

    def finish(self, image: Image, source: Inline) -> Iterator[JsonObject]:
        """The picture is there: the item is done, and must not be closed any more."""
        yield self._step("completed")
        item = self._item("completed", source.data)
        form = source.media_type.partition("/")[2]
        if form in ("png", "webp", "jpeg", "gif"):
            item["output_format"] = form
        yield self._output.done(self._index, merged(item, extras_of(image.extras)))

    def close(self, *, cut: bool) -> Iterator[JsonObject]:
        """Without the picture."""
        yield self._output.done(self._index, self._item("failed"))


class OpenHosted:
    """A hosted call whose result may follow. It is told at once when it is closed."""

    def __init__(self, output: Output, call: HostedCall) -> None:
        self._output = output
        self._call = call
        self._result: HostedResult | None = None

    def answer(self, result: HostedResult) -> None:
        if result.call_id == self._call.id:
            self._result = result

    def close(self, *, cut: bool) -> Iterator[JsonObject]:
        item = hosted_item(self._call, self._result)
        if item is None:
            return
        event, index = self._output.event, self._output.next_index
        kind, known = str(item["type"]), item.get("id")
        if kind in PREFIXES:
            item["id"] = self._output.new_id(kind, known if isinstance(known, str) else None)
        place = {"item_id": item["id"], "output_index": index}
        begun = {**item, "status": "in_progress"}
        begun |= {name: None for name in ("outputs", "results", "output") if name in begun}
        yield self._output.added(index, begun)
        for step in _STEPS.get(kind, ()):
            yield event(f"{kind}.{step}", **place)
            if step == "in_progress" and item.get("code"):
                yield event("code_interpreter_call_code.delta", **place, delta=item["code"])
                yield event("code_interpreter_call_code.done", **place, code=item["code"])
        yield self._output.done(index, item)


_STEPS: Mapping[str, tuple[str, ...]] = {
    "web_search_call": ("in_progress", "searching", "completed"),
    "file_search_call": ("in_progress", "searching", "completed"),
    "code_interpreter_call": ("in_progress", "interpreting", "completed"),
    "mcp_call": ("in_progress", "completed"),
}
"""What is told of a hosted call between its beginning and its end."""

OpenItem: TypeAlias = OpenMessage | OpenThought | OpenCall | OpenPicture | OpenHosted
