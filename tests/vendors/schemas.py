"""JSON Schema as each vendor takes it, and values that satisfy a schema.

Each `*_problem` gives the vendor's words for the first thing it refuses, or `None`.
Source: https://platform.openai.com/docs/guides/structured-outputs,
https://platform.claude.com/docs/en/build-with-claude/structured-outputs, https://ai.google.dev/gemini-api/docs/structured-output
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

Json = dict[str, Any]
Path = tuple[str, ...]

_MAPS = ("properties", "$defs", "definitions", "patternProperties", "dependentSchemas")
_LISTS = ("anyOf", "oneOf", "allOf", "prefixItems")
_SINGLE = (
    "items",
    "not",
    "if",
    "then",
    "else",
    "contains",
    "propertyNames",
    "additionalProperties",
    "unevaluatedItems",
)


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


_OPENAI_STRICT = _words(
    "type properties required additionalProperties enum const anyOf $ref $defs definitions description "
    "title format pattern minimum maximum exclusiveMinimum exclusiveMaximum multipleOf items minItems "
    "maxItems"
)
_OPENAI_FORMATS = _words("date-time time date duration email hostname ipv4 ipv6 uuid")
_ANTHROPIC = _words(
    "type properties required additionalProperties enum const anyOf allOf $ref $defs definitions "
    "description title format items minItems default"
)
_ANTHROPIC_FORMATS = _OPENAI_FORMATS | {"uri"}
_GEMINI_JSON = _words(
    "$id $defs $ref $anchor type format title description enum items prefixItems minItems maxItems "
    "minimum maximum anyOf oneOf properties additionalProperties required propertyOrdering"
)
_GEMINI_FORMATS = {
    "STRING": {"date-time", "enum"},
    "INTEGER": {"int32", "int64"},
    "NUMBER": {"float", "double"},
}


def nodes(schema: Any, path: Path = ()) -> Iterator[tuple[Path, Json]]:
    """Every sub-schema with its place; what stands under `properties` is named, not a keyword."""
    if not isinstance(schema, dict):
        return
    yield path, schema
    for word in _MAPS:
        children = schema.get(word)
        if isinstance(children, dict):
            for name, child in children.items():
                yield from nodes(child, (*path, word, name))
    for word in _LISTS:
        listed = schema.get(word)
        if isinstance(listed, list):
            for place, child in enumerate(listed):
                yield from nodes(child, (*path, word, str(place)))
    for word in _SINGLE:
        yield from nodes(schema.get(word), (*path, word))


def openai_problem(schema: Any, *, strict: bool, function: bool) -> str | None:
    """For tools and output formats of OpenAI; a function's parameters and strict schemas have an object at the root."""
    if not isinstance(schema, dict):
        return f"{schema!r} is not of type 'object', 'boolean'."
    if (function or strict) and (schema.get("type") != "object" or "anyOf" in schema):
        return f"schema must be a JSON Schema of 'type: \"object\"', got 'type: \"{schema.get('type')}\"'."
    for path, node in nodes(schema):
        if node.get("type") == "array" and "items" not in node and "prefixItems" not in node:
            return f"In context={path!r}, array schema missing items."
        problem = _openai_strict_problem(node) if strict else None
        if problem is not None:
            return f"In context={path!r}, {problem}"
    return None


def _openai_strict_problem(node: Json) -> str | None:
    unknown = sorted(node.keys() - _OPENAI_STRICT)
    if unknown:
        return f"'{unknown[0]}' is not permitted."
    if "$ref" in node:
        beside = sorted(node.keys() - {"$ref", "$defs", "definitions"})
        return f"$ref cannot have keywords {set(beside)}." if beside else None
    if not node.keys() & {"type", "anyOf", "enum", "const"}:
        return "schema must have a 'type' key."
    if "format" in node and node["format"] not in _OPENAI_FORMATS:
        return f"'{node['format']}' is not a valid format."
    kinds = node["type"] if isinstance(node.get("type"), list) else [node.get("type")]
    if "object" not in kinds:
        return None
    if node.get("additionalProperties") is not False:
        return "'additionalProperties' is required to be supplied and to be false."
    missing = sorted(node.get("properties", {}).keys() - set(node.get("required", [])))
    if missing:
        return (
            "'required' is required to be supplied and to be an array including every key in properties. "
            f"Missing '{missing[0]}'."
        )
    return None


def anthropic_problem(schema: Json) -> str | None:
    """For output formats and strict tools of Claude."""
    for path, node in nodes(schema):
        problem = _anthropic_problem(node)
        if problem is not None:
            return f"{'.'.join(path)}: {problem}" if path else problem
    return _recursion(schema)


