"""Which channels are tried, and in which order."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Sequence
from typing import Any

import pytest

from oneapi_mw.canonical.call import Call
from oneapi_mw.errors import GatewayError
from oneapi_mw.pricing.book import PriceBook
from oneapi_mw.pricing.live import LivePrices
from oneapi_mw.routing.channel import Channel, ChannelStatus, Secret
from oneapi_mw.routing.live import LiveRouter
from oneapi_mw.routing.plan import Plan
from oneapi_mw.routing.router import RoutingTable
from tests.relay.stack import MODEL, channel, principal


def table(*channels: Channel, **options: Any) -> RoutingTable:
    return RoutingTable(channels, group_ratios=options.pop("group_ratios", {}), **options)


def plan(routes: RoutingTable, *, group: str = "default", model: str = MODEL, seed: int = 0) -> Plan:
    return routes.plan(operation="chat", group=group, model=model, rng=random.Random(seed))


def order(made: Plan) -> list[int]:
    return [candidate.channel.id for candidate in made.candidates]


def refused(routes: RoutingTable, **options: Any) -> GatewayError:
    with pytest.raises(GatewayError) as caught:
        plan(routes, **options)
    return caught.value


def test_higher_priorities_come_first() -> None:
    routes = table(channel(1, priority=0), channel(2, priority=5), channel(3, priority=-5))
    assert {tuple(order(plan(routes, seed=seed))) for seed in range(20)} == {(2, 1, 3)}


def test_every_channel_of_a_priority_is_a_candidate_once() -> None:
    routes = table(*(channel(n, priority=0) for n in range(1, 6)))
    seen = [order(plan(routes, seed=seed)) for seed in range(50)]
    assert all(sorted(ids) == [1, 2, 3, 4, 5] for ids in seen)
    assert len({ids[0] for ids in seen}) == 5


def test_weights_are_shares_and_zero_comes_last() -> None:
    routes = table(*(channel(n, priority=0, weight=w) for n, w in ((1, 0), (2, 1), (3, 3), (4, -2))))
    rng = random.Random(7)
    plans = [routes.plan(operation="chat", group="default", model=MODEL, rng=rng) for _ in range(2000)]
    first = Counter(order(made)[0] for made in plans)
    assert set(first) == {2, 3}
    assert 2.4 < first[3] / first[2] < 3.8
    assert all(set(order(made)[2:]) == {1, 4} for made in plans)


@pytest.mark.parametrize(
    "changes",
    [
        {"status": ChannelStatus.DISABLED},
        {"status": ChannelStatus.AUTO_DISABLED},
        {"status": ChannelStatus.UNKNOWN},
        {"groups": ("vip",)},
        {"groups": ()},
        {"models": ("other",)},
        {"models": ("Small",)},
        {"hidden_models": frozenset({MODEL})},
        {"type": 999},
    ],
)
def test_what_keeps_a_channel_out(changes: dict[str, Any]) -> None:
    assert refused(table(channel(1, **changes))).code == "no_channel_available"
    assert order(plan(table(channel(1, **changes), channel(2)))) == [2]


def test_groups_that_are_listed_twice_do_not_double_a_channel() -> None:
    assert order(plan(table(channel(1, groups=("default", "default"), models=(MODEL, MODEL))))) == [1]


def test_a_model_goes_by_the_providers_name_and_price() -> None:
    named = channel(1, model_mapping={MODEL: "big"}, model_configs={"big": {"input_usd_per_mtok": 4}})
    (candidate,) = plan(table(named)).candidates
    assert candidate.model == "big"
    assert candidate.price.input == 2 * 10**12


def test_models_without_a_price() -> None:
    unpriced = channel(1, model_configs={})
    error = refused(table(unpriced))
    assert (error.code, error.param) == ("model_price_missing", "model")
    assert "model_configs" in error.message
    assert order(plan(table(unpriced, channel(2)))) == [2]
    assert refused(table(channel(1, model_configs={MODEL: {"ratio": "odd"}}))).code == "model_price_missing"
    assert order(plan(table(unpriced, prices=PriceBook(policy="reference")))) == [1]
    assert (
        plan(table(channel(1, model_configs={}, config={"unknown_model_policy": "free"}))).candidates[0].price.is_free
    )


def test_models_without_a_price_are_listed() -> None:
    unpriced = channel(1, model_configs={}, models=("big", "small"), name="one")
    assert table(unpriced, channel(2)).without_price() == {"big": ["one"], "small": ["one"]}
    assert table(channel(2)).without_price() == {}


def test_text_needs_a_price_of_tokens() -> None:
    image = {MODEL: {"image": {"usd_per_image": 0.04}}}
    assert refused(table(channel(1, model_configs=image))).code == "model_price_missing"
    with pytest.raises(GatewayError, match="no price on channel"):
        pinned(table(channel(1, model_configs=image)), "1")


def test_a_new_price_makes_a_new_table() -> None:
    prices = LivePrices()
    router = LiveRouter(Source(channel(1)), prices=prices)
    before = router.table()
    assert router.table() is before
    prices.take({"GroupRatio": '{"default": 0.5}'})
    assert router.table() is not before
    assert plan(router.table()).group_ratio == 500_000


def test_the_group_decides_the_ratio() -> None:
    routes = table(channel(1, groups=("default", "vip")), group_ratios={"vip": 500_000})
    assert plan(routes, group="vip").group_ratio == 500_000
    assert plan(routes).group_ratio == 1_000_000


@pytest.mark.parametrize(
    ("groups", "ratio"),
    [
        (("default",), 900_000),
        (("default", "vip"), 500_000),
        (("default", "unknown"), 900_000),
        (("default", "dear"), 900_000),
        (("default", "dear", "free"), 0),
    ],
    ids=lambda value: "+".join(value) if isinstance(value, tuple) else None,
)
def test_the_channel_decides_the_ratio(groups: tuple[str, ...], ratio: int) -> None:
    """The smallest of all groups it lists; whatever nobody set is list price."""
    ratios = {"default": 900_000, "vip": 500_000, "dear": 2_000_000, "free": 0}
    own = channel(1, groups=groups)
    made = plan(table(own, group_ratios=ratios, group_ratio_mode="channel_min"))
    assert [made.ratio_of(candidate) for candidate in made.candidates] == [ratio]
    asked = plan(table(own, group_ratios=ratios))
    assert [asked.ratio_of(candidate) for candidate in asked.candidates] == [900_000]


def test_a_pinned_channel_of_no_group_takes_the_ratio_of_the_request() -> None:
    made = pinned(table(channel(1, groups=()), group_ratios={"default": 7}, group_ratio_mode="channel_min"), "1")
    assert made.ratio_of(made.candidates[0]) == 7


# Pins.


def pinned(routes: RoutingTable, ref: str, model: str = MODEL, operation: str = "chat") -> Plan:
    return routes.pinned(operation=operation, group="default", model=model, channel_ref=ref)


@pytest.mark.parametrize("ref", ["1", "c-1"])
@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"groups": ("vip",)},
        {"hidden_models": frozenset({MODEL})},
        {"models": ()},
        {"models": (), "model_mapping": {MODEL: "big"}, "model_configs": {"big": {"ratio": 1}}},
        {"models": ("big",), "model_mapping": {MODEL: "big"}, "model_configs": {"big": {"ratio": 1}}},
    ],
)
def test_a_pin_reaches_one_channel_alone(ref: str, changes: dict[str, Any]) -> None:
    assert order(pinned(table(channel(1, **changes), channel(2)), ref)) == [1]


@pytest.mark.parametrize(
    ("changes", "ref", "status", "code"),
    [
        ({}, "9", 400, "invalid_channel"),
        ({"status": ChannelStatus.DISABLED}, "1", 403, "channel_disabled"),
        ({"type": 999}, "1", 400, "invalid_channel"),
        ({"models": ("other",)}, "1", 400, "invalid_request"),
        ({"model_configs": {}}, "1", 400, "model_price_missing"),
    ],
)
def test_pins_that_lead_nowhere(changes: dict[str, Any], ref: str, status: int, code: str) -> None:
    with pytest.raises(GatewayError) as caught:
        pinned(table(channel(1, **changes)), ref)
    assert (caught.value.status, caught.value.code) == (status, code)


def test_a_pin_does_not_change_what_a_channel_serves() -> None:
    with pytest.raises(GatewayError, match="does not serve rerank"):
        pinned(table(channel(1)), "1", operation="rerank")


def test_the_models_of_a_group() -> None:
    routes = table(
        channel(1, models=("b", "a"), model_configs={m: {"ratio": 1} for m in "ab"}),
        channel(2, models=("c",), groups=("vip",), model_configs={"c": {"ratio": 1}}),
    )
    assert routes.models("default") == [("a", 8), ("b", 8)]
    assert routes.models("vip") == [("c", 8)]
    assert list(routes.models("none")) == []


# A table that changes.


class Source:
    def __init__(self, *channels: Channel) -> None:
        self.channels: Sequence[Channel] = channels
        self.number = 1
        self.taken = 0

    def snapshot(self) -> Sequence[Channel]:
        self.taken += 1
        return self.channels

    def version(self) -> int:
        return self.number


CALL = Call("chat", "openai_chat", MODEL, False, {}, b"")


def test_a_table_is_compiled_once_for_each_version() -> None:
    source = Source(channel(1))
    router = LiveRouter(source)
    assert [order(router.plan(principal(), CALL)) for _ in range(3)] == [[1]] * 3
    assert source.taken == 1
    source.channels, source.number = [channel(2)], 2
    assert order(router.plan(principal(), CALL)) == [2]
    assert source.taken == 2


def test_a_pin_of_the_principal_is_followed() -> None:
    router = LiveRouter(Source(channel(1), channel(2)))
    assert order(router.plan(principal(channel_pin="2"), CALL)) == [2]


def test_secrets_do_not_show() -> None:
    assert "sk-secret" not in repr(channel(1))
    assert str.__str__(Secret("sk-secret")) == "sk-secret"
