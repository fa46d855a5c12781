"""Bots spread over workers: what every worker's part of the plan adds up to."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from kurir.ports import Roll, Worker
from kurir.services.spreading import Plan, plan

BOTS = tuple(range(1, 21))


def roll(workers: dict[str, tuple[int, ...]], holders: dict[int, str] | None = None) -> Roll:
    return Roll(tuple(Worker(name, 0.0, bots) for name, bots in sorted(workers.items())), holders or {})


def loads(holders: dict[int, str], workers: dict[str, tuple[int, ...]]) -> list[int]:
    return [sum(holder == name for holder in holders.values()) for name in sorted(workers)]


def settle(workers: dict[str, tuple[int, ...]], holders: dict[int, str], rounds: int = 40) -> dict[int, str]:
    """Each worker in turn looks and does its part, until nobody has anything to do."""
    for _ in range(rounds):
        busy = False
        for name in sorted(workers):
            part = plan(roll(workers, holders), name)
            busy |= part != Plan((), ())
            for bot in part.release:
                assert holders.pop(bot) == name
            for bot in part.take:
                assert bot not in holders
                holders[bot] = name
        if not busy:
            return holders
    raise AssertionError("they never come to rest")


def test_one_worker_takes_all_at_once() -> None:
    assert plan(roll({"a": BOTS}), "a") == Plan(BOTS, ())


def test_two_that_start_together_take_a_half_each_and_nothing_twice() -> None:
    both = roll({"a": BOTS, "b": BOTS})
    a, b = plan(both, "a"), plan(both, "b")
    assert len(a.take) == len(b.take) == 10
    assert sorted(a.take + b.take) == list(BOTS)


def test_who_has_all_gives_half_to_one_who_comes() -> None:
    workers = {"a": BOTS, "b": BOTS}
    holders = dict.fromkeys(BOTS, "a")
    assert len(plan(roll(workers, holders), "a").release) == 10
    assert plan(roll(workers, holders), "b") == Plan((), ())
    assert loads(settle(workers, holders), workers) == [10, 10]


def test_what_is_about_to_go_is_not_given_up_twice() -> None:
    workers = {"a": BOTS, "b": BOTS}
    first = plan(roll(workers, dict.fromkeys(BOTS, "a")), "a")
    assert plan(roll(workers, dict.fromkeys(BOTS, "a")), "a", leaving=first.release) == Plan((), ())


def test_a_third_gets_its_share_of_both_and_gives_it_back_when_it_goes() -> None:
    two = {"a": BOTS, "b": BOTS}
    holders = settle(two, {})
    three = {**two, "c": BOTS}
    assert sorted(loads(settle(three, holders), three)) == [6, 7, 7]
    left = {bot: holder for bot, holder in holders.items() if holder != "c"}
    assert loads(settle(two, left), two) == [10, 10]


def test_a_difference_of_one_moves_nothing() -> None:
    assert plan(roll({"a": (1, 2, 3), "b": (1, 2, 3)}, {1: "a", 2: "a", 3: "b"}), "a") == Plan((), ())


def test_a_bot_of_somebody_who_is_not_there_is_left_until_its_lease_ends() -> None:
    assert plan(roll({"a": (1, 2)}, {1: "gone"}), "a") == Plan((2,), ())


def test_who_looks_only_does_nothing() -> None:
    assert plan(roll({"a": (1,)}, {1: "a"}), "") == Plan((), ())


workers_strategy = st.dictionaries(
    st.sampled_from("abcde"), st.sets(st.integers(1, 12), min_size=1).map(lambda bots: tuple(sorted(bots))), min_size=1
)


@settings(max_examples=300, deadline=None)
@given(workers_strategy, st.data())
def test_whatever_they_could_send_for_they_come_to_rest_with_no_bot_left(
    workers: dict[str, tuple[int, ...]], data: st.DataObject
) -> None:
    able = {bot: sorted(name for name in workers if bot in workers[name]) for bots in workers.values() for bot in bots}
    start = {bot: data.draw(st.sampled_from([None, *names])) for bot, names in sorted(able.items())}
    holders = settle(workers, {bot: name for bot, name in start.items() if name is not None})
    assert set(holders) == set(able)
    for bot, holder in holders.items():
        assert holder in able[bot]
        for other in able[bot]:
            mine, theirs = (sum(h == name for h in holders.values()) for name in (holder, other))
            assert mine - theirs <= 1


@given(st.integers(1, 8), st.integers(0, 40), st.data())
@settings(max_examples=100, deadline=None)
def test_with_the_same_bots_everywhere_nobody_has_two_more_than_another(n: int, bots: int, data: st.DataObject) -> None:
    workers = {f"w{i}": tuple(range(bots)) for i in range(n)}
    start = {bot: data.draw(st.sampled_from(sorted(workers))) for bot in range(bots)}
    spread = loads(settle(workers, start), workers)
    assert max(spread) - min(spread) <= 1
