"""Whatever is sent, whenever the loop wakes, however the network jitters: no window is exceeded."""

from __future__ import annotations

from collections import defaultdict

from hypothesis import given, settings
from hypothesis import strategies as st

from kurir.core.pace import Limits, Pace, Rate

START = 1_790_000_000.0
JITTER = st.sampled_from([-0.005, 0.0, 0.005]) | st.floats(-0.005, 0.005)
GAPS = st.sampled_from([0.0, 0.0, 0.0, 0.001, 0.03, 0.3, 1.0, 5.0]) | st.floats(0, 2)


def exceeds(times: list[float], n: int, seconds: float) -> bool:
    """Whether more than `n` of `times` fall into any half-open window of `seconds`. By brute force."""
    times = sorted(times)
    return any(sum(1 for t in times if first <= t < first + seconds) > n for first in times)


def could_exceed(departures: list[float], n: int, seconds: float) -> bool:
    """Whether the worst jitter (the first of n + 1 arrives 5 ms late, the last 5 ms early) would exceed the window."""
    times = sorted(departures)
    return any(last - first < seconds + 0.010 for first, last in zip(times, times[n:], strict=False))


Plan = list[tuple[str, float, float]]


def steps(chats: list[str], size: int) -> st.SearchStrategy[Plan]:
    """(chat, seconds the loop is late, jitter of the arrival)."""
    return st.lists(st.tuples(st.sampled_from(chats), GAPS, JITTER), min_size=size // 2, max_size=size)


def drive(pace: Pace, plan: Plan, now: float = START) -> tuple[dict[str, list[float]], list[tuple[str, float]], float]:
    """Send each as early as Pace allows, plus its lateness; arrivals by chat ("": all), departures, end."""
    arrivals: dict[str, list[float]] = defaultdict(list)
    left = []
    for chat, late, jitter in plan:
        group = chat.startswith("-")
        while (at := max(pace.chat_slot(chat, group, now), pace.ready_at(now))) > now:
            now = at
        now += late
        while (at := max(pace.chat_slot(chat, group, now), pace.ready_at(now))) > now:
            now = at
        pace.reserve(now)
        assert pace.sent(chat, group, now) >= 0
        left.append((chat, now))
        for key in ("", chat):
            arrivals[key].append(now + jitter)
    return arrivals, left, now


@given(steps([str(c) for c in range(150)], 150))
@settings(max_examples=60, deadline=None)
def test_never_more_than_30_in_any_second_nor_a_burst_of_20(plan: Plan) -> None:
    arrivals, left, _ = drive(Pace(Limits()), plan)
    assert not exceeds(arrivals[""], 30, 1.0)
    assert not could_exceed([at for _, at in left], 30, 1.0)
    assert not exceeds([at for _, at in left], 20, 0.4)
    assert not exceeds([at for _, at in left], 7, 0.03)


@given(steps(["1", "2"], 160))
@settings(max_examples=60, deadline=None)
def test_never_more_than_3_in_a_second_and_62_in_a_minute_to_a_private_chat(
    plan: Plan,
) -> None:
    arrivals, left, _ = drive(Pace(Limits()), plan)
    for chat in ("1", "2"):
        assert not could_exceed([at for name, at in left if name == chat], 3, 1.0)
        assert not could_exceed([at for name, at in left if name == chat], 62, 60.0)
        assert not exceeds(arrivals[chat], 3, 1.0)
        assert not exceeds(arrivals[chat], 62, 60.0)


@given(steps(["-1", "-2"], 100))
@settings(max_examples=60, deadline=None)
def test_never_more_than_20_in_a_minute_to_a_group(plan: Plan) -> None:
    arrivals, left, _ = drive(Pace(Limits()), plan)
    for chat in ("-1", "-2"):
        assert not could_exceed([at for name, at in left if name == chat], 20, 60.0)
        assert not exceeds(arrivals[chat], 20, 60.0)


@given(
    steps(["-1", "1", "2", "3", "4"], 60),
    steps(["-1", "1", "2", "3", "4"], 60),
    st.floats(0, 3),
    st.randoms(),
)
@settings(max_examples=40, deadline=None)
def test_a_restart_exceeds_nothing(
    before: Plan,
    after: Plan,
    away: float,
    random: object,
) -> None:
    limits = Limits(bot=Rate(5), bot_burst=2)
    first, left, now = drive(Pace(limits), before)
    now += away
    recent = [(chat, at) for chat, at in left if at > now - 61]
    random.shuffle(recent)  # type: ignore[attr-defined]
    pace = Pace(limits)
    pace.restore(recent, lambda chat: chat.startswith("-"), now)
    second, _, _ = drive(pace, after, now)
    assert not exceeds(first[""] + second[""], 5, 1.0)
    assert not exceeds(first["-1"] + second["-1"], 20, 60.0)
    assert not exceeds(first["1"] + second["1"], 3, 1.0)


CALL = st.tuples(
    st.sampled_from(["sent", "sent", "sent", "accepted", "refused", "refused", "wait"]),
    st.sampled_from(["1", "2", "3", "4", "-1", "-2"]),
    st.floats(0, 30),
)


@given(st.lists(CALL, max_size=120), st.booleans())
@settings(max_examples=150, deadline=None)
def test_whatever_is_answered_waits_are_kept_and_limits_stay_sane(
    calls: list[tuple[str, str, float]], on: bool
) -> None:
    pace, now = Pace(Limits(on=on)), START
    until: dict[str, float] = defaultdict(float)
    for what, chat, seconds in calls:
        group = chat.startswith("-")
        if what == "wait":
            now += seconds
        elif what == "accepted":
            pace.answered(now - seconds / 30)
        elif what == "refused":
            throttle = pace.throttled(chat, group, now, seconds, now - seconds / 30)
            assert throttle.chat_until >= now + seconds
            until[chat] = max(until[chat], now + seconds)
            until[""] = max(until[""], throttle.bot_until or 0.0)
        else:
            at = max(now, pace.ready_at(now), pace.chat_slot(chat, group, now))
            assert at >= max(until[""], until[chat])
            assert at < now + 10_000
            assert pace.available(now, 0.1) >= 0
            assert pace.reserve(now) >= now
            now = at
            assert pace.sent(chat, group, now) >= 0
        state = pace.state()
        assert 0 < state.rate <= state.ceiling == 30
        assert 0 < state.group_rate <= 20 / 60 + 1e-9
        assert all(rate > 0 for rate in state.learned.values())


@given(st.lists(st.tuples(st.integers(1, 20), st.integers(0, 20), st.integers(0, 20)), max_size=200))
def test_low_takes_at_most_its_share_while_others_wait(claims: list[tuple[int, int, int]]) -> None:
    """A claim as the store makes it: up to `pace.low` LOW ones, the most urgent, LOW filling up."""
    pace, low_total, total = Pace(Limits(low_share=0.25)), 0, 0
    for slots, low_waiting, others_waiting in claims:
        low = min(pace.low(slots), low_waiting)
        others = min(slots - low, others_waiting)
        pressed = low + others == slots and others_waiting > others
        fill = min(slots - low - others, low_waiting - low)
        pace.claimed(low + fill, others)
        if pressed:
            low_total += low
            total += slots
            assert low <= 0.25 * slots + 1
    assert low_total <= 0.25 * sum(slots for slots, _, _ in claims) + 1 + 0.25 * total


@given(st.floats(0.01, 10_000), st.floats(0.1, 7200))
def test_a_rate_survives_being_written(count: float, seconds: float) -> None:
    rate = Rate(float(f"{count:.3f}"), float(f"{seconds:.2f}"))
    assert Rate.parse(str(rate)) == rate
