"""How one model is called in many places: vendor paths, regions, dates and variants around the same name."""

from __future__ import annotations

import re

_VENDORS = (
    "ai21|amazon|anthropic|cohere|google|meta|minimax|mistral|moonshot|moonshotai|nvidia|openai|qwen|writer|xai|zai"
)
_BEDROCK = re.compile(rf"(?:[a-z]{{2,6}}(?:-[a-z]+)?\.)?(?:(?:{_VENDORS})\.(?=[a-z])|(deepseek)\.(?=[a-z]))")
_TAG = re.compile(r":(?:\d+|batch|beta|cloud|exacto|extended|floor|free|latest|nitro|online|thinking)$")
_FIREWORKS_DOT = re.compile(r"(?<=\d)p(?=\d)")
"""Fireworks writes `deepseek-v3p1`."""
_TAIL = re.compile(
    r"-(?:latest|preview|exp|experimental|stable|maas|it|customtools"
    r"|\d{4}-\d{2}-\d{2}|\d{2}-\d{2}(?:-\d{4})?|\d{2}-\d{4}|\d{8}|\d{6}|\d{4}|00\d)$"
)


def forms_of(model: str) -> tuple[str, ...]:
    """Names under which `model` may be listed, the longest first: without vendor, then without dates and variants."""
    name = _without_vendor(model.strip().lower())
    forms = [name]
    while (shorter := _TAIL.sub("", name)) != name and shorter:
        name = shorter
        forms.append(name)
    return tuple(forms)


def _without_vendor(name: str) -> str:
    name = name.partition("[")[0]  # Claude Code asks for `claude-sonnet-4-5[1m]`
    if name.startswith("ft:"):
        name = name.split(":")[1]  # ft:<model>:<organisation>:<name>:<id>
    name = name.rpartition("/")[2]
    name = name.partition("@")[0] or name  # Vertex versions
    found = _BEDROCK.match(name)
    if found:
        name = ("deepseek-" if found[1] else "") + name[found.end() :]
    name = _TAG.sub("", name.removeprefix("databricks-")).replace(":", "-")
    return _FIREWORKS_DOT.sub(".", name)
