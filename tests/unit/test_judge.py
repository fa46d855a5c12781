"""The verdict: every outcome, charged and not, under every option that bears on it."""

from __future__ import annotations

import pytest

from kurir.core.judge import CRASHED, Again, Finish, Reroute, StopBot, crashes_after, judge, judge_crash
from kurir.core.message import Claim, OnUnknown, Options, Ordering, Priority, State
from kurir.core.outcome import Delivered, Failed, Moved, Outcome, Refused, Scope, Throttled, Unknown
from kurir.core.policy import QUICK, SLOW, Policy

NOW = 1_800_000_000.0
POLICY = Policy()
LAST = len(QUICK) + len(SLOW)  # failed tries after which one is left

BOTH = pytest.mark.parametrize("charged", [True, False])


def claim(tries: int = 0, doubts: int = 0, crashes: int = 0, chat: str = "5", **options: object) -> Claim:
    return Claim(
        seq=1,
        token=1,
        lane=1,
        id="m",
        bot=1,
        chat=chat,
        method="sendMessage",
        params=b"{}",
        priority=Priority.NORMAL,
        accepted_at=NOW,
        options=Options(**options),  # type: ignore[arg-type]
        tries=tries,
        doubts=doubts,
        crashes=crashes,
    )


def verdict(outcome: Outcome, of: Claim | None = None, *, charged: bool = True, jitter: float = 0.0) -> object:
    return judge(of or claim(), outcome, POLICY, NOW, jitter, charged)


# ---------------------------------------------------------------- final outcomes


@BOTH
def test_delivered_is_the_end(charged: bool) -> None:
    assert verdict(Delivered({"message_id": 1}), charged=charged) == Finish(State.DELIVERED)


def test_a_benign_refusal_is_delivered_with_telegrams_words() -> None:
    assert verdict(Delivered(True, "message is not modified")) == Finish(State.DELIVERED, "message is not modified")


@BOTH
def test_a_429_waits_exactly_as_told_and_costs_no_try(charged: bool) -> None:
    for jitter in (0.0, 0.999):
        assert verdict(Throttled(17.0, "slow"), charged=charged, jitter=jitter) == Again(NOW + 17.0, "slow")


def test_a_429_costs_no_try_even_at_the_last_one() -> None:
    assert verdict(Throttled(17.0, "slow"), claim(tries=LAST, max_attempts=1)) == Again(NOW + 17.0, "slow")


@BOTH
def test_a_moved_group_is_followed(charged: bool) -> None:
    assert verdict(Moved("-1001"), claim(chat="-77"), charged=charged) == Reroute("-1001")


@pytest.mark.parametrize("chat", ["5", "user:5", "inline:x", ""])
def test_where_no_group_can_have_moved_another_chat_is_meant(chat: str) -> None:
    assert verdict(Moved("-1001"), claim(chat=chat)) == Finish(State.DEAD, "a chat it refers to moved to -1001")


def test_a_recipient_out_of_reach_is_dead_and_suppressed() -> None:
    assert verdict(Refused(Scope.RECIPIENT, "blocked", 403)) == Finish(State.DEAD, "blocked", "blocked")


@pytest.mark.parametrize("scope", [Scope.RIGHTS, Scope.MESSAGE])
@BOTH
def test_another_refusal_is_dead_at_once_and_suppresses_nobody(scope: Scope, charged: bool) -> None:
    assert verdict(Refused(scope, "no"), charged=charged) == Finish(State.DEAD, "no", None)


@BOTH
def test_a_refused_bot_stops_and_the_message_waits(charged: bool) -> None:
    assert verdict(Refused(Scope.BOT, "Unauthorized", 401), charged=charged) == StopBot("Unauthorized")


# ---------------------------------------------------------------- charged retries


@pytest.mark.parametrize("tries", range(len(QUICK)))
def test_quick_tries_keep_the_place(tries: int) -> None:
    assert verdict(Failed("502"), claim(tries)) == Again(NOW + QUICK[tries], "502", later=False, charged=True)


@pytest.mark.parametrize("slow", range(len(SLOW)))
def test_slow_tries_give_the_place_up(slow: int) -> None:
    of = claim(len(QUICK) + slow)
    assert verdict(Failed("502"), of) == Again(NOW + SLOW[slow], "502", later=True, charged=True)


def test_strict_ordering_keeps_the_place_on_the_slow_schedule() -> None:
    again = verdict(Failed("502"), claim(len(QUICK), ordering=Ordering.STRICT))
    assert again == Again(NOW + SLOW[0], "502", later=False, charged=True)


def test_the_last_try_failed_is_dead_with_the_reason() -> None:
    assert verdict(Failed("502"), claim(LAST)) == Finish(State.DEAD, f"gave up after {LAST + 1} tries: 502")


def test_the_last_try_in_doubt_is_dead_as_unknown() -> None:
    assert verdict(Unknown("reset"), claim(LAST)) == Finish(State.DEAD, "unknown: reset")


