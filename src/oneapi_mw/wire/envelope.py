"""Opaque reasoning parts of one vendor, on their way through a client that speaks another's format and back.

    oa1.<vendor>.<base64url: key id, form, content>

    form 1   content = JSON, then 16 bytes of HMAC-SHA-256
    form 2   content = nonce, then the same JSON under AES-256-GCM

The tenant and the vendor's word are authenticated with it: an envelope of somebody else, altered or of an unknown kind
is no envelope, and nobody is told. What is inside is opaque already, so that form 1 will do; text that the client was
not shown goes in form 2. Envelopes are a function of what is in them: the same part gets the same envelope again.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from importlib import import_module
from typing import Any, Literal, TypeAlias

from oneapi_mw.canonical.blocks import (
    Block,
    HostedCall,
    Image,
    Reasoning,
    ReasoningOpaque,
    ReasoningText,
    Text,
    ToolCall,
)
from oneapi_mw.canonical.events import BlockEnded, BlockStarted, Event, OpaqueDelta
from oneapi_mw.canonical.request import Request, Turn
from oneapi_mw.canonical.response import Response
from oneapi_mw.immutable import immutable
from oneapi_mw.jsontext import dumps, loads
from oneapi_mw.wire.envelope_text import ENCRYPTED, MAC_BYTES, PREFIX, SIGNED, TEXT_ALONE, is_envelope, outer

__all__ = ["Courier", "EnvelopeCounts", "Envelopes"]

MAX_ENVELOPE_CHARS = 1024 * 1024
MAX_ENVELOPES = 64
"""Of one request. The last ones count: they are of the turn the model is in."""
MAX_TEXT_CHARS = 64 * 1024
"""Of text carried whole; of a longer one only the digest travels."""

GEMINI, OPENAI = "google-gemini-v1", "openai-responses-v1"
_WORDS = {"anthropic-claude-v1": "anthropic", OPENAI: "responses", GEMINI: "gemini"}
"""What stands in front of the content, for people who read logs."""
_PROVENANCE = "provenance"
_NONCE_BYTES = 12
_VERSION = 1

Kind: TypeAlias = Literal["signature", "encrypted"]
_KINDS: dict[str, Kind] = {"signature": "signature", "encrypted": "encrypted"}


@dataclass(slots=True)
class EnvelopeCounts:
    """For metrics."""

    sealed: int = 0
    opened: int = 0
    rejected: int = 0
    """Somebody else's, altered, too large or too many."""


@immutable
class Opened:
    """What was in an envelope."""

    opaque: ReasoningOpaque | None
    """`None`: it only said where a text comes from."""
    model: str
    """Upstream name."""
    binding: str
    """See `Envelopes.binding`."""
    texts: tuple[ReasoningText, ...] | None
    """The text beside the part; `None` when it was not in there."""
    digest: str | None
    """Of the text, where the client carries it itself."""


class _Key:
    """One secret, as it is used."""

    def __init__(self, secret: bytes) -> None:
        self.id = hmac.digest(secret, b"oneapi_mw envelope id", "sha256")[0]
        self.mac = hmac.digest(secret, b"oneapi_mw envelope mac", "sha256")
        self.nonce = hmac.digest(secret, b"oneapi_mw envelope nonce", "sha256")
        self._cipher_key = hmac.digest(secret, b"oneapi_mw envelope cipher", "sha256")
        self._cipher: Any = None

    @property
    def cipher(self) -> Any:
        """Loaded when first used: most gateways never encrypt."""
        if self._cipher is None:
            aead = import_module("cryptography.hazmat.primitives.ciphers.aead")
            self._cipher = aead.AESGCM(self._cipher_key)
        return self._cipher


