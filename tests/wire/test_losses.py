"""What a request loses on its way into another format."""

from __future__ import annotations

from typing import Any

import pytest

from oneapi_mw.wire.losses import Losses, is_blocking, unsupported


def test_each_path_is_named_once_in_the_order_it_was_found() -> None:
    losses = Losses()
    losses.drop("seed", "min_p")
    losses.emulate("prefill")
    losses.drop("min_p", "prefill", "stop")
    losses.emulate("prefill")
    assert losses.found() == ("seed", "min_p", "prefill=emulated", "prefill", "stop")


def test_nothing_lost() -> None:
    assert Losses().found() == ()


def test_a_refusal_names_what_and_where_and_what_to_do() -> None:
    error = unsupported("A video", "a Gemini model", "messages")
    assert (error.status, error.code, error.param) == (400, "unsupported_parameter", "messages")
    assert error.message == "A video cannot be sent to a Gemini model: leave it out, or ask another model"


@pytest.mark.parametrize(
    ("moderation", "blocks"),
    [
        (None, False),
        ({}, False),
        ({"mode": "block"}, True),
        ({"mode": "score"}, False),
        ({"input": {"mode": "score"}, "output": {"mode": "block"}}, True),
        ({"policy": {"deep": {"mode": "block"}}}, True),
        ("block", False),
        (["block"], False),
    ],
)
def test_moderation_that_blocks(moderation: Any, blocks: bool) -> None:
    assert is_blocking(moderation) is blocks
