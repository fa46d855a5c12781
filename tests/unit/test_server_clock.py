"""The clock that a store's server keeps: what is promised of it, with every clock in the test's hand."""

import asyncio
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kurir.stores.clock import DRIFT, ServerClock

NEAR = 1e-5  # seconds: what is left of them in a float of this size


class World:
    """A server and a machine. The machine's wall clock is wrong by `skew`; its ticks begin anywhere."""

    def __init__(self, skew: float = 0.0) -> None:
        self.server = 1_800_000_000.0
        self.ticks = 4711.0
        self.skew = skew
        self.clock = ServerClock(lambda: self.server + self.skew, ticks=lambda: self.ticks)

    def pass_by(self, seconds: float) -> None:
        self.server += seconds
        self.ticks += seconds

    def ask(self, there: float, back: float, wrong: float = 0.0) -> None:
        """A question that takes `there` to the server and `back` from it; the server is `wrong` by so much."""
        asked = self.ticks
        self.pass_by(there)
        said = self.server + wrong
        self.pass_by(back)
        self.clock.learn(said, asked, self.ticks)

    @property
    def off(self) -> float:
        return self.clock.now() - self.server


def test_before_it_has_learned_it_tells_the_time_it_was_given() -> None:
    assert World(skew=300.0).off == 300.0


@pytest.mark.parametrize("skew", [-300.0, 0.0, 300.0])
def test_a_wrong_wall_clock_is_harmless_once_the_server_has_answered(skew: float) -> None:
    world = World(skew)
    world.ask(0.001, 0.001)
    assert abs(world.off) < NEAR
    world.skew = 12_345.0  # somebody sets it
    world.pass_by(60)
    assert abs(world.off) < NEAR


def test_it_is_wrong_by_half_the_round_trip_at_most_and_says_so() -> None:
    world = World()
    world.ask(0.0, 0.2)
    assert abs(world.off) == pytest.approx(0.1, abs=NEAR)
    assert world.clock.error == pytest.approx(0.1, abs=NEAR)


def test_a_slow_answer_does_not_spoil_what_a_fast_one_taught() -> None:
    world = World()
    world.ask(0.0005, 0.0005)
    world.ask(0.0, 5.0)
    world.ask(5.0, 0.0)
    assert abs(world.off) < 0.003  # 0.5 ms, and what ten seconds of drift may be


def test_a_fast_answer_corrects_what_a_slow_one_taught() -> None:
    world = World()
    world.ask(0.0, 2.0)
    world.ask(0.0005, 0.0005)
    assert abs(world.off) <= 0.0011


def test_it_goes_back_no_further_than_was_proved() -> None:
    world = World()
    world.ask(1.0, 0.0)
    assert world.off == pytest.approx(0.5, abs=NEAR)
    world.ask(0.1, 0.1)  # proves that it is at most 0.1 ahead: it goes back to that, not to the middle
    assert world.off == pytest.approx(0.1, abs=NEAR)


def test_it_goes_forward_to_the_best_guess_at_once() -> None:
    world = World()
    world.ask(0.0, 1.0)
    assert world.off == pytest.approx(-0.5, abs=NEAR)
    world.ask(0.1, 0.1)
    assert world.off == pytest.approx(-0.05, abs=1e-3)  # the middle of what both samples allow


def test_an_answer_that_agrees_never_turns_it_back() -> None:
    world = World()
    world.ask(0.01, 0.01)
    for _ in range(10):
        before = world.clock.now()
        world.ask(0.02, 0.0)
        world.ask(0.0, 0.02)
        assert world.clock.now() >= before + 0.04 - NEAR


@pytest.mark.parametrize("step", [-300.0, 300.0])
def test_a_server_whose_clock_was_set_is_followed(step: float) -> None:
    world = World()
    world.ask(0.001, 0.001)
    world.server += step
    world.ask(0.001, 0.001)
    assert abs(world.off) <= 0.002


def test_clocks_that_drift_apart_are_brought_together_again() -> None:
    world = World()
    world.ask(0.0005, 0.0005)
    for _ in range(24):
        world.pass_by(3600)
        world.server += 3600 * DRIFT / 2  # the server's runs a little faster
        world.ask(0.0005, 0.0005)
    assert abs(world.off) <= 0.001


def test_the_time_it_tells_goes_on_by_a_clock_that_nobody_sets() -> None:
    clock = ServerClock(lambda: 0.0)
    asked = clock.ticks()
    clock.learn(1_000_000.0, asked, clock.ticks())
    first = clock.now()
    time.sleep(0.01)
    assert 0.009 < clock.now() - first < 5.0


async def test_it_sleeps() -> None:
    clock = ServerClock()
    began = time.monotonic()
    await clock.sleep(0.02)
    await clock.sleep(-1.0)
    assert 0.015 < time.monotonic() - began < 5.0
    async with asyncio.timeout(1):
        await clock.sleep(0)


@given(
    st.lists(st.tuples(st.floats(0, 3), st.floats(0, 3), st.floats(0, 100)), min_size=1, max_size=20),
    st.floats(-1e4, 1e4),
    st.floats(-DRIFT, DRIFT),
)
def test_whatever_the_network_does_it_is_no_more_wrong_than_it_says(
    asks: list[tuple[float, float, float]], skew: float, drift: float
) -> None:
    world = World(skew)
    for there, back, pause in asks:
        world.server += (there + back) * drift  # before the question: the sample itself is true
        world.ask(there, back)
        assert abs(world.off) <= world.clock.error + 1e-5
        assert world.clock.error <= (there + back) * 1.001 + 1e-5
        world.pass_by(pause)
        world.server += pause * drift
