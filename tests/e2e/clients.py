"""The official SDKs as clients, asked in words that belong to none of them.

A conversation is a list of the SDK's own messages. `ask` sends it, `returned` gives the assistant's turn as a client
puts it back into the history: either everything that came, or only role, content and tool calls.
"""

from __future__ import annotations

import base64
import json
from abc import ABC, abstractmethod
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from typing import Any, ClassVar

import aiohttp
import anthropic
import openai
from google import genai
from google.genai import types

from tests.vendors.scripting import Tokens

Json = dict[str, Any]

RETRIES = 0


@dataclass
class Called:
    """One tool call in an answer."""

    id: str
    name: str
    arguments: Json


@dataclass
class Said:
    """An answer, as far as any client can tell."""

    text: str
    calls: list[Called]
    finish: str
    """`stop`, `length`, `tool_calls`, or the client's own word."""
    reasoning: str
    usage: Tokens
    native: Any
    """What `returned` needs."""


@dataclass(frozen=True)
class Ask:
    """What a request says beside the conversation."""

    model: str
    stream: bool = False
    system: str = ""
    tools: tuple[tuple[str, Json], ...] = ()
    """Names and schemas."""
    choice: str = ""
    """The tool that has to be called."""
    schema: Json | None = None
    """Of the answer."""
    max_output: int | None = None
    thinks: bool = False
    extra: Json = field(default_factory=dict)


class Client(ABC):
    """One SDK."""

    name: ClassVar[str]

    @abstractmethod
    def user(self, text: str, image: str = "") -> Any:
        """A message of the user; `image` is a PNG in base64."""

    @abstractmethod
    async def ask(self, history: list[Any], ask: Ask) -> Said: ...

    @abstractmethod
    def returned(self, said: Said, *, whole: bool) -> list[Any]:
        """The assistant's turn as it goes back."""

    @abstractmethod
    def results(self, said: Said, *texts: str) -> list[Any]:
        """What the tools that were called brought."""


class Chat(Client):
    """`openai`, Chat Completions."""

    name = "openai_chat"

    def __init__(self, sdk: openai.AsyncOpenAI) -> None:
        self._sdk = sdk

    def user(self, text: str, image: str = "") -> Any:
        if not image:
            return {"role": "user", "content": text}
        url = f"data:image/png;base64,{image}"
        parts = [{"type": "text", "text": text}, {"type": "image_url", "image_url": {"url": url}}]
        return {"role": "user", "content": parts}

    async def ask(self, history: list[Any], ask: Ask) -> Said:
        system = [{"role": "system", "content": ask.system}] if ask.system else []
        body: Json = {"model": ask.model, "messages": [*system, *history], **ask.extra}
        if ask.tools:
            body["tools"] = [
                {"type": "function", "function": {"name": name, "parameters": schema}} for name, schema in ask.tools
            ]
        if ask.choice:
            body["tool_choice"] = {"type": "function", "function": {"name": ask.choice}}
        if ask.schema is not None:
            named = {"name": "answer", "schema": ask.schema, "strict": True}
            body["response_format"] = {"type": "json_schema", "json_schema": named}
        if ask.max_output is not None:
            body["max_completion_tokens"] = ask.max_output
        if ask.thinks:
            body["reasoning_effort"] = "low"
        if not ask.stream:
            answer = await self._sdk.chat.completions.create(**body)
            choice = answer.choices[0]
            return self._said(choice.message.to_dict(), choice.finish_reason, answer.usage)
        body["stream_options"] = {"include_usage": True}
        message: Json = {"role": "assistant", "content": None}
        finish, usage = None, None
        async for chunk in await self._sdk.chat.completions.create(**body, stream=True):
            usage = chunk.usage or usage
            for part in chunk.choices:
                _merge(message, part.delta.to_dict())
                finish = part.finish_reason or finish
        for call in message.get("tool_calls") or ():
            del call["index"]  # its place in the stream, no part of the message
        return self._said(message, finish, usage)

    def _said(self, message: Json, finish: str | None, usage: Any) -> Said:
        calls = [
            Called(call["id"], call["function"]["name"], json.loads(call["function"]["arguments"]))
            for call in message.get("tool_calls") or ()
        ]
        read, written = usage.prompt_tokens_details, usage.completion_tokens_details
        tokens = Tokens(
            input=usage.prompt_tokens,
            output=usage.completion_tokens,
            cached=(read and read.cached_tokens) or 0,
            reasoning=(written and written.reasoning_tokens) or 0,
        )
        reasoning = message.get("reasoning_content") or message.get("reasoning") or ""
        return Said(message.get("content") or "", calls, finish or "", reasoning, tokens, message)

    def returned(self, said: Said, *, whole: bool) -> list[Any]:
        message: Json = said.native
        if not whole:
            message = {name: message[name] for name in ("role", "content", "tool_calls") if message.get(name)}
            if "tool_calls" in message:
                plain = ("id", "type", "function")
                message["tool_calls"] = [{name: call[name] for name in plain} for call in message["tool_calls"]]
        return [message]

    def results(self, said: Said, *texts: str) -> list[Any]:
        return [
            {"role": "tool", "tool_call_id": call.id, "content": text}
            for call, text in zip(said.calls, texts, strict=True)
        ]


