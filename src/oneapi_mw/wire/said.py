"""Generated text, kept to be counted by a tokenizer where an upstream tells no usage."""

from __future__ import annotations

from collections.abc import Iterable

KEPT_BYTES = 1024 * 1024
"""UTF-8 bytes of one answer that are kept. What is beyond is counted and forgotten."""


def utf8_length(text: str) -> int:
    return len(text) if text.isascii() else len(text.encode("utf-8", "surrogatepass"))


class Said:
    """Texts in the order they came, as one string of bytes, and their length."""

    __slots__ = ("kept", "text_bytes")

    def __init__(self, texts: Iterable[str] = ()) -> None:
        self.kept = bytearray()
        """The beginning of it; all, unless it is longer than `KEPT_BYTES`."""
        self.text_bytes = 0
        """UTF-8 bytes of all that was added."""
        self.add(texts)

    def add(self, texts: Iterable[str]) -> None:
        for text in texts:
            self.add_bytes(text.encode("utf-8", "surrogatepass"))

    def add_bytes(self, data: bytes) -> None:
        if self.text_bytes < KEPT_BYTES:
            self.kept += data
        self.text_bytes += len(data)

    def text(self) -> str:
        """What is kept, as text."""
        return self.kept.decode("utf-8", "replace")
