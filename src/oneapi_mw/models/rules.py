"""What one model takes, refuses and does unasked.

Codecs ask here; none of them tests a model's name. Rows are data with a source and a date (`models.catalogue`).
An unknown model has no rules: nothing is removed for it and nothing is added.
"""

from __future__ import annotations

from typing import Literal, TypeAlias

from oneapi_mw.immutable import immutable

ThinkingControl: TypeAlias = Literal["unknown", "none", "effort", "manual", "adaptive", "budget", "level", "switch"]
"""How reasoning is asked for: `effort` OpenAI's words, `manual` and `adaptive` Claude's two ways, `budget` and `level`
Gemini's two, `switch` on or off only; `none` cannot reason."""

OffForm: TypeAlias = Literal["omit", "none", "minimal", "disabled", "between_tools", "zero", "lowest"]
"""How reasoning is switched off. `lowest`: it cannot be; the least is asked for and its text is hidden."""


@immutable
class ModelRules:
    """One model. Field values are those of a model nobody knows."""

    family: str = ""
    """`openai`, `claude`, `gemini`, `gemma`, `deepseek`, `grok`, ...; empty when unknown."""
    version: tuple[int, ...] = ()
    """Of the family, as numbers that compare: (4, 5), (3, 7)."""

    thinking: ThinkingControl = "unknown"
    also_manual: bool = False
    """An `adaptive` model that still takes a token budget."""
    thinks_unasked: bool = False
    thinking_off: OffForm = "omit"
    efforts: tuple[str, ...] = ()
    """Efforts or levels the model knows, lowest first; empty when it knows none or nobody knows."""
    default_effort: str | None = None
    off_up_to: str | None = None
    """Highest effort at which `disabled` or `between_tools` is accepted."""
    min_budget: int = 0
    max_budget: int = 0
    """Thinking budget in tokens; 0 where there is none."""
    shows_thinking: bool = True
    """Whether reasoning text comes without asking for it (`display`, `includeThoughts`, `summary`)."""
    think_tags: Literal["no", "leading", "prefilled"] = "no"
    """Whether reasoning comes as tags in the text; `prefilled`: without the opening one."""
    reasoning_history: Literal["drop", "keep", "require"] = "drop"
    """What to do with reasoning text of earlier turns on an OpenAI wire; `require`: in tool loops it must be there."""
    signatures: Literal["none", "optional", "required"] = "optional"
    """Whether calls in the history need their signature (Gemini)."""

    max_output: int | None = None
    """Most tokens of one answer."""
    output_limit: Literal["max_completion_tokens", "max_tokens"] = "max_tokens"
    """Name of the limit on Chat Completions."""
    refuses: frozenset[str] = frozenset()
    """Canonical names that end in a 400: `temperature`, `top_p`, `top_k`, `frequency_penalty`, `presence_penalty`,
    `logit_bias`, `logprobs`, `stop`, `reasoning_effort`, `verbosity`, `parallel`, `strict`, `n`, `tools`,
    `tool_choice`, `other_tools` (than functions), `output_format`, `system`, `name`, `images`."""
    sampling: Literal["free", "one_of", "fixed", "at_effort_none"] = "free"
    """`one_of`: temperature or top_p, not both; `fixed`: only the defaults; `at_effort_none`: free when the effective
    effort is none, else fixed."""
    keeps_default_temperature: bool = False
    """With `fixed`: the default value itself is accepted."""
    system_role: Literal["system", "developer", "user"] = "system"
    system_between: bool = False
    """Takes system messages in mid-conversation (Claude 4.8 and newer)."""

    forced_tool: Literal["yes", "not_with_thinking", "no"] = "yes"
    tools_need_effort_none: bool = False
    """On Chat Completions; with any other effort tools go to Responses."""
    responses_only: bool = False
    completes_only: bool = False
    """Continues a text and knows no messages: served at OpenAI's `/v1/completions` alone."""
    prefill: Literal["yes", "not_with_thinking", "no"] = "yes"
    structured: Literal["native", "json", "none"] = "native"
    """JSON Schema output: by the model, JSON without a schema only, or not at all."""
    structured_with_tools: bool = True
    schema: Literal["json", "openapi"] = "json"
    """Dialect of Gemini's tool schemas."""
    output_schema: Literal["json", "openapi"] = "json"
    """Dialect of Gemini's output schemas."""
    strict_tools: bool = True
    searches: bool = False
    """Takes `web_search_options` on Chat Completions."""
    always_searches: bool = False
    """Makes one web search for each request, asked for or not, and charges it."""
    hosted_with_functions: bool = True
    """Whether search tools and functions may be declared together (Gemini 3)."""
    call_ids: bool = True
    """Whether function calls have ids (Gemini 3)."""
    media_in_results: bool = True
    """Whether tool results may hold images and files (Gemini 3)."""
    url_media: bool = False
    """Whether the vendor fetches media at public https addresses itself (Gemini)."""
    part_resolution: bool = False
    """Whether each image has a resolution of its own (Gemini 3)."""
    cache_marks: bool = False
    """Whether explicit cache breakpoints are accepted on an OpenAI wire (gpt-5.6 and newer)."""
    binds_to: frozenset[str] = frozenset()
    """What a signed block belongs to (Claude 5 and newer): `model`, `prefix`, `account`."""
    modalities: tuple[str, ...] = ()
    """What has to be asked for (`text`, `image`, `audio`); empty: nothing special."""
    template_switch: str = ""
    """Name of the switch in the chat template, where the weights are served by vLLM, SGLang or NVIDIA."""
    thinks_buffered: bool = True
    """False: with thinking on the upstream only streams (some Qwen models)."""
    source: str = ""
    as_of: str = ""
    """When the row was checked, `YYYY-MM`."""

    @property
    def known(self) -> bool:
        return bool(self.family)


UNKNOWN = ModelRules()
