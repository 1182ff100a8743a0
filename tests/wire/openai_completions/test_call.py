"""What of a client's request is read, refused and sent on."""

from __future__ import annotations

from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from oneapi_mw.canonical.blocks import Text
from oneapi_mw.canonical.call import Call
from oneapi_mw.canonical.request import Sampling, Turn
from oneapi_mw.errors import InvalidRequest
from oneapi_mw.wire.openai_chat.call import MAX_CANDIDATES
from oneapi_mw.wire.openai_completions import FORMAT
from oneapi_mw.wire.target import Target


def decoded(**fields: Any) -> Call:
    raw = orjson.dumps({"model": "m", "prompt": "Once", **fields})
    return FORMAT.decode_call(raw, operation="chat")


@pytest.mark.parametrize(
    ("fields", "max_output", "candidates", "inputs"),
    [
        ({}, 16, 1, 1),
        ({"max_tokens": None}, 16, 1, 1),
        ({"max_tokens": 5, "n": 3}, 15, 3, 1),
        ({"max_tokens": 5, "n": 2, "best_of": 4}, 20, 2, 1),
        ({"max_tokens": 0, "n": 2}, None, 2, 1),
        ({"prompt": ["a"]}, 16, 1, 1),
        ({"prompt": ["a", "b"], "n": 2, "max_tokens": 5}, 20, 4, 2),
        ({"prompt": [1, 2, 3]}, 16, 1, 1),
        ({"prompt": [[1, 2], [3]]}, 32, 2, 2),
        ({"prompt": ""}, 16, 1, 1),
    ],
    ids=str,
)
def test_what_is_read(fields: dict[str, Any], max_output: int | None, candidates: int, inputs: int) -> None:
    call = decoded(**fields)
    assert (call.max_output, call.candidates, call.inputs) == (max_output, candidates, inputs)
    assert call.format == "openai_completions"


def test_the_estimate_counts_every_prompt() -> None:
    one = decoded(prompt="Once upon a time").input_estimate
    assert decoded(prompt=["Once upon a time"] * 3).input_estimate == 3 * one
    assert decoded(prompt=list(range(1000))).input_estimate > 1000
    assert decoded(prompt="Once upon a time", suffix="x" * 300).input_estimate == one + 100


@pytest.mark.parametrize(
    ("fields", "param", "word"),
    [
        ({"prompt": None}, "prompt", "required"),
        ({"prompt": None, "messages": []}, "prompt", "/v1/chat/completions"),
        ({"prompt": []}, "prompt", "must be a string"),
        ({"prompt": {}}, "prompt", "must be a string"),
        ({"prompt": ["a", 1]}, "prompt", "alone"),
        ({"prompt": [[]]}, "prompt", "alone"),
        ({"prompt": [-1]}, "prompt", "alone"),
        ({"prompt": [True]}, "prompt", "alone"),
        ({"prompt": ["a"] * 65, "n": 2}, "prompt", "130 answers"),
        ({"model": ""}, "model", "required"),
        ({"stream": "yes"}, "stream", "true or false"),
        ({"n": 0}, "n", "from 1"),
        ({"best_of": 21}, "best_of", "to 20"),
        ({"max_tokens": -1}, "max_tokens", "from 0"),
        ({"logprobs": True}, "logprobs", "integer"),
        ({"suffix": 1}, "suffix", "string"),
        ({"echo": 1}, "echo", "true or false"),
        ({"temperature": 3}, "temperature", "from 0 to 2"),
        ({"stream": True, "stream_options": 1}, "stream_options", "object"),
    ],
    ids=str,
)
def test_what_is_refused(fields: dict[str, Any], param: str, word: str) -> None:
    with pytest.raises(InvalidRequest) as caught:
        decoded(**fields)
    assert caught.value.param == param
    assert word in caught.value.message
    assert caught.value.code == "invalid_text_request"


def test_a_prompt_on_the_path_of_chats_is_told_where_it_belongs() -> None:
    from oneapi_mw.wire.openai_chat import FORMAT as CHAT

    with pytest.raises(InvalidRequest, match="/v1/completions") as caught:
        CHAT.decode_call(b'{"model":"m","prompt":"hi"}', operation="chat")
    assert caught.value.param == "messages"


# To an upstream of another format.


def test_the_canonical_request() -> None:
    request = FORMAT.decode_request(
        decoded(
            prompt=["Once"],
            n=2,
            best_of=2,
            max_tokens=9,
            temperature=0.5,
            top_p=0.9,
            top_k=4,
            seed=1,
            logit_bias={"5": 1},
            frequency_penalty=0.1,
            presence_penalty=0.2,
            stop="END",
            logprobs=3,
            echo=True,
            user="ada",
            stream=True,
            stream_options={"include_usage": True},
            guided_regex="x",
        )
    )
    assert request.turns == (Turn("user", (Text("Once"),)),)
    assert (request.max_output, request.candidates, request.stop, request.logprobs) == (9, 2, ("END",), 3)
    assert request.sampling == Sampling(0.5, 0.9, 4, None, 0.1, 0.2, None, 1, {"5": 1})
    assert request.identity.end_user == "ada"
    assert (request.stream.on, request.stream.include_usage) == (True, True)
    assert request.extras == {"openai_completions": {"guided_regex": "x"}}


