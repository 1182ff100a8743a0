"""Log probabilities: parallel lists here, an entry for each token in the canonical model."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from oneapi_mw.types import JsonObject


def decode_logprobs(value: object) -> list[JsonObject]:
    """Entries as Chat Completions has them. Lists that are too short say nothing about the rest."""
    if not isinstance(value, dict):
        return []
    tokens = _list(value.get("tokens"))
    scores, tops = _list(value.get("token_logprobs")), _list(value.get("top_logprobs"))
    entries = []
    for index, token in enumerate(tokens):
        if not isinstance(token, str):
            continue
        top = tops[index] if index < len(tops) and isinstance(tops[index], dict) else {}
        entries.append(
            {
                **_entry(token, scores[index] if index < len(scores) else None),
                "top_logprobs": [_entry(other, score) for other, score in top.items()],
            }
        )
    return entries


def _entry(token: str, score: object) -> JsonObject:
    return {"token": token, "logprob": score, "bytes": list(token.encode("utf-8", "surrogatepass"))}


def _list(value: object) -> list[Any]:
    return value if isinstance(value, list) else []


def encode_logprobs(entries: Iterable[Mapping[str, Any]], offset: int) -> tuple[JsonObject, int]:
    """The lists, and the offset behind them.

    Args:
        offset: characters of the choice's text ahead of the first token.
    """
    tokens: list[str] = []
    scores: list[Any] = []
    tops: list[JsonObject] = []
    offsets: list[int] = []
    for entry in entries:
        token = entry.get("token")
        token = token if isinstance(token, str) else ""
        tokens.append(token)
        scores.append(entry.get("logprob"))
        tops.append({other["token"]: other.get("logprob") for other in _tops(entry)})
        offsets.append(offset)
        offset += len(token)
    lists: JsonObject = {"tokens": tokens, "token_logprobs": scores, "text_offset": offsets}
    return {**lists, "top_logprobs": tops if any(tops) else None}, offset


def _tops(entry: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    return [
        other
        for other in _list(entry.get("top_logprobs"))
        if isinstance(other, dict) and isinstance(other.get("token"), str)
    ]
