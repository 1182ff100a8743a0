"""The name a price is looked up by, from the name a model has at its provider.

Only names that an operator put on a channel get here, once per change of the channel: never what a client sends.

A model that is not known has no price, which its operator is told. A model that is taken for another one is billed
wrongly, and nobody is told. So a rule of a catalogue that names the beginning, the end or a part of a name says nothing
of what is left of it, unless that is a date, a revision or where the model runs.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

_VENDORS = re.compile(
    r"(?:models/|publishers/[a-z0-9-]+/models/|arn:aws[a-z-]*:bedrock:[a-z0-9-]*:[0-9]*:[a-z-]+/"
    r"|(?:[a-z]{2}|apac|global|us-gov)\.(?=[a-z0-9]+\.)"
    r"|(?:openai|anthropic|google|gemini|deepseek|mistralai|mistral|meta-llama|meta|cohere|x-ai|xai|qwen|moonshotai"
    r"|z-ai|zai|amazon|azure|vertex_ai|bedrock|perplexity|minimax)[/.])"
)
_DATE = re.compile(
    r"[-@](?:20[0-9]{2}-(?:0[1-9]|1[0-2])-(?:0[1-9]|[12][0-9]|3[01])|20[0-9]{6}|(?:0[1-9]|1[0-2])[0-3][0-9])$"
)
_REVISION = re.compile(r"-v[0-9]+:[0-9]+$|-v1$")
_TUNED = re.compile(r"^(ft:[^:]+):.*$|^(.+\.ft-).+$")
"""A model somebody tuned is charged like all that were tuned from the same."""
_NO_OTHER_MODEL = re.compile(
    r"(?:(?:^|[-@:])(?:20[0-9]{2}-[0-9]{2}-[0-9]{2}|[0-9]{2}-20[0-9]{2}|[0-9]{2}-[0-9]{2}|20[0-9]{6}"
    r"|(?:2[0-9])?(?:0[1-9]|1[0-2])[0-3][0-9]|2[0-9](?:0[1-9]|1[0-2])|00[0-9]|v[0-9](?::[0-9])?"
    r"|latest|preview|exp|experimental)|:[0-9])*"
)
"""What may follow the part of a name that a rule knows."""


def spellings(model: str) -> Iterator[tuple[str, str]]:
    """(rule, name) from the name itself to what is left without case, vendors and date; each step on top of those
    before it."""
    yield "exact", model
    name = model.lower()
    if name != model:
        yield "lower", name
    while (found := _VENDORS.match(name)) is not None and found.end() < len(name):
        name = name[found.end() :]
        yield "vendor", name
    tuned = _TUNED.sub(r"\1\2", name)
    for stripped in (tuned, _DATE.sub("", _REVISION.sub("", tuned))):
        if stripped != name:
            name = stripped
            yield "date", name


def aliases(rule: Any) -> Iterator[str]:
    """Whole names that a rule lists, in lower case."""
    kind, what = rule
    if kind == "=":
        yield what.lower()
    elif kind == "|":
        for part in what:
            yield from aliases(part)


def fits(rule: Any, name: str) -> bool:
    """Whether a catalogue's rule names `name`: `["=", text]`, `["^", start]`, `["$", end]`, `["*", part]`,
    `["~", pattern]`, `["|", rules]` or `["&", rules]`. Of a pattern that matches nothing, as a condition does, it is
    enough that it matches."""
    kind, what = rule
    match kind:
        case "=":
            return bool(name == what)
        case "^":
            return name.startswith(what) and _is_the_same(name, 0, len(what))
        case "$":
            return name.endswith(what) and _is_the_same(name, len(name) - len(what), len(name))
        case "*":
            return what in name and _is_the_same(name, name.index(what), name.index(what) + len(what))
        case "~":
            found = re.search(what, name)
            return found is not None and (not found.group() or _is_the_same(name, *found.span()))
        case "|":
            return any(fits(part, name) for part in what)
        case "&":
            return all(fits(part, name) for part in what)
    raise ValueError(f"a price table has a rule of an unknown kind: {kind!r}")


def _is_the_same(name: str, start: int, end: int) -> bool:
    """Whether a model is told from others by `name[start:end]`, and not by what is before or after it."""
    if end < len(name) and name[end - 1 : end + 1].isalnum():
        while end > start and name[end - 1].isalnum():  # a rule that ends within a word: all of the word counts
            end -= 1
    at = 0
    while at < start and (found := _VENDORS.match(name, at)) is not None:
        at = found.end()
    return at == start and _NO_OTHER_MODEL.fullmatch(name[end:]) is not None
