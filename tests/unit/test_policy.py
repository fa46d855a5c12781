"""Schedules, literally as the systems before had them."""

from __future__ import annotations

from kurir.core.message import DEFAULT_OPTIONS, Options
from kurir.core.policy import Policy, delay_after, exponential, fixed

POLICY = Policy()


def delays(options: Options = DEFAULT_OPTIONS, policy: Policy = POLICY) -> list[float]:
    found = []
    while (delay := delay_after(len(found) + 1, policy, options)) is not None:
        found.append(delay)
    return found


def test_the_default_is_quick_tries_then_the_slow_queue() -> None:
    minute = 60.0
    slow = [5, 10, 20, 40, 60, 60, 60, 60, 60, 60]
    assert delays() == [1, 2, 4, 8, 16, *(n * minute for n in slow)]


def test_c2_five_quick_delays_from_1_to_16_seconds() -> None:
    assert POLICY.quick == (1, 2, 4, 8, 16)


def test_c5_the_slow_queue_is_5_10_20_40_60_then_hourly_ten_times_in_all() -> None:
    assert [seconds / 60 for seconds in POLICY.slow] == [5, 10, 20, 40, 60, 60, 60, 60, 60, 60]


def test_b3_five_attempts_at_0_2_4_8_16_seconds() -> None:
    assert [0.0, *delays(Options(max_attempts=5, backoff=exponential(2, 5)))] == [0, 2, 4, 8, 16]


def test_a3_exponential_of_one_second() -> None:
    assert exponential(1, 4) == (1, 2, 4)


def test_fixed_repeats_one_delay() -> None:
    assert fixed(3, 4) == (3, 3, 3)


def test_one_attempt_needs_no_delay() -> None:
    assert delays(Options(max_attempts=1)) == []
    assert exponential(1, 1) == fixed(1, 1) == ()


def test_max_attempts_cuts_the_schedule() -> None:
    assert delays(Options(max_attempts=3)) == [1, 2]


def test_max_attempts_beyond_the_schedule_repeats_its_last_delay() -> None:
    assert delays(Options(max_attempts=6, backoff=(1, 2))) == [1, 2, 2, 2, 2]


def test_a_backoff_without_max_attempts_tries_once_more_than_it_has_delays() -> None:
    assert delays(Options(backoff=(1, 2, 3))) == [1, 2, 3]


def test_an_empty_backoff_is_one_try_unless_more_are_asked_for() -> None:
    assert delays(Options(backoff=())) == []
    assert delays(Options(backoff=(), max_attempts=3)) == [0, 0]
