"""One schema for one kind of target: what it takes, in the form it takes it.

Order of work: references, `allOf`, type, `enum`, alternatives, members, then the table of the column. A keyword
that is lost is said in the description, as the object `{keyword: value}`. The result is a function of the schema
and the arguments alone, so that prompt caches stay warm; the client's object is never changed.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import Any

from oneapi_mw.errors import InvalidRequest
from oneapi_mw.immutable import immutable
from oneapi_mw.jsontext import dumps
from oneapi_mw.types import JsonObject
from oneapi_mw.wire.schema.alternatives import by_type, nullable, spread
from oneapi_mw.wire.schema.cache import MAX_ENTRY_BYTES, Cache
from oneapi_mw.wire.schema.columns import NEVER, Column, Use, action
from oneapi_mw.wire.schema.definitions import Definitions
from oneapi_mw.wire.schema.limits import Tally
from oneapi_mw.wire.schema.loose import loosened
from oneapi_mw.wire.schema.merge import merge
from oneapi_mw.wire.schema.node import formed
from oneapi_mw.wire.schema.notes import CODE, Findings, Notes
from oneapi_mw.wire.schema.references import is_local, resolve, unavoidable_circles
from oneapi_mw.wire.schema.wrap import MEMBER, is_untyped_object, object_root

MAX_NODES = 20_000
MAX_DEPTH = 64
MAX_UNROLLED = 3
"""How often a schema may contain itself where it has to be written out."""
_ELSEWHERE = frozenset({"$ref", "allOf", "anyOf", "oneOf"})
"""Keywords that say what a schema is about in other ones."""


@immutable
class Cleaned:
    """A schema as a target takes it. Shared between requests: never changed in place."""

    schema: JsonObject
    dropped: tuple[str, ...] = ()
    """Paths of keywords that no grammar will enforce: removed, most of them said in a description."""
    wrapped: bool = False
    """The value is the member `value` of an object: what comes back must be unwrapped."""
    strict_possible: bool = True
    """Whether the target can hold its answer to the schema. `False`: leave `strict` out, or for Anthropic's format
    emulate it."""
    optional: int = 0
    """Properties that are not required."""
    unions: int = 0
    """Nodes with alternatives. Anthropic limits both over all strict tools of a request."""


class _TooLargeError(Exception):
    pass


_CACHE: Cache[Cleaned] = Cache()


def clean(
    schema: JsonObject, column: Column, *, use: Use = "output", where: str = "schema", vertex: bool = False
) -> Cleaned:
    """`schema` for a target of `column`.

    Args:
        use: parameters of a tool get an object at their root in every column.
        where: the client's own path of the schema, for errors.
        vertex: the target is Vertex, which takes a few keywords more in `GS`.

    Raises: `InvalidRequest` for references that lead nowhere, keywords of the wrong type, and too large a schema.
    """
    text = dumps(schema)
    if len(text) > MAX_ENTRY_BYTES:
        return _clean(schema, column, use, where, vertex)
    key = hashlib.sha256(text).digest() + f"{column}{use}{vertex}".encode()
    known = _CACHE.get(key)
    if known is None:
        known = _clean(schema, column, use, where, vertex)
        _CACHE.put(key, known, len(text) + len(dumps(known.schema)))
    return known


def _clean(schema: JsonObject, column: Column, use: Use, where: str, vertex: bool) -> Cleaned:
    if column == "ON":
        return _clean_loose(schema, use, where)
    for unrolled in range(MAX_UNROLLED, 0, -1):
        try:
            return _Cleaner(schema, column, use, where, vertex, unrolled).run()
        except _TooLargeError:
            continue  # what refers to itself in many ways grows fast: write it out less often
    raise InvalidRequest(
        f"{where}: schema is too large: at most {MAX_NODES} nodes and {MAX_DEPTH} levels can be converted",
        param=where,
        code=CODE,
    )


def _clean_loose(schema: JsonObject, use: Use, where: str) -> Cleaned:
    found, dropped = loosened(schema, where=where, max_nodes=MAX_NODES, max_depth=MAX_DEPTH)
    if use == "tool":
        found, wrapped = object_root(found)
        return Cleaned(found, dropped, wrapped)
    return Cleaned(found, dropped)


class _Cleaner:
    """One run over one schema."""

    def __init__(self, root: JsonObject, column: Column, use: Use, where: str, vertex: bool, unrolled: int) -> None:
        self._root = root
        self._column: Column = column
        self._use = use
        self._vertex = vertex
        self._unrolled = unrolled
        self._circles = unavoidable_circles(root) if column == "GJ" else frozenset()
        self._nodes = 0
        self._findings = Findings(where)
        self._definitions = Definitions()
        self._tally = Tally()

    def run(self) -> Cleaned:
        root = self._root
        if self._use == "tool" and not _ELSEWHERE & root.keys() and is_untyped_object(root):
            root = {"type": "object", **root}
        found, wrapped = self._at_root(_object(self._schema(root, "", 0, ())))
        definitions = {
            name: self._schema(resolve(self._root, pointer), f"#{name}", 1, (pointer,))
            for pointer, name in self._definitions.unwritten()
        }
        if definitions:
            found = {**found, "$defs": definitions}
        strict = self._findings.strict and not (self._column == "AN" and self._definitions.recursive())
        strict = strict and self._tally.fits(self._column)
        return Cleaned(found, self._findings.dropped(), wrapped, strict, self._tally.optional, self._tally.unions)

    def _at_root(self, found: JsonObject) -> tuple[JsonObject, bool]:
        """The whole as what has to stand at the root, and whether it was wrapped for that."""
        kind = found.get("type")
        if self._use == "tool" and kind is None and "anyOf" not in found and "$ref" not in found:
            found = {"type": "object", **found}
            self._complete(found, Notes(self._findings, ""))
        elif (self._column == "OS" or self._use == "tool") and (
            str(kind).lower() != "object" or "anyOf" in found or "$ref" in found
        ):
            typed = "OBJECT" if self._column == "GS" else "object"
            found = {"type": typed, "properties": {MEMBER: found}, "required": [MEMBER]}
            if self._column != "GS":
                found["additionalProperties"] = False
            return found, True
        return found, False

    # One node.

    def _schema(self, raw: Any, path: str, depth: int, chain: tuple[str, ...]) -> JsonObject | bool:
        """`chain`: pointers that were written out on the way here."""
        self._nodes += 1
        if self._nodes > MAX_NODES or depth > MAX_DEPTH:
            raise _TooLargeError
        notes = Notes(self._findings, path)
        if raw is True or raw is False or raw == {}:
            return self._anything(raw, notes)
        if not isinstance(raw, dict):
            raise notes.wrong("must be an object")
        node = {key: value for key, value in raw.items() if key not in NEVER}
        resolved = self._resolved(node, chain, notes)
        if isinstance(resolved, str):
            return {"$ref": resolved}  # stands alone: what it lost is said nowhere
        node, chain = resolved
        node = formed(node, self._column, notes)
        if self._column == "GS" and "anyOf" in node:
            return self._alone(node, depth, chain, notes)
        if self._column in ("GS", "AN") and isinstance(node.get("type"), list):
            return self._split(node, depth, chain, notes)
        return self._finished(node, depth, chain, notes)

    def _anything(self, raw: JsonObject | bool, notes: Notes) -> JsonObject | bool:
        """`true`, `false` and `{}`."""
        match self._column:
            case "GJ":
                return raw
            case "GS":
                notes.drop("any")
                return {"type": "OBJECT"}
            case "AN":
                notes.drop("any")
                return {"type": "string", "description": '{"type":"any"}'}
            case _:
                notes.loosen()
                return raw

    def _finished(self, node: JsonObject, depth: int, chain: tuple[str, ...], notes: Notes) -> JsonObject:
        """The members cleaned, and every other keyword by the table."""
        out: JsonObject = {}
        for key, value in node.items():
            what = action(self._column, key, vertex=self._vertex)
            if value is None and key == "default":
                what = "remove"
            if key == "additionalProperties" and value is False:
                what = "remove" if self._column == "GS" else "keep"
            if key in ("minItems", "maxItems") and self._column == "AN":
                what = "keep" if key == "minItems" and value in (0, 1) else "tell"
            if what == "keep":
                kept = self._kept(key, value, depth, chain, notes)
                if kept is not None:
                    out[key] = kept
            elif what != "remove":
                notes.tell(key, value)
                if what == "loose":
                    notes.loosen()
        self._complete(out, notes)
        self._tally.note(out, depth)
        return notes.described(out)

    def _kept(self, key: str, value: Any, depth: int, chain: tuple[str, ...], notes: Notes) -> Any:
        """The value of a keyword that stays; `None` when there is nothing left of it."""
        path = notes.path
        match key:
            case "properties":
                return self._properties(value, depth, chain, notes) or None
            case "items":
                return self._schema(value, f"{path}.items", depth + 1, chain)
            case "anyOf" | "oneOf" | "prefixItems":
                members = notes.a_list(value, key)
                return [
                    self._schema(member, f"{path}.{key}[{place}]", depth + 1, chain)
                    for place, member in enumerate(members)
                ]
            case "additionalProperties" if isinstance(value, dict) and self._column == "GJ":
                return self._schema(value, f"{path}.{key}", depth + 1, chain)
            case "additionalProperties" if value is not False and self._column == "OS":
                notes.loosen()
                return value
            case "required":
                return [name for name in notes.a_list(value, key) if isinstance(name, str)]
            case "type" if self._column == "GS":
                return value.upper()
            case _:
                return value

    def _properties(self, value: Any, depth: int, chain: tuple[str, ...], notes: Notes) -> JsonObject:
        if not isinstance(value, dict):
            raise notes.wrong("must be an object", ".properties")
        found: JsonObject = {}
        for name, member in value.items():
            if member is False and self._column != "GJ":
                notes.drop(name)
                notes.loosen()
                continue
            found[name] = self._schema(member, f"{notes.path}.{name}", depth + 1, chain)
        return found

    def _complete(self, out: JsonObject, notes: Notes) -> None:
        """What the column wants beside what the client said."""
        kinds = out.get("type")
        kinds = [kinds] if isinstance(kinds, str) else kinds or []
        names = out.get("properties", {})
        if self._column == "GS":
            required = [name for name in out.pop("required", ()) if name in names]
            if required:
                out["required"] = required
            if names and self._use == "output" and "propertyOrdering" not in out:
                out["propertyOrdering"] = list(names)
            if "ARRAY" in kinds and "items" not in out:
                out["items"] = {"type": "STRING"}
            return
        if self._column == "GJ":
            return
        if "object" in kinds:
            out.setdefault("additionalProperties", False)
            if self._column == "OS" and not set(names) <= set(out.get("required", ())):
                notes.loosen()
        if "array" in kinds and "items" not in out:
            out["items"] = {"type": "string"}
            notes.drop("items")

    # References and `allOf`.

    def _resolved(
        self, node: JsonObject, chain: tuple[str, ...], notes: Notes
    ) -> tuple[JsonObject, tuple[str, ...]] | str:
        """`node` without `$ref` and `allOf`; or the reference it is."""
        waiting: list[JsonObject] = [node]
        found: JsonObject = {}
        here: set[str] = set()  # what is being merged: once more adds nothing
        steps = 0
        while waiting:
            steps += 1
            if steps > MAX_NODES:
                raise _TooLargeError
            part = waiting.pop(0)
            pointer = part.get("$ref")
            if isinstance(pointer, str) and pointer in here:
                part = _without(part, "$ref")
            elif pointer is not None:
                alone = not found and not waiting and len(part) == 1
                target = self._reference(pointer, chain, notes, alone=alone)
                if target is None:
                    part = _without(part, "$ref")
                    notes.tell("$ref", pointer)
                    if not found and not waiting and not _says_type(part):
                        part = {"type": "object", **part}
                elif isinstance(target, str):
                    return target
                else:
                    chain = (*chain, pointer)
                    here.add(pointer)
                    rest = _without(part, "$ref")
                    if rest.get("nullable") is True and isinstance(target.get("$ref"), str):
                        rest.pop("nullable")
                        target = {"anyOf": [target, {"type": "null"}]}
                    waiting = [rest, target, *waiting] if rest else [target, *waiting]
                    continue
            elements = part.get("allOf")
            part = {key: value for key, value in part.items() if key not in NEVER and key != "allOf"}
            found, whole = merge(found, part)
            if not whole:
                notes.tell("allOf", node.get("allOf", part))
                notes.loosen()
            if elements is not None:
                entries = notes.a_list(elements, "allOf")
                waiting = [entry for entry in entries if isinstance(entry, dict)] + waiting
        return found, chain

    def _reference(self, pointer: Any, chain: tuple[str, ...], notes: Notes, *, alone: bool) -> JsonObject | str | None:
        """What a reference becomes: the schema it names, to be written out; a reference of ours; or nothing, where
        it would never end."""
        if not isinstance(pointer, str) or not is_local(pointer):
            raise notes.wrong(f"refers to {str(pointer)[:100]!r}, which is outside of it: write it out")
        try:
            target = resolve(self._root, pointer)
        except KeyError:
            raise notes.wrong(f"refers to {pointer[:100]!r}, which is not in it") from None
        times = chain.count(pointer)
        if self._column == "GS" or pointer in self._circles:
            if times >= self._unrolled:
                return None
        elif times or (alone and notes.path):  # at the root it is written out
            if not alone:
                notes.drop("$ref")
            return self._definitions.refer(pointer)
        if isinstance(target, bool):
            return {}
        if not isinstance(target, dict):
            raise notes.wrong(f"refers to {pointer[:100]!r}, which is no schema")
        return target

    # Alternatives.

    def _alone(self, node: JsonObject, depth: int, chain: tuple[str, ...], notes: Notes) -> JsonObject:
        """Gemini takes `anyOf` only alone in its object: everything beside it goes into the branches."""
        found, with_null = spread(node, notes)
        if not found:
            return {"type": "NULL"} if with_null else {"type": "OBJECT"}
        if len(found) == 1:
            return _object(self._schema(found[0], notes.path, depth + 1, chain))
        cleaned = [
            _object(self._schema(branch, f"{notes.path}.anyOf[{place}]", depth + 1, chain))
            for place, branch in enumerate(found)
        ]
        said = [branch for branch in cleaned if branch.get("type") != "NULL"]  # what references have turned out to be
        if not said:
            return {"type": "NULL"}
        if len(said) < len(cleaned):
            cleaned = [nullable(branch) for branch in said]
        if len(cleaned) == 1:
            return cleaned[0]
        self._tally.unions += 1
        return {"anyOf": cleaned}

    def _split(self, node: JsonObject, depth: int, chain: tuple[str, ...], notes: Notes) -> JsonObject:
        """Several types as alternatives."""
        whole = by_type(node, self._column)
        if self._column == "GS":
            return self._alone(whole, depth, chain, notes)
        if "anyOf" in node:
            notes.tell("anyOf", node["anyOf"])
        return self._finished(whole, depth, chain, notes)


def _object(found: JsonObject | bool) -> JsonObject:
    return found if isinstance(found, dict) else {}


def _without(part: JsonObject, keyword: str) -> JsonObject:
    return {key: value for key, value in part.items() if key != keyword}


def _says_type(part: Mapping[str, Any]) -> bool:
    return any(key in part for key in ("type", "anyOf", "oneOf", "properties", "items", "enum"))
