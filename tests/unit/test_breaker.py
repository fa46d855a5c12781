"""The circuit breaker: a dead store is asked now and then by one alone; all others hear at once."""

import asyncio

import pytest

from kurir.core.errors import KeyConflict, KurirError, StoreAway, StoreFull
from kurir.stores.breaker import PAUSES, Breaker, Circuit, Standing


class Time:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def time() -> Time:
    return Time()


@pytest.fixture
def breaker(time: Time) -> Breaker:
    return Breaker("PostgreSQL at db:5432", time)


async def go(breaker: Breaker, error: BaseException | None = None) -> None:
    async with breaker.passing():
        if error is not None:
            raise error


async def fail(breaker: Breaker, times: int = 1) -> None:
    for _ in range(times):
        with pytest.raises(StoreAway):
            await go(breaker, StoreAway("connection refused", "Start it."))


async def test_two_failures_in_a_row_close_nothing_and_the_third_opens(breaker: Breaker) -> None:
    await fail(breaker, 2)
    assert breaker.circuit is Circuit.CLOSED
    await fail(breaker)
    assert breaker.circuit is Circuit.OPEN


async def test_a_success_between_failures_starts_the_count_anew(breaker: Breaker) -> None:
    await fail(breaker, 2)
    await go(breaker)
    await fail(breaker, 2)
    assert breaker.circuit is Circuit.CLOSED


@pytest.mark.parametrize("answer", [KeyConflict("k", "m1"), StoreFull("no room", "Free some.")])
async def test_an_error_that_the_store_itself_answers_is_a_success(breaker: Breaker, answer: KurirError) -> None:
    await fail(breaker, 2)
    with pytest.raises(type(answer)):
        await go(breaker, answer)
    await fail(breaker, 2)
    assert breaker.circuit is Circuit.CLOSED


async def test_a_cancellation_or_a_mistake_of_ours_says_nothing(breaker: Breaker) -> None:
    await fail(breaker, 2)
    for nothing in (asyncio.CancelledError(), ValueError("ours")):
        with pytest.raises(type(nothing)):
            await go(breaker, nothing)
    await fail(breaker)
    assert breaker.circuit is Circuit.OPEN


async def test_while_open_nothing_passes_and_the_error_says_why_when_and_what_to_do(
    breaker: Breaker, time: Time
) -> None:
    await fail(breaker, 3)
    ran = False
    with pytest.raises(StoreAway) as refused:
        async with breaker.passing():
            ran = True
    assert not ran
    assert refused.value.what == "PostgreSQL at db:5432 is away and is tried again in 0.5 s: connection refused"
    assert refused.value.remedy == "Start it."


async def test_the_pauses_grow_to_five_seconds_and_what_it_says_does_not(breaker: Breaker, time: Time) -> None:
    await fail(breaker, 3)
    for pause in (*PAUSES, PAUSES[-1], PAUSES[-1]):
        time.now += pause - 0.01
        with pytest.raises(StoreAway, match=r"is tried again in 0\.0 s"):
            await go(breaker)
        time.now += 0.01
        await fail(breaker)  # the probe
    with pytest.raises(StoreAway) as refused:
        await go(breaker)
    assert refused.value.what.count("is away") == 1


async def test_one_probe_at_a_time(breaker: Breaker, time: Time) -> None:
    await fail(breaker, 3)
    time.now += PAUSES[0]
    assert breaker.circuit is Circuit.HALF_OPEN
    async with breaker.passing():
        with pytest.raises(StoreAway, match="is tried again at this moment"):
            await go(breaker)
        assert breaker.circuit is Circuit.HALF_OPEN
    assert breaker.circuit is Circuit.CLOSED
    await go(breaker)


async def test_a_probe_that_succeeds_closes_it_and_the_next_outage_begins_with_the_first_pause(
    breaker: Breaker, time: Time
) -> None:
    await fail(breaker, 3)
    for pause in PAUSES[:3]:
        time.now += pause
        await fail(breaker)
    time.now += PAUSES[3]
    await go(breaker)
    await fail(breaker, 3)
    time.now += PAUSES[0]
    await go(breaker)
    assert breaker.circuit is Circuit.CLOSED


async def test_a_probe_that_was_cancelled_lets_the_next_one_go_at_once(breaker: Breaker, time: Time) -> None:
    await fail(breaker, 3)
    time.now += PAUSES[0]
    with pytest.raises(asyncio.CancelledError):
        await go(breaker, asyncio.CancelledError())
    await go(breaker)
    assert breaker.circuit is Circuit.CLOSED


async def test_verbs_that_fail_together_count_once_towards_the_pause(breaker: Breaker, time: Time) -> None:
    passes = [breaker.passing() for _ in range(100)]
    for verb in passes:
        await verb.__aenter__()
    for verb in passes:
        await verb.__aexit__(StoreAway, StoreAway("cut", ""), None)
    assert breaker.standing.next_in == PAUSES[0]


async def test_a_late_failure_does_not_end_the_probe_and_a_late_success_closes_it(breaker: Breaker, time: Time) -> None:
    late, later = breaker.passing(), breaker.passing()
    await late.__aenter__()
    await later.__aenter__()
    await fail(breaker, 3)
    time.now += PAUSES[0]
    async with breaker.passing():
        await late.__aexit__(StoreAway, StoreAway("cut", ""), None)
        with pytest.raises(StoreAway):
            await go(breaker)  # the probe is still the only one
        await later.__aexit__(None, None, None)
        assert breaker.circuit is Circuit.CLOSED


async def test_it_tells_since_when_and_why(breaker: Breaker, time: Time) -> None:
    time.now += 5
    assert breaker.standing == Standing(Circuit.CLOSED, 5.0)
    await fail(breaker, 3)
    time.now += PAUSES[0]
    await fail(breaker)
    time.now += 0.25
    standing = breaker.standing
    assert (standing.circuit, standing.seconds, standing.why) == (Circuit.OPEN, 0.75, "connection refused")
    assert standing.next_in == pytest.approx(0.75)


async def test_who_knows_that_the_store_is_back_lets_the_next_probe_pass_at_once(breaker: Breaker, time: Time) -> None:
    await fail(breaker, 3)
    breaker.hurry()
    assert breaker.circuit is Circuit.HALF_OPEN
    await go(breaker)
    assert breaker.circuit is Circuit.CLOSED
