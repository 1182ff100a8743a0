"""Usage: the worked rows, both ways, and reports nobody should believe."""

from __future__ import annotations

from typing import Any

import pytest
from anthropic.types import Usage as Reported

from oneapi_mw.usage import Usage
from oneapi_mw.wire.anthropic_messages.usage import decode_usage, encode_usage, merge_reports, tier_of, unmapped_usage

ROWS: list[tuple[str, Usage, dict[str, Any]]] = [
    ("1 plain", Usage(9, 12), {"input_tokens": 9, "output_tokens": 12}),
    (
        "2 cache hit",
        Usage(2006, 300, cache_read=1920),
        {"input_tokens": 86, "cache_read_input_tokens": 1920, "output_tokens": 300},
    ),
    (
        "3 cache writes",
        Usage(1520, 5, cache_read=1000, cache_write_5m=300, cache_write_1h=200),
        {
            "input_tokens": 20,
            "cache_read_input_tokens": 1000,
            "cache_creation_input_tokens": 500,
            "cache_creation": {"ephemeral_5m_input_tokens": 300, "ephemeral_1h_input_tokens": 200},
            "output_tokens": 5,
        },
    ),
    (
        "4 thinking",
        Usage(31, 62, reasoning=40),
        {"input_tokens": 31, "output_tokens": 62, "output_tokens_details": {"thinking_tokens": 40}},
    ),
    (
        "8 cache and thinking",
        Usage(1000, 50, cache_read=896, reasoning=20),
        {
            "input_tokens": 104,
            "cache_read_input_tokens": 896,
            "output_tokens": 50,
            "output_tokens_details": {"thinking_tokens": 20},
        },
    ),
    (
        "10 web searches",
        Usage(90, 7, hosted=(("web_search", 2),)),
        {
            "input_tokens": 90,
            "output_tokens": 7,
            "server_tool_use": {"web_search_requests": 2, "web_fetch_requests": 0},
        },
    ),
]


@pytest.mark.parametrize(("usage", "report"), [row[1:] for row in ROWS], ids=[row[0] for row in ROWS])
def test_worked_rows(usage: Usage, report: dict[str, Any]) -> None:
    assert decode_usage(report) == usage
    written = encode_usage(usage, buffered=True)
    zeros = {"cache_creation_input_tokens": 0, "cache_read_input_tokens": 0}
    assert written == {**zeros, **report}
    Reported.model_validate(written)


@pytest.mark.parametrize(
    ("usage", "report"),
    [
        (Usage(120, 40, reasoning=10, tool_prompt=100), {"input_tokens": 120, "output_tokens": 40}),
        (Usage(150, 80, input_audio=100, output_audio=50), {"input_tokens": 150, "output_tokens": 80}),
    ],
)
def test_rows_with_parts_this_format_lacks(usage: Usage, report: dict[str, Any]) -> None:
    written = encode_usage(usage)
    assert {name: written[name] for name in report} == report


def test_writes_without_a_split_are_short() -> None:
    usage = decode_usage({"input_tokens": 1, "output_tokens": 1, "cache_creation_input_tokens": 7})
    assert usage == Usage(8, 1, cache_write_5m=7)


def test_what_the_split_leaves_out_is_short() -> None:
    report = {
        "input_tokens": 1,
        "output_tokens": 1,
        "cache_creation_input_tokens": 7,
        "cache_creation": {"ephemeral_1h_input_tokens": 5},
    }
    assert decode_usage(report) == Usage(8, 1, cache_write_5m=2, cache_write_1h=5)


def test_the_split_has_no_place_in_a_stream() -> None:
    assert "cache_creation" not in encode_usage(Usage(9, 1, cache_write_5m=3))


def test_compaction_is_billed() -> None:
    iterations = [
        {"type": "compaction", "input_tokens": 100, "cache_read_input_tokens": 5, "output_tokens": 10},
        {"type": "message", "input_tokens": 3, "output_tokens": 2},
    ]
    assert decode_usage({"input_tokens": 3, "output_tokens": 2, "iterations": iterations}) == Usage(108, 12)


@pytest.mark.parametrize(
    "report",
    [{}, {"input_tokens": 0, "output_tokens": 0}, {"input_tokens": "7"}, {"output_tokens": 10**12}],
)
def test_reports_that_say_nothing(report: dict[str, Any]) -> None:
    assert decode_usage(report) is None


def test_lies_are_clamped() -> None:
    report = {
        "input_tokens": -5,
        "output_tokens": 3,
        "output_tokens_details": {"thinking_tokens": 9},
        "cache_read_input_tokens": "x",
        "server_tool_use": 7,
        "cache_creation": [],
        "iterations": 7,
    }
    assert decode_usage(report) == Usage(0, 3, reasoning=3)


@pytest.mark.parametrize(
    ("first", "second", "expected"),
    [
        ({"input_tokens": 25, "output_tokens": 1}, {"output_tokens": 7}, Usage(25, 7)),
        ({"input_tokens": 25, "output_tokens": 1}, {"input_tokens": 0, "output_tokens": 7}, Usage(25, 7)),
        ({"input_tokens": 0, "output_tokens": 1}, {"input_tokens": 25, "output_tokens": 7}, Usage(25, 7)),
        (
            {"input_tokens": 118, "output_tokens": 1},
            {"input_tokens": 20, "cache_read_input_tokens": 100, "output_tokens": 3},
            Usage(120, 3, cache_read=100),
        ),
        (
            {"input_tokens": 5, "cache_read_input_tokens": 9, "output_tokens": 1},
            {"input_tokens": None, "cache_read_input_tokens": None, "output_tokens": 3},
            Usage(14, 3, cache_read=9),
        ),
    ],
)
def test_reports_of_a_stream_are_cumulative(first: dict[str, Any], second: dict[str, Any], expected: Usage) -> None:
    assert decode_usage(merge_reports(merge_reports({}, first), second)) == expected


def test_tiers_and_the_rest() -> None:
    report = {"input_tokens": 1, "service_tier": "standard", "speed": "fast", "inference_geo": "eu"}
    assert tier_of(report) == "default"
    assert tier_of({"service_tier": "priority"}) == "priority"
    assert tier_of({}) is None
    assert unmapped_usage(report) == {"speed": "fast", "inference_geo": "eu"}
    assert encode_usage(Usage(1, 1), {"speed": "fast"}, tier="default", buffered=True)["service_tier"] == "standard"
    assert "service_tier" not in encode_usage(Usage(1, 1), tier="flex", buffered=True)