@pytest.mark.parametrize("fields", [{}, {"max_tokens": 0}, {"max_tokens": None}], ids=str)
def test_the_default_limit(fields: dict[str, Any]) -> None:
    assert FORMAT.decode_request(decoded(**fields)).max_output == 16


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"prompt": ["a", "b"]}, "prompt"),
        ({"prompt": [1, 2]}, "prompt"),
        ({"prompt": ""}, "prompt"),
        ({"suffix": "end"}, "suffix"),
        ({"best_of": 2}, "best_of"),
    ],
    ids=str,
)
def test_what_only_text_completion_models_can_be_asked(fields: dict[str, Any], param: str) -> None:
    with pytest.raises(InvalidRequest) as caught:
        FORMAT.decode_request(decoded(**fields))
    assert caught.value.param == param


def test_no_other_format_goes_to_such_a_model() -> None:
    request = FORMAT.decode_request(decoded())
    with pytest.raises(InvalidRequest, match="/v1/completions"):
        FORMAT.encode_request(request, Target("davinci-002"))


# To an upstream of this one.


def sent(call: Call, *, model: str = "m", include_usage: bool = True) -> bytes:
    return FORMAT.prepare_upstream(call, target=Target(model), include_usage=include_usage).body


def test_bytes_pass_untouched() -> None:
    raw = b'{ "model":"m", "prompt":[[1,2],[3]], "suffix":"x", "best_of":3, "n":1, "x_new":1.0 , "max_tokens":16}'
    assert sent(FORMAT.decode_call(raw, operation="chat")) == raw


def test_the_limit_keeps_its_name_and_the_model_gets_its_own() -> None:
    raw = b'{"model":"mine","prompt":"a","max_tokens":16,"temperature":1.0,"stream":true}'
    expected = (
        b'{"stream_options":{"include_usage":true},"model":"gpt-5","prompt":"a","max_tokens":16,'
        b'"temperature":1.0,"stream":true}'
    )
    assert sent(FORMAT.decode_call(raw, operation="chat"), model="gpt-5") == expected


def test_a_repeated_key_is_written_anew() -> None:
    raw = b'{"model":"m","prompt":"a","max_tokens":5,"max_tokens":500}'
    assert orjson.loads(sent(FORMAT.decode_call(raw, operation="chat"))) == {
        "model": "m",
        "prompt": "a",
        "max_tokens": 500,
    }
    assert sent(FORMAT.decode_call(raw, operation="chat")).count(b"max_tokens") == 1


# Taken apart.


def test_by_prompts() -> None:
    parts = FORMAT.split(decoded(prompt=["a", "bb"], n=2, max_tokens=5, best_of=3), candidates=False)
    assert [part.body["prompt"] for part in parts] == ["a", "bb"]
    assert [(part.candidates, part.inputs, part.max_output, part.raw) for part in parts] == [(2, 1, 15, None)] * 2


def test_by_answers() -> None:
    call = decoded(prompt=["a", "b"], n=2, best_of=2, max_tokens=5, seed=7, echo=True)
    parts = FORMAT.split(call, candidates=True)
    assert [(part.body["prompt"], part.body["seed"]) for part in parts] == [("a", 7), ("a", 8), ("b", 7), ("b", 8)]
    assert [(part.candidates, part.inputs, part.max_output) for part in parts] == [(1, 1, 5)] * 4
    assert all("n" not in part.body and "best_of" not in part.body for part in parts)
    assert call.body["n"] == 2


def test_drafts_cannot_be_taken_apart() -> None:
    with pytest.raises(InvalidRequest) as caught:
        FORMAT.split(decoded(n=2, best_of=3), candidates=True)
    assert caught.value.param == "best_of"


@given(
    prompts=st.lists(st.text(max_size=5), min_size=1, max_size=6),
    n=st.integers(1, 6),
    limit=st.none() | st.integers(0, 50),
    candidates=st.booleans(),
)
def test_the_parts_ask_for_what_the_whole_does(prompts: list[str], n: int, limit: int | None, candidates: bool) -> None:
    whole = decoded(prompt=prompts, n=n, max_tokens=limit)
    parts = FORMAT.split(whole, candidates=candidates)
    assert sum(part.candidates for part in parts) == whole.candidates <= MAX_CANDIDATES
    assert sum(part.max_output or 0 for part in parts) == (whole.max_output or 0)
    copies = n if candidates else 1
    assert sum(part.input_estimate for part in parts) == whole.input_estimate * copies
    for part in parts:
        again = FORMAT.decode_call(orjson.dumps(part.body), operation="chat")
        assert (again.candidates, again.max_output, again.input_estimate, again.inputs) == (
            part.candidates,
            part.max_output,
            part.input_estimate,
            1,
        )
