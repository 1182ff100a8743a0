"""How much text an answer holds, counted without making events of it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from oneapi_mw.jsontext import dumps


def utf8_length(text: str) -> int:
    return len(text) if text.isascii() else len(text.encode("utf-8", "surrogatepass"))


def answer_bytes(body: Mapping[str, Any]) -> int:
    """UTF-8 bytes of text, thoughts, code and arguments in an answer or a chunk of one."""
    candidates = body.get("candidates")
    total = 0
    for candidate in candidates if isinstance(candidates, list) else ():
        content = candidate.get("content") if isinstance(candidate, dict) else None
        parts = content.get("parts") if isinstance(content, dict) else None
        for part in parts if isinstance(parts, list) else ():
            if isinstance(part, dict):
                total += _part_bytes(part)
    return total


def _part_bytes(part: Mapping[str, Any]) -> int:
    text = part.get("text")
    if isinstance(text, str):
        return utf8_length(text)
    call = part.get("functionCall") or part.get("function_call")
    if isinstance(call, dict):
        name, total = call.get("name"), 0
        for name_of in ("args", "partialArgs", "partial_args"):
            value = call.get(name_of)
            total += len(dumps(value)) if value else 0
        return total + (utf8_length(name) if isinstance(name, str) else 0)
    code = part.get("executableCode") or part.get("executable_code")
    if isinstance(code, dict) and isinstance(code.get("code"), str):
        return utf8_length(code["code"])
    return 0
