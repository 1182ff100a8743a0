"""Gemini and Gemma, by Google. Source of each row: the page named in it and the types of `google-genai` 3.6."""

from __future__ import annotations

import re
from dataclasses import replace

from oneapi_mw.models.family import Family, Row
from oneapi_mw.models.rules import ModelRules

_MODELS = "https://ai.google.dev/gemini-api/docs/models"
_THINKING = "https://ai.google.dev/gemini-api/docs/thinking"
_IMAGES = "https://ai.google.dev/gemini-api/docs/image-generation"
_SPEECH = "https://ai.google.dev/gemini-api/docs/speech-generation"
_GEMMA = "https://ai.google.dev/gemma/docs/core/gemma_on_gemini_api"
_LOW_TO_HIGH = ("low", "medium", "high")
_MINIMAL_TO_HIGH = ("minimal", *_LOW_TO_HIGH)
_PENALTIES = frozenset({"frequency_penalty", "presence_penalty"})

_1 = ModelRules(
    family="gemini",
    thinking="none",
    shows_thinking=False,
    signatures="none",
    max_output=8192,
    structured_with_tools=False,
    schema="openapi",
    output_schema="openapi",
    strict_tools=False,
    hosted_with_functions=False,
    call_ids=False,
    media_in_results=False,
    source=_MODELS,
    as_of="2026-11",
)
_2_0 = replace(_1, output_schema="json")
_2_5 = replace(
    _2_0,
    thinking="budget",
    thinks_unasked=True,
    thinking_off="zero",
    min_budget=1,
    max_budget=24_576,
    signatures="optional",
    max_output=65_536,
    refuses=_PENALTIES,
    schema="json",
    url_media=True,
    source=_THINKING,
)
_3 = replace(
    _2_5,
    thinking="level",
    thinking_off="lowest",
    efforts=_LOW_TO_HIGH,
    default_effort="high",
    min_budget=0,
    max_budget=0,
    signatures="required",
    structured_with_tools=True,
    hosted_with_functions=True,
    call_ids=True,
    media_in_results=True,
    part_resolution=True,
)
_3_FLASH = replace(_3, thinking_off="minimal", efforts=_MINIMAL_TO_HIGH)
_3_7 = replace(_3, default_effort="medium", prefill="no")
_IMAGE = replace(
    _2_0,
    max_output=32_768,
    refuses=_PENALTIES | {"tools", "temperature", "top_p", "output_format"},
    structured="none",
    signatures="optional",
    url_media=True,
    modalities=("text", "image"),
    source=_IMAGES,
)
_IMAGE_3 = replace(_IMAGE, call_ids=True, media_in_results=True, part_resolution=True)
_TTS = replace(
    _2_0,
    max_output=16_384,
    refuses=_PENALTIES | {"tools", "system", "output_format"},
    structured="none",
    modalities=("audio",),
    source=_SPEECH,
)

_GEMINI = (
    Row(("gemini-1.0-pro", "gemini-1.5-pro", "gemini-1.5-flash", "gemini-1.5-flash-8b"), _1),
    Row(("gemini-2.0-flash", "gemini-2.0-flash-lite", "gemini-2.0-pro"), _2_0),
    Row(("gemini-2.5-pro",), replace(_2_5, thinking_off="lowest", min_budget=128, max_budget=32_768)),
    Row(("gemini-2.5-flash",), _2_5),
    Row(("gemini-2.5-flash-lite",), replace(_2_5, thinks_unasked=False, min_budget=512)),
    Row(("gemini-3-pro",), replace(_3, efforts=("low", "high"))),
    Row(("gemini-3.1-pro",), _3),
    Row(("gemini-3-flash",), _3_FLASH),
    Row(("gemini-3.1-flash-lite",), replace(_3_FLASH, default_effort="minimal")),
    # Temperature, top_p and top_k are ignored by this one and from 3.7 on, which is no reason to remove them.
    Row(("gemini-3.5-flash-lite",), replace(_3_FLASH, default_effort="minimal", prefill="no")),
    Row(("gemini-3.5-flash",), replace(_3_FLASH, default_effort="medium")),
    Row(("gemini-3.6-flash",), replace(_3_FLASH, default_effort="medium")),
    Row(("gemini-3.7-flash",), _3_7),
    Row(("gemini-3.8-flash",), _3_7),
    Row(("gemini-4-argon",), replace(_3_7, default_effort=None)),
    Row(("gemini-robotics-er-1.6",), _2_5),
    Row(("gemini-*-image*", "nano-banana*", "gemini-nano-banana*"), replace(_IMAGE, version=(2, 5))),
    Row(("gemini-3-*image*", "gemini-3.1-*image*", "nano-banana-pro*"), replace(_IMAGE_3, version=(3,))),
    Row(("gemini-*-tts*",), _TTS),
)
_GEMMA_3 = replace(
    _2_0,
    family="gemma",
    refuses=frozenset({"system", "tools", "tool_choice"}),
    structured="none",
    source=_GEMMA,
)
_GEMMA_ROWS = (
    Row(("gemma-3*", "gemma-3n*"), _GEMMA_3),
    Row(("gemma-4*",), replace(_GEMMA_3, refuses=frozenset(), structured="native", max_output=None)),
)

FAMILIES = (
    Family(
        _GEMINI,
        re.compile(r"gemini-(?:[a-z]+-)*?(?:(?P<major>\d{1,2})(?:\.(?P<minor>\d+))?(?=$|-)|pro|flash)"),
        lines=("image", "tts", "live", "audio", "robotics", "omni", "embedding", "transcribe", "lite", "pro", "flash"),
        apart=frozenset({"image", "tts", "live", "audio", "robotics", "omni", "embedding", "transcribe"}),
    ),
    Family(_GEMMA_ROWS, re.compile(r"gemma-?(?P<major>\d)")),
)