class Envelopes:
    """Makes and opens envelopes.

    Args:
        keys: secrets, the current one first; all of them open.
        encrypt: whether every envelope is encrypted, not only those with text nobody was shown.

    Raises: `ValueError` without keys.
    """

    def __init__(self, keys: Sequence[bytes], *, encrypt: bool = False) -> None:
        if not keys:
            raise ValueError("envelopes need at least one key")
        self._keys = [_Key(secret) for secret in keys]
        self._encrypt = encrypt

    def binding(self, channel: str) -> str:
        """What an envelope says of the channel it came from: a digest, as channels are nobody's business."""
        return self._binding(self._keys[0], channel)

    @staticmethod
    def _binding(key: _Key, channel: str) -> str:
        return hmac.digest(key.mac, b"channel\0" + channel.encode(), "sha256")[:8].hex()

    def seal(
        self,
        opaque: ReasoningOpaque,
        *,
        tenant: str,
        model: str,
        channel: str,
        text: str | Sequence[ReasoningText] | None = None,
        carried: bool = False,
        shown: bool = True,
    ) -> ReasoningOpaque | None:
        """`opaque` with its data in an envelope; `None` when that would be too large.

        Args:
            tenant: who alone may send it back.
            model: upstream name.
            channel: any id of the account that made it.
            text: what is signed by it, or belongs to it.
            carried: whether the client carries that text itself, letter by letter: then its digest is enough, unless
                more than the letters counts.
            shown: whether the client sees the text.
        """
        payload: dict[str, Any] = {
            "v": _VERSION,
            "w": opaque.vendor or "unknown",
            "m": model,
            "c": self.binding(channel),
            "k": opaque.kind,
            "d": opaque.data,
        }
        if opaque.id is not None:
            payload["i"] = opaque.id
        texts = (ReasoningText(text),) if isinstance(text, str) else tuple(text or ())
        whole = self._add_text(payload, texts, carried=carried and shown)
        data = self._written(payload, tenant, encrypt=self._encrypt or (whole and not shown))
        return replace(opaque, data=data) if len(data) <= MAX_ENVELOPE_CHARS else None

    def seal_provenance(self, text: str, *, tenant: str, model: str, channel: str) -> ReasoningOpaque:
        """For text without a signature, where the client's format wants one: it says only where the text is from."""
        payload = {
            "v": _VERSION,
            "w": TEXT_ALONE,
            "m": model,
            "c": self.binding(channel),
            "k": _PROVENANCE,
            "h": _digest(text),
        }
        return ReasoningOpaque(self._written(payload, tenant, encrypt=False), TEXT_ALONE)

    def _add_text(self, payload: dict[str, Any], texts: tuple[ReasoningText, ...], *, carried: bool) -> bool:
        """Returns whether the text itself is in the payload."""
        said = Reasoning(texts).text
        if not said:
            return False
        if carried or len(said) > MAX_TEXT_CHARS:
            payload["h"] = _digest(said)
            if len(said) > MAX_TEXT_CHARS or texts == _carried_texts(payload["w"], said):
                return False
        payload["t"] = [[part.text, part.summary] for part in texts]
        return True

    def _written(self, payload: dict[str, Any], tenant: str, *, encrypt: bool) -> str:
        key = self._keys[0]
        head = bytes((key.id, ENCRYPTED if encrypt else SIGNED))
        word = _word(payload["w"])
        beside = _beside(head, word, tenant)
        plain = dumps(payload)
        if encrypt:
            # From what is encrypted, so that nothing random is needed: a nonce comes twice only with the same text.
            nonce = hmac.digest(key.nonce, beside + plain, "sha256")[:_NONCE_BYTES]
            content = nonce + key.cipher.encrypt(nonce, plain, beside)
        else:
            content = plain + hmac.digest(key.mac, beside + plain, "sha256")[:MAC_BYTES]
        return f"{PREFIX}{word}.{base64.urlsafe_b64encode(head + content).decode().rstrip('=')}"

    def open(self, opaque: ReasoningOpaque, *, tenant: str) -> ReasoningOpaque | None:
        """The vendor's own part; `None` for an envelope that does not open, or holds none. What is in no envelope
        stays as it is."""
        if not is_envelope(opaque.data):
            return opaque
        opened = self.unpack(opaque.data, tenant=tenant)
        return opened.opaque if opened is not None else None

    def unpack(self, data: str, *, tenant: str) -> Opened | None:
        """All that is in an envelope; `None` when it does not open."""
        word, raw = outer(data)
        if len(raw) < 2 or len(data) > MAX_ENVELOPE_CHARS:
            return None
        head, content = raw[:2], raw[2:]
        beside = _beside(head, word, tenant)
        for key in self._keys:
            if key.id != head[0]:
                continue
            plain = _plain(key, head[1], content, beside)
            if plain is not None:
                return _opened(plain, word)
        return None

    # Whole requests and answers.

    def open_request(self, request: Request, tenant: str) -> tuple[Request, EnvelopeCounts]:
        """`request` with every envelope opened, or its part left out where it does not open."""
        counts = EnvelopeCounts()
        if not any(_opaque_of(block) for turn in request.turns for block in turn.blocks):
            return request, counts
        opener = _Opener(self, tenant, counts)
        turns = [opener.turn(turn) for turn in reversed(request.turns)]
        return replace(request, turns=tuple(turn for turn in reversed(turns) if turn is not None)), counts


def _word(vendor: str) -> str:
    word = _WORDS.get(vendor, vendor)
    return "".join(c if c.isascii() and (c.isalnum() or c in "-_") else "-" for c in word)


