"""The item list of a request, to and from instructions and turns.

Items of the model in a row are one turn, whatever their kinds; the user's turn holds results of calls and at most one
message. What stands for instructions in the middle is a turn of its own, so that its place is kept.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace

from oneapi_mw.canonical.blocks import Block, Opaque, Refusal, Text, ToolCall, ToolResult
from oneapi_mw.canonical.request import Role, Turn
from oneapi_mw.errors import InvalidRequest
from oneapi_mw.wire.extras import mapped, unmapped
from oneapi_mw.wire.fields import Fields
from oneapi_mw.wire.openai_responses.content import CODE, MESSAGE_EXTRAS, NAME, decode_parts, extras
from oneapi_mw.wire.openai_responses.items import OPAQUE, decode_item, text

RESULTS = {"function_call_output": "function", "custom_tool_call_output": "custom"}
_OF_THE_USER = frozenset(
    {
        "computer_call_output",
        "local_shell_call_output",
        "shell_call_output",
        "apply_patch_call_output",
        "mcp_approval_response",
        "compaction_trigger",
    }
)
_OF_NOBODY = frozenset({"additional_tools", "configuration_update"})
_OF_THE_MODEL = frozenset(
    {
        "reasoning",
        "function_call",
        "custom_tool_call",
        "web_search_call",
        "file_search_call",
        "code_interpreter_call",
        "image_generation_call",
        "computer_call",
        "local_shell_call",
        "shell_call",
        "apply_patch_call",
        "mcp_call",
        "mcp_list_tools",
        "mcp_approval_request",
        "tool_search_call",
        "tool_search_output",
        "compaction",
        "program",
        "program_output",
    }
)
_MESSAGE = mapped("type", "role", "content", "id")
_RESULT = mapped("type", "call_id", "output", "id", "name")


@dataclass(slots=True)
class _Turns:
    turns: list[Turn] = field(default_factory=list)
    _open: list[Block] = field(default_factory=list)
    _role: Role | None = None
    _said: bool = False  # the open turn of the user has its message

    def add(self, role: Role, blocks: tuple[Block, ...], *, message: bool = False) -> None:
        if role == "system" or role != self._role or (role == "user" and message and self._said):
            self.close()
        self._role, self._said = role, self._said or message
        self._open += blocks

    def beside(self, block: Block) -> None:
        """An item of no side of its own joins the turn it stands in."""
        self.add("assistant" if self._role == "assistant" else "user", (block,))

    def close(self) -> None:
        if self._role is not None and self._open:
            self.turns.append(Turn(self._role, tuple(self._open)))
        self._open, self._role, self._said = [], None, False


def decode_input(value: object) -> tuple[tuple[Text, ...], tuple[Turn, ...]]:
    """Leading instructions, and what was said after them. Raises `InvalidRequest` naming the item."""
    if value is None:
        return (), ()
    if isinstance(value, str):
        return (), (Turn("user", (Text(value),)),)
    items = Fields({"input": value}, code=CODE).objects("input")
    system: list[Text] = []
    turns = _Turns()
    leading = True
    for index, item in enumerate(items):
        kind, role = item.value.get("type") or ("message" if "role" in item.value else None), item.value.get("role")
        if kind == "message" and role in ("system", "developer"):
            texts = _instructions(item, f"input[{index}]")
            if leading:
                system += texts
            else:
                turns.add("system", texts)
            continue
        leading = False
        _add(turns, item, kind, index)
    turns.close()
    return tuple(system), tuple(turns.turns)


def _add(turns: _Turns, item: Fields, kind: object, index: int) -> None:
    where = f"input[{index}]"
    if kind == "message":
        match item.value.get("role"):
            case "user":
                turns.add("user", _user_message(item, where), message=True)
            case "assistant":
                _check_parts(item, where)
                turns.add("assistant", decode_item(item.value, vendor=""))
            case role:
                raise InvalidRequest(
                    f"{where}.role {role!r} is not known: use system, developer, user or assistant",
                    param=f"{where}.role",
                    code=CODE,
                )
    elif kind in RESULTS:
        turns.add("user", (_result(item, where),))
    elif kind is None and isinstance(item.value.get("id"), str):
        turns.beside(Opaque("item_ref", NAME, "item_reference", item.value))
    elif not isinstance(kind, str):
        raise InvalidRequest(f"{where} must have a type, or a role and content", param=f"{where}.type", code=CODE)
    elif kind in _OF_THE_MODEL:
        turns.add("assistant", _model_item(item, kind))
    elif kind in _OF_NOBODY:
        turns.add("system", (Opaque(OPAQUE[kind], NAME, kind, item.value),))
    else:
        block = Opaque(OPAQUE.get(kind, "foreign"), NAME, kind, item.value)
        if kind in _OF_THE_USER:
            turns.add("user", (block,))
        else:
            turns.beside(block)


def _check_parts(item: Fields, where: str) -> None:
    if not isinstance(item.value.get("content"), (str, list)):
        raise InvalidRequest(
            f"{where}.content must be a string or a list of parts", param=f"{where}.content", code=CODE
        )


def _model_item(item: Fields, kind: str) -> tuple[Block, ...]:
    if kind in ("function_call", "custom_tool_call"):
        item.required_text("call_id")
        item.required_text("name")
    return decode_item(item.value, vendor="")


def _user_message(item: Fields, where: str) -> tuple[Block, ...]:
    item_id = item.text("id")
    blocks = decode_parts(item.value.get("content"), f"{where}.content", item_id=item_id)
    rest = unmapped(item.value, _MESSAGE)
    if not blocks or isinstance(blocks[0], Opaque):
        return blocks
    first = blocks[0]
    if item_id is not None and not isinstance(first, Text | Refusal):
        rest["id"] = item_id
    return (replace(first, extras={**first.extras, MESSAGE_EXTRAS: rest}), *blocks[1:]) if rest else blocks


def _instructions(item: Fields, where: str) -> tuple[Text, ...]:
    role = item.value["role"]
    item_id = item.text("id")
    rest = unmapped(item.value, _MESSAGE)
    texts: list[Text] = []
    for block in decode_parts(item.value.get("content"), f"{where}.content", item_id=item_id):
        if not isinstance(block, Text):
            raise InvalidRequest(f"{where}.content may hold only text", param=f"{where}.content", code=CODE)
        kept = {**block.extras, MESSAGE_EXTRAS: rest} if rest and not texts else block.extras
        texts.append(replace(block, origin=role, extras=kept))
    return tuple(texts)


def _result(item: Fields, where: str) -> ToolResult:
    value = item.value
    output = value.get("output")
    if output is not None and not isinstance(output, (str, list)):
        raise item.wrong("output", "must be a string or a list of parts")
    known = {**_RESULT}
    if value["type"] == "custom_tool_call_output":
        del known["type"]  # what else would tell it from the result of a function whose call is not here
    return ToolResult(
        item.required_text("call_id"),
        decode_parts(output, f"{where}.output"),
        item.text("name"),
        item_id=item.text("id"),
        extras=extras(value, known),
    )


def is_custom(result: ToolResult, calls: dict[str, ToolCall]) -> bool:
    """Whether a result answers a call of a custom tool."""
    call = calls.get(result.call_id)
    if call is not None:
        return call.kind == "custom"
    return text(result.extras.get(NAME, {}), "type") == "custom_tool_call_output"
