"""Tokens of an image, from its size and the vendor's rule. Only the header of a file is ever looked at."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Mapping
from typing import TypeAlias

from oneapi_mw.canonical.blocks import Image, Inline
from oneapi_mw.models.names import forms_of
from oneapi_mw.models.rules import ModelRules
from oneapi_mw.tokens.estimate import image_tokens

Size: TypeAlias = tuple[int, int]
"""Width and height in pixels."""

HEADER_CHARS = 64 * 1024
"""Base64 characters in which the size must be found: photographs carry a preview and colours in front of it."""
MAX_SIDE = 100_000

# Anthropic. Source: https://platform.claude.com/docs/en/build-with-claude/vision (2026-11)
_CLAUDE_PATCH = 28
_CLAUDE_LIMITS = (1568, 1568)
"""Longest side in pixels, most tokens."""
_CLAUDE_LARGE = (4, 7)
_CLAUDE_LARGE_LIMITS = (2576, 4784)

# Google. Source: https://ai.google.dev/gemini-api/docs/tokens, .../media-resolution (2026-11)
_GEMINI_TILE, _GEMINI_SMALL, _GEMINI_TILE_TOKENS = 768, 384, 258
_GEMINI_3: Mapping[str, int] = {"LOW": 280, "MEDIUM": 560, "HIGH": 1120, "ULTRA_HIGH": 2240}
_GEMINI_2: Mapping[str, int] = {"LOW": 64, "MEDIUM": 256}
_RESOLUTION = "MEDIA_RESOLUTION_"

# OpenAI. Source: https://platform.openai.com/docs/guides/images-vision (2026-11)
_TILES: tuple[tuple[str, int, int], ...] = (
    ("gpt-4o-mini", 2833, 5667),
    ("gpt-5", 70, 140),
    ("o1", 75, 150),
    ("o3", 75, 150),
    ("computer-use-preview", 65, 129),
    ("", 85, 170),
)
"""Name, tokens of the image itself, tokens of each tile."""
_PATCHES: tuple[tuple[str, int], ...] = (
    ("gpt-5-mini", 162),
    ("gpt-5-nano", 246),
    ("gpt-4.1-mini", 162),
    ("gpt-4.1-nano", 246),
    ("o4-mini", 172),
)
"""Name, percent of a token for each patch."""
_PATCH, _MAX_PATCHES = 32, 1536
_PATCHED_SINCE = (5, 4)
_DETAIL_PATCHES: Mapping[str, int] = {"low": 256, "original": 10_000}
_USUAL_PATCHES = 2500
"""From GPT-5.4 on: the most patches an image is scaled down to."""


def tokens_of(image: Image, model: str, rules: ModelRules) -> int:
    """Tokens of `image` for `model`. One whose size cannot be seen (a URL, a file) counts as a large one."""
    size = size_of(image.source.data) if isinstance(image.source, Inline) else None
    match rules.family:
        case "claude":
            return _claude(size, rules)
        case "gemini" | "gemma":
            return _gemini(size, image.resolution or "", rules)
        case _:
            return _openai(size, image.detail or "auto", forms_of(model)[0], rules)


def _claude(size: Size | None, rules: ModelRules) -> int:
    side, most = _CLAUDE_LARGE_LIMITS if rules.version >= _CLAUDE_LARGE else _CLAUDE_LIMITS
    if size is None:
        return image_tokens(None)
    return min(most, _cells(_within(size, side), _CLAUDE_PATCH))


def _gemini(size: Size | None, resolution: str, rules: ModelRules) -> int:
    level = resolution.removeprefix(_RESOLUTION)
    if rules.part_resolution:
        return _GEMINI_3.get(level, _GEMINI_3["HIGH"])
    if level in _GEMINI_2:
        return _GEMINI_2[level]
    if size is None or max(size) <= _GEMINI_SMALL:
        return _GEMINI_TILE_TOKENS
    return _cells(size, _GEMINI_TILE) * _GEMINI_TILE_TOKENS


def _openai(size: Size | None, detail: str, name: str, rules: ModelRules) -> int:
    if rules.family == "openai" and rules.version >= _PATCHED_SINCE:
        most = _DETAIL_PATCHES.get(detail, _USUAL_PATCHES)
        return min(most, _cells(size, _PATCH)) if size is not None else min(most, image_tokens(detail))
    for prefix, percent in _PATCHES:
        if name.startswith(prefix):
            patches = min(_MAX_PATCHES, _cells(size, _PATCH)) if size is not None else _MAX_PATCHES
            return -(-patches * percent // 100)
    base, tile = next((base, tile) for prefix, base, tile in _TILES if name.startswith(prefix))
    if detail == "low":
        return base
    width, height = _within(size or (2048, 2048), 2048)
    shortest = min(width, height)
    if shortest > 768:
        width, height = _scaled(width, 768, shortest), _scaled(height, 768, shortest)
    return base + tile * _cells((width, height), 512)


def _within(size: Size, side: int) -> Size:
    """`size` scaled down until its longest side is `side`."""
    longest = max(size)
    return size if longest <= side else (_scaled(size[0], side, longest), _scaled(size[1], side, longest))


def _scaled(length: int, numerator: int, denominator: int) -> int:
    return max(1, length * numerator // denominator)


def _cells(size: Size, side: int) -> int:
    """Squares of `side` pixels that cover `size`."""
    return -(-size[0] // side) * -(-size[1] // side)


# Sizes out of file headers.


def size_of(data: str) -> Size | None:
    """The size of an image given as base64; `None` when it cannot be told from the beginning of the file, or is none
    an image has."""
    size = declared_size(data)
    return size if size is not None and min(size) > 0 and max(size) <= MAX_SIDE else None


def declared_size(data: str) -> Size | None:
    """What the header of an image given as base64 says, however absurd; `None` when it says nothing."""
    head = data[:HEADER_CHARS]
    try:
        raw = base64.b64decode(head[: len(head) // 4 * 4])
    except (binascii.Error, ValueError):
        return None
    return _png(raw) or _gif(raw) or _webp(raw) or _jpeg(raw)


def _png(raw: bytes) -> Size | None:
    if not raw.startswith(b"\x89PNG\r\n\x1a\n") or len(raw) < 24:
        return None
    return int.from_bytes(raw[16:20], "big"), int.from_bytes(raw[20:24], "big")


def _gif(raw: bytes) -> Size | None:
    if not raw.startswith((b"GIF87a", b"GIF89a")) or len(raw) < 10:
        return None
    return int.from_bytes(raw[6:8], "little"), int.from_bytes(raw[8:10], "little")


def _webp(raw: bytes) -> Size | None:
    if raw[:4] != b"RIFF" or raw[8:12] != b"WEBP" or len(raw) < 30:
        return None
    match raw[12:16]:
        case b"VP8 ":
            return int.from_bytes(raw[26:28], "little") & 0x3FFF, int.from_bytes(raw[28:30], "little") & 0x3FFF
        case b"VP8L":
            bits = int.from_bytes(raw[21:25], "little")
            return (bits & 0x3FFF) + 1, (bits >> 14 & 0x3FFF) + 1
        case b"VP8X":
            return int.from_bytes(raw[24:27], "little") + 1, int.from_bytes(raw[27:30], "little") + 1
    return None


def _jpeg(raw: bytes) -> Size | None:
    """From the frame header: segments before it are skipped by their length."""
    if not raw.startswith(b"\xff\xd8"):
        return None
    place = 2
    while place + 9 <= len(raw) and raw[place] == 0xFF:
        kind = raw[place + 1]
        if kind == 0xFF:  # fill byte
            place += 1
        elif 0xC0 <= kind <= 0xCF and kind not in (0xC4, 0xC8, 0xCC):
            return int.from_bytes(raw[place + 7 : place + 9], "big"), int.from_bytes(raw[place + 5 : place + 7], "big")
        else:
            place += 2 + int.from_bytes(raw[place + 2 : place + 4], "big")
    return None
