"""Pace in virtual time: a strict server of our own, a jittery network, the smallest courier of `Pace`."""

from __future__ import annotations

import heapq
import random
import time
import tracemalloc
from collections import deque
from dataclasses import dataclass, field

import pytest

from kurir.core.pace import Limits, Pace, Rate

START = 1_790_000_000.0  # Unix seconds: floats as coarse as in life
GRACE = 0.5  # seconds after a refusal in which calls already on their way are not held against the bot
Windows = tuple[tuple[int, float], ...]  # at most so many in any so many seconds


class Window:
    """Sliding windows over one key, and the wait a refusal starts."""

    def __init__(self, windows: Windows) -> None:
        self.windows = windows
        self.taken: deque[float] = deque(maxlen=max(n for n, _ in windows))
        self.until = 0.0
        self.penalty = 0.0
        self.since = self.level = self.last = 0.0

    def free_at(self, at: float) -> float:
        taken = self.taken
        ends = [taken[-n] + seconds for n, seconds in self.windows if len(taken) >= n]
        return max([at, *ends])


class Bucket(Window):
    """A server of another shape: a token bucket of `n` in `seconds`."""

    def free_at(self, at: float) -> float:
        (n, seconds), *_ = self.windows
        while self.taken:
            t = self.taken.popleft()
            self.level, self.last = max(0.0, self.level - (t - self.last) * n / seconds) + 1, t
        level = max(0.0, self.level - (at - self.last) * n / seconds)
        return at if level <= n - 1 else at + (level - n + 1) * seconds / n


@dataclass
class Server:
    """Refuses what exceeds a window. A refusal tells `retry` seconds (0: until the window frees); a call in
    the wait is refused and doubles it, if `strict`. Waits up to `hold` are answered late instead."""

    bot: Windows = ((30, 1.0),)
    private: Windows = ((3, 1.0), (62, 60.0))
    group: Windows = ((20, 60.0),)
    retry: float = 0.0
    strict: bool = True
    hold: float = 0.0
    shape: type[Window] = Window
    keys: dict[str, Window] = field(default_factory=dict)
    accepted: list[tuple[float, str, int]] = field(default_factory=list)
    arrivals: list[tuple[float, str]] = field(default_factory=list)
    refusals: list[tuple[float, str]] = field(default_factory=list)
    inside: int = 0  # calls inside a wait

    def call(self, chat: str, number: int, at: float) -> tuple[float, float | None]:
        """(seconds until the answer, retry_after or None)."""
        self.arrivals.append((at, chat))
        kind = self.group if chat.startswith("-") else self.private
        keys = [self._key("bot", self.bot), self._key(chat, kind)]
        free = max([k.free_at(at) for k in keys] + [k.until for k in keys if self.strict])
        if free > at and free - at <= self.hold:
            self._take(keys, chat, number, free)
            return free - at, None
        if free <= at:
            self._take(keys, chat, number, at)
            return 0.0, None
        self.refusals.append((at, chat))
        told = 0.0
        for key in keys:
            waiting = self.strict and key.until > at
            if not waiting and key.free_at(at) <= at:
                continue
            self.inside += waiting
            if waiting and at < key.since + GRACE:
                told = max(told, key.until - at)
                continue
            key.since = at
            key.penalty = min(300.0, 2 * key.penalty) if waiting else self.retry or key.free_at(at) - at
            key.penalty = float(int(key.penalty) + 1) if key.penalty % 1 else key.penalty
            key.until = at + key.penalty
            told = max(told, key.penalty)
        return 0.0, told

    def _key(self, name: str, windows: Windows) -> Window:
        if name not in self.keys:
            self.keys[name] = (self.shape if name == "bot" else Window)(windows)
        return self.keys[name]

    def _take(self, keys: list[Window], chat: str, number: int, at: float) -> None:
        for key in keys:
            key.taken.append(at)
        self.accepted.append((at, chat, number))


