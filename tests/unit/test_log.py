"""Log lines a person can follow (C9), and the hub that hands events around."""

from __future__ import annotations

import dataclasses
import logging
import math
import typing
from collections.abc import Iterator

import pytest

from kurir.core.events import (
    Attempted,
    Crashed,
    Event,
    Fenced,
    Leased,
    OutageBegan,
    OutageEnded,
    PaceChanged,
    Paused,
    Recovered,
    Settled,
    StoreBack,
    StoreTrouble,
    Submitted,
    Unleased,
)
from kurir.core.judge import Again, Finish
from kurir.core.message import Accepted, Claim, Draft, Priority, State
from kurir.core.outcome import Delivered, Failed, Throttled
from kurir.observe.log import Hub, log

NOW = 1_800_000_000.0
SECRET = "the text of the message"
PARAMS = b'{"chat_id":5,"text":"the text of the message"}'
CLAIM = Claim(1, 1, 1, "m1", 7, "5", "sendMessage", PARAMS, Priority.NORMAL, NOW, attempts=2)
DRAFT = Draft("m1", 7, "5", "sendMessage", PARAMS, NOW)

EVENTS: list[tuple[Event, str, str]] = [
    (Submitted((DRAFT,), (Accepted("m1", State.WAITING),)), "DEBUG", "m1 accepted: sendMessage to 5"),
    (
        Attempted(CLAIM, Delivered({"text": SECRET}), Finish(State.DELIVERED), NOW, 0.25),
        "DEBUG",
        "m1 sent to 5 in 0.250 s",
    ),
    (
        Attempted(CLAIM, Throttled(17.0), Again(NOW + 17, "slow"), NOW, 0.0),
        "INFO",
        "m1 throttled: waits 17 s, as Telegram asks",
    ),
    (
        Attempted(CLAIM, Failed("502"), Again(NOW + 4, "502", charged=True), NOW, 0.0),
        "INFO",
        "m1 failed (502): attempt 3 counts, tried again in 4 s",
    ),
    (
        Attempted(CLAIM, Failed("reset"), Again(NOW + 1, "reset"), NOW, 0.0),
        "INFO",
        "m1 failed (reset): attempt 3 does not count, tried again in 1 s",
    ),
    (
        Settled(CLAIM, State.DEAD, "Forbidden: bot was blocked by the user", None, 0.0, NOW),
        "WARNING",
        "m1 dead: sendMessage to 5: Forbidden: bot was blocked by the user",
    ),
    (Settled(CLAIM, State.EXPIRED, "expired", None, 0.0, NOW), "WARNING", "m1 expired: sendMessage to 5"),
    (Fenced(CLAIM), "WARNING", "m1 settled too late: somebody else holds the bot"),
    (Leased(7, 3), "INFO", "bot 7: this process sends for it now (token 3)"),
    (Unleased(7, "stopped"), "INFO", "bot 7: this process does not send for it any more: stopped"),
    (Recovered(7, 4), "WARNING", "bot 7: 4 messages were in flight when a courier died"),
    (
        OutageBegan(7, "name not resolved"),
        "WARNING",
        "bot 7: Telegram is out of reach (name not resolved); messages wait, a probe goes out now and then",
    ),
    (OutageEnded(7, 61.0), "WARNING", "bot 7: Telegram is back after 61 s"),
    (Paused(7, None, NOW + 30, "Too Many Requests"), "WARNING", "bot 7 paused: Too Many Requests"),
    (Paused(7, None, math.inf, "Unauthorized"), "ERROR", "bot 7 stopped until somebody acts: Unauthorized"),
    (
        Paused(7, None, 0.0, "Telegram takes the token again"),
        "WARNING",
        "bot 7 resumed: Telegram takes the token again",
    ),
    (PaceChanged(7, "bot", 24.0), "INFO", "bot 7: pace of bot is now 24.00/s"),
    (StoreTrouble("settle", "no room"), "ERROR", "the store refused to settle: no room"),
    (StoreBack(2.5), "WARNING", "the store works again after 2.5 s"),
    (Crashed("kurir-courier-7", "KeyError: 1"), "ERROR", "kurir-courier-7 failed and is started anew: KeyError: 1"),
]


@pytest.fixture
def lines(caplog: pytest.LogCaptureFixture) -> Iterator[pytest.LogCaptureFixture]:
    with caplog.at_level(logging.DEBUG, logger="kurir"):
        yield caplog


@pytest.mark.parametrize(("event", "level", "line"), EVENTS, ids=lambda v: type(v).__name__ if v else "")
def test_the_line_of_an_event(lines: pytest.LogCaptureFixture, event: Event, level: str, line: str) -> None:
    log(event)
    assert [(r.levelname, r.getMessage()) for r in lines.records] == [(level, line)]


def test_every_event_has_a_line() -> None:
    assert {type(event) for event, _, _ in EVENTS} == set(typing.get_args(Event))
    assert all(dataclasses.is_dataclass(event) for event, _, _ in EVENTS)


def test_no_line_holds_a_text(lines: pytest.LogCaptureFixture) -> None:
    for event, _, _ in EVENTS:
        log(event)
    assert SECRET not in lines.text


def test_a_delivered_message_is_silent_above_debug(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO, logger="kurir"):
        log(Attempted(CLAIM, Delivered(), Finish(State.DELIVERED), NOW, 0.1))
        log(Settled(CLAIM, State.DELIVERED, None, b"{}", 0.0, NOW))
    assert caplog.text == ""


def test_a_listener_that_raises_harms_nobody(lines: pytest.LogCaptureFixture) -> None:
    heard: list[Event] = []

    def broken(event: Event) -> None:
        raise ValueError("mine")

    hub = Hub([broken, heard.append])
    hub.emit(Leased(7, 1))
    assert heard == [Leased(7, 1)]
    assert "a listener failed on Leased" in lines.text


def test_a_listener_may_be_added_while_events_are_handed_around() -> None:
    heard: list[Event] = []
    hub = Hub()
    hub.add(lambda _: hub.add(heard.append))
    hub.emit(Leased(7, 1))
    hub.emit(Leased(7, 2))
    assert heard[-1] == Leased(7, 2)


def test_kurir_without_logging_set_up_prints_no_info() -> None:
    assert logging.getLogger("kurir").handlers == []
