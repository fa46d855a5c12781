"""Whether Telegram is away: the rules of the contract."""

from __future__ import annotations

import pytest

from kurir.core.link import Link, broke
from kurir.core.outcome import Answer, Break, NoReply, Reply

NOW = 1_800_000_000.0
OK = Reply(200, {"ok": True, "result": True})
NO = Reply(400, {"ok": False, "error_code": 400, "description": "Bad Request: x"})
FLOOD = Reply(429, {"ok": False, "error_code": 429, "description": "Too Many Requests"})
RESET = NoReply(Break.RESET, True)
TIMEOUT = NoReply(Break.TIMEOUT, True)
BAD_GATEWAY = Reply(502, None)


def told(*calls: tuple[str, Answer]) -> Link:
    link = Link()
    for second, (chat, answer) in enumerate(calls):
        link.observe(chat, answer, NOW + second)
    return link


# ---------------------------------------------------------------- what is an outage


@pytest.mark.parametrize("kind", [Break.REFUSED, Break.DNS, Break.UNREACHABLE, Break.CONNECT_TIMEOUT])
def test_what_does_not_connect_is_an_outage_at_once(kind: Break) -> None:
    link = told(("1", NoReply(kind, False)))
    assert link.outage_since == NOW
    assert link.why == kind.value


@pytest.mark.parametrize("answer", [RESET, TIMEOUT, BAD_GATEWAY])
def test_five_breaks_in_a_row_over_different_chats_are_an_outage(answer: Answer) -> None:
    four = [(str(chat), answer) for chat in range(1, 5)]
    assert told(*four).outage_since is None
    assert told(*four, ("5", answer)).outage_since == NOW + 4


def test_breaks_of_one_chat_are_no_outage() -> None:
    assert told(*[("1", RESET)] * 30).outage_since is None


@pytest.mark.parametrize("answer", [OK, NO, FLOOD])
def test_any_answer_between_starts_the_count_anew(answer: Answer) -> None:
    four = [(str(chat), RESET) for chat in range(1, 5)]
    assert told(*four, ("9", answer), ("5", RESET)).outage_since is None


def test_a_file_that_cannot_be_read_says_nothing_about_the_network() -> None:
    missing = NoReply(Break.FILE, False)
    link = told(*[(str(chat), missing) for chat in range(10)])
    assert link.outage_since is None
    assert not link.suspicious


def test_a_file_that_cannot_be_read_is_no_sign_of_life() -> None:
    four = [(str(chat), RESET) for chat in range(1, 5)]
    link = told(*four, ("9", NoReply(Break.FILE, False)), ("5", RESET))
    assert link.outage_since is not None


def test_an_outage_keeps_its_beginning_while_more_calls_break() -> None:
    link = told(("1", NoReply(Break.DNS, False)), ("2", NoReply(Break.REFUSED, False)))
    assert link.outage_since == NOW
    assert link.why == Break.DNS.value


def test_broke_is_no_answer_or_a_5xx() -> None:
    assert [broke(a) for a in (RESET, TIMEOUT, BAD_GATEWAY, OK, NO, FLOOD)] == [True, True, True, False, False, False]


# ---------------------------------------------------------------- probes


def test_probes_go_out_after_1_2_4_8_10_10_seconds() -> None:
    link = told(("1", NoReply(Break.DNS, False)))
    assert [link.next_probe() for _ in range(7)] == [1, 2, 4, 8, 10, 10, 10]


def test_the_next_outage_probes_from_the_start() -> None:
    link = told(("1", NoReply(Break.DNS, False)))
    for _ in range(4):
        link.next_probe()
    link.recovered(NOW + 60)
    link.observe("1", NoReply(Break.DNS, False), NOW + 90)
    assert link.next_probe() == 1


def test_recovered_tells_how_long_it_lasted() -> None:
    link = told(("1", NoReply(Break.DNS, False)))
    assert link.recovered(NOW + 60) == 60
    assert link.outage_since is None


def test_after_a_recovery_five_breaks_are_needed_again() -> None:
    link = told(*[(str(chat), RESET) for chat in range(5)])
    link.recovered(NOW + 60)
    for chat in range(4):
        link.observe(str(chat), RESET, NOW + 61)
    assert link.outage_since is None


# ---------------------------------------------------------------- one chat only


def test_five_breaks_in_one_chat_are_suspicious() -> None:
    assert not told(*[("1", RESET)] * 4).suspicious
    assert told(*[("1", RESET)] * 5).suspicious


def test_a_probe_that_breaks_too_makes_it_an_outage() -> None:
    assert told(*[("1", RESET)] * 5, ("", RESET)).outage_since is not None


def test_a_probe_that_is_answered_clears_the_suspicion() -> None:
    link = told(*[("1", RESET)] * 5, ("", OK))
    assert link.outage_since is None
    assert not link.suspicious


def test_probes_start_over_when_the_way_is_opening() -> None:
    link = told(("1", NoReply(Break.REFUSED, False)))
    for _ in range(5):
        link.next_probe()
    link.observe("", NoReply(Break.REFUSED, False), NOW + 30)
    assert link.next_probe() == 10
    link.observe("", BAD_GATEWAY, NOW + 40)
    assert [link.next_probe(), link.next_probe()] == [1, 2]
    link.observe("", BAD_GATEWAY, NOW + 43)
    assert link.next_probe() == 4


# ---------------------------------------------------------------- who is to blame


def test_in_an_outage_the_network_is_to_blame() -> None:
    assert told(("1", NoReply(Break.DNS, False))).to_blame("1", NOW)


def test_with_nothing_to_compare_the_network_is_to_blame() -> None:
    assert told(("1", RESET)).to_blame("1", NOW)


def test_when_all_others_get_through_the_message_is_to_blame() -> None:
    assert not told(*[(str(chat), OK) for chat in range(2, 12)], ("1", RESET)).to_blame("1", NOW + 10)


def test_when_others_break_as_well_the_network_is_to_blame() -> None:
    calls = [(str(chat), RESET if chat % 2 else OK) for chat in range(2, 12)]
    assert told(*calls, ("1", RESET)).to_blame("1", NOW + 10)


def test_what_was_a_minute_ago_says_nothing() -> None:
    link = told(*[(str(chat), OK) for chat in range(2, 12)])
    assert link.to_blame("1", NOW + 200)


def test_an_answered_probe_puts_the_blame_on_the_only_chat() -> None:
    assert not told(*[("1", RESET)] * 5, ("", OK)).to_blame("1", NOW + 6)
