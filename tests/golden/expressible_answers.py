"""What an answer can hold in the canonical model, and which wires can say it, whole and streamed.

`said` and `streamed` name the wires (C, R, A, G) in which a row comes back; `streamed` is the same if it is left out.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from oneapi_mw.canonical.blocks import (
    Audio,
    Block,
    Citation,
    Image,
    Inline,
    Reasoning,
    ReasoningOpaque,
    ReasoningText,
    Refusal,
    Text,
    ToolCall,
)
from oneapi_mw.canonical.events import FinishReason
from oneapi_mw.canonical.response import Candidate, Response
from oneapi_mw.usage import Usage
from tests.golden.expressible import CLAUDE, GEMINI, NO_FIELD, OPENAI, PNG, THOUGHT

IDS = {"openai_chat": "chatcmpl-1", "openai_responses": "resp_1", "anthropic_messages": "msg_1", "gemini": "r1"}


@dataclass(frozen=True)
class AnswerRow:
    name: str
    sets: Mapping[str, Any]
    """Field of the answer -> value; `blocks` and fields of the candidate are those of the first one."""
    said: str
    why: str = ""
    streamed: str | None = None

    def __str__(self) -> str:
        return self.name

    def comes_back(self, letter: str, *, stream: bool) -> bool:
        return letter in (self.said if self.streamed is None or not stream else self.streamed)


def saying(name: str, said: str, why: str, *blocks: Block, streamed: str | None = None, **more: Any) -> AnswerRow:
    return AnswerRow(name, {"blocks": blocks, **more}, said, why, streamed)


def calling(name: str, said: str, why: str, *blocks: Block, streamed: str | None = None) -> AnswerRow:
    return saying(name, said, why, *blocks, streamed=streamed, finish="tool_calls")


def ending(finish: FinishReason, said: str, why: str, **more: Any) -> AnswerRow:
    return AnswerRow(f"finish {finish}", {"finish": finish, **more}, said, why)


def counting(name: str, said: str, why: str, streamed: str | None = None, **counts: Any) -> AnswerRow:
    return AnswerRow(name, {"usage": Usage(9, 5, **counts)}, said, why, streamed)


CALL = ToolCall("call_1", "f", '{"a":1}')
CITED = Citation("url", url="https://e.org", title="E", start=0, end=1)
TOKEN = {"token": "4", "logprob": -1.0, "bytes": [52], "top_logprobs": []}
BLOCKS = [
    saying("text", "CRAG", "", Text("4")),
    saying("texts", "RA", "one text", Text("a"), Text("b")),
    saying("nothing", "CRAG", "", finish="stop"),
    saying("refusal in words", "R", "a text, or an ending like any other", Refusal("no"), finish="refusal"),
    saying("citation of a span", "CRG", "of the whole block", Text("4", (CITED,))),
    saying("log probabilities", "CRG", "no field; without bytes in streams of Responses", Text("4", logprobs=(TOKEN,)),
           streamed="CG"),
    saying("phase", "R", NO_FIELD, Text("4", phase="final_answer")),
    saying("reasoning", "CAG", "is a summary", Reasoning(THOUGHT), Text("4")),
    saying("reasoning in summary", "R", "no summaries", Reasoning((ReasoningText("Add.", True),)), Text("4")),
    saying("reasoning behind text", "AG", "comes first; is a summary at Responses",
           Text("4"), Reasoning(THOUGHT), Text("5"), streamed="CAG"),
    saying("reasoning signed by Claude", "CA", "in an envelope",
           Reasoning(THOUGHT, ReasoningOpaque("EqQB", CLAUDE)), Text("4")),
    saying("reasoning redacted by Claude", "CA", "in an envelope",
           Reasoning((), ReasoningOpaque("AAAA", CLAUDE, "encrypted")), Text("4")),
    saying("reasoning encrypted by OpenAI", "CR", "in an envelope; streams of Chat tell no summaries apart",
           Reasoning((ReasoningText("Add.", True),), ReasoningOpaque("gAAA", OPENAI, "encrypted")), Text("4"),
           streamed="R"),
    saying("reasoning signed by Gemini", "CG", "in an envelope",
           Reasoning(THOUGHT, ReasoningOpaque("Ci4B", GEMINI)), Text("4")),
    saying("text signed by Gemini", "G", "in an envelope", Text("4", opaque=ReasoningOpaque("Ci4B", GEMINI))),
    calling("call", "CRAG", "", CALL),
    calling("call, as it was spelled", "CR", "an object", replace(CALL, arguments='{"a": 1}'), streamed="CRA"),
    calling("call of a custom tool", "CR", "a function with one text", replace(CALL, arguments="x y", kind="custom")),
    calling("call in a namespace", "R", NO_FIELD, replace(CALL, namespace="crm")),
    calling("call with a caller", "RA", NO_FIELD, replace(CALL, caller={"type": "direct"}), streamed="R"),
    calling("call signed by Gemini", "CG", "in an envelope", replace(CALL, opaque=ReasoningOpaque("Ci4B", GEMINI))),
    calling("text before a call", "CRAG", "", Text("x"), CALL),
    calling("text behind a call", "RAG", "comes first", CALL, Text("x"), streamed="CRAG"),
    saying("image", "CRG", "a note", Image(PNG)),
    saying("sound", "C", "its words", Audio(Inline("audio/*", "AAAA"), "t", "audio_1", 9)),
]  # fmt: skip
ENDINGS = [
    ending("stop", "CRAG", ""),
    ending("stop_sequence", "A", "a stop like any other", stop_sequence="END"),
    ending("length", "CRAG", ""),
    ending("content_filter", "CRG", "a refusal"),
    ending("refusal", "A", "a filter"),
    ending("pause", "A", "a limit"),
    ending("context_window", "A", "a limit"),
    ending("compaction", "", "a pause, or a limit; Messages tells it who asked for it"),
    ending("malformed_call", "G", "a stop", blocks=(Text("4"),)),
    ending("continuation", "", "a pause, or a limit"),
    ending("unknown", "", "a stop, or a filter"),
    AnswerRow("why it was refused", {"finish": "refusal", "finish_detail": "bio", "explanation": "Declined."}, "A",
              "the words alone, or not at all"),
    AnswerRow("prompt refused", {"prompt_block": "SAFETY", "blocks": (), "finish": "content_filter",
                                 "finish_detail": "SAFETY", "safety": None, "second": None}, "G",
              "an empty answer that was filtered"),
    AnswerRow("safety ratings", {"safety": [{"category": "X"}]}, "G", NO_FIELD),
]  # fmt: skip
WHOLE = [
    AnswerRow("two answers", {"second": Candidate((Text("b"),), "stop", 1)}, "CG", "only the first"),
    AnswerRow("when it was made", {"created": 7}, "CR", NO_FIELD),
    AnswerRow("when it was done", {"completed": 7, "finish": "stop"}, "R", NO_FIELD),
    AnswerRow("tier flex", {"tier": "flex"}, "CRG", NO_FIELD),
    AnswerRow("tier default", {"tier": "default"}, "CRAG", "not told in streams", "CRG"),
    AnswerRow("fingerprint", {"fingerprint": "fp"}, "C", NO_FIELD),
    AnswerRow("container", {"container": {"id": "c", "expires_at": "x"}}, "A", NO_FIELD),
]  # fmt: skip
USAGE = [
    counting("reasoning", "CRAG", "", reasoning=3),
    counting("cache read", "CRAG", "", cache_read=3),
    counting("cache written", "CRA", NO_FIELD, cache_write_5m=3),
    counting("cache written, long", "RA", "no terms; streams of Messages do not tell them", "R", cache_write_1h=3),
    counting("sound", "CG", NO_FIELD, input_audio=3, output_audio=2),
    counting("images", "CG", NO_FIELD, input_image=3, output_image=2),
    counting("prompt of tools", "G", "part of the prompt", tool_prompt=3),
    counting("searches", "RA", NO_FIELD, hosted=(("web_search", 2),)),
    AnswerRow("no usage", {"usage": None, "tier": None}, "CG", "estimated"),
]
ANSWER_ROWS = [*BLOCKS, *ENDINGS, *WHOLE, *USAGE]
OF_CANDIDATE = ("blocks", "finish", "stop_sequence", "finish_detail", "explanation", "safety")


def answer(wire: str, rows: list[AnswerRow]) -> Response:
    """An answer that says all of `rows`."""
    response = Response(IDS[wire], "m", 1 if wire.startswith("openai") else 0, usage=Usage(9, 2))
    candidate = Candidate((Text("4"),), "stop")
    others: tuple[Candidate, ...] = ()
    for row in rows:
        for name, value in row.sets.items():
            if name == "second":
                others = (value,) if value is not None else ()
            elif name in OF_CANDIDATE:
                candidate = replace(candidate, **{name: value})
            else:
                response = replace(response, **{name: value})
    return replace(response, candidates=(candidate, *others))


def plain(wire: str, response: Response) -> Response:
    """`response` without what every answer of the wire gets: ids, states, what it says of the request, and counts that
    follow from others."""
    usage = response.usage
    if usage is not None:
        # the variant is that of the tier; images, and what Gemini cites, are counted where they are said
        follows = {"openai_responses": "image_generation", "gemini": "web_search" if _cites(response) else ""}.get(wire)
        told = tuple(made for made in usage.hosted if made[0] != follows)
        usage = replace(usage, source="upstream", variant="", hosted=told, meters=())
        if wire == "openai_responses" and usage.reasoning is None:
            usage = replace(usage, reasoning=0)
    candidates = tuple(
        replace(candidate, blocks=tuple(_plain(block) for block in candidate.blocks), extras={}, grounding=None)
        for candidate in response.candidates
    )
    return replace(response, candidates=candidates, usage=usage, usage_extras={}, extras={}, status=None)


def _cites(response: Response) -> bool:
    blocks = [block for candidate in response.candidates for block in candidate.blocks]
    return any(isinstance(block, Text) and block.citations for block in blocks)


def _plain(block: Block) -> Block:
    match block:
        case Reasoning(opaque=opaque):
            kept = None if opaque is None else replace(opaque, id=None)
            return replace(block, item_id=None, status=None, opaque=kept)
        case Text() | Refusal() | Image() | ToolCall():
            return replace(block, item_id=None, extras={})
        case _:
            return block


def apart(rows: list[AnswerRow]) -> list[AnswerRow]:
    """`rows` as far as no two set the same thing."""
    kept: list[AnswerRow] = []
    taken: set[str] = set()
    for row in rows:
        if taken.isdisjoint(row.sets):
            kept.append(row)
            taken |= row.sets.keys()
    return kept