def _anthropic_problem(node: Json) -> str | None:
    kind = node.get("type")
    unknown = sorted(node.keys() - _ANTHROPIC)
    if unknown:
        return f"For '{kind}' type, property '{unknown[0]}' is not supported"
    if isinstance(kind, list):
        return "Schema type must be a single type"
    if kind is None and not node.keys() & {"anyOf", "allOf", "$ref", "enum", "const"}:
        return "Schema must have a 'type', 'anyOf', 'allOf' or '$ref'"
    if kind == "object" and node.get("additionalProperties") is not False:
        return "For 'object' type, 'additionalProperties' must be explicitly set to false"
    if kind == "array" and node.get("minItems", 0) not in (0, 1):
        return "For 'array' type, 'minItems' values other than 0 or 1 are not supported"
    if "format" in node and node["format"] not in _ANTHROPIC_FORMATS:
        return f"For 'string' type, '{node['format']}' is not a supported format"
    return None


def _recursion(schema: Json) -> str | None:
    """Claude's grammars end: a definition may not lead back to itself."""
    definitions = {**schema.get("definitions", {}), **schema.get("$defs", {})}
    leads = {
        name: {node["$ref"].rsplit("/", 1)[-1] for _, node in nodes(definition) if isinstance(node.get("$ref"), str)}
        for name, definition in definitions.items()
    }
    for name in leads:
        seen, new = set[str](), set(leads[name])
        while new:
            seen |= new
            new = {target for known in new for target in leads.get(known, ())} - seen
        if name in seen:
            return f"Circular reference detected in schema definition '{name}'"
    return None


def gemini_json_problem(schema: Any) -> str | None:
    """For `parametersJsonSchema` and `responseJsonSchema`."""
    if not isinstance(schema, dict):
        return "schema must be an object"
    for path, node in nodes(schema):
        where = ".".join(path) or "schema"
        unknown = sorted(node.keys() - _GEMINI_JSON)
        if unknown:
            return f"{where}: keyword '{unknown[0]}' is not supported"
        if "$ref" in node and any(not key.startswith("$") for key in node):
            return f"{where}: $ref does not allow properties beside it other than those starting with $"
    return None


def gemini_schema_problem(schema: Json, place: str) -> str | None:
    """What the field names and types of `parameters` and `responseSchema` do not say, in both spellings."""
    properties = schema.get("properties")
    kind = schema.get("type")
    branches = schema.get("anyOf", schema.get("any_of"))
    if branches is not None and len(schema) > 1:
        return f"{place}.any_of: when using any_of, it must be the only field set"
    if kind is None and branches is None:
        return f"{place}.type: must be specified"
    if kind == "OBJECT" and not properties:
        return f"{place}.properties: should be non-empty for OBJECT type"
    if kind != "OBJECT" and properties:
        return f"{place}.properties: only allowed for OBJECT type"
    if kind == "ARRAY" and "items" not in schema:
        return f"{place}.items: missing field."
    if "enum" in schema and kind != "STRING":
        return f"{place}.enum: only allowed for STRING type"
    if "" in schema.get("enum", ()):
        return f"{place}.enum[{schema['enum'].index('')}]: cannot be empty"
    if "format" in schema and schema["format"] not in _GEMINI_FORMATS.get(str(kind), ()):
        return f"{place}.format: only 'enum' and 'date-time' are supported for STRING type"
    unknown = [name for name in schema.get("required", ()) if name not in (properties or {})]
    if unknown:
        return f"{place}.required[{schema['required'].index(unknown[0])}]: property is not defined"
    children = [(f"{place}.properties[{name}]", child) for name, child in (properties or {}).items()]
    children += [(f"{place}.any_of[{index}]", child) for index, child in enumerate(branches or ())]
    if "items" in schema:
        children.append((f"{place}.items", schema["items"]))
    return next((found for where, child in children if (found := gemini_schema_problem(child, where))), None)


def sample(schema: Any, root: Json | None = None, name: str = "value") -> Any:
    """A small value that satisfies `schema`, in JSON Schema or in Google's; strings say the name of their place."""
    if not isinstance(schema, dict):
        return name
    root = schema if root is None else root
    if "$ref" in schema:
        return sample(_target(root, schema["$ref"]), root, name)
    for word in ("const", "enum"):
        if word in schema:
            return schema[word] if word == "const" else schema[word][0]
    for word in ("anyOf", "any_of", "oneOf", "allOf"):
        if schema.get(word):
            return sample(next((one for one in schema[word] if one.get("type") != "null"), {}), root, name)
    kind = schema.get("type")
    if isinstance(kind, list):
        kind = next((one for one in kind if one != "null"), "null")
    return _sample(str(kind or ("object" if "properties" in schema else "string")).lower(), schema, root, name)


def _sample(kind: str, schema: Json, root: Json, name: str) -> Any:
    match kind:
        case "object":
            properties: Json = schema.get("properties") or {}
            filled = schema.get("required") or properties
            return {key: sample(properties.get(key), root, key) for key in filled}
        case "array":
            return [sample(schema.get("items", {}), root, name)] * max(1, int(schema.get("minItems", 1)))
        case "integer":
            return int(schema.get("minimum", 1))
        case "number":
            return schema.get("minimum", 0.5)
        case "boolean":
            return True
        case "null":
            return None
        case _:
            return name


def _target(root: Json, reference: str) -> Any:
    found: Any = root
    for step in reference.removeprefix("#").strip("/").split("/"):
        found = found.get(step, {}) if step else found
    return found
