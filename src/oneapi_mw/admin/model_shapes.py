"""Lists of models as each vendor's SDK reads them: OpenAI's, Anthropic's, Google's."""

from __future__ import annotations

import base64
import binascii
import re
from bisect import bisect_left, bisect_right
from collections.abc import Mapping, Sequence
from typing import Any, Final, Protocol

from starlette.datastructures import QueryParams

from oneapi_mw.errors import InvalidRequest
from oneapi_mw.models.catalogue import rules_of
from oneapi_mw.types import JsonObject

_CREATED: Final = 1626777600
"""Unix seconds; the one date One API gives all models."""
_RELEASED: Final = "1970-01-01T00:00:00Z"
"""What Anthropic writes where the day of release is not known."""
_PERMISSION: Final[JsonObject] = {
    "id": "modelperm-LwHkVFn8AcMItP432fKKDIKJ",
    "object": "model_permission",
    "created": _CREATED,
    "allow_create_engine": True,
    "allow_sampling": True,
    "allow_logprobs": True,
    "allow_search_indices": False,
    "allow_view": True,
    "allow_fine_tuning": False,
    "organization": "*",
    "group": None,
    "is_blocking": False,
}
_NUMBER = re.compile(r"[0-9]{1,9}")


class Shape(Protocol):
    """One SDK's way to see models."""

    def entry(self, name: str, owner: str) -> JsonObject:
        """One model. `owner`: who serves it."""

    def page(self, names: Sequence[str], entries: Mapping[str, JsonObject], query: QueryParams) -> JsonObject:
        """The list, or the part of it that `query` asks for. `names` are sorted. Raises `InvalidRequest`."""

    def missing(self, name: str) -> str:
        """The message that there is no such model."""


class OpenAIModels:
    """The whole list at once.

    Source: https://platform.openai.com/docs/api-reference/models
    """

    def entry(self, name: str, owner: str) -> JsonObject:
        return {
            "id": name,
            "object": "model",
            "created": _CREATED,
            "owned_by": owner,
            "permission": [_PERMISSION],
            "root": name,
            "parent": None,
        }

    def page(self, names: Sequence[str], entries: Mapping[str, JsonObject], query: QueryParams) -> JsonObject:
        body: JsonObject = {"object": "list", "data": [entries[name] for name in names]}
        if "client_version" in query:  # a coding client that reads this key
            body["models"] = []
        return body

    def missing(self, name: str) -> str:
        return f"The model '{name}' does not exist"


class AnthropicModels:
    """Pages before or after a model. A model that is gone since the last page still says where it was.

    Source: https://platform.claude.com/docs/en/api/models-list
    """

    USUAL: Final = 20
    MOST: Final = 1000

    def entry(self, name: str, owner: str) -> JsonObject:
        return {
            "type": "model",
            "id": name,
            "display_name": name,
            "created_at": _RELEASED,
            "lifecycle": "active",
            "max_tokens": rules_of(name).max_output,
        }

    def page(self, names: Sequence[str], entries: Mapping[str, JsonObject], query: QueryParams) -> JsonObject:
        limit = _count(query, "limit", usual=self.USUAL)
        if not 1 <= limit <= self.MOST:
            raise InvalidRequest(f"limit must be from 1 to {self.MOST}", param="limit")
        after, before = query.get("after_id"), query.get("before_id")
        if after and before:
            raise InvalidRequest("after_id and before_id cannot go together: leave one out", param="after_id")
        stages = [*query.getlist("lifecycle"), *query.getlist("lifecycle[]")]
        if stages and "active" not in stages:
            names = []
        if before:
            end = bisect_left(names, before)
            start = max(0, end - limit)
            more = start > 0
        else:
            start = bisect_right(names, after) if after else 0
            end = start + limit
            more = end < len(names)
        page = names[start:end]
        return {
            "data": [entries[name] for name in page],
            "has_more": more,
            "first_id": page[0] if page else None,
            "last_id": page[-1] if page else None,
        }

    def missing(self, name: str) -> str:
        return f"model: {name}"


class GeminiModels:
    """Pages with a token that says where the next one begins.

    Source: https://ai.google.dev/api/models
    """

    USUAL: Final = 50
    MOST: Final = 1000

    def entry(self, name: str, owner: str) -> JsonObject:
        rules = rules_of(name)
        entry: JsonObject = {
            "name": f"models/{name}",
            "displayName": name,
            "supportedGenerationMethods": ["generateContent", "countTokens"],
        }
        if rules.max_output is not None:
            entry["outputTokenLimit"] = rules.max_output
        if rules.thinking != "unknown":
            entry["thinking"] = rules.thinking != "none"
        return entry

    def page(self, names: Sequence[str], entries: Mapping[str, JsonObject], query: QueryParams) -> JsonObject:
        size = _count(query, "pageSize", "page_size", usual=self.USUAL) or self.USUAL
        token = query.get("pageToken") or query.get("page_token")
        start = bisect_right(names, _named_in(token)) if token else 0
        page = names[start : start + min(size, self.MOST)]
        body: JsonObject = {"models": [entries[name] for name in page]}
        if page and page[-1] != names[-1]:
            body["nextPageToken"] = base64.urlsafe_b64encode(page[-1].encode()).decode()
        return body

    def missing(self, name: str) -> str:
        return f"models/{name} is not found"


SHAPES: Mapping[str, Shape] = {
    "openai_chat": OpenAIModels(),
    "anthropic_messages": AnthropicModels(),
    "gemini": GeminiModels(),
}
"""By the wire format that the same SDK speaks."""


def _count(query: QueryParams, *names: str, usual: int) -> int:
    text: Any = next((query[name] for name in names if query.get(name)), None)
    if text is None:
        return usual
    if not _NUMBER.fullmatch(text):
        raise InvalidRequest(f"{names[0]} must be a whole number", param=names[0])
    return int(text)


def _named_in(token: str) -> str:
    """The last name on the page before."""
    try:
        return base64.b64decode(token, altchars=b"-_", validate=True).decode()
    except (binascii.Error, ValueError):
        raise InvalidRequest(
            "pageToken is none of ours: send the nextPageToken of the page before", param="pageToken"
        ) from None
