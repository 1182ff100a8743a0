"""Sampling settings: what each family refuses is removed and named, and everything else stays."""

from __future__ import annotations

from dataclasses import fields, replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from oneapi_mw.canonical.request import Sampling
from oneapi_mw.models.catalogue import families, rules_of
from oneapi_mw.models.rules import UNKNOWN, ModelRules
from oneapi_mw.models.sampling import AllowedSampling, allowed_sampling, effective_effort

RULES = [UNKNOWN, *(entry.rules for family in families() for entry in family.entries)]
FULL = Sampling(
    temperature=0.5,
    top_p=0.9,
    top_k=40,
    min_p=0.1,
    frequency_penalty=0.2,
    presence_penalty=0.3,
    repetition_penalty=1.1,
    seed=7,
    logit_bias={"50256": -100},
)
OPENAI_FIXED = (
    *("temperature", "top_p", "top_k", "min_p", "frequency_penalty", "presence_penalty", "repetition_penalty"),
    *("logit_bias", "logprobs"),
)


def allowed(
    model: str,
    sampling: Sampling = FULL,
    stop: tuple[str, ...] = (),
    *,
    effort: str | None = None,
    thinking: bool = False,
    logprobs: int | None = None,
) -> AllowedSampling:
    return allowed_sampling(sampling, stop, rules_of(model), effort=effort, thinking=thinking, logprobs=logprobs)


def names(sampling: Sampling) -> set[str]:
    return {member.name for member in fields(sampling) if getattr(sampling, member.name) is not None}


@pytest.mark.parametrize(
    "model", ["gpt-4o", "gpt-5-chat-latest", "gemini-2.0-flash", "unheard-of", "gpt-oss-20b", "grok-3"]
)
def test_free_models_keep_everything(model: str) -> None:
    assert allowed(model, stop=("END",), logprobs=3) == AllowedSampling(FULL, ("END",), 3)


@pytest.mark.parametrize("model", ["o1", "o3-mini", "gpt-5", "gpt-5-codex", "gpt-5.1-chat-latest", "gpt-6-astra"])
def test_cv_05_openai_reasoning_models_take_no_sampling(model: str) -> None:
    found = allowed(model, logprobs=0)
    assert names(found.sampling) == {"seed"}
    assert (found.logprobs, found.dropped) == (None, OPENAI_FIXED)


@pytest.mark.parametrize("model", ["o1", "gpt-5", "gpt-5.2", "gpt-5.5"])
def test_cv_05_temperature_of_one_stays(model: str) -> None:
    found = allowed(model, Sampling(temperature=1.0, top_p=1.0, frequency_penalty=0), effort="high")
    assert found == AllowedSampling(Sampling(temperature=1.0)), "defaults go without a word"


@pytest.mark.parametrize("model", ["gpt-5.1", "gpt-5.2", "gpt-5.4", "gpt-5.5", "gpt-5.6", "gpt-6-sol", "gpt-5.3-codex"])
def test_cv_05_effort_none_makes_sampling_legal(model: str) -> None:
    assert allowed(model, effort="none").sampling == FULL
    assert allowed(model, effort="low").dropped == OPENAI_FIXED[:-1]


def test_cv_06_supporting_none_is_not_defaulting_to_none() -> None:
    assert "none" in rules_of("gpt-5.5").efforts
    assert "temperature" in allowed("gpt-5.5").dropped, "its default is medium"
    assert allowed("gpt-5.2").dropped == (), "its default is none"
    assert effective_effort(None, rules_of("gpt-5.5")) == "medium"
    assert effective_effort("low", rules_of("gpt-5.2")) == "low"
    assert effective_effort(None, UNKNOWN) is None


@pytest.mark.parametrize(
    "model",
    ["claude-2.1", "claude-3-5-haiku", "claude-sonnet-4", "claude-opus-4-1", "claude-haiku-4-5", "claude-opus-4-6"],
)
def test_cv_07_claude_never_gets_temperature_and_top_p(model: str) -> None:
    both = Sampling(temperature=0.5, top_p=0.9, top_k=40)
    assert allowed(model, both) == AllowedSampling(replace(both, top_p=None), dropped=("top_p",))
    for alone in (Sampling(temperature=0.5), Sampling(top_p=0.9, top_k=3)):
        assert allowed(model, alone) == AllowedSampling(alone)


@pytest.mark.parametrize(
    "model", ["claude-opus-4-7", "claude-opus-4-8", "claude-sonnet-5", "claude-opus-5-5", "claude-opus-4-9"]
)
def test_cv_07_claude_from_4_7_on_gets_neither(model: str) -> None:
    found = allowed(model, Sampling(temperature=0.5, top_p=0.9, top_k=40))
    assert found == AllowedSampling(Sampling(), dropped=("temperature", "top_p", "top_k"))
    assert allowed(model, Sampling(temperature=1)).dropped == ()


