"""Objects one after another, on bytes: a JSON array that streams in, lines of JSON, or a single object.

Cuts only; what is inside an object is the reader's to judge. Between objects commas, brackets and white space are
skipped.
"""

from __future__ import annotations

import re

from oneapi_mw.wire.framing.sse import MAX_EVENT_BYTES, EventTooLargeError

_OUTSIDE = re.compile(rb'["{}\[\]]')
_INSIDE = re.compile(rb'["\\]')
_BETWEEN = b" \t\r\n,[]\xef\xbb\xbf"


class ObjectCutter:
    """Bytes to whole objects, however the network split them. Every byte is looked at once.

    Raises `EventTooLargeError` from `feed`; the cutter is of no use after that.
    """

    __slots__ = ("_at", "_depth", "_max_bytes", "_quoted", "_rest", "broken")

    def __init__(self, *, max_object_bytes: int = MAX_EVENT_BYTES) -> None:
        self._max_bytes = max_object_bytes
        self._rest = bytearray()
        self._at = 0  # how far `_rest` was looked at
        self._depth = 0
        self._quoted = False
        self.broken = False
        """Something other than objects came: nothing after it is read."""

    def feed(self, data: bytes) -> list[bytes]:
        """The objects that are complete now."""
        if self.broken:
            return []
        self._rest += data
        found: list[bytes] = []
        while (end := self._next_end()) is not None:
            found.append(bytes(self._rest[:end]))
            del self._rest[:end]
            self._at = 0
        if len(self._rest) > self._max_bytes:
            raise EventTooLargeError(f"an object is longer than {self._max_bytes} bytes")
        return found

    @property
    def cut(self) -> bool:
        """Whether an object has begun and not ended."""
        return bool(self._rest.strip(_BETWEEN))

    def _next_end(self) -> int | None:
        """Where the first object in `_rest` ends; `None` while it does not."""
        rest = self._rest
        if not self._depth:
            begins = len(rest) - len(rest.lstrip(_BETWEEN))
            del rest[:begins]
            self._at = 0
            if not rest:
                return None
            if rest[:1] != b"{":
                self.broken = True
                return None
        while True:
            mark = (_INSIDE if self._quoted else _OUTSIDE).search(rest, self._at)
            if mark is None:
                self._at = len(rest)
                return None
            char, place = mark[0], mark.start()
            if char == b"\\":
                if place + 2 > len(rest):
                    self._at = place
                    return None
                self._at = place + 2
                continue
            self._at = place + 1
            if char == b'"':
                self._quoted = not self._quoted
            elif char in b"{[":
                self._depth += 1
            else:
                self._depth -= 1
                if self._depth == 0:
                    return self._at
