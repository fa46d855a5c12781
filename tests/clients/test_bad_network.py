"""Bots that know nothing of Kurir answer their users in full and in order while Telegram is hardly reachable."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

import pytest

from kurir.simulator.harness import Telegram
from kurir.simulator.journal import Report, Verb

from .scripts import python, running
from .serving import Gateway

USERS = range(1001, 1201)
WORDS = ("hello 1", "hello 2", "hello 3")
PRESSING = range(1001, 1021)  # the users that also use the menu
LOSS = 0.4  # of all calls to Telegram, half of them after Telegram acted
PATIENCE = 60.0  # seconds; half of it is common, most of it waits for the next poll


@pytest.mark.parametrize("bot", ["echo_ptb", "echo_aiogram"])
def test_a_bot_answers_200_users_in_order_though_40_percent_of_all_calls_are_lost(
    bot: str, telegram: Telegram, gateway: Gateway, tmp_path: Path
) -> None:
    with running(python(bot), gateway, tmp_path) as script:
        script.until("polling")
        telegram.lose(LOSS)
        for words in WORDS:
            for user in USERS:
                telegram.say(user, words)
        expected = {user: [f"You said {words}" for words in WORDS] for user in USERS}
        _until(lambda: not telegram.report(expected).lost, lambda: _told(telegram.report(expected)))
        report = telegram.report(expected)
    assert report.clean, _told(report)
    assert not report.strangers
    assert sum(report.faults.values()) > 0.3 * report.expected  # the network was as bad as meant


@pytest.mark.parametrize("bot", ["echo_ptb", "echo_aiogram"])
def test_a_menu_is_shown_and_changes_when_pressed_though_40_percent_of_all_calls_are_lost(
    bot: str, telegram: Telegram, gateway: Gateway, tmp_path: Path
) -> None:
    with running(python(bot), gateway, tmp_path) as script:
        script.until("polling")
        telegram.lose(LOSS)
        for user in PRESSING:
            telegram.say(user, "/menu")
        _until(lambda: all(telegram.sent(user) for user in PRESSING), lambda: "not all have their menu")
        pressed = {user: telegram.sent(user)[0].id for user in PRESSING}
        for user, menu in pressed.items():
            telegram.press(user, menu, "pressed")
        _until(lambda: _edited(telegram) >= set(pressed.values()), lambda: f"edited: {_edited(telegram)}")
    for user, menu in pressed.items():
        (shown,) = [message.text for message in telegram.sent(user) if message.id == menu]
        assert shown == "You pressed it"


def _edited(telegram: Telegram) -> set[int | None]:
    return {entry.target for entry in telegram.calls("editMessageText") if entry.verb is Verb.EDITED}


def _until(done: Callable[[], bool], told: Callable[[], str]) -> None:
    end = time.monotonic() + PATIENCE
    while not done():
        assert time.monotonic() < end, told()
        time.sleep(0.1)


def _told(report: Report) -> str:
    return (
        f"{report.arrived} of {report.expected} arrived; doubled {len(report.doubled)}, of which {report.explained} "
        f"explained; reordered {report.reordered[:5]}; lost {report.lost[:5]}; faults {dict(report.faults)}"
    )
