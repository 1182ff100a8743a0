"""JSON Schemas as each kind of target takes them, and structured output where a target has none.

Same format in and out: a schema is never touched, so codecs call `clean` only across formats.
"""

from __future__ import annotations

from oneapi_mw.wire.schema.clean import MAX_DEPTH, MAX_NODES, Cleaned, clean
from oneapi_mw.wire.schema.columns import Column, Use
from oneapi_mw.wire.schema.emulation import (
    ANY_OBJECT,
    AnswerRestorer,
    Emulation,
    instruction,
    json_tool_name,
    restore_response,
)
from oneapi_mw.wire.schema.openapi import from_openapi
from oneapi_mw.wire.schema.wrap import Unfencer, Unwrapper, object_root, unwrap_text, wrap

__all__ = [
    "ANY_OBJECT",
    "MAX_DEPTH",
    "MAX_NODES",
    "AnswerRestorer",
    "Cleaned",
    "Column",
    "Emulation",
    "Unfencer",
    "Unwrapper",
    "Use",
    "clean",
    "from_openapi",
    "instruction",
    "json_tool_name",
    "object_root",
    "restore_response",
    "unwrap_text",
    "wrap",
]
