"""A day of mixed traffic: the sum of the bills is the providers' record of tokens times the price, to the unit."""

from __future__ import annotations

import asyncio
from collections import Counter
from dataclasses import replace
from typing import Any

import pytest
from starlette.middleware import Middleware

from oneapi_mw.ledger.memory import LogEntry, MemoryLedger
from oneapi_mw.middleware.drain import Drain
from oneapi_mw.middleware.errors import ErrorsMiddleware
from oneapi_mw.middleware.remainders import RemainderTasks
from oneapi_mw.pipeline import build, default_stages, insert_before
from oneapi_mw.relay import watch as watch_module
from oneapi_mw.relay.app import Relay, RelayLimits
from oneapi_mw.relay.fanout import FanOut
from oneapi_mw.relay.upstream import Timeouts
from oneapi_mw.routing.channel import Channel, Secret
from oneapi_mw.routing.live import LiveRouter
from tests.relay.stack import Channels, Keys, principal
from tests.support.asgi_upstream import AsgiUpstream
from tests.support.day import GROUPS, Account, AtInstant, Day, Request, channel_fields
from tests.support.harness import Client, http_scope

FUNDS = 10**12
AT_ONCE = 24
ACCOUNTS = [Account(10 * user + n, user, group) for user, group in enumerate(GROUPS, 1) for n in (1, 2)]


class World:
    """A gateway in memory whose providers are stand-ins in the same process."""

    def __init__(self, day: Day) -> None:
        self.day = day
        self.ids: dict[str, int] = {}
        self.ledger, self.drain = MemoryLedger(), Drain()
        self.upstream = AsgiUpstream({f"provider-{n}.test": each.vendor for n, each in day.providers.items()})
        for account in ACCOUNTS:
            self.ledger.open_account(account.user, FUNDS)
            limited = account.token % 2 == 0
            self.ledger.open_token(account.token, account.user, FUNDS if limited else 0, unlimited=not limited)
        channels = []
        for n, each in day.providers.items():
            fields: dict[str, Any] = channel_fields(each, f"http://provider-{n}.test")
            fields |= {"id": n, "uuid": f"c-{n}", "key": Secret(fields["key"]), "groups": tuple(GROUPS)}
            channels.append(Channel(**{**fields, "models": tuple(fields["models"])}))
        ratios = {name: int(ratio * 10**6) for name, ratio in GROUPS.items()}
        stages = default_stages(
            principals=Keys({f"key-{account.token}": who(account) for account in ACCOUNTS}),
            router=LiveRouter(Channels(channels), group_ratios=ratios),
            ledger=self.ledger,
            drain=self.drain,
            remainders=RemainderTasks(drain=self.drain, at_once=10_000),
        )
        stages = insert_before(stages, ErrorsMiddleware, Middleware(AtInstant, ids=self.ids))
        relay = Relay(upstream=self.upstream, limits=RelayLimits(Timeouts(), retries=1))
        self.app = build(FanOut(relay), stages)
        self.statuses = Counter[int]()

    async def run(self) -> None:
        """Serve the whole day."""
        numbers = iter(self.day.requests.values())

        async def caller() -> None:
            for request in numbers:
                await self.ask(request)

        await asyncio.gather(*(caller() for _ in range(AT_ONCE)))
        assert await self.drain.finish(60)

    async def ask(self, request: Request) -> None:
        early = request.trouble == "leaves-early"
        client = Client(request.body, leave_after=2 if request.trouble == "leaves" else None)
        headers = request.headers(f"sk-key-{request.account.token}")
        if early:
            client.leave()
        scope = http_scope("POST", request.path, headers=headers, query=request.query.encode())
        await self.app(scope, client.receive, client.send)
        if client.exchanged.started:
            self.statuses[client.exchanged.status] += 1

    def entries(self) -> dict[int, LogEntry]:
        """Log entries by the number of their request."""
        found = {self.ids[entry.key]: entry for entry in self.ledger.log}
        assert len(found) == len(self.ledger.log)
        return found


