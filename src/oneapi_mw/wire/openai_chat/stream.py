"""A stream's bytes to frames, reading no more of each chunk than somebody needs.

Between a client and an upstream that both speak this format, nearly every network read is whole events that say
nothing but text. Such a block is recognised by what it does not contain and passed on unparsed. Anything else is
taken apart event by event.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

from oneapi_mw.canonical.events import Event
from oneapi_mw.canonical.frames import Frame
from oneapi_mw.errors import UpstreamError
from oneapi_mw.jsontext import dumps, loads
from oneapi_mw.usage import ToolUsage
from oneapi_mw.wire.errors import error_in, failed_midway, truncated
from oneapi_mw.wire.framing.sse import MAX_EVENT_BYTES, EventTooLargeError, SseEvent, encode_sse, parse_event
from oneapi_mw.wire.openai_chat.chunk import MalformedChunkError
from oneapi_mw.wire.openai_chat.content import NAME
from oneapi_mw.wire.openai_chat.finish import decode_finish
from oneapi_mw.wire.openai_chat.produced import Tally
from oneapi_mw.wire.openai_chat.reader import ChunkReader, SignificantReader
from oneapi_mw.wire.openai_chat.usage import decode_usage, find_usage
from oneapi_mw.wire.sse_stream import SseStreamDecoder, documents, is_utf8, malformed, mended, no_answer, too_large
from oneapi_mw.wire.zero import told_nothing

DONE = b"[DONE]"
_DONE_EVENT = b"data: [DONE]\n\n"


def says_only_text(block: bytes) -> bool:
    """Whether every event in `block` is a chunk with choices, and none an error, an ending or a report of usage.

    Keys are looked for with their quotes: inside a JSON string these would be escaped. A `null` value, which many
    servers put into every chunk, says nothing.
    """
    if b'"error"' in block or DONE in block or block.count(b'"choices"') != block.count(b"\n\n"):
        return False
    found = block.count(b'"finish_reason"')
    if found and found != block.count(b'"finish_reason":null') and found != block.count(b'"finish_reason": null'):
        return False
    found = block.count(b'"usage"')
    if found and found != block.count(b'"usage":null') and found != block.count(b'"usage": null'):
        return False
    return is_utf8(block)


_PLAIN = bytes(byte for byte in range(0x20, 0x100) if byte not in b'"\\')
"""What stands for itself in a JSON string, as far as bytes tell."""


class _Pattern:
    """The event a stream repeats with nothing but another text in it: `before` + text + `after`.

    Learned from an event that was found to say only text. Whatever has the same bytes around a text without quotes,
    escapes and line ends is the same event, so that neither its keys nor its values need to be looked for. Several
    such events in one block are texts with `after` + `before` between them.
    """

    __slots__ = (
        "_after",
        "_before",
        "_between",
        "_content",
        "_end",
        "_kept",
        "_length",
        "_shown_after",
        "_shown_before",
        "_start",
        "known",
    )

    def __init__(self, content: bytes, tally: Tally) -> None:
        """
        Args:
            content: what a text begins after.
            tally: counts the texts that match.
        """
        self._content = content
        self.known = False
        self._kept = tally.kept

    def learn(self, block: bytes, shown: bytes) -> None:
        """From a block that says only text, and how it is shown: the same, but for the name of the model."""
        event = block[: block.index(b"\n\n") + 2]
        content = self._content
        before, found, rest = event.partition(content)
        text, quote, after = rest.partition(b'"')
        if not found or not quote or b"\\" in text or content in after:
            return
        self._before, self._after = before + content, quote + after
        self._between = self._after + self._before
        self._start, self._end = len(self._before), -len(self._after)
        self._length = self._start - self._end
        self._shown_before = self._shown_after = b""
        if shown != block:
            shown_event = shown[: shown.index(b"\n\n") + 2]
            before, _, rest = shown_event.partition(content)
            self._shown_before, self._shown_after = before + content, rest[len(text) :]
        self.known = True

    def match(self, block: bytes) -> bytes | None:
        """What to show for a block of nothing but such events, counting their texts; `None` for any other."""
        if len(block) < self._length or not block.startswith(self._before) or not block.endswith(self._after):
            return None
        text = said = block[self._start : self._end]
        if self._between in said:
            text = said.replace(self._between, b"")
        if text.translate(None, _PLAIN) or not (text.isascii() or is_utf8(text)):
            return None
        self._kept += text
        if not self._shown_before:
            return block
        if text is not said:
            said = said.replace(self._between, self._shown_after + self._shown_before)
        return self._shown_before + said + self._shown_after


class ChatStreamDecoder(SseStreamDecoder):
    """See `StreamDecoder`. A stream is complete at `[DONE]`, or when every choice that began has said it ended.

    The names in the class are what a dialect of these chunks has others for.
    """

    name: ClassVar[str] = NAME
    content: ClassVar[bytes] = b'"content":"'
    """What the text of a chunk begins after."""
    reader: ClassVar[type[ChunkReader]] = ChunkReader

    def __init__(
        self, *, full: bool, model: str | None, hide_usage: bool, max_event_bytes: int = MAX_EVENT_BYTES
    ) -> None:
        super().__init__(max_event_bytes=max_event_bytes)
        self._reader: SignificantReader = self.reader(model) if full else SignificantReader(model)
        self._rename = _Rename(model) if model is not None else None
        self._model = model
        self._hide_usage = hide_usage
        self._tally = Tally()
        self._pattern = _Pattern(self.content, self._tally)
        self._full = full
        self._skimming = False  # the answer has begun, and nobody needs its text
        self._ahead = bytearray()

    def feed(self, data: bytes) -> list[Frame]:
        if not self._skimming:
            return super().feed(data)
        pattern = self._pattern
        if pattern.known and self._cutter.between_events:
            shown = pattern.match(data)
            if shown is not None:
                return [Frame((), shown, self.name)]
        try:
            block = self._cutter.feed(data)
        except EventTooLargeError:
            return self._fail(too_large())
        if not block:
            return []
        shown = self._skimmed(block)
        if shown is None:
            return self._read(block)
        return [Frame((), shown, self.name)]

    def text_bytes(self) -> int:
        return self._tally.text_bytes()

    def text(self) -> str:
        return self._tally.text()

    def unreported(self) -> bool:
        return self._tally.unreported()

    def tools(self) -> ToolUsage:
        return self._tally.tools().usage(self._reader.report, self._reader.answering_model)

    def _started_choices(self) -> set[int]:
        reader = self._reader
        return reader.started_choices() if isinstance(reader, ChunkReader) else self._tally.choices()

    def _skimmed(self, block: bytes) -> bytes | None:
        """What to show for a block that says only text, counting it; `None` when the block must be read."""
        if self._pattern.known and (shown := self._pattern.match(block)) is not None:
            return shown
        if not says_only_text(block):
            return None
        shown = block if self._rename is None else self._rename.in_block(block)
        if shown is not None:
            self._tally.keep(block)
            if not self._pattern.known:
                self._pattern.learn(block, shown)
        return shown

    # One event at a time.

    def _read(self, block: bytes, *, cut: bool = False) -> list[Frame]:
        events: list[Event] = []
        shown: list[bytes] = []
        last: list[Frame] = []
        segments = block.split(b"\n\n")
        mixed = len(segments) > 2 and not cut
        for lines in segments:
            if mixed and self._skimming and (skimmed := self._skimmed(lines + b"\n\n")) is not None:
                shown.append(skimmed)
                continue
            event = parse_event(lines)
            if event is None or not event.data:
                # Comments keep a client waiting, but only once it was told that an answer comes.
                if self._reader.started and lines.startswith(b":") and not cut:
                    shown.append(lines + b"\n\n")
            elif event.data.startswith(DONE):
                last = self._end() if self._reader.started else self._fail(no_answer())
            else:
                raw, error = self._read_event(event, lines + b"\n\n", events, cut=cut)
                if error is not None:
                    last = self._fail(error)
                elif raw:
                    shown.append(raw)
            if last:
                break
        if not self._reader.started:
            return last or self._hold(b"".join(shown))
        if self._ahead:
            shown.insert(0, bytes(self._ahead))
            self._ahead.clear()
        frames = [Frame(events, b"".join(shown), self.name)] if events or shown else []
        return frames + last

    def _hold(self, ahead: bytes) -> list[Frame]:
        """Keep what comes ahead of the answer (Azure's verdict on the prompt): while nothing was shown, another
        channel may be tried."""
        self._ahead += ahead
        return self._fail(too_large()) if len(self._ahead) > self._max_event_bytes else []

    def _read_event(
        self, event: SseEvent, raw: bytes, events: list[Event], *, cut: bool
    ) -> tuple[bytes, UpstreamError | None]:
        """The bytes to show for an event, or the error it means; adds to `events`.

        An event that is not JSON is passed on: it may be news to us only.
        """
        if not raw.isascii():
            event, raw = mended(event, raw)
        try:
            chunk = loads(event.data)
        except ValueError:
            return (b"" if cut else raw), None
        if not isinstance(chunk, dict):
            return raw, None
        error = _failure(chunk)
        if error is not None:
            return b"", error
        self._tally.note(chunk)
        try:
            events += self._reader.read(chunk)
        except MalformedChunkError as exc:
            return b"", malformed("chunk", exc)
        self._skimming = self._reader.started and not self._full
        usage = find_usage(chunk)
        if usage is not None and decode_usage(usage) is not None:
            self._tally.note_report()
        if self._hide_usage and usage is not None and not chunk.get("choices"):
            return b"", None
        if self._rename is not None:
            return self._rename.in_event(event, chunk, raw), None
        return raw, None

    def _read_json(self, body: bytes) -> list[Frame]:
        reader = self._reader = self.reader(self._model)
        events: list[Event] = []
        for chunk in documents(body):
            error = _failure(chunk)
            if error is None:
                self._tally.note(chunk)
                try:
                    events += reader.read(chunk)
                except MalformedChunkError as exc:
                    error = malformed("chunk", exc)
            if error is not None:
                return [Frame(events), *self._fail(error)] if events else self._fail(error)
        if not reader.started:
            return self._fail(no_answer())
        if not reader.finished() >= reader.started_choices():
            return [Frame(events), *self._fail(truncated())]
        self._stop()
        return [Frame([*events, *self._last_events()])]

    # Endings.

    def _without_terminator(self) -> list[Frame]:
        if not self._reader.started:
            return self._fail(no_answer())
        if self._reader.finished() >= self._started_choices():
            return self._end()
        return self._fail(truncated())

    def _end(self) -> list[Frame]:
        self._stop()
        return [Frame(self._last_events(), _DONE_EVENT, self.name)]

    def _last_events(self) -> list[Event]:
        events = self._reader.end()
        return told_nothing(events) if self._reader.says_zero and not self._tally.delivered() else events

    def _fail(self, error: UpstreamError) -> list[Frame]:
        self._skimming = False
        return super()._fail(error)

    def _stop(self) -> None:
        """Whatever comes now is ignored."""
        self._over = True
        self._skimming = False


class _Rename:
    """Puts the name the client asked for in place of the upstream's.

    The upstream's spelling is learned from the first chunk that is parsed. A block is edited as bytes only when
    it has exactly one model for each event and each is spelled so; otherwise its events are parsed.
    """

    def __init__(self, model: str) -> None:
        self._model = model
        self._spelled = b""
        self._wanted = b""

    def in_block(self, block: bytes) -> bytes | None:
        """The block with the name replaced; `None` when that takes parsing."""
        spelled = self._spelled
        if not spelled:
            return None
        if not block.count(b'"model"') == block.count(spelled) == block.count(b"\n\n"):
            return None
        return block.replace(spelled, self._wanted)

    def in_event(self, event: SseEvent, chunk: Mapping[str, Any], raw: bytes) -> bytes:
        named = chunk.get("model")
        if not isinstance(named, str):
            return raw
        self._spelled = b""
        for form in (b'"model":', b'"model": '):
            spelled = form + dumps(named)
            if event.data.count(spelled) == event.data.count(b'"model"') == 1:
                self._spelled, self._wanted = spelled, form + dumps(self._model)
        if named == self._model:
            return raw
        if self._spelled and raw.count(self._spelled) == 1:
            return raw.replace(self._spelled, self._wanted)
        return encode_sse(dumps({**chunk, "model": self._model}), event.event)


def _failure(chunk: Mapping[str, Any]) -> UpstreamError | None:
    """The error a chunk brings, as an object of its own or as the way a choice ended."""
    error = error_in(chunk)
    if error is not None:
        return error
    choices = chunk.get("choices")
    for choice in choices if isinstance(choices, list) else ():
        finished = decode_finish(choice, 0) if isinstance(choice, dict) else None
        if finished is not None and finished.reason == "error":
            return failed_midway()
    return None
