"""The example of the reasoning stage in front of a chat-only app does what it says."""

from __future__ import annotations

from pathlib import Path

import pytest

from examples import reasoning_for_vllm
from tests.support import harness

PATH = "/v1/chat/completions"
BODY = {"model": "qwen3-8b", "messages": [{"role": "user", "content": "1 + 1?"}]}


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        (b"", {"content": "<think>\nAdd the units.</think>\n\n2."}),
        (b"thinking=1", {"content": "2.", "reasoning_content": "Add the units."}),
        (b"reasoning_format=reasoning", {"content": "2.", "reasoning": "Add the units."}),
        (b"reasoning_format=hidden", {"content": "2."}),
    ],
)
async def test_reasoning_for_vllm(query: bytes, expected: dict[str, str]) -> None:
    answer = await harness.call(reasoning_for_vllm.app, "POST", PATH, json=BODY, query=query)
    assert answer.json()["choices"][0]["message"] == {"role": "assistant", **expected}


async def test_a_wish_that_is_none_is_refused_in_words() -> None:
    answer = await harness.call(reasoning_for_vllm.app, "POST", PATH, json=BODY, query=b"thinking=maybe")
    error = answer.json()["error"]
    assert (answer.status, error["code"], error["param"]) == (400, "invalid_value", "thinking")


def test_it_is_as_short_as_it_is_easy() -> None:
    lines = Path(reasoning_for_vllm.__file__).read_text().splitlines()
    code = [line for line in lines if line.strip() and not line.startswith(("import ", "from ", '"""'))]
    assert len(code) < 20