@dataclass
class Run:
    """A courier in virtual time: one in flight a chat, woken up to `late` seconds late, `rtt` a round."""

    server: Server
    pace: Pace = field(default_factory=lambda: Pace(Limits()))
    late: float = 0.001
    rtt: float = 0.08
    jitter: float = 0.005
    seed: int = 1
    now: float = START
    left: list[tuple[float, str]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.random = random.Random(self.seed)
        self.lanes: dict[str, deque[int]] = {}
        self.ready: list[tuple[float, int, str]] = []
        self.answers: list[tuple[float, str, int, float, float | None]] = []
        self.chat_at: dict[str, float] = {}
        self.turn = 0

    def add(self, chat: str, count: int) -> None:
        lane = self.lanes.setdefault(chat, deque())
        first = lane[-1] + 1 if lane else 0
        if not lane:
            self._free(chat, self.now)
        lane.extend(range(first, first + count))

    def until(self, end: float = float("inf")) -> Run:
        """Run until `end` or until all is delivered."""
        while self.now < end and (self.ready or self.answers):
            self._hear()
            self._send()
            at = self.answers[0][0] if self.answers else float("inf")
            if self.ready:
                wake = max(self.ready[0][0], self.pace.ready_at(self.now))
                at = min(at, wake + self.random.uniform(0, self.late) if wake > self.now else wake)
            self.now = max(self.now, at)
        return self

    def _free(self, chat: str, at: float) -> None:
        self.turn += 1
        heapq.heappush(self.ready, (at, self.turn, chat))

    def _send(self) -> None:
        while self.ready and self.ready[0][0] <= self.now and self.pace.ready_at(self.now) <= self.now:
            _, _, chat = heapq.heappop(self.ready)
            at, number = self.now, self.lanes[chat][0]
            chat_at = self.pace.sent(chat, chat.startswith("-"), at)
            self.left.append((at, chat))
            arrival = at + self.rtt / 2 + self.random.uniform(-self.jitter, self.jitter)
            heapq.heappush(self.answers, (arrival, chat, number, at, chat_at))
            self.now += 20e-6

    def _hear(self) -> None:
        """Arrivals at the server in order of time, then answers at the courier."""
        while self.answers and self.answers[0][0] <= self.now:
            at, chat, number, left, told = heapq.heappop(self.answers)
            if number >= 0:  # arrives
                wait, retry = self.server.call(chat, number, at)
                self.chat_at[chat] = told or 0.0
                heapq.heappush(self.answers, (at + wait + self.rtt / 2, chat, -1, left, retry))
            elif told is None:
                self.pace.answered(left)
                self.lanes[chat].popleft()
                if self.lanes[chat]:
                    self._free(chat, max(self.now, self.chat_at[chat]))
            else:
                throttle = self.pace.throttled(chat, chat.startswith("-"), self.now, told, at=left)
                self._free(chat, throttle.chat_until)


def most(times: list[float], seconds: float) -> int:
    """The most of `times` in any window of `seconds`, counted without Pace's arithmetic."""
    times = sorted(times)
    most, first = 0, 0
    for last, at in enumerate(times):
        while times[first] <= at - seconds:
            first += 1
        most = max(most, last - first + 1)
    return most


def span(run: Run) -> float:
    return run.left[-1][0] - run.left[0][0]


def share(run: Run, of: float, start: float, end: float, chat: str | None = None) -> float:
    """What was accepted in [start, end) seconds after the start, as a share of `of` messages/s."""
    times = [at - START for at, name, _ in run.server.accepted if chat is None or name == chat]
    return sum(1 for at in times if start <= at < end) / (end - start) / of


def broadcast(run: Run) -> Run:
    """More than the bot may send, for as long as one likes, to 100 chats."""
    for chat in range(100):
        run.add(str(chat), 5000)
    return run


# ---------------------------------------------------------------- the allowed rate, without a 429


@pytest.mark.parametrize("late", [0.0, 0.001, 0.003])
@pytest.mark.parametrize("rtt", [0.004, 0.3])
def test_1500_messages_to_500_chats_leave_at_99_percent_of_30_a_second_without_a_429(late: float, rtt: float) -> None:
    run = Run(Server(), late=late, rtt=rtt, jitter=min(0.005, rtt / 2))
    for chat in range(500):
        run.add(str(chat), 3)
    run.until()
    assert len(run.server.accepted) == 1500
    assert run.server.refusals == []
    assert 1500 / span(run) / 30 >= 0.99
    assert most([at for at, _ in run.left], 0.25) <= 14
    for first, last in zip(run.left, run.left[30:], strict=False):
        assert last[0] - first[0] >= 1.010  # 5 ms of jitter each way cannot bring 31 into one second
    gaps = [b[0] - a[0] for a, b in zip(run.left, run.left[1:], strict=False)]
    assert max(gaps) < 0.25  # a critical message never finds the bot's budget spent for longer


def test_60_messages_to_one_group_leave_in_two_minutes_without_a_429() -> None:
    run = Run(Server(), rtt=0.02)
    run.add("-1", 60)
    run.until()
    assert run.server.refusals == []
    assert span(run) <= (60 - 20) / 20 * 60 * 1.01


def test_50_messages_at_once_to_one_chat_leave_in_order_without_a_429() -> None:
    run = Run(Server())
    run.add("1", 50)
    run.until()
    assert run.server.refusals == []
    assert [number for _, _, number in run.server.accepted] == list(range(50))
    assert span(run) <= 47 * 1.02


def test_a_saturated_private_chat_keeps_the_minute_window_too() -> None:
    run = Run(Server())
    run.add("1", 400)
    run.until()
    assert run.server.refusals == []
    assert 397 / span(run) >= 0.98


def test_a_stalled_event_loop_is_caught_up_within_the_limits() -> None:
    run = broadcast(Run(Server()))
    for second in range(1, 60):
        run.until(START + second)
        run.now += 0.12  # the loop hangs
    assert run.server.refusals == []
    assert len(run.left) / (run.now - START) / 30 >= 0.97
    assert most([at for at, _ in run.left], 0.02) <= 7


def test_the_tail_of_1000_a_second_is_paced_by_its_own_budget() -> None:
    pace, now, left = Pace(Limits()), START, 0
    while now < START + 3:
        now = max(now, pace.ready_at(now, paid=True))
        pace.sent(str(left), False, now, paid=True)
        left += 1
    assert 2950 <= left <= 3020
    assert pace.ready_at(now) <= now


# ---------------------------------------------------------------- a server stricter than configured


@pytest.mark.parametrize(("retry", "strict"), [(0, True), (1, False), (3, True), (10, True), (30, False)])
def test_a_bot_limit_20_percent_lower_is_found_and_kept(retry: float, strict: bool) -> None:
    run = broadcast(Run(Server(bot=((24, 1.0),), retry=retry, strict=strict)))
    run.until(START + 900)
    assert share(run, 24, 60, 900) >= 0.9
    assert share(run, 24, 60, 120) >= 0.9
    assert sum(1 for at, _ in run.server.refusals if at < START + 60) <= 4
    assert len(run.server.refusals) <= 14
    assert run.pace.rate == pytest.approx(24, abs=2)


def test_a_token_bucket_at_the_server_is_found_too() -> None:
    run = broadcast(Run(Server(bot=((24, 1.0),), retry=1, shape=Bucket)))
    run.until(START + 600)
    assert share(run, 24, 60, 600) >= 0.9
    assert len(run.server.refusals) <= 24


def test_over_an_hour_429s_stay_few() -> None:
    run = broadcast(Run(Server(bot=((24, 1.0),), retry=2)))
    run.until(START + 3600)
    assert share(run, 24, 60, 3600) >= 0.95
    assert len(run.server.refusals) <= 24
    assert sum(1 for at, _ in run.server.refusals if at > START + 1800) <= 6


def test_a_server_that_holds_requests_through_short_waits_gets_no_429_from_us() -> None:
    run = broadcast(Run(Server(bot=((24, 1.0),), retry=3, hold=8)))
    run.until(START + 300)
    assert share(run, 24, 60, 300) >= 0.9
    assert len(run.server.refusals) <= 12


@pytest.mark.parametrize("retry", [0, 5, 30])
def test_a_group_limit_20_percent_lower_is_found_and_kept(retry: float) -> None:
    run = Run(Server(group=((16, 60.0),), retry=retry))
    run.add("-1", 1000)
    run.until(START + 900)
    assert share(run, 16 / 60, 60, 900) >= 0.9
    assert len(run.server.refusals) <= 4


def test_groups_over_their_limit_do_not_stop_the_bot() -> None:
    run = broadcast(Run(Server(group=((16, 60.0),), retry=30)))
    for group in range(20):
        run.add(f"-{group}", 100)
    run.until(START + 300)
    assert share(run, 30, 0, 300) >= 0.93
    assert len(run.server.refusals) <= 24
    assert run.pace.paused_until == 0


def test_groups_that_learn_the_same_teach_the_others() -> None:
    run = Run(Server(group=((16, 60.0),), retry=5))
    for group in range(4):
        run.add(f"-{group}", 20)
    run.until(START + 100)
    assert run.pace.state().group_rate == pytest.approx(16 / 60)
    taught = len(run.server.refusals)
    for group in range(10, 30):
        run.add(f"-{group}", 40)
    run.until(START + 300)
    assert taught <= 4
    assert len(run.server.refusals) - taught <= 4


@pytest.mark.parametrize("windows", [((2, 1.0), (50, 60.0)), ((3, 1.25), (62, 75.0))])
def test_private_chat_limits_20_percent_lower_are_found_and_kept(windows: Windows) -> None:
    run = Run(Server(private=windows))
    run.add("1", 2000)
    run.until(START + 900)
    assert share(run, windows[1][0] / windows[1][1], 60, 900) >= 0.87
    assert len(run.server.refusals) <= 6


def test_when_the_server_allows_more_again_the_ceiling_is_reached_again() -> None:
    run = broadcast(Run(Server(bot=((24, 1.0),), retry=1)))
    run.until(START + 70)
    run.server.keys["bot"].windows = ((30, 1.0),)
    run.server.keys["bot"].taken = deque(run.server.keys["bot"].taken, maxlen=30)
    run.until(START + 1200)
    assert run.pace.rate == 30
    assert share(run, 30, 900, 1200) >= 0.985


# ---------------------------------------------------------------- what a 429 pauses


def test_a_429_pauses_its_chat_as_told_and_nobody_else() -> None:
    pace = Pace(Limits())
    pace.sent("1", False, START)
    throttle = pace.throttled("1", False, START + 0.1, 7, START)
    assert throttle.chat_until == pytest.approx(START + 7.2)
    assert throttle.bot_until is None
    assert pace.chat_slot("1", False, START + 5) == throttle.chat_until
    assert pace.chat_slot("2", False, START + 5) <= START + 5
    assert pace.ready_at(START + 5) <= START + 5


def test_429s_of_three_chats_within_seconds_pause_the_bot_for_the_longest_told() -> None:
    pace = Pace(Limits())
    for chat, told in (("1", 3), ("2", 9)):
        pace.sent(chat, False, START)
        assert pace.throttled(chat, False, START + 0.1, told, START).bot_until is None
    pace.sent("3", False, START)
    throttle = pace.throttled("3", False, START + 0.1, 4, START)
    assert throttle.bot_until == pytest.approx(START + 9.2)
    assert pace.ready_at(START + 1) == throttle.bot_until
    assert pace.available(START + 1, 1.0) == 0
    assert pace.rate < 30 or pace.corrections()


def test_429s_of_calls_already_in_flight_are_one_episode() -> None:
    pace = Pace(Limits())
    for call in range(30):
        pace.sent(str(call), False, START + call * 0.001)
    for call in range(20, 23):
        pace.throttled(str(call), False, START + 0.2, 5, START + call * 0.001)
    learned = pace.rate
    late = pace.throttled("25", False, START + 0.3, 8, START + 0.025)
    assert late.bot_until == pytest.approx(START + 8.4)
    assert pace.rate == learned
    assert learned == 20  # what was accepted before the first refused
    assert [c.scope for c in pace.corrections()] == ["bot"]


def test_429s_spread_over_a_minute_do_not_pause_the_bot() -> None:
    pace = Pace(Limits())
    for chat in range(12):
        at = START + 5 * chat
        pace.sent(str(chat), False, at)
        assert pace.throttled(str(chat), False, at + 0.1, 30, at).bot_until is None
        pace.answered(at + 0.2)


def test_while_a_429_is_unclear_the_bot_probes_until_a_later_call_is_accepted() -> None:
    pace = Pace(Limits())
    pace.sent("1", False, START)
    pace.throttled("1", False, START + 0.1, 5, START)
    pace.sent("2", False, START + 0.1)
    assert pace.ready_at(START + 0.11) == pytest.approx(START + 0.35)
    assert pace.available(START + 0.11, 0.1) <= 1
    pace.answered(START + 0.1)
    assert pace.ready_at(START + 0.2) <= START + 0.2


def test_after_a_pause_the_bot_starts_without_a_burst() -> None:
    pace = Pace(Limits())
    pace.pause(START + 10)
    pace.sent("1", False, START + 10)
    assert pace.ready_at(START + 10) > START + 10.03


def test_a_pause_by_hand_lasts_until_resumed() -> None:
    pace = Pace(Limits())
    pace.pause(float("inf"))
    assert pace.available(START, 1000) == 0
    assert pace.reserve(START) == float("inf")
    pace.unreserve()
    pace.pause(0)
    assert pace.ready_at(START) <= START
    assert pace.available(START, 0.0) == 6


# ---------------------------------------------------------------- limits off


def test_without_limits_nothing_waits_but_for_a_429() -> None:
    pace = Pace(Limits(on=False))
    assert pace.available(START, 0.1) > 1_000_000
    for _ in range(100):
        assert pace.reserve(START) == START
        assert pace.ready_at(START) <= START
        assert pace.sent("-1", True, START) <= START
    assert pace.state().known_chats == 0
    assert pace.throttled("-1", True, START, 5, START).chat_until == pytest.approx(START + 5.1)
    assert pace.sent("-1", True, START) == pytest.approx(START + 5.1)
    for chat in "23":
        throttle = pace.throttled(chat, False, START, 5, START)
    assert throttle.bot_until == pace.ready_at(START) == pytest.approx(START + 5.1)


# ---------------------------------------------------------------- reservations, restarts, clocks


def test_reservations_count_against_what_is_available_until_used_or_given_back() -> None:
    pace = Pace(Limits())
    room = pace.available(START, 0.5)
    assert room == 6 + 14
    slots = [pace.reserve(START) for _ in range(room)]
    assert pace.available(START, 0.5) == 0
    assert slots == sorted(slots)
    assert slots[0] >= START
    assert slots[-1] <= START + 0.5
    pace.unreserve()
    assert pace.available(START, 0.5) == 1
    pace.sent("1", False, START)
    assert pace.available(START, 0.5) == 1


def test_after_a_restart_no_window_is_exceeded() -> None:
    pace = Pace(Limits())
    recent = [("-1", START - 30 + i) for i in range(20)] + [("1", START - 0.1)] * 3
    pace.restore(recent, lambda chat: chat.startswith("-"), START)
    assert pace.chat_slot("-1", True, START) >= START + 30
    assert pace.chat_slot("1", False, START) >= START + 0.9
    assert pace.available(START, 0.0) <= 1


def test_a_clock_set_back_costs_a_window_and_no_more() -> None:
    pace = Pace(Limits())
    for call in range(60):
        pace.sent("-1", True, START + call)
    now = START - 7200
    assert pace.ready_at(now) <= now + 1.1
    assert pace.chat_slot("-1", True, now) <= now + 61
    assert pace.ready_at(now + 1.1) <= now + 1.1


def test_an_album_that_costs_takes_as_many_places_and_a_chat_action_none() -> None:
    pace = Pace(Limits())
    pace.sent("-1", True, START, 10)
    pace.sent("-1", True, START + 1, 0)
    assert pace.chat_slot("-1", True, START + 2, 10) <= START + 2
    assert pace.chat_slot("-1", True, START + 2, 11) > START + 59


# ---------------------------------------------------------------- low, memory, rates, cost


def test_low_gets_its_share_while_others_wait_all_when_none_do_and_saves_nothing_up() -> None:
    pace = Pace(Limits())
    taken = 0
    for _ in range(1000):
        low = pace.low(1)
        pace.claimed(low, 1 - low)
        taken += low
    assert taken == 200
    for _ in range(1000):
        pace.claimed(0, 1)  # no LOW waited
    assert pace.low(1) == 1
    assert pace.low(10) <= 3
    pace.claimed(10, 0)  # nobody else waited
    assert pace.low(1) == 0


def test_a_million_chats_in_sequence_leave_memory_flat() -> None:
    pace = Pace(Limits(bot=Rate(1000), bot_burst=20))
    chats, peak = 100_000, 0
    tracemalloc.start()
    for chat in range(chats):
        pace.sent(str(chat), chat % 3 == 0, START + chat * 0.02)  # 50/s
        if chat % 1000 == 0:
            peak = max(peak, pace.state().known_chats)
    used, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak <= 3 * 50 * 60
    assert used < 8_000_000


@pytest.mark.parametrize("text", ["30/s", "20/min", "1000/s", "1/s", "500/h", "1/3s", "0.5/s", "7/2.5s"])
def test_a_rate_reads_and_writes_the_same(text: str) -> None:
    assert str(Rate.parse(text)) == text


@pytest.mark.parametrize("text", ["", "30", "30/x", "-1/s", "0/s", "a/s", "1/0s", "1//s"])
def test_what_is_no_rate_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="rate"):
        Rate.parse(text)


@pytest.mark.parametrize("on", [True, False])
def test_a_call_costs_microseconds(on: bool) -> None:
    pace = Pace(Limits(on=on))
    best = float("inf")
    for turn in range(5):
        started = time.perf_counter()
        for call in range(2000):
            at = START + 100 * turn + call * 0.034
            pace.reserve(at)
            pace.ready_at(at)
            pace.sent(str(call % 500), False, at)
            pace.answered(at)
        best = min(best, (time.perf_counter() - started) / 2000)
    assert best < (40e-6 if on else 10e-6)  # measured 4 and 1 us; slack for a busy machine
