"""Grounding metadata and citations. Google counts UTF-8 bytes within a part, we count code points within a block."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from oneapi_mw.canonical.blocks import Citation
from oneapi_mw.immutable import immutable
from oneapi_mw.types import JsonObject

MAX_CITATIONS = 10_000


@immutable
class Spot:
    """A citation and where it belongs."""

    place: int
    """Index of the text it is in."""
    citation: Citation


def find_citations(grounding: object, texts: Sequence[str], parts: Mapping[int, int] | None = None) -> list[Spot]:
    """One citation for each pair of a support and a source.

    Args:
        texts: the text blocks of the candidate, in order.
        parts: byte offset, in all text, of each part that holds text; `None` in streams, whose parts are cut
            anywhere: there all text counts as one part.
    """
    if not isinstance(grounding, dict) or not texts:
        return []
    chunks = _list(grounding.get("groundingChunks"))
    whole = "".join(texts).encode("utf-8", "surrogatepass")
    spots: list[Spot] = []
    for support in _list(grounding.get("groundingSupports")):
        if not isinstance(support, dict):
            continue
        place, start, end, text = _span(support.get("segment"), texts, whole, parts)
        for index in _list(support.get("groundingChunkIndices")):
            source = chunks[index] if type(index) is int and 0 <= index < len(chunks) else None
            citation = _citation(source, start, end, text)
            if citation is not None and len(spots) < MAX_CITATIONS:
                spots.append(Spot(place, citation))
    return spots


def _list(value: object) -> list[Any]:
    return value if isinstance(value, list) else []


def _citation(source: object, start: int, end: int, text: str | None) -> Citation | None:
    if not isinstance(source, dict):
        return None
    web = source.get("web") or source.get("maps")
    if isinstance(web, dict) and isinstance(web.get("uri"), str):
        title = web.get("title")
        return Citation("url", web["uri"], title=title if isinstance(title, str) else None, start=start, end=end)
    document = source.get("retrievedContext")
    if isinstance(document, dict):
        uri, title = document.get("uri"), document.get("title")
        title = title if isinstance(title, str) else None
        url = uri if isinstance(uri, str) else None
        return Citation("file", url, filename=title, title=title, start=start, end=end)
    return None


def _span(
    segment: object, texts: Sequence[str], whole: bytes, parts: Mapping[int, int] | None
) -> tuple[int, int, int, str | None]:
    """Text and range within it, in code points. A support without a segment is about nothing in particular."""
    if not isinstance(segment, dict):
        return 0, 0, 0, None
    said = segment.get("text")
    said = said if isinstance(said, str) and said else None
    offset = 0
    if parts is not None:
        index = segment.get("partIndex", 0)
        offset = parts.get(index, 0) if type(index) is int else 0
    start, end = _offset(segment.get("startIndex")) + offset, _offset(segment.get("endIndex")) + offset
    if said is not None:
        wanted = said.encode("utf-8", "surrogatepass")
        if whole[start:end] != wanted and (found := whole.find(wanted)) >= 0:
            start, end = found, found + len(wanted)
    return *_within(texts, start, end), said


def _offset(value: object) -> int:
    return max(0, value) if type(value) is int else 0


def _within(texts: Sequence[str], start: int, end: int) -> tuple[int, int, int]:
    """The text in which byte `start` of all of them lies, and the range in its code points."""
    for place, text in enumerate(texts):
        data = text.encode("utf-8", "surrogatepass")
        if start < len(data) or place == len(texts) - 1:
            first = len(data[:start].decode("utf-8", "ignore"))
            return place, first, max(first, len(data[:end].decode("utf-8", "ignore")))
        start -= len(data)
        end -= len(data)
    return 0, 0, 0


def encode_grounding(blocks: Iterable[tuple[int, int, str, Sequence[Citation]]]) -> JsonObject | None:
    """Grounding metadata for citations; `None` when there are none with an address.

    Args:
        blocks: of each text its part, its byte offset within that part, itself and its citations.
    """
    chunks: list[JsonObject] = []
    known: dict[tuple[str | None, str | None], int] = {}
    supports: dict[tuple[int, int, int], JsonObject] = {}
    for part, offset, text, citations in blocks:
        for citation in citations:
            source = _chunk(citation)
            if source is None:
                continue
            key = (citation.url, citation.title or citation.filename)
            if key not in known:
                known[key] = len(chunks)
                chunks.append(source)
            start = min(citation.start or 0, len(text))
            end = len(text) if citation.end is None else min(citation.end, len(text))
            segment = _segment(part, offset, text, start, max(start, end))
            support = supports.setdefault(
                (part, offset + start, offset + end), {"segment": segment, "groundingChunkIndices": []}
            )
            if known[key] not in support["groundingChunkIndices"]:
                support["groundingChunkIndices"].append(known[key])
    if not chunks:
        return None
    return {"groundingChunks": chunks, "groundingSupports": list(supports.values())}


def _chunk(citation: Citation) -> JsonObject | None:
    if citation.url is None:
        return None
    title = citation.title or citation.filename
    source: JsonObject = {"uri": citation.url}
    if title is not None:
        source["title"] = title
    return {"retrievedContext" if citation.kind == "file" else "web": source}


def _segment(part: int, offset: int, text: str, start: int, end: int) -> JsonObject:
    first = offset + len(text[:start].encode("utf-8", "surrogatepass"))
    said = text[start:end]
    segment: JsonObject = {"startIndex": first, "endIndex": first + len(said.encode("utf-8", "surrogatepass"))}
    if part:
        segment["partIndex"] = part
    return {**segment, "text": said}