def who(account: Account) -> Any:
    return principal(
        user_id=account.user,
        user_uuid=f"u-{account.user}",
        token_id=account.token,
        token_uuid=f"t-{account.token}",
        group=account.group,
    )


async def replay(size: int, seed: int, monkeypatch: pytest.MonkeyPatch) -> World:
    monkeypatch.setattr(watch_module, "GRACE", 0)
    world = World(Day(seed, size, ACCOUNTS))
    await world.run()
    return world


async def check(world: World) -> None:
    """The books against the providers' records."""
    day, ledger = world.day, world.ledger
    assert world.upstream.open == 0
    assert list(await ledger.audit()) == []
    assert all(hold.state != "open" for hold in ledger.holds.values())
    refusals = [text for provider in day.providers.values() for text in provider.vendor.refusals]
    assert not [text for text in refusals if "overloaded" not in text]
    entries = world.entries()
    charged = {number: entry.quota for number, entry in entries.items()}
    # what the providers know nothing certain of is charged by what was relayed, and says so
    unknown = (day.broken | day.unheard) - day.record.keys()
    for number in unknown:
        facts: Any = entries[number].facts
        if number in day.unheard:
            assert facts.metadata["price"]["flags"][-1] == "ambiguous:prompt_cost"
        else:
            assert facts.metadata["outcome"] == "failed"
    certain = {number: amount for number, amount in charged.items() if number not in unknown}
    assert certain.keys() == day.record.keys()
    wrong = {n: (amount, day.cost(n), day.requests[n]) for n, amount in certain.items() if amount != day.cost(n)}
    assert not wrong
    # and so are the sums, as accounts have them
    users, tokens, _ = day.sums(charged)
    for account in ACCOUNTS:
        user, token = await ledger.user_balance(account.user), await ledger.token_balance(account.token)
        assert user.used_quota == users[account.user]
        assert token.used_quota == tokens[account.token]
        assert user.quota == 2 * FUNDS - users[account.user]
        assert token.quota == (FUNDS - tokens[account.token] if account.token % 2 == 0 else 0)
    assert sum(users.values()) == sum(charged.values()) > 10**6
    by_channel = Counter[int]()
    for number, entry in entries.items():
        if number in certain:
            by_channel[int(entry.facts.channel_id or 0)] += entry.quota
    assert by_channel == day.sums({n: day.cost(n) for n in day.record})[2]


def is_mixed(world: World) -> None:
    """Whether there was anything of all that the day is about."""
    day, entries = world.day, world.entries()
    served = [day.requests[number] for number in day.record]
    pairs = {(request.client, request.vendor, request.stream) for request in served}
    assert len(pairs) == 32
    metadata: list[Any] = [entry.facts.metadata for entry in entries.values()]
    assert {each.get("outcome") for each in metadata} == {None, "client_gone", "failed"}
    assert {each["price"].get("window") for each in metadata if "price" in each} == {None, "night", "noon"}
    assert any("upstream_calls" in each for each in metadata)
    assert any(each.get("price", {}).get("tier") for each in metadata)
    assert {request.account.group for request in served} == set(GROUPS)
    assert any(hold.state == "void" for hold in world.ledger.holds.values())
    assert {200, 503} <= world.statuses.keys()
    assert day.broken
    assert day.unheard
    assert {entry.facts.channel_id for entry in entries.values()} == set(day.providers)


async def test_a_day_of_mixed_traffic(monkeypatch: pytest.MonkeyPatch) -> None:
    world = await replay(2_500, 20261127, monkeypatch)
    await check(world)
    is_mixed(world)


@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.parametrize("seed", range(8))
async def test_other_days(seed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    await check(await replay(4_000, seed, monkeypatch))


async def test_the_check_can_fail(monkeypatch: pytest.MonkeyPatch) -> None:
    """One token more in one provider's record is noticed."""
    world = await replay(60, 1, monkeypatch)
    await check(world)
    number = next(n for n in world.day.record if world.day.cost(n))
    (served, *_) = world.day.record[number]
    served.tokens = replace(served.tokens, output=served.tokens.output + 1)
    with pytest.raises(AssertionError):
        await check(world)