def _merge(message: Json, delta: Json) -> None:
    """Add one delta of a stream: texts are joined, members of lists found by their index."""
    for name, value in delta.items():
        if value is None or name == "role":
            continue
        if isinstance(value, list) and name in ("tool_calls", "reasoning_details"):
            known: list[Json] = message.setdefault(name, [])
            for part in value:
                _merge_part(known, dict(part))
        elif isinstance(value, str):
            message[name] = (message.get(name) or "") + value
        else:
            message[name] = value


def _merge_part(known: list[Json], part: Json) -> None:
    found = next((one for one in known if one.get("index") == part.get("index")), None)
    if found is None:
        known.append(part)
        return
    for name, value in part.items():
        if name == "function":
            function = found.setdefault("function", {"arguments": ""})
            function["arguments"] = function.get("arguments", "") + value.get("arguments", "")
        elif name == "text":
            found["text"] = found.get("text", "") + value
        elif name != "index":
            found[name] = value


class Responses(Client):
    """`openai`, Responses, without storage."""

    name = "openai_responses"

    def __init__(self, sdk: openai.AsyncOpenAI) -> None:
        self._sdk = sdk

    def user(self, text: str, image: str = "") -> Any:
        if not image:
            return {"role": "user", "content": text}
        picture = {"type": "input_image", "detail": "auto", "image_url": f"data:image/png;base64,{image}"}
        return {"role": "user", "content": [{"type": "input_text", "text": text}, picture]}

    async def ask(self, history: list[Any], ask: Ask) -> Said:
        body: Json = {"model": ask.model, "input": history, "store": False, **ask.extra}
        if ask.system:
            body["instructions"] = ask.system
        if ask.tools:
            body["tools"] = [
                {"type": "function", "name": name, "parameters": schema, "strict": False} for name, schema in ask.tools
            ]
        if ask.choice:
            body["tool_choice"] = {"type": "function", "name": ask.choice}
        if ask.schema is not None:
            body["text"] = {"format": {"type": "json_schema", "name": "answer", "schema": ask.schema, "strict": True}}
        if ask.max_output is not None:
            body["max_output_tokens"] = ask.max_output
        if "gpt-4o" not in ask.model:  # without it nothing of an unstored reasoning item can go back
            body["include"] = ["reasoning.encrypted_content"]
        if ask.thinks:
            body["reasoning"] = {"effort": "low", "summary": "auto"}
        response = await self._streamed(body) if ask.stream else await self._sdk.responses.create(**body)
        return self._said(response)

    async def _streamed(self, body: Json) -> Any:
        """The response of the terminal event; its items are those that were streamed."""
        done: list[Json] = []
        last: Any = None
        async for event in await self._sdk.responses.create(**body, stream=True):
            last = event
            if event.type == "response.output_item.done":
                done.append(event.item.to_dict())
        assert [item.to_dict() for item in last.response.output] == done
        return last.response

    def _said(self, response: Any) -> Said:
        items = [item.to_dict() for item in response.output]
        calls = [
            Called(item["call_id"], item["name"], json.loads(item["arguments"]))
            for item in items
            if item["type"] == "function_call"
        ]
        reason = response.incomplete_details.reason if response.incomplete_details else ""
        done = "tool_calls" if calls else "stop"
        finish = {"max_output_tokens": "length", "": done}.get(reason, reason)
        usage = response.usage
        tokens = Tokens(
            input=usage.input_tokens,
            output=usage.output_tokens,
            cached=usage.input_tokens_details.cached_tokens,
            reasoning=usage.output_tokens_details.reasoning_tokens,
        )
        thoughts = [part["text"] for item in items if item["type"] == "reasoning" for part in item["summary"]]
        return Said(response.output_text, calls, finish, "\n\n".join(thoughts), tokens, items)

    def returned(self, said: Said, *, whole: bool) -> list[Any]:
        if whole:
            return list(said.native)
        message = [{"role": "assistant", "content": said.text}] if said.text else []
        calls = [
            {"type": "function_call", "call_id": call.id, "name": call.name, "arguments": json.dumps(call.arguments)}
            for call in said.calls
        ]
        return [*message, *calls]

    def results(self, said: Said, *texts: str) -> list[Any]:
        return [
            {"type": "function_call_output", "call_id": call.id, "output": text}
            for call, text in zip(said.calls, texts, strict=True)
        ]