def _beside(head: bytes, word: str, tenant: str) -> bytes:
    """What is authenticated beside the payload. Its length stands in front: no two of these read alike."""
    named = f"{word}\0{tenant}".encode()
    return head + len(named).to_bytes(4, "big") + named


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()


def _plain(key: _Key, form: int, content: bytes, beside: bytes) -> bytes | None:
    if form == SIGNED:
        plain, mac = content[:-MAC_BYTES], content[-MAC_BYTES:]
        expected = hmac.digest(key.mac, beside + plain, "sha256")[:MAC_BYTES]
        return plain if hmac.compare_digest(mac, expected) else None
    if form == ENCRYPTED:
        try:
            opened: bytes = key.cipher.decrypt(content[:_NONCE_BYTES], content[_NONCE_BYTES:], beside)
        except (ValueError, import_module("cryptography.exceptions").InvalidTag):
            return None
        return opened
    return None


def _opened(plain: bytes, word: str) -> Opened | None:
    payload = loads(plain)  # made by us: it is what we write, or what a later version writes
    if payload["v"] != _VERSION or _word(payload["w"]) != word:
        return None
    texts = tuple(ReasoningText(said, summary) for said, summary in payload["t"]) if "t" in payload else None
    opaque = None
    if payload["k"] in _KINDS:
        opaque = ReasoningOpaque(payload["d"], payload["w"], _KINDS[payload["k"]], payload.get("i"))
    elif payload["k"] != _PROVENANCE:
        return None
    return Opened(opaque, payload["m"], payload["c"], texts, payload.get("h"))


def _opaque_of(block: Block) -> ReasoningOpaque | None:
    """The part of a block that may be in an envelope."""
    if isinstance(block, (Reasoning, Text, ToolCall, Image, HostedCall)):
        return block.opaque
    return None


def _carried_texts(vendor: str, text: str) -> tuple[ReasoningText, ...]:
    """What a client that knows one text a block carries of a block's texts."""
    return (ReasoningText(text, summary=vendor == OPENAI),)


class _Opener:
    """Opens the envelopes of one request, from its end."""

    def __init__(self, envelopes: Envelopes, tenant: str, counts: EnvelopeCounts) -> None:
        self._envelopes = envelopes
        self._tenant = tenant
        self._counts = counts

    def turn(self, turn: Turn) -> Turn | None:
        """`None` when nothing is left of it."""
        found = [_opaque_of(block) for block in turn.blocks]
        if not any(opaque is not None and is_envelope(opaque.data) for opaque in found):
            return turn
        blocks = [self._block(block) for block in reversed(turn.blocks)]
        kept = tuple(block for block in reversed(blocks) if block is not None)
        return replace(turn, blocks=kept) if kept else None

    def _block(self, block: Block) -> Block | None:
        opaque = _opaque_of(block)
        if opaque is None or not is_envelope(opaque.data):
            return block
        opened = self._unpack(opaque.data)
        if isinstance(block, Reasoning):
            return self._reasoning(block, opened)
        self._count(opened)
        own = opened.opaque if opened is not None else None
        if isinstance(block, Text) and own is None and not block.text:
            return None  # it was there for the signature's sake
        assert isinstance(block, (Text, ToolCall, Image, HostedCall))
        return replace(block, opaque=own)

    def _reasoning(self, block: Reasoning, opened: Opened | None) -> Reasoning | None:
        if opened is not None and opened.digest is not None and opened.digest != _digest(block.text):
            opened = None  # the text was changed: what is signed is no longer there
        self._count(opened)
        if opened is None or opened.opaque is None:
            return replace(block, opaque=None) if block.text else None
        texts = block.texts if opened.texts is None else opened.texts
        if opened.texts is None and opened.digest is not None:
            texts = _carried_texts(opened.opaque.vendor, block.text)
        return replace(block, texts=texts, opaque=opened.opaque)

    def _unpack(self, data: str) -> Opened | None:
        if self._counts.opened + self._counts.rejected >= MAX_ENVELOPES:
            return None
        return self._envelopes.unpack(data, tenant=self._tenant)

    def _count(self, opened: Opened | None) -> None:
        if opened is None:
            self._counts.rejected += 1
        else:
            self._counts.opened += 1


