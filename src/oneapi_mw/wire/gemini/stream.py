"""A stream's bytes to frames. Every chunk carries usage, so every chunk is parsed; its parts are only read when
somebody needs them.

Comes as server-sent events, or as a JSON array when nobody asked for these. A finish does not end the content, so
whether a stream was complete is judged when its bytes end.
"""

from __future__ import annotations

from typing import Any

from oneapi_mw.canonical.events import Event, Failed
from oneapi_mw.canonical.frames import Frame
from oneapi_mw.errors import UpstreamError
from oneapi_mw.jsontext import dumps, loads
from oneapi_mw.types import JsonObject
from oneapi_mw.usage import ToolUsage
from oneapi_mw.wire.errors import truncated
from oneapi_mw.wire.framing.json_stream import ObjectCutter
from oneapi_mw.wire.framing.sse import MAX_EVENT_BYTES, EventTooLargeError, SseCutter, encode_sse, parse_event
from oneapi_mw.wire.gemini.candidate import MalformedChunkError
from oneapi_mw.wire.gemini.content import NAME
from oneapi_mw.wire.gemini.errors import error_of
from oneapi_mw.wire.gemini.produced import RAN, answer_texts, delivers_nothing
from oneapi_mw.wire.gemini.reader import ChunkReader, SignificantReader, in_camel_case
from oneapi_mw.wire.gemini.tool_usage import code_runs
from oneapi_mw.wire.gemini.usage import reports_output
from oneapi_mw.wire.said import Said
from oneapi_mw.wire.sse_stream import IGNORED_AHEAD, malformed, no_answer, too_large
from oneapi_mw.wire.zero import told_nothing

_DONE = b"[DONE]"


