"""Guessing passwords gets slow, for the guesser and nobody else."""

from __future__ import annotations

from oneapi_mw.admin import throttle
from oneapi_mw.admin.throttle import (
    FIRST_DELAY,
    FREE_FAILURES,
    FREE_FAILURES_OF_ADDRESS,
    LONGEST_DELAY,
    LoginThrottle,
)
from tests.admin.world import Clock

HERE, THERE = "192.0.2.1", "198.51.100.7"


def fail(guard: LoginThrottle, times: int, account: str = "root", address: str = HERE) -> float:
    """Fail so often; the last wait."""
    return [guard.begin(account, address) for _ in range(times)][-1]


def test_the_first_failures_cost_nothing_and_the_next_one_waits() -> None:
    guard = LoginThrottle(Clock())

    assert fail(guard, FREE_FAILURES) == 0
    assert guard.begin("root", HERE) == FIRST_DELAY


def test_each_failure_after_that_doubles_the_wait_up_to_the_longest() -> None:
    clock = Clock()
    guard = LoginThrottle(clock)
    fail(guard, FREE_FAILURES)

    waits = []
    for _ in range(10):
        wait = guard.begin("root", HERE)
        waits.append(wait)
        clock.pass_(wait)
        assert guard.begin("root", HERE) == 0

    assert waits == [min(LONGEST_DELAY, FIRST_DELAY * 2**n) for n in range(10)]


def test_attempts_refused_during_a_wait_do_not_lengthen_it() -> None:
    clock = Clock()
    guard = LoginThrottle(clock)
    fail(guard, FREE_FAILURES)

    assert fail(guard, 50) == FIRST_DELAY
    clock.pass_(FIRST_DELAY)
    assert guard.begin("root", HERE) == 0


def test_the_owner_elsewhere_is_not_held_up() -> None:
    guard = LoginThrottle(Clock())
    fail(guard, FREE_FAILURES)

    assert guard.begin("root", THERE) == 0
    assert guard.begin("admin", HERE) == 0


def test_the_name_is_watched_in_any_spelling() -> None:
    guard = LoginThrottle(Clock())
    fail(guard, FREE_FAILURES)

    assert guard.begin("ROOT", HERE) > 0


def test_one_address_guessing_at_many_names_waits_too() -> None:
    guard = LoginThrottle(Clock())
    for n in range(FREE_FAILURES_OF_ADDRESS):
        assert guard.begin(f"user{n}", HERE) == 0

    assert guard.begin("another", HERE) > 0
    assert guard.begin("another", THERE) == 0


def test_an_ipv6_guesser_has_his_whole_network() -> None:
    guard = LoginThrottle(Clock())
    fail(guard, FREE_FAILURES, address="2001:db8:1:2::1")

    assert guard.begin("root", "2001:db8:1:2:ffff::9") > 0
    assert guard.begin("root", "2001:db8:1:3::1") == 0


def test_a_success_forgets_the_accounts_failures() -> None:
    guard = LoginThrottle(Clock())
    fail(guard, FREE_FAILURES - 1)
    guard.succeeded("root", HERE)

    assert fail(guard, FREE_FAILURES) == 0


def test_a_success_takes_back_only_its_own_attempt_at_the_address() -> None:
    guard = LoginThrottle(Clock())
    for n in range(FREE_FAILURES_OF_ADDRESS - 1):
        guard.begin(f"user{n}", HERE)
    guard.begin("mine", HERE)
    guard.succeeded("mine", HERE)

    assert guard.begin("mine", HERE) == 0, "the address is one failure short of its limit again"
    assert guard.begin("mine", HERE) > 0


def test_failures_of_long_ago_are_forgotten() -> None:
    clock = Clock()
    guard = LoginThrottle(clock)
    fail(guard, FREE_FAILURES)
    clock.pass_(LONGEST_DELAY + 1)

    assert fail(guard, FREE_FAILURES) == 0


def test_guessing_at_invented_names_during_a_wait_frees_nobody() -> None:
    guard = LoginThrottle(Clock())
    fail(guard, FREE_FAILURES, address=THERE)
    for n in range(FREE_FAILURES_OF_ADDRESS):
        guard.begin(f"user{n}", HERE)

    for n in range(throttle.MAX_TRACKED):
        assert guard.begin(f"invented{n}", HERE) > 0

    assert guard.begin("root", THERE) > 0


def test_what_is_remembered_is_bounded() -> None:
    guard = LoginThrottle(Clock())
    for n in range(throttle.MAX_TRACKED + 10):
        guard.begin("root", f"10.{n >> 16 & 255}.{n >> 8 & 255}.{n & 255}")

    assert len(guard._failures) == throttle.MAX_TRACKED