@pytest.mark.parametrize("most", [1, 2, 5])
def test_max_attempts_bounds_the_tries(most: int) -> None:
    assert isinstance(verdict(Failed("x"), claim(most - 2, max_attempts=most)), Again) or most == 1
    assert verdict(Failed("x"), claim(most - 1, max_attempts=most)) == Finish(
        State.DEAD, f"gave up after {most} tries: x"
    )


def test_backoff_of_the_message_replaces_the_policys() -> None:
    of = claim(1, backoff=(0.5, 3.0))
    assert verdict(Failed("x"), of) == Again(NOW + 3.0, "x", charged=True)
    assert isinstance(verdict(Failed("x"), claim(2, backoff=(0.5, 3.0))), Finish)


def test_more_attempts_than_delays_repeat_the_last_delay() -> None:
    assert verdict(Failed("x"), claim(7, backoff=(1.0, 2.0), max_attempts=10)) == Again(NOW + 2.0, "x", charged=True)


# ---------------------------------------------------------------- uncharged retries


def test_the_networks_failure_costs_no_try_and_never_ends() -> None:
    for tries in (0, LAST, 1000):
        assert verdict(Failed("reset"), claim(tries), charged=False) == Again(NOW + QUICK[0], "reset")


def test_uncharged_doubts_slow_down_along_the_quick_schedule() -> None:
    delays = []
    for doubts in range(7):
        again = verdict(Unknown("reset"), claim(doubts=doubts), charged=False)
        assert isinstance(again, Again)
        assert (again.charged, again.doubt, again.later) == (False, True, False)
        delays.append(again.due_at - NOW)
    assert delays == [1, 2, 4, 8, 16, 16, 16]


def test_doubts_beyond_the_limit_count_as_tries() -> None:
    below = verdict(Unknown("reset"), claim(doubts=POLICY.doubt_limit - 1), charged=False)
    at = verdict(Unknown("reset"), claim(doubts=POLICY.doubt_limit), charged=False)
    assert isinstance(below, Again)
    assert isinstance(at, Again)
    assert (below.charged, at.charged) == (False, True)


def test_an_empty_quick_schedule_still_waits_between_uncharged_tries() -> None:
    again = judge(claim(), Failed("reset"), Policy(quick=()), NOW, 0.0, charged=False)
    assert again == Again(NOW + 1.0, "reset")


# ---------------------------------------------------------------- doubt


@BOTH
def test_held_in_doubt_is_dead_as_unknown(charged: bool) -> None:
    of = claim(on_unknown=OnUnknown.HOLD)
    assert verdict(Unknown("reset"), of, charged=charged) == Finish(State.DEAD, "unknown: reset")


def test_hold_does_not_hold_what_surely_failed() -> None:
    assert isinstance(verdict(Failed("dns"), claim(on_unknown=OnUnknown.HOLD)), Again)


@pytest.mark.parametrize("on_unknown", [None, OnUnknown.RESEND])
def test_resend_is_the_default(on_unknown: OnUnknown | None) -> None:
    again = verdict(Unknown("reset"), claim(on_unknown=on_unknown))
    assert again == Again(NOW + 1.0, "reset", charged=True, doubt=True)


# ---------------------------------------------------------------- crashes


@pytest.mark.parametrize("crashes", [0, 1])
def test_a_crash_is_a_doubt_and_tried_again_at_once(crashes: int) -> None:
    assert judge_crash(claim(crashes=crashes), POLICY, NOW, alone=True) == Again(NOW, CRASHED, doubt=True)


def test_the_third_crash_is_poison() -> None:
    finish = judge_crash(claim(crashes=2), POLICY, NOW, alone=True)
    assert finish == Finish(State.DEAD, "poison: in flight at 3 crashes")


@pytest.mark.parametrize("crashes", [1, 2])
def test_a_further_crash_among_others_convicts_nobody(crashes: int) -> None:
    assert crashes_after(claim(crashes=crashes), alone=False) == crashes
    assert isinstance(judge_crash(claim(crashes=crashes), POLICY, NOW, alone=False), Again)


def test_crashes_are_counted_apart_from_tries() -> None:
    assert isinstance(judge_crash(claim(tries=LAST + 5, max_attempts=1), POLICY, NOW, alone=True), Again)


def test_a_crash_holds_what_asks_to_be_held() -> None:
    finish = judge_crash(claim(on_unknown=OnUnknown.HOLD), POLICY, NOW, alone=True)
    assert finish == Finish(State.DEAD, f"unknown: {CRASHED}")


# ---------------------------------------------------------------- jitter


@pytest.mark.parametrize("jitter", [0.0, 0.25, 0.999999])
@BOTH
def test_jitter_only_lengthens_and_by_a_tenth_at_most(jitter: float, charged: bool) -> None:
    for tries in range(LAST):
        again = verdict(Failed("x"), claim(tries), charged=charged, jitter=jitter)
        assert isinstance(again, Again)
        base = (QUICK + SLOW)[tries] if charged else QUICK[0]
        assert base <= again.due_at - NOW <= base * 1.1 + 1e-6