class Messages(Client):
    """`anthropic`."""

    name = "anthropic_messages"

    def __init__(self, sdk: anthropic.AsyncAnthropic) -> None:
        self._sdk = sdk

    def user(self, text: str, image: str = "") -> Any:
        if not image:
            return {"role": "user", "content": text}
        picture = {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": image}}
        return {"role": "user", "content": [picture, {"type": "text", "text": text}]}

    async def ask(self, history: list[Any], ask: Ask) -> Said:
        body: Json = {"model": ask.model, "messages": history, "max_tokens": ask.max_output or 4000, **ask.extra}
        if ask.system:
            body["system"] = ask.system
        if ask.tools:
            body["tools"] = [{"name": name, "input_schema": schema} for name, schema in ask.tools]
        if ask.choice:
            body["tool_choice"] = {"type": "tool", "name": ask.choice}
        if ask.schema is not None:
            body["output_config"] = {"format": {"type": "json_schema", "schema": ask.schema}}
        if ask.thinks:
            adaptive = "claude-opus" in ask.model
            body["thinking"] = (
                {"type": "adaptive", "display": "summarized"}
                if adaptive
                else {"type": "enabled", "budget_tokens": 1024}
            )
        if not ask.stream:
            return self._said(await self._sdk.messages.create(**body))
        async with self._sdk.messages.stream(**body) as stream:
            return self._said(await stream.get_final_message())

    def _said(self, message: Any) -> Said:
        blocks = [_block(block.to_dict()) for block in message.content]
        calls = [Called(block["id"], block["name"], block["input"]) for block in blocks if block["type"] == "tool_use"]
        usage = message.usage
        cached, written = usage.cache_read_input_tokens or 0, usage.cache_creation_input_tokens or 0
        details = usage.output_tokens_details
        tokens = Tokens(
            input=usage.input_tokens + cached + written,
            output=usage.output_tokens,
            cached=cached,
            reasoning=(details and details.thinking_tokens) or 0,
        )
        words = {"end_turn": "stop", "max_tokens": "length", "tool_use": "tool_calls"}
        text = "".join(block["text"] for block in blocks if block["type"] == "text")
        reasoning = "".join(block["thinking"] for block in blocks if block["type"] == "thinking")
        return Said(text, calls, words.get(message.stop_reason, message.stop_reason), reasoning, tokens, blocks)

    def returned(self, said: Said, *, whole: bool) -> list[Any]:
        kept = [block for block in said.native if whole or block["type"] in ("text", "tool_use")]
        return [{"role": "assistant", "content": kept}]

    def results(self, said: Said, *texts: str) -> list[Any]:
        blocks = [
            {"type": "tool_result", "tool_use_id": call.id, "content": text}
            for call, text in zip(said.calls, texts, strict=True)
        ]
        return [{"role": "user", "content": blocks}]


def _block(block: Json) -> Json:
    """A block as it may be sent back: helpers of the SDK add what they parsed."""
    return {name: value for name, value in block.items() if name != "parsed_output" and value is not None}


class GenerateContent(Client):
    """`google-genai`."""

    name = "gemini"

    def __init__(self, models: Any) -> None:
        self._models = models

    def user(self, text: str, image: str = "") -> Any:
        parts = [types.Part(text=text)]
        if image:
            parts.append(types.Part.from_bytes(data=base64.b64decode(image), mime_type="image/png"))
        return types.Content(role="user", parts=parts)

    async def ask(self, history: list[Any], ask: Ask) -> Said:
        config: Json = {"automatic_function_calling": {"disable": True}, **ask.extra}
        if ask.system:
            config["system_instruction"] = ask.system
        if ask.tools:
            declared = [{"name": name, "parameters_json_schema": schema} for name, schema in ask.tools]
            config["tools"] = [{"function_declarations": declared}]
        if ask.choice:
            config["tool_config"] = {"function_calling_config": {"mode": "ANY", "allowed_function_names": [ask.choice]}}
        if ask.schema is not None:
            config |= {"response_mime_type": "application/json", "response_json_schema": ask.schema}
        if ask.max_output is not None:
            config["max_output_tokens"] = ask.max_output
        if ask.thinks:
            # a level where the model has levels, else a budget
            depth: Json = {"thinking_level": "LOW"} if "gemini-3" in ask.model else {"thinking_budget": 1024}
            config["thinking_config"] = {**depth, "include_thoughts": True}
        call: Json = {"model": ask.model, "contents": history, "config": config}
        if not ask.stream:
            return self._said([await self._models.generate_content(**call)])
        return self._said([chunk async for chunk in await self._models.generate_content_stream(**call)])

    def _said(self, chunks: list[Any]) -> Said:
        parts: list[types.Part] = []
        finish = None
        for chunk in chunks:
            for candidate in chunk.candidates or ():
                parts += (candidate.content and candidate.content.parts) or ()
                finish = candidate.finish_reason or finish
        calls = [
            Called(part.function_call.id or "", part.function_call.name or "", part.function_call.args or {})
            for part in parts
            if part.function_call
        ]
        usage = chunks[-1].usage_metadata
        thoughts = usage.thoughts_token_count or 0
        tokens = Tokens(
            input=(usage.prompt_token_count or 0) + (usage.tool_use_prompt_token_count or 0),
            output=(usage.candidates_token_count or 0) + thoughts,
            cached=usage.cached_content_token_count or 0,
            reasoning=thoughts,
        )
        word = finish.value if finish is not None else ""
        done = "tool_calls" if calls else "stop"
        return Said(
            text="".join(part.text or "" for part in parts if not part.thought),
            calls=calls,
            finish={"STOP": done, "MAX_TOKENS": "length"}.get(word, word),
            reasoning="".join(part.text or "" for part in parts if part.thought),
            usage=tokens,
            native=parts,
        )

    def returned(self, said: Said, *, whole: bool) -> list[Any]:
        parts: list[types.Part] = [part for part in said.native if part.text != "" or part.thought_signature]
        if not whole:
            parts = [types.Part(text=said.text)] if said.text else []
            parts += [types.Part(function_call=part.function_call) for part in said.native if part.function_call]
        return [types.Content(role="model", parts=parts)]

    def results(self, said: Said, *texts: str) -> list[Any]:
        parts = [
            types.Part(
                function_response=types.FunctionResponse(id=call.id or None, name=call.name, response={"output": text})
            )
            for call, text in zip(said.calls, texts, strict=True)
        ]
        return [types.Content(role="user", parts=parts)]


@asynccontextmanager
async def all_clients(base: str, key: str) -> AsyncIterator[dict[str, Client]]:
    """The four SDKs, talking to the gateway at `base`, by the wire format each speaks."""
    async with AsyncExitStack() as stack:
        chat = await stack.enter_async_context(
            openai.AsyncOpenAI(base_url=base + "/v1", api_key=key, max_retries=RETRIES)
        )
        claude = await stack.enter_async_context(
            anthropic.AsyncAnthropic(base_url=base, api_key=key, max_retries=RETRIES)
        )
        # with a session of its own the Google SDK derives no class from aiohttp's, which is deprecated
        session = await stack.enter_async_context(aiohttp.ClientSession())
        options = types.HttpOptions(base_url=base, aiohttp_client=session)
        google = await stack.enter_async_context(genai.Client(api_key=key, http_options=options).aio)
        clients = (Chat(chat), Responses(chat), Messages(claude), GenerateContent(google.models))
        yield {client.name: client for client in clients}
