"""What OpenAI's models take and refuse, for both of its wires.

Source: https://developers.openai.com/api/docs/models, https://developers.openai.com/api/docs/guides/reasoning
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from typing import Literal

_ALL = ("none", "low", "medium", "high", "xhigh")


@dataclass(frozen=True, slots=True)
class Model:
    """One family."""

    efforts: tuple[str, ...] = ()
    """Empty: it does not reason."""
    default: str = ""
    sampling: Literal["free", "fixed", "at_none"] = "free"
    """`at_none`: free when the effort is none, else only the defaults."""
    stop: bool = True
    tools: Literal["yes", "at_none", "responses"] = "yes"
    """Where function tools are taken: everywhere, on chat only at effort none, on Responses only."""
    chat: bool = True
    verbosity: bool = False
    marks: bool = False
    """Takes cache breakpoints."""
    audio: bool = False

    @property
    def reasons(self) -> bool:
        return bool(self.efforts)

    def frozen_at(self, effort: str) -> bool:
        """Whether sampling parameters are refused at that effort."""
        return self.sampling == "fixed" or (self.sampling == "at_none" and effort != "none")


_O = Model(("low", "medium", "high"), "medium", "fixed")
_5 = Model(("minimal", "low", "medium", "high"), "medium", "fixed", stop=False, verbosity=True)
_CODEX = replace(_5, efforts=("low", "medium", "high"), chat=False)
_5_1 = replace(_5, efforts=("none", "low", "medium", "high"), default="none", sampling="at_none")
_5_2 = replace(_5_1, efforts=_ALL)
_5_5 = replace(_5_2, default="medium")
_5_6 = replace(_5_5, tools="at_none", marks=True)
_ASTRA = replace(_5_6, efforts=(*_ALL[1:], "max"), sampling="fixed", tools="responses")

_ROWS: tuple[tuple[str, Model], ...] = (
    (r"gpt-4o.*-audio.*|gpt-audio.*", Model(audio=True)),
    (r"gpt-3\.5.*|gpt-4.*|chatgpt-4o.*", Model()),
    (r"o1-pro.*", replace(_O, chat=False)),
    (r"o3-pro.*", replace(_O, stop=False, chat=False)),
    (r"o1(-\d.*)?|o3-mini.*", _O),
    (r"o3(-\d.*)?|o4-mini.*", replace(_O, stop=False)),
    (r"gpt-5(-mini|-nano)?(-\d.*)?", _5),
    (r"gpt-5(\.1)?-codex.*", _CODEX),
    (r"gpt-5-pro.*", replace(_CODEX, efforts=("high",), default="high")),
    (r"gpt-5\.1(-\d.*)?", _5_1),
    (r"gpt-5\.[24](-\d.*)?", _5_2),
    (r"gpt-5\.5(-\d.*)?", _5_5),
    (r"gpt-5\.6(-terra|-luna)?(-\d.*)?", _5_6),
    (r"gpt-6(-sol|-luna)(-\d.*)?", replace(_5_6, efforts=(*_ALL, "max"))),
    (r"gpt-6-astra.*|gpt-6\.1.*", _ASTRA),
)


def model_named(name: str) -> Model | None:
    return next((model for pattern, model in _ROWS if re.fullmatch(pattern, name)), None)
