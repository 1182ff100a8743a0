"""Usage as servers report it, in the one inclusive form."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from openai.types import CompletionUsage

from oneapi_mw.usage import Usage
from oneapi_mw.wire.openai_chat import FORMAT
from oneapi_mw.wire.openai_chat.usage import decode_usage, encode_usage, find_usage, unmapped_usage


def report(prompt: int, completion: int, total: int | None = None, **more: Any) -> dict[str, Any]:
    return {
        "prompt_tokens": prompt,
        "completion_tokens": completion,
        "total_tokens": prompt + completion if total is None else total,
        **more,
    }


@pytest.mark.parametrize(
    ("usage", "expected"),
    [
        (report(9, 12), Usage(9, 12)),
        (report(2006, 300, prompt_tokens_details={"cached_tokens": 1920}), Usage(2006, 300, cache_read=1920)),
        (
            report(100, 5, prompt_tokens_details={"cached_tokens": 10, "cache_write_tokens": 50}),
            Usage(100, 5, cache_read=10, cache_write_5m=50),
        ),
        (  # DeepSeek
            report(1000, 50, prompt_cache_hit_tokens=896, prompt_cache_miss_tokens=104),
            Usage(1000, 50, cache_read=896),
        ),
        (report(10, 5, cached_tokens=3), Usage(10, 5, cache_read=3)),  # Moonshot
        (  # xAI: reasoning beside the completion
            report(32, 9, 332, completion_tokens_details={"reasoning_tokens": 291}),
            Usage(32, 300, reasoning=291),
        ),
        (report(31, 22, 93), Usage(31, 62, reasoning=40)),  # Gemini: reasoning only in the total
        (report(10, 20, 35, completion_tokens_details={"reasoning_tokens": 3}), Usage(10, 20, reasoning=3)),
        (  # in front of Claude: cached tokens beside the prompt
            report(20, 5, 1525, cache_read_input_tokens=1000, cache_creation_input_tokens=500),
            Usage(1520, 5, cache_read=1000, cache_write_5m=500),
        ),
        (  # ... and inside of it
            report(1520, 5, cache_read_input_tokens=1000, cache_creation_input_tokens=500),
            Usage(1520, 5, cache_read=1000, cache_write_5m=500),
        ),
        (
            report(
                150,
                80,
                prompt_tokens_details={"audio_tokens": 100, "image_tokens": 7},
                completion_tokens_details={"audio_tokens": 50, "image_tokens": 3, "reasoning_tokens": 0},
            ),
            Usage(150, 80, input_audio=100, input_image=7, output_audio=50, output_image=3, reasoning=0),
        ),
        ({"prompt_tokens": 5}, Usage(5, 0)),
        ({"completion_tokens": 5}, Usage(0, 5)),
        # lies
        (report(9, 5, prompt_tokens_details={"cached_tokens": 99, "cache_write_tokens": 9}), Usage(9, 5, cache_read=9)),
        (report(10, 5, completion_tokens_details={"reasoning_tokens": 99}), Usage(10, 5, reasoning=5)),
        (report(10, -5, 10), Usage(10, 0)),
        (report(10, 5, prompt_tokens_details=[], completion_tokens_details="x"), Usage(10, 5)),
        (report(10, 5, prompt_tokens_details={"cached_tokens": "9"}, cached_tokens=2), Usage(10, 5, cache_read=2)),
    ],
)  # fmt: skip
def test_cv_43_decoded(usage: dict[str, Any], expected: Usage) -> None:
    assert decode_usage(usage) == expected


@pytest.mark.parametrize(
    "usage",
    [
        {},
        report(0, 0),
        {"prompt_tokens": None, "completion_tokens": "5"},
        {"prompt_tokens": True, "completion_tokens": 1.5},
        {"prompt_tokens": 10**12},
    ],
)
def test_what_says_nothing(usage: dict[str, Any]) -> None:
    assert decode_usage(usage) is None


COUNTS = st.none() | st.integers(-5, 200) | st.sampled_from([10**30, 1.5, "7", True, []])
DETAILS = st.none() | st.dictionaries(
    st.sampled_from(["cached_tokens", "cache_write_tokens", "audio_tokens", "image_tokens", "reasoning_tokens"]), COUNTS
)
TOP = ["prompt_tokens", "completion_tokens", "total_tokens", "cached_tokens", "cache_read_input_tokens"]


@given(
    st.dictionaries(st.sampled_from([*TOP, "cache_creation_input_tokens", "prompt_cache_hit_tokens"]), COUNTS),
    DETAILS,
    DETAILS,
)
def test_no_part_is_larger_than_its_whole(top: dict[str, Any], prompt: Any, completion: Any) -> None:
    usage = decode_usage({**top, "prompt_tokens_details": prompt, "completion_tokens_details": completion})
    if usage is None:
        return
    assert usage.cache_read + usage.cache_write_5m + usage.cache_write_1h <= usage.input_tokens
    assert max(usage.input_audio, usage.input_image) <= usage.input_tokens
    assert max(usage.reasoning or 0, usage.output_audio, usage.output_image) <= usage.output_tokens
    assert min(usage.input_tokens, usage.output_tokens, usage.cache_read, usage.cache_write_5m) >= 0
    encoded = encode_usage(usage)
    CompletionUsage.model_validate(encoded)
    assert decode_usage(encoded) == usage


def test_what_has_no_place_is_kept_where_it_was() -> None:
    usage = report(
        9,
        12,
        prompt_tokens_details={"cached_tokens": 4, "text_tokens": 5},
        completion_tokens_details={"accepted_prediction_tokens": 2},
        cost=0.1,
    )
    decoded = decode_usage(usage)
    assert decoded is not None
    assert encode_usage(decoded, unmapped_usage(usage)) == usage


def test_writes_of_every_term_are_one_count_here() -> None:
    encoded = encode_usage(Usage(1520, 5, 1000, 300, 200))
    assert encoded["prompt_tokens_details"] == {"cached_tokens": 1000, "cache_write_tokens": 500}


@pytest.mark.parametrize(
    "document",
    [
        {"usage": report(1, 2)},
        {"usage": None, "x_groq": {"usage": report(1, 2)}},
        {"choices": [{"usage": report(1, 2)}]},
    ],
)
def test_found_wherever_it_is(document: dict[str, Any]) -> None:
    assert find_usage(document) == report(1, 2)
    assert FORMAT.read_usage(document) == Usage(1, 2)


@pytest.mark.parametrize("document", [{}, {"usage": 5}, {"x_groq": 5}, {"choices": [5]}, {"choices": 5}])
def test_not_found(document: dict[str, Any]) -> None:
    assert find_usage(document) is None
    assert FORMAT.read_usage(document) is None
