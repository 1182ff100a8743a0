"""The text that an answer holds, found without making events of it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from oneapi_mw.jsontext import dumps
from oneapi_mw.wire.zero import holds_nothing

RAN = ""
"""Stands for a result of code among texts: the model has not said it, but somebody may want to count it."""


def delivers_nothing(body: Mapping[str, Any]) -> bool:
    """Whether an answer or a chunk of one is empty: no candidate has a part that holds anything, or sources."""
    candidates = body.get("candidates")
    return (
        all(
            holds_nothing([_content_of(candidate), candidate.get("groundingMetadata")])
            for candidate in candidates
            if isinstance(candidate, dict)
        )
        if isinstance(candidates, list)
        else True
    )


def _content_of(candidate: Mapping[str, Any]) -> object:
    content = candidate.get("content")
    return content.get("parts") if isinstance(content, dict) else None


def answer_texts(body: Mapping[str, Any]) -> list[str]:
    """Text, thoughts, code and arguments in an answer or a chunk of one."""
    candidates = body.get("candidates")
    texts: list[str] = []
    for candidate in candidates if isinstance(candidates, list) else ():
        content = candidate.get("content") if isinstance(candidate, dict) else None
        parts = content.get("parts") if isinstance(content, dict) else None
        for part in parts if isinstance(parts, list) else ():
            if isinstance(part, dict):
                texts += _part_texts(part)
    return texts


def _part_texts(part: Mapping[str, Any]) -> list[str]:
    text = part.get("text")
    if isinstance(text, str):
        return [text]
    call = part.get("functionCall") or part.get("function_call")
    if isinstance(call, dict):
        name = call.get("name")
        values = [call.get(name_of) for name_of in ("args", "partialArgs", "partial_args")]
        texts = [dumps(value).decode() for value in values if value]
        return [name, *texts] if isinstance(name, str) else texts
    code = part.get("executableCode") or part.get("executable_code")
    if isinstance(code, dict) and isinstance(code.get("code"), str):
        return [code["code"]]
    return [RAN] if "codeExecutionResult" in part or "code_execution_result" in part else []
