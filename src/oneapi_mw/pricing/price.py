"""Prices compiled to integers."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import field
from types import MappingProxyType

from oneapi_mw.immutable import immutable
from oneapi_mw.pricing.searches import SEARCH, is_search, price_of
from oneapi_mw.pricing.window import Span
from oneapi_mw.types import Quota

SCALE = 10**12
"""Compiled prices are quota units x SCALE per token, so USD prices per million tokens with up to eleven
decimals, and ratios with up to twelve, are exact."""

RATIO_SCALE = 10**6
"""Group ratios are millionths."""

NOTHING: Mapping[str, int] = MappingProxyType({})


@immutable
class PartPrices:
    """Prices of token kinds that not every model tells apart, x `SCALE` per token; `None`: at the price of text."""

    input_audio: int | None = None
    input_image: int | None = None
    input_video: int | None = None
    input_document: int | None = None
    cache_read_audio: int | None = None
    cache_read_image: int | None = None
    reasoning: int | None = None
    output_audio: int | None = None
    output_image: int | None = None
    output_video: int | None = None

    @property
    def dearest_input(self) -> int:
        """0 when no part of the input has a price of its own."""
        inputs = (
            self.input_audio,
            self.input_image,
            self.input_video,
            self.input_document,
            self.cache_read_audio,
            self.cache_read_image,
        )
        return max((price for price in inputs if price is not None), default=0)

    @property
    def dearest_output(self) -> int:
        outputs = (self.reasoning, self.output_audio, self.output_image, self.output_video)
        return max((price for price in outputs if price is not None), default=0)


@immutable
class MeterPrices:
    """Prices of what is not counted in tokens, quota units x `SCALE` per piece or millisecond."""

    each: Mapping[str, int] = field(default_factory=dict)
    """By meter kind; images and videos are below."""
    images: Mapping[tuple[str, str], int] = field(default_factory=dict)
    """By (quality, size), each `default` where the card does not tell them apart."""
    default_size: str = ""
    default_quality: str = ""
    video_ms: Mapping[str, int] = field(default_factory=dict)
    """By resolution; `default` for those that are not listed."""
    default_resolution: str = ""
    video: int | None = None
    """For a whole video, whatever its length."""
    round_up_ms: int = 0
    """Audio is billed in multiples of this."""
    minimum_ms: int = 0
    """Least length audio is billed for."""

    def has(self, kind: str) -> bool:
        """Whether there is a price for readings of this kind."""
        if kind == "images":
            return bool(self.images)
        if kind == "video_ms":
            return bool(self.video_ms) or self.video is not None
        return kind in self.each

    def image(self, size: str, quality: str) -> int | None:
        """The price of one image; `None` for a size or quality the card does not have."""
        size, quality = (size or self.default_size).lower(), (quality or self.default_quality).lower()
        for one_quality in (quality, "default"):
            for one_size in (size, "default"):
                price = self.images.get((one_quality, one_size))
                if price is not None:
                    return price
        return None

    @property
    def dearest_image(self) -> int:
        """Of any size and quality; 0 where images have no price."""
        return max(self.images.values(), default=0)

    def video_price(self, resolution: str) -> int | None:
        """The price of one millisecond of video."""
        found = self.video_ms.get(resolution_key(resolution or self.default_resolution))
        return self.video_ms.get("default") if found is None else found


def resolution_key(text: str) -> str:
    """One name for a resolution however it lies: 720x1280 is 1280x720."""
    text = text.strip().lower().replace("*", "x")
    sides = text.split("x")
    if len(sides) == 2 and all(side.isascii() and side.isdecimal() for side in sides):
        return "x".join(sorted(sides, key=int, reverse=True))
    return text


@immutable
class CompiledPrice:
    """Price of one model. Each figure is quota units x `SCALE` per token.

    What was compiled from a card holds for all instants, services and sizes; `at`, `served` and `for_size` narrow it
    to one, and each of them is the price itself where the card makes no difference.
    """

    card_id: str
    """Hash of the card it was compiled from: a bill can be recomputed from it."""
    layer: str
    """Which layer knew the model: `channel`, `override`, `provider`, `global`, `free`, `default` or `reference`."""
    input: int
    output: int
    cache_read: int
    cache_write_5m: int
    cache_write_1h: int
    max_output: int = 0
    """Most tokens the model generates in one answer; 0 when unknown."""
    parts: PartPrices | None = None
    meters: MeterPrices | None = field(default=None, hash=False)
    tools: Mapping[str, int] = field(default_factory=lambda: NOTHING, hash=False)
    """Quota units per call of a hosted tool, by kind."""
    tools_grouped: bool = False
    """Whether the group ratio applies to `tools`."""
    allowed_tools: frozenset[str] | None = None
    """Kinds that policy allows; a call of another one is charged and flagged."""
    minimum: Quota = 0
    """Least quota of one request, before the group ratio."""
    counts_tokens: bool = True
    """Whether tokens have a price, be it zero."""
    tiers: tuple[tuple[int, int, CompiledPrice], ...] = ()
    """(input tokens from, output tokens from, price); the last one that fits applies to the whole request."""
    windows: tuple[tuple[Span, CompiledPrice], ...] = ()
    """Times with another price; the first one that covers the instant applies."""
    variants: Mapping[str, CompiledPrice] = field(default_factory=dict, hash=False)
    """Prices of other services than the usual one."""
    window: str = ""
    tier: int = 0
    """0 is the base, 1 the first tier."""
    variant: str = ""
    rule: str = "exact"
    """How the model's name led to the card."""
    card: str = field(default="", repr=False, compare=False)
    """The card as JSON."""

    @property
    def is_free(self) -> bool:
        return not (
            self.input
            or self.output
            or self.cache_read
            or self.cache_write_5m
            or self.cache_write_1h
            or self.parts
            or self.meters
            or self.tiers
            or self.windows
        )

    @property
    def prices_images(self) -> bool:
        """Whether images have prices of their own."""
        return self.meters is not None and self.meters.has("images")

    def covers(self, metered: str) -> bool:
        """Whether an operation that is metered in `metered` units can be charged: tokens need a price of tokens."""
        if metered == "tokens":
            return self.counts_tokens or (self.meters is not None and "requests" in self.meters.each)
        return True

    def of_tool(self, kind: str) -> Quota | None:
        """Quota units per call of a hosted tool, before the group ratio; `None` where it has no price."""
        return price_of(kind, self.tools)

    def allows(self, kind: str) -> bool:
        """Whether policy allows a hosted tool."""
        allowed = self.allowed_tools
        return allowed is None or kind in allowed or (is_search(kind) and SEARCH in allowed)

    def at(self, instant_ms: int) -> CompiledPrice:
        """The price of a request that began at `instant_ms`, Unix milliseconds."""
        for span, price in self.windows:
            if span.covers(instant_ms):
                return price
        return self

    def served(self, variant: str) -> CompiledPrice:
        """The price of the service `variant`."""
        return self.variants.get(variant, self)

    def for_size(self, input_tokens: int, output_tokens: int) -> CompiledPrice:
        """The price of the tier that a request of this size is in; cached input counts."""
        chosen = self
        for input_from, output_from, price in self.tiers:
            if input_tokens >= input_from and output_tokens >= output_from:
                chosen = price
        return chosen
