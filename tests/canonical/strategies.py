"""Canonical values of every kind, for properties that must hold for all of them."""

from __future__ import annotations

from dataclasses import replace

from hypothesis import strategies as st

from oneapi_mw.canonical.blocks import (
    Audio,
    Block,
    CacheMark,
    Citation,
    CloudUri,
    ContainerFile,
    Document,
    FileRef,
    HostedCall,
    HostedResult,
    Image,
    Inline,
    Nested,
    Opaque,
    PlainText,
    Reasoning,
    ReasoningOpaque,
    ReasoningText,
    Refusal,
    SearchResult,
    Text,
    ToolCall,
    ToolResult,
    Url,
    Video,
)
from oneapi_mw.canonical.response import Candidate, Response
from oneapi_mw.usage import Usage

words = st.text(max_size=6)
names = st.text("abcdef_", min_size=1, max_size=6)
maybe_words = st.none() | words
json_values = st.recursive(
    st.none() | st.booleans() | st.integers(-9, 9) | words,
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(names, inner, max_size=2),
    max_leaves=4,
)
objects = st.dictionaries(names, json_values, max_size=2)
extras = st.dictionaries(st.sampled_from(["openai_chat", "gemini"]), objects, max_size=1)
marks = st.none() | st.builds(CacheMark, st.sampled_from([None, "5m", "1h"]))
opaques = st.builds(
    ReasoningOpaque, names, st.sampled_from(["", "anthropic-claude-v1"]), st.sampled_from(["signature", "encrypted"])
)
sources = st.one_of(
    st.builds(Inline, st.just("image/png"), st.just("iVBORw0KGgo=")),
    st.builds(Url, st.just("https://a.example/x")),
    st.builds(FileRef, st.just("openai"), names),
    st.builds(CloudUri, st.just("gs://bucket/x")),
    st.builds(PlainText, words),
)
citations = st.builds(
    Citation,
    st.sampled_from(["url", "file", "document", "search_result"]),
    url=maybe_words,
    start=st.none() | st.integers(0, 9),
    locator=objects,
)
TOKEN = {"token": words, "logprob": st.just(-1.0), "bytes": st.none(), "top_logprobs": st.just([])}
logprobs = st.lists(st.fixed_dictionaries(TOKEN), max_size=2).map(tuple)
reasoning_texts = st.lists(st.builds(ReasoningText, words, st.booleans()), max_size=3).map(tuple)

texts = st.builds(
    Text,
    words,
    st.lists(citations, max_size=2).map(tuple),
    logprobs,
    opaque=st.none() | opaques,
    item_id=maybe_words,
    phase=maybe_words,
    cache=marks,
    extras=extras,
)


def blocks_of(inner: st.SearchStrategy[Block]) -> st.SearchStrategy[Block]:
    several = st.lists(inner, max_size=2).map(tuple)
    return st.one_of(
        texts,
        st.builds(Refusal, words, logprobs, maybe_words, marks, extras),
        st.builds(Image, sources, maybe_words, opaque=st.none() | opaques, cache=marks, extras=extras),
        st.builds(Audio, st.none() | sources, maybe_words, maybe_words, st.none() | st.integers(0, 9), marks, extras),
        st.builds(Video, sources, fps=st.none() | st.just(1.5)),
        st.builds(Document, sources | st.builds(Nested, several), maybe_words, context=maybe_words),
        st.builds(SearchResult, words, words, several, extras=extras),
        st.builds(ContainerFile, names),
        st.builds(Reasoning, reasoning_texts, st.none() | opaques, maybe_words, maybe_words, extras),
        st.builds(
            ToolCall,
            names,
            names,
            words,
            st.sampled_from(["function", "custom"]),
            item_id=maybe_words,
            opaque=st.none() | opaques,
            cache=marks,
            extras=extras,
        ),
        st.builds(ToolResult, names, several, is_error=st.none() | st.booleans(), structured=json_values),
        st.builds(HostedCall, names, names, names, json_values, opaque=st.none() | opaques),
        st.builds(HostedResult, names, names, st.booleans(), names, json_values, several),
        st.builds(Opaque, st.sampled_from(["foreign", "compaction"]), names, names, json_values, marks),
    )


blocks: st.SearchStrategy[Block] = blocks_of(texts)
usages = st.builds(
    Usage,
    st.integers(0, 99),
    st.integers(0, 99),
    st.integers(0, 9),
    reasoning=st.none() | st.integers(0, 9),
    hosted=st.just(()) | st.just((("web_search", 2),)),
)
candidates = st.builds(
    Candidate,
    st.lists(blocks, max_size=4).map(tuple),
    st.sampled_from(["stop", "stop_sequence", "length", "tool_calls", "refusal", "unknown", "error"]),
    stop_sequence=maybe_words,
    finish_detail=maybe_words,
    explanation=maybe_words,
    safety=json_values,
    grounding=json_values,
    extras=extras,
)


@st.composite
def responses(draw: st.DrawFn) -> Response:
    found = draw(st.lists(candidates, max_size=3))
    usage = draw(st.none() | usages)
    return Response(
        id=draw(words),
        model=draw(words),
        created=draw(st.integers(0, 9)),
        candidates=tuple(replace(candidate, index=index) for index, candidate in enumerate(found)),
        usage=usage,
        usage_extras=draw(extras) if usage is not None else {},
        completed=draw(st.none() | st.integers(0, 9)),
        status=draw(maybe_words),
        tier=draw(st.sampled_from([None, "default", "flex"])),
        fingerprint=draw(maybe_words),
        prompt_block=draw(maybe_words),
        container=draw(json_values),
        extras=draw(extras),
    )
