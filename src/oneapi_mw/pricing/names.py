"""The name a price is looked up by, from the name a model has at its provider.

Only names that an operator put on a channel get here, once per change of the channel: never what a client sends.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

_VENDORS = re.compile(
    r"(?:models/|publishers/[a-z0-9-]+/models/|(?:us|eu|apac|global|jp|au|us-gov)\.(?=[a-z]+\.)"
    r"|(?:openai|anthropic|google|gemini|deepseek|mistralai|mistral|meta-llama|meta|cohere|x-ai|xai|qwen|moonshotai"
    r"|z-ai|zai|amazon|azure|vertex_ai|bedrock|perplexity|minimax)[/.])"
)
_DATE = re.compile(
    r"[-@](?:20[0-9]{2}-(?:0[1-9]|1[0-2])-(?:0[1-9]|[12][0-9]|3[01])|20[0-9]{6}|(?:0[1-9]|1[0-2])[0-3][0-9])$"
)
_REVISION = re.compile(r"-v[0-9]+(?::[0-9]+)?$")


def spellings(model: str) -> Iterator[tuple[str, str]]:
    """(rule, name) from the name itself to what is left without case, vendor and date; each step on top of those
    before it."""
    yield "exact", model
    name = model.lower()
    if name != model:
        yield "lower", name
    bare = _without_vendor(name)
    if bare != name:
        yield "vendor", bare
    undated = _DATE.sub("", _REVISION.sub("", bare))
    if undated != bare:
        yield "date", undated


def _without_vendor(name: str) -> str:
    while (found := _VENDORS.match(name)) is not None and found.end() < len(name):
        name = name[found.end() :]
    return name


def fits(rule: Any, name: str) -> bool:
    """Whether a catalogue's rule names `name`: `["=", text]`, `["^", start]`, `["$", end]`, `["*", part]`,
    `["~", pattern]`, `["|", rules]` or `["&", rules]`."""
    kind, what = rule
    match kind:
        case "=":
            return bool(name == what)
        case "^":
            return name.startswith(what)
        case "$":
            return name.endswith(what)
        case "*":
            return what in name
        case "~":
            return re.search(what, name) is not None
        case "|":
            return any(fits(part, name) for part in what)
        case "&":
            return all(fits(part, name) for part in what)
    raise ValueError(f"a price table has a rule of an unknown kind: {kind!r}")