@pytest.mark.parametrize("model", ["claude-3-7-sonnet", "claude-sonnet-4-5", "claude-opus-4-6"])
@pytest.mark.parametrize(
    ("given", "kept", "dropped"),
    [
        (Sampling(temperature=0.5), Sampling(), ("temperature",)),
        (Sampling(temperature=1), Sampling(), ()),
        (Sampling(top_p=0.94), Sampling(), ("top_p",)),
        (Sampling(top_p=0.95), Sampling(top_p=0.95), ()),
        (Sampling(top_p=1), Sampling(top_p=1), ()),
        (Sampling(top_k=5), Sampling(), ("top_k",)),
        (Sampling(temperature=0.5, top_p=0.97), Sampling(top_p=0.97), ("temperature",)),
    ],
)
def test_claude_while_thinking(model: str, given: Sampling, kept: Sampling, dropped: tuple[str, ...]) -> None:
    assert allowed(model, given, thinking=True) == AllowedSampling(kept, dropped=dropped)


@pytest.mark.parametrize(
    "model", ["o3", "o4-mini", "gpt-5", "gpt-5.2", "gpt-6-sol", "grok-4", "grok-code-fast-1", "sonar"]
)
def test_stop_is_removed_where_it_is_refused(model: str) -> None:
    found = allowed(model, Sampling(), ("END",), effort="none")
    assert (found.stop, found.dropped) == ((), ("stop",))
    assert allowed(model, Sampling(), ()).dropped == ()


@pytest.mark.parametrize("model", ["claude-3-haiku", "claude-opus-5-5"])
def test_cv_13_white_space_stops_are_removed_for_claude(model: str) -> None:
    found = allowed(model, Sampling(), ("\n\n", "END", " ", "END", ""))
    assert (found.stop, found.dropped) == (("END",), ("stop",))
    assert allowed(model, Sampling(), ("END", "END", "")).dropped == ()


def test_cv_13_white_space_stops_depend_on_the_format_elsewhere() -> None:
    assert allowed("gpt-4o", Sampling(), ("\n", "END")).stop == ("\n", "END")
    found = allowed_sampling(Sampling(), ("\n", "END"), UNKNOWN, effort=None, thinking=False, blank_stops=False)
    assert (found.stop, found.dropped) == (("END",), ("stop",))


@pytest.mark.parametrize(
    "model", ["gemini-2.5-pro", "gemini-3-pro-preview", "gemini-3.8-flash", "grok-4", "grok-3-mini"]
)
def test_penalties_are_removed_where_they_are_refused(model: str) -> None:
    found = allowed(model)
    assert found.dropped == ("frequency_penalty", "presence_penalty")
    assert found.sampling.temperature == 0.5, "what the client chose stays"


def test_image_models_and_search_models() -> None:
    assert {"temperature", "top_p"} <= set(allowed("gemini-2.5-flash-image").dropped)
    assert {"temperature", "top_p", "seed", "stop"} <= set(allowed("gpt-4o-search-preview", stop=("END",)).dropped)


def test_deepseek_and_kimi() -> None:
    assert "temperature" in allowed("deepseek-reasoner").dropped
    assert "temperature" in allowed("deepseek-v4-pro").dropped, "it thinks unasked"
    assert allowed("deepseek-v4-pro", effort="none").dropped == ()
    assert allowed("deepseek-chat").dropped == ()
    assert "temperature" in allowed("deepseek-chat", thinking=True).dropped
    assert {"temperature", "top_p", "presence_penalty"} <= set(allowed("kimi-k3").dropped)


number = st.none() | st.sampled_from([0.0, 0.5, 0.95, 1.0, 2.0])
samplings = st.builds(
    Sampling,
    temperature=number,
    top_p=number,
    top_k=st.none() | st.integers(0, 9),
    min_p=number,
    frequency_penalty=number,
    presence_penalty=number,
    repetition_penalty=number,
    seed=st.none() | st.integers(0, 9),
    logit_bias=st.none() | st.just({}) | st.just({"1": 5.0}),
)


@given(
    samplings,
    st.lists(st.sampled_from(["", " ", "\n", "a", "b"])).map(tuple),
    st.sampled_from(RULES),
    st.sampled_from([None, "none", "low", "max"]),
    st.booleans(),
    st.none() | st.integers(0, 5),
)
def test_nothing_is_invented_and_nothing_lost_in_silence(
    sampling: Sampling,
    stop: tuple[str, ...],
    rules: ModelRules,
    effort: str | None,
    thinking: bool,
    logprobs: int | None,
) -> None:
    context: dict[str, Any] = {"effort": effort, "thinking": thinking}
    found = allowed_sampling(sampling, stop, rules, logprobs=logprobs, **context)
    defaults: dict[str, Any] = {
        **dict.fromkeys(("temperature", "top_p", "repetition_penalty"), 1.0),
        **dict.fromkeys(("frequency_penalty", "presence_penalty", "min_p"), 0.0),
        "logit_bias": {},
    }
    for member in fields(sampling):
        before, after = getattr(sampling, member.name), getattr(found.sampling, member.name)
        assert after in (before, None)
        means_something = before is not None and before != defaults.get(member.name)
        assert (member.name in found.dropped) == (after is None and means_something)
        if member.name in rules.refuses:
            assert after is None
    assert set(found.stop) <= set(stop) - {""}
    assert found.logprobs in (logprobs, None)
    assert ("logprobs" in found.dropped) == (logprobs is not None and found.logprobs is None)
    again = allowed_sampling(found.sampling, found.stop, rules, logprobs=found.logprobs, **context)
    assert again == replace(found, dropped=()), "what is left is legal"