class Courier:
    """The envelopes of one request and its answer. Its three methods are what the relay needs to know.

    A reasoning block's part waits for the end of the block: only then all of its text is known.

    Args:
        tenant: who alone may send the parts back.
        served: upstream name of the model and id of the channel that answers; asked when it does.
        client: wire format of the client.
        hidden: whether the client is not to see the text of reasoning.
        carry: whether parts travel at all; else they are left out of answers.
    """

    def __init__(
        self,
        envelopes: Envelopes,
        *,
        tenant: str,
        served: Callable[[], tuple[str, str]],
        client: str,
        hidden: bool = False,
        carry: bool = True,
    ) -> None:
        self._envelopes = envelopes
        self._tenant = tenant
        self._served = served
        self._client = client
        self._hidden = hidden
        self._carry = carry
        self._begun: dict[tuple[int, int], BlockStarted] = {}
        self.counts = EnvelopeCounts()

    def hide(self) -> None:
        """From now on no text may be read in what is sealed."""
        self._hidden = True

    def open_request(self, request: Request) -> Request:
        opened, counts = self._envelopes.open_request(request, self._tenant)
        self.counts.opened += counts.opened
        self.counts.rejected += counts.rejected
        return opened

    def seal_response(self, response: Response) -> Response:
        candidates = tuple(
            replace(candidate, blocks=tuple(self._block(block) for block in candidate.blocks))
            for candidate in response.candidates
        )
        return replace(response, candidates=candidates)

    def seal_events(self, events: Iterable[Event]) -> list[Event]:
        out: list[Event] = []
        for event in events:
            match event:
                case BlockStarted(candidate, block, kind):
                    self._begun[candidate, block] = event
                    own = event.opaque if kind != "reasoning" else None
                    out.append(event if event.opaque is None else replace(event, opaque=self._beside(own, event)))
                case OpaqueDelta(candidate, block, opaque):
                    begun = self._begun.get((candidate, block))
                    if begun is not None and begun.kind == "reasoning":
                        continue  # comes with the end
                    sealed = self._beside(opaque, begun)
                    if sealed is not None:
                        out.append(replace(event, opaque=sealed))
                case BlockEnded(candidate, block, content):
                    self._begun.pop((candidate, block), None)
                    ended = self._block(content)
                    if isinstance(ended, Reasoning) and ended.opaque is not None:
                        out.append(OpaqueDelta(candidate, block, ended.opaque))
                    out.append(event if ended is content else replace(event, content=ended))
                case _:
                    out.append(event)
        return out

    def _beside(self, opaque: ReasoningOpaque | None, begun: BlockStarted | None) -> ReasoningOpaque | None:
        """The part of a block that is no reasoning."""
        if opaque is not None and begun is not None and begun.kind == "tool_call":
            return self._of_call(opaque, begun.call_id)
        return None if opaque is None else self._seal(opaque)

    def _block(self, block: Block) -> Block:
        match block:
            case Reasoning():
                return self._thought(block)
            case ToolCall(opaque=ReasoningOpaque() as opaque):
                return replace(block, opaque=self._of_call(opaque, block.id))
            case Text(opaque=ReasoningOpaque() as opaque):
                return replace(block, opaque=self._seal(opaque))
            case Image(opaque=ReasoningOpaque() as opaque):
                return replace(block, opaque=self._seal(opaque))
            case HostedCall(opaque=ReasoningOpaque() as opaque):
                return replace(block, opaque=self._seal(opaque))
            case _:
                return block

    def _thought(self, block: Reasoning) -> Reasoning:
        if block.opaque is not None:
            return replace(block, opaque=self._seal(block.opaque, block.texts))
        if self._client != "anthropic_messages" or not self._carry or not block.text:
            return block
        model, channel = self._served()
        self.counts.sealed += 1
        made = self._envelopes.seal_provenance(block.text, tenant=self._tenant, model=model, channel=channel)
        return replace(block, opaque=made)

    def _of_call(self, opaque: ReasoningOpaque, call_id: str | None) -> ReasoningOpaque | None:
        """A call's part says which call it is of: formats that sign only reasoning carry it somewhere else. Chat has
        a place for Google's, in Google's own shape."""
        if self._client == "openai_chat" and opaque.vendor == GEMINI and not is_envelope(opaque.data):
            return opaque
        return self._seal(opaque if opaque.id is not None else replace(opaque, id=call_id))

    def _seal(self, opaque: ReasoningOpaque, texts: tuple[ReasoningText, ...] = ()) -> ReasoningOpaque | None:
        if not self._carry or is_envelope(opaque.data):
            return None  # nobody but us makes envelopes: this one is forged
        model, channel = self._served()
        sealed = self._envelopes.seal(
            opaque,
            tenant=self._tenant,
            model=model,
            channel=channel,
            text=() if opaque.vendor == GEMINI else texts,  # whose signatures do not cover it
            carried=self._client in _VERBATIM,
            shown=not self._hidden,
        )
        self.counts.sealed += sealed is not None
        return sealed


_VERBATIM = ("anthropic_messages", "gemini")
"""Formats whose clients send reasoning text back block by block, as it was."""
