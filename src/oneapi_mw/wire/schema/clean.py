"""One schema for one kind of target: what it takes, in the form it takes it.

Order of work: references, `allOf`, type, `enum`, alternatives, members, then the table of the column. A keyword
that is lost is said in the description, as the object `{keyword: value}`. The result is a function of the schema
and the arguments alone, so that prompt caches stay warm; the client's object is never changed.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from oneapi_mw.errors import InvalidRequest
from oneapi_mw.jsontext import dumps, well_formed
from oneapi_mw.types import JsonObject
from oneapi_mw.wire.schema.cache import MAX_ENTRY_BYTES, Cache
from oneapi_mw.wire.schema.columns import (
    ARRAY_KEYS,
    FORMATS,
    NEVER,
    NUMBER_FORMATS,
    OBJECT_KEYS,
    TYPES,
    Column,
    Use,
    action,
)
from oneapi_mw.wire.schema.limits import Tally
from oneapi_mw.wire.schema.loose import loosened
from oneapi_mw.wire.schema.merge import merge
from oneapi_mw.wire.schema.references import is_local, resolve, unavoidable_circles
from oneapi_mw.wire.schema.values import as_text, inferred, is_about, is_kind, is_null
from oneapi_mw.wire.schema.wrap import MEMBER, is_untyped_object, object_root

MAX_NODES = 20_000
MAX_DEPTH = 64
MAX_UNROLLED = 3
"""How often a schema may contain itself where it has to be written out."""
CODE = "unsupported_parameter"
_ELSEWHERE = frozenset({"$ref", "allOf", "anyOf", "oneOf"})
"""Keywords that say what a schema is about in other ones."""


@dataclass(frozen=True, slots=True)
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
        self._where = where
        self._vertex = vertex
        self._unrolled = unrolled
        self._circles = unavoidable_circles(root) if column == "GJ" else frozenset()
        self._nodes = 0
        self._strict = True
        self._dropped: dict[str, None] = {}
        self._names: dict[str, str] = {}  # pointer -> name among the definitions of the result
        self._refers: dict[str, set[str]] = {}  # name -> names it refers to
        self._current = ""  # name of the definition that is being written
        self._tally = Tally()

    def run(self) -> Cleaned:
        root = self._root
        if self._use == "tool" and not _ELSEWHERE & root.keys() and is_untyped_object(root):
            root = {"type": "object", **root}
        found = self._object(self._schema(root, "", 0, ()))
        kind = found.get("type")
        wrapped = False
        if self._use == "tool" and kind is None and "anyOf" not in found and "$ref" not in found:
            found = {"type": "object", **found}
            self._complete(found, "")
        elif (self._column == "OS" or self._use == "tool") and (
            str(kind).lower() != "object" or "anyOf" in found or "$ref" in found
        ):
            wrapped = True
            found = {"type": self._typed("object"), "properties": {MEMBER: found}, "required": [MEMBER]}
            if self._column != "GS":
                found["additionalProperties"] = False
        definitions = self._definitions()
        if definitions:
            found = {**found, "$defs": definitions}
        strict = self._strict and not (self._column == "AN" and self._recursive())
        strict = strict and self._tally.fits(self._column)
        return Cleaned(found, tuple(self._dropped), wrapped, strict, self._tally.optional, self._tally.unions)

    # One node.

    def _schema(self, raw: Any, path: str, depth: int, chain: tuple[str, ...]) -> JsonObject | bool:
        """`chain`: pointers that were written out on the way here."""
        self._nodes += 1
        if self._nodes > MAX_NODES or depth > MAX_DEPTH:
            raise _TooLargeError
        if raw is True or raw is False or raw == {}:
            return self._anything(raw, path)
        if not isinstance(raw, dict):
            raise self._wrong(path, "must be an object")
        notes: JsonObject = {}
        node = {key: value for key, value in raw.items() if key not in NEVER}
        resolved = self._resolved(node, path, chain, notes)
        if isinstance(resolved, str):
            return self._told({"$ref": resolved}, notes, path)
        node, chain = resolved
        node = self._alternatives_named(node, path, notes)
        node = self._typed_node(node, path, notes)
        node = self._valued(node, path, notes)
        if self._column == "GS" and "anyOf" in node:
            return self._alone(node, path, depth, chain, notes)
        if self._column in ("GS", "AN") and isinstance(node.get("type"), list):
            return self._split(node, path, depth, chain, notes)
        return self._finished(node, path, depth, chain, notes)

    def _anything(self, raw: Any, path: str) -> JsonObject | bool:
        """`true`, `false` and `{}`."""
        match self._column:
            case "GJ":
                return raw  # type: ignore[no-any-return]
            case "GS":
                self._drop(path, "any")
                return {"type": "OBJECT"}
            case "AN":
                self._drop(path, "any")
                return {"type": "string", "description": '{"type":"any"}'}
            case _:
                self._strict = False
                return raw  # type: ignore[no-any-return]

    def _finished(
        self, node: JsonObject, path: str, depth: int, chain: tuple[str, ...], notes: JsonObject
    ) -> JsonObject:
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
                kept = self._kept(key, value, path, depth, chain)
                if kept is not None:
                    out[key] = kept
            elif what != "remove":
                notes[key] = value
                self._strict = self._strict and what != "loose"
                self._drop(path, key)
        self._complete(out, path)
        self._tally.note(out, depth)
        return self._told(out, notes, path)

    def _kept(self, key: str, value: Any, path: str, depth: int, chain: tuple[str, ...]) -> Any:
        """The value of a keyword that stays; `None` when there is nothing left of it."""
        match key:
            case "properties":
                return self._properties(value, path, depth, chain) or None
            case "items":
                return self._schema(value, f"{path}.items", depth + 1, chain)
            case "anyOf" | "oneOf" | "prefixItems":
                members = self._list(value, f"{path}.{key}")
                return [
                    self._schema(member, f"{path}.{key}[{place}]", depth + 1, chain)
                    for place, member in enumerate(members)
                ]
            case "additionalProperties" if isinstance(value, dict) and self._column == "GJ":
                return self._schema(value, f"{path}.{key}", depth + 1, chain)
            case "additionalProperties" if value is not False and self._column == "OS":
                self._strict = False
                return value
            case "required":
                return [name for name in self._list(value, f"{path}.{key}") if isinstance(name, str)]
            case "type" if self._column == "GS":
                return value.upper()
            case _:
                return value

    def _properties(self, value: Any, path: str, depth: int, chain: tuple[str, ...]) -> JsonObject:
        if not isinstance(value, dict):
            raise self._wrong(f"{path}.properties", "must be an object")
        found: JsonObject = {}
        for name, member in value.items():
            below = f"{path}.{name}"
            if member is False and self._column != "GJ":
                self._drop(path, name)
                self._strict = False
                continue
            found[name] = self._schema(member, below, depth + 1, chain)
        return found

    def _complete(self, out: JsonObject, path: str) -> None:
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
                self._strict = False
        if "array" in kinds and "items" not in out:
            out["items"] = {"type": "string"}
            self._drop(path, "items")

    # References and `allOf`.

    def _resolved(
        self, node: JsonObject, path: str, chain: tuple[str, ...], notes: JsonObject
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
                part = {key: value for key, value in part.items() if key != "$ref"}
            elif pointer is not None:
                alone = not found and not waiting and len(part) == 1
                target = self._reference(pointer, path, chain, alone=alone, root=not path)
                if target is None:
                    part = {key: value for key, value in part.items() if key != "$ref"}
                    self._drop(path, "$ref")
                    notes["$ref"] = pointer
                    if not found and not waiting and not self._says_type(part):
                        part = {"type": "object", **part}
                elif isinstance(target, str):
                    return target
                else:
                    chain = (*chain, pointer)
                    here.add(pointer)
                    rest = {key: value for key, value in part.items() if key != "$ref"}
                    if rest.get("nullable") is True and isinstance(target.get("$ref"), str):
                        rest.pop("nullable")
                        target = {"anyOf": [target, {"type": "null"}]}
                    waiting = [rest, target, *waiting] if rest else [target, *waiting]
                    continue
            elements = part.get("allOf")
            part = {key: value for key, value in part.items() if key not in NEVER and key != "allOf"}
            found, whole = merge(found, part)
            if not whole:
                self._lost(path, "allOf")
                notes["allOf"] = node.get("allOf", part)
            if elements is not None:
                entries = self._list(elements, f"{path}.allOf")
                waiting = [entry for entry in entries if isinstance(entry, dict)] + waiting
        return found, chain

    def _reference(
        self, pointer: Any, path: str, chain: tuple[str, ...], *, alone: bool, root: bool
    ) -> JsonObject | str | None:
        """What a reference becomes: the schema it names, to be written out; a reference of ours; or nothing, where
        it would never end."""
        if not isinstance(pointer, str) or not is_local(pointer):
            raise self._wrong(path, f"refers to {str(pointer)[:100]!r}, which is outside of it: write it out")
        try:
            target = resolve(self._root, pointer)
        except KeyError:
            raise self._wrong(path, f"refers to {pointer[:100]!r}, which is not in it") from None
        times = chain.count(pointer)
        if self._column == "GS" or pointer in self._circles:
            if times >= self._unrolled:
                return None
        elif times or (alone and not root):
            if not alone:
                self._drop(path, "$ref")
            return self._define(pointer)
        if isinstance(target, bool):
            return {}
        if not isinstance(target, dict):
            raise self._wrong(path, f"refers to {pointer[:100]!r}, which is no schema")
        return target

    def _says_type(self, part: Mapping[str, Any]) -> bool:
        return any(key in part for key in ("type", "anyOf", "oneOf", "properties", "items", "enum"))

    def _define(self, pointer: str) -> str:
        """Our own reference to `pointer`."""
        name = self._names.get(pointer)
        if name is None:
            wanted = "root" if pointer == "#" else pointer.rpartition("/")[2].replace("~1", "_").replace("~0", "_")
            taken = set(self._names.values())
            name, number = wanted, 2
            while name in taken:
                name, number = f"{wanted}_{number}", number + 1
            self._names[pointer] = name
        self._refers.setdefault(self._current, set()).add(name)
        return f"#/$defs/{name}"

    def _definitions(self) -> JsonObject:
        """The schemas our references name. Writing one may name another."""
        written: JsonObject = {}
        while len(written) < len(self._names):
            for pointer, name in list(self._names.items()):
                if name not in written:
                    self._current = name
                    written[name] = self._schema(resolve(self._root, pointer), f"#{name}", 1, (pointer,))
        return written

    def _recursive(self) -> bool:
        """Whether a definition leads back to itself."""
        for name in self._names.values():
            seen: set[str] = set()
            waiting = list(self._refers.get(name, ()))
            while waiting:
                reached = waiting.pop()
                if reached == name:
                    return True
                if reached not in seen:
                    seen.add(reached)
                    waiting += self._refers.get(reached, ())
        return False

    # Types, values, alternatives.

    def _alternatives_named(self, node: JsonObject, path: str, notes: JsonObject) -> JsonObject:
        """`oneOf` as `anyOf`, `items` of a tuple as `prefixItems`."""
        if "oneOf" in node and "anyOf" not in node and self._column != "GJ":
            node = {"anyOf" if key == "oneOf" else key: value for key, value in node.items()}
        if isinstance(node.get("items"), list):
            entries = node["items"]
            node = {key: value for key, value in node.items() if key != "items"} | {"prefixItems": entries}
        if isinstance(node.get("prefixItems"), list) and self._column == "OS" and node["prefixItems"]:
            members = node["prefixItems"]
            node = {**node, "items": members[0] if len(members) == 1 else {"anyOf": members}}
        return node

    def _typed_node(self, node: JsonObject, path: str, notes: JsonObject) -> JsonObject:
        """`type` in lower case, as a list only where it names several; `nullable` in the column's form."""
        node = dict(node)
        declared = node.get("type")
        kinds = self._kinds(declared, path) or inferred(node)
        nullable = node.pop("nullable", None) is True
        if not kinds and "anyOf" not in node and "oneOf" not in node:
            match self._column:
                case "GS":
                    kinds = ["object"]
                case "AN":
                    kinds = ["string"]
                    notes["type"] = "any"
                    self._drop(path, "type")
                case "OS":
                    self._strict = False
        if "null" in kinds and self._column == "GS" and len(kinds) > 1:
            kinds = [kind for kind in kinds if kind != "null"]
            nullable = True
        if nullable:
            if self._column == "GS":
                node["nullable"] = True
            elif kinds and "null" not in kinds:
                kinds = [*kinds, "null"]
                if isinstance(node.get("enum"), list) and None not in node["enum"]:
                    node["enum"] = [*node["enum"], None]
            elif not kinds and isinstance(node.get("anyOf"), list) and {"type": "null"} not in node["anyOf"]:
                node["anyOf"] = [*node["anyOf"], {"type": "null"}]
        if kinds:
            value = kinds[0] if len(kinds) == 1 else kinds
            node = {**node, "type": value} if "type" in node else {"type": value, **node}
        return node

    def _kinds(self, declared: Any, path: str) -> list[str]:
        names = declared if isinstance(declared, list) else [] if declared is None else [declared]
        kinds = [name.lower() for name in names if isinstance(name, str)]
        if len(kinds) != len(names) or not TYPES.issuperset(kinds):
            raise self._wrong(f"{path}.type", "must name types of JSON Schema")
        return list(dict.fromkeys(kinds))

    def _valued(self, node: JsonObject, path: str, notes: JsonObject) -> JsonObject:
        """`enum`, `const`, `format` and exclusive bounds in the column's form."""
        node = dict(node)
        if self._column in ("GS", "GJ"):
            if "const" in node:
                node.setdefault("enum", [node.pop("const")])
                node.pop("const", None)
            if "enum" in node:
                self._google_enum(node, path, notes)
        if self._column == "GS":
            self._inclusive(node, path, notes)
        form = node.get("format")
        if "format" in node and not self._takes_format(form, node.get("type")):
            del node["format"]
            if form != "enum":
                notes["format"] = form
                self._drop(path, "format")
        return node

    def _takes_format(self, form: Any, kinds: Any) -> bool:
        if not isinstance(form, str) or form not in FORMATS[self._column]:
            return False
        if self._column != "GS":
            return True
        kinds = kinds if isinstance(kinds, list) else [kinds]
        if form in NUMBER_FORMATS:
            return "integer" in kinds or "number" in kinds
        return "string" in kinds

    def _google_enum(self, node: JsonObject, path: str, notes: JsonObject) -> None:
        """Gemini's dialect has enums of strings alone, its JSON Schema those of strings and numbers."""
        values = self._list(node["enum"], f"{path}.enum")
        said = [value for value in values if value is not None]
        kinds = node.get("type")
        listed = kinds if isinstance(kinds, list) else [kinds] if kinds else []
        nullable = len(said) < len(values)
        if self._column == "GJ":
            fits = all(isinstance(value, str) or type(value) in (int, float) for value in said)
        else:
            said = [value for value in said if value != ""]
            scalars = all(isinstance(value, (str, int, float)) for value in said)
            fits = scalars and [kind for kind in listed if kind != "null"] in (["string"], ["integer", "string"])
            fits = fits or (scalars and "string" in listed)
        if not fits or not said:
            if said or self._column == "GS":
                notes["enum"] = node["enum"]
                self._drop(path, "enum")
            del node["enum"]
            if not said and nullable and not listed:
                node["type"] = "null"
            return
        if self._column == "GS":
            node["enum"] = list(dict.fromkeys(as_text(value) for value in said))
            node["type"], node["format"] = "string", "enum"
            if nullable:
                node["nullable"] = True
            return
        node["enum"] = said
        if nullable and "null" not in listed:
            node["type"] = [*listed, "null"] if listed else node.get("type")

    def _inclusive(self, node: JsonObject, path: str, notes: JsonObject) -> None:
        """Exclusive bounds of integers as inclusive ones."""
        for exclusive, inclusive, step in (("exclusiveMinimum", "minimum", 1), ("exclusiveMaximum", "maximum", -1)):
            bound = node.get(exclusive)
            if type(bound) is not int or node.get("type") != "integer":
                continue
            del node[exclusive]
            known = node.get(inclusive)
            bound += step
            if isinstance(known, (int, float)):
                bound = max(known, bound) if step > 0 else min(known, bound)
            node[inclusive] = bound

    def _alone(self, node: JsonObject, path: str, depth: int, chain: tuple[str, ...], notes: JsonObject) -> JsonObject:
        """Gemini takes `anyOf` only alone in its object: everything beside it goes into the branches."""
        branches = self._list(node["anyOf"], f"{path}.anyOf")
        rest = {key: value for key, value in node.items() if key not in ("anyOf", "oneOf", "default")}
        if "oneOf" in node:
            notes["oneOf"] = node["oneOf"]
            self._drop(path, "oneOf")
        if self._guessed(node):
            rest.pop("type", None)
        said = [branch for branch in branches if branch is not False and not is_null(branch)]
        if any(is_null(branch) for branch in branches):
            rest["nullable"] = True
        if notes:
            rest["description"] = _description(rest.get("description"), notes)
        found = []
        for place, branch in enumerate(said):
            where = f"{path}.anyOf[{place}]"
            if not rest:
                found.append(branch)
                continue
            branch = {} if branch is True else branch
            if not isinstance(branch, dict):
                raise self._wrong(where, "must be an object")
            if isinstance(branch.get("description"), str) and "description" in rest:
                branch = {**branch, "description": f"{rest['description']}\n\n{branch['description']}"}
            found.append({"allOf": [branch, rest]} if "$ref" in branch or "allOf" in branch else merge(branch, rest)[0])
        if not found:
            return {"type": "NULL"} if "nullable" in rest else {"type": "OBJECT"}
        if len(found) == 1:
            return self._object(self._schema(found[0], path, depth + 1, chain))
        cleaned = [
            self._object(self._schema(branch, f"{path}.anyOf[{place}]", depth + 1, chain))
            for place, branch in enumerate(found)
        ]
        said = [branch for branch in cleaned if branch.get("type") != "NULL"]  # what references have turned out to be
        if not said:
            return {"type": "NULL"}
        if len(said) < len(cleaned):
            cleaned = [_nullable(branch) for branch in said]
        if len(cleaned) == 1:
            return cleaned[0]
        self._tally.unions += 1
        return {"anyOf": cleaned}

    def _guessed(self, node: JsonObject) -> bool:
        """Whether the type beside `anyOf` came from the keywords there and says less than the branches."""
        return not any(key in node for key in OBJECT_KEYS | ARRAY_KEYS) and isinstance(node.get("type"), list)

    def _split(self, node: JsonObject, path: str, depth: int, chain: tuple[str, ...], notes: JsonObject) -> JsonObject:
        """Several types as alternatives, each keyword with the type it is about."""
        kinds: list[str] = node["type"]
        shared: JsonObject = {key: node[key] for key in ("title", "description", "default") if key in node}
        if self._column == "GS":
            shared.pop("default", None)
        branches = []
        for kind in kinds:
            own: JsonObject = {key: value for key, value in node.items() if key not in shared and is_about(key, kind)}
            if "enum" in node:
                values = [value for value in node["enum"] if is_kind(value, kind)]
                own.pop("enum", None)
                if values and kind != "null":
                    own["enum"] = values
                elif not values:
                    continue
            if self._column == "GS" and node.get("nullable") is True:
                own["nullable"] = True
            branches.append({**own, "type": kind})
        whole: JsonObject = {**shared, "anyOf": branches}
        if self._column == "GS":
            return self._alone(whole, path, depth, chain, notes)
        if "anyOf" in node:
            notes["anyOf"] = node["anyOf"]
            self._drop(path, "anyOf")
        return self._finished(whole, path, depth, chain, notes)

    # Bookkeeping.

    def _typed(self, kind: str) -> str:
        return kind.upper() if self._column == "GS" else kind

    def _object(self, found: JsonObject | bool) -> JsonObject:
        return found if isinstance(found, dict) else {}

    def _list(self, value: Any, path: str) -> list[Any]:
        if not isinstance(value, list):
            raise self._wrong(path, "must be a list")
        return value

    def _drop(self, path: str, keyword: str) -> None:
        self._dropped[f"{path}.{keyword}".lstrip(".")] = None

    def _lost(self, path: str, keyword: str) -> None:
        self._drop(path, keyword)
        self._strict = False

    def _told(self, out: JsonObject, notes: JsonObject, path: str) -> JsonObject:
        """`out` with what was lost said in its description. A reference stands alone and says nothing."""
        if not notes or "$ref" in out:
            return out
        return {**out, "description": _description(out.get("description"), notes)}

    def _wrong(self, path: str, what: str) -> InvalidRequest:
        place = f"{self._where}{path}"
        return InvalidRequest(f"{place} {what}", param=self._where, code=CODE)


def _nullable(schema: JsonObject) -> JsonObject:
    """A Gemini schema that also takes null."""
    if "anyOf" in schema:
        return {"anyOf": [_nullable(branch) for branch in schema["anyOf"]]}
    return {**schema, "nullable": True}


def _description(known: Any, notes: Mapping[str, Any]) -> str:
    said = well_formed(dumps(dict(notes)).decode())
    return f"{known}\n\n{said}" if isinstance(known, str) and known else said