class GeminiStreamDecoder:
    """See `StreamDecoder`."""

    def __init__(self, *, full: bool, model: str | None, max_event_bytes: int = MAX_EVENT_BYTES) -> None:
        self._reader: SignificantReader = ChunkReader(model) if full else SignificantReader(model)
        self._model = model
        self._sse = SseCutter(max_event_bytes=max_event_bytes)
        self._objects: ObjectCutter | None = None
        self._max_event_bytes = max_event_bytes
        self._begun = False  # something other than white space came
        self._over = False
        self._shown = False  # a frame was given out
        self._broken = False  # the last event was not JSON
        self._spelled = self._wanted = b""  # the upstream's model as its chunks have it, and the client's
        self._said = Said()
        self._delivered = False  # anything: text, a call, media
        self._reported_bytes = 0  # text up to the last report of output

    def feed(self, data: bytes) -> list[Frame]:
        if self._over:
            return []
        if not self._begun and (ahead := data.lstrip(IGNORED_AHEAD)):
            self._begun = True
            if ahead[:1] in (b"{", b"["):
                self._objects = ObjectCutter(max_object_bytes=self._max_event_bytes)
        try:
            if self._objects is not None:
                return self._read(self._objects.feed(data), framed=False)
            block = self._sse.feed(data)
        except EventTooLargeError:
            return self._fail(too_large())
        return self._read(_events(block), framed=True) if block else []

    def fail(self, error: UpstreamError) -> list[Frame]:
        return [] if self._over else self._fail(error)

    def close(self) -> list[Frame]:
        if self._over:
            return []
        if self._objects is not None:
            frames: list[Frame] = []
            self._broken = self._broken or self._objects.cut or self._objects.broken
        else:
            block = self._sse.close()
            frames = self._read(_events(block), framed=True) if block else []
            if self._ended():
                return frames
        reader = self._reader
        if not reader.started:
            return frames + self._fail(no_answer())
        if self._broken or not reader.complete:
            return frames + self._fail(truncated())
        error = reader.failure()
        if error is not None:
            return frames + self._fail(error)
        self._over = True
        events = reader.end()
        if reader.says_zero and not self._delivered:
            events = told_nothing(events)
        return [*frames, Frame(events, b"", NAME)]  # the upstream has said it all: nothing is to be added

    def text_bytes(self) -> int:
        return self._said.text_bytes

    def text(self) -> str:
        return self._said.text()

    def unreported(self) -> bool:
        return self._said.text_bytes > self._reported_bytes

    def tools(self) -> ToolUsage:
        return self._reader.tools

    def _read(self, events: list[bytes], *, framed: bool) -> list[Frame]:
        found: list[Event] = []
        shown: list[bytes] = []
        last: list[Frame] = []
        for data in events:
            if data.startswith(_DONE):
                continue  # no event of this format, and its SDK trips over it
            error = self._read_event(data, found, shown, framed=framed)
            if error is not None:
                last = self._fail(error)
                break
        if last and not self._shown and not self._reader.spoken:
            return last  # nothing was said: another channel may be tried
        if not found and not shown:
            return last
        self._shown = True
        return [Frame(found, b"".join(shown), NAME), *last]

    def _read_event(
        self, data: bytes, events: list[Event], shown: list[bytes], *, framed: bool
    ) -> UpstreamError | None:
        """The error an event means; else adds to `events` and `shown`. What is not JSON nobody could read."""
        chunk = _parsed(data)
        self._broken = chunk is None
        if not isinstance(chunk, dict):
            return None
        error = error_of(chunk)
        if error is not None:
            return error
        texts = answer_texts(chunk)
        self._said.add(texts)
        spelled = in_camel_case(chunk)
        self._delivered = self._delivered or not delivers_nothing(spelled)
        if RAN in texts:
            self._reader.code_runs += code_runs(spelled)
        try:
            events += self._reader.read(spelled)
        except MalformedChunkError as exc:
            return malformed("chunk", exc)
        if reports_output(spelled):
            self._reported_bytes = self._said.text_bytes
        error = self._reader.failure()
        if error is not None:
            return error
        shown.append(self._shown_as(data, spelled, same=framed and spelled is chunk))
        return None

    def _shown_as(self, data: bytes, chunk: JsonObject, *, same: bool) -> bytes:
        """The event for a client of this format, naming the model it asked for.

        Args:
            same: `data` is one a client can be given as it is.
        """
        named = chunk.get("modelVersion")
        if self._model is not None and isinstance(named, str) and named != self._model:
            renamed = self._renamed(data, named) if same else None
            if renamed is None:
                same, chunk = False, {**chunk, "modelVersion": self._model}
            else:
                data = renamed
        if not same or b"\n" in data:
            data = dumps(chunk)
        return encode_sse(data)

    def _renamed(self, data: bytes, named: str) -> bytes | None:
        """`data` with the model replaced where it is spelled as expected, exactly once."""
        if self._spelled and data.count(self._spelled) == data.count(b'"modelVersion"') == 1:
            return data.replace(self._spelled, self._wanted)
        for form in (b'"modelVersion": ', b'"modelVersion":'):
            spelled = form + dumps(named)
            if data.count(spelled) == data.count(b'"modelVersion"') == 1:
                self._spelled, self._wanted = spelled, form + dumps(self._model)
                return data.replace(spelled, self._wanted)
        return None

    def _ended(self) -> bool:
        return self._over

    def _fail(self, error: UpstreamError) -> list[Frame]:
        self._over = True
        return [Frame((Failed(error),))]


def _events(block: bytes) -> list[bytes]:
    found = (parse_event(lines) for lines in block.split(b"\n\n"))
    return [event.data for event in found if event is not None and event.data]


def _parsed(data: bytes) -> Any:
    """The value; `None` when it is no JSON. Characters that were cut apart are replaced."""
    try:
        return _only(loads(data))
    except ValueError:
        pass
    if data.isascii():
        return None
    try:
        return _only(loads(data.decode("utf-8", "replace").encode()))
    except ValueError:
        return None


def _only(value: Any) -> Any:
    """An error may come in a list of one."""
    return value[0] if isinstance(value, list) and len(value) == 1 else value
