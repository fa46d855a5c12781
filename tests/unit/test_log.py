"""Log lines a person can follow (C9), and the hub that hands events around."""

from __future__ import annotations

import dataclasses
import io
import json
import logging
import math
import typing
from collections.abc import Iterator

import pytest

from kurir.core.events import (
    Altered,
    Attempted,
    Called,
    Crashed,
    Event,
    Fenced,
    Forwarded,
    Leased,
    OutageBegan,
    OutageEnded,
    PaceChanged,
    Paused,
    Recovered,
    Settled,
    SpoolingBegan,
    SpoolingEnded,
    StoreBack,
    StoreTrouble,
    Submitted,
    Unforwardable,
    Unleased,
    Unsettled,
)
from kurir.core.judge import Again, Finish
from kurir.core.message import Accepted, Claim, Draft, Priority, State
from kurir.core.outcome import Delivered, Failed, Throttled
from kurir.observe.console import set_up
from kurir.observe.log import EXCERPT, Hub, Log
from kurir.telegram.redact import redact

NOW = 1_800_000_000.0
SECRET = "the text of the message"
PARAMS = b'{"chat_id":5,"text":"the text of the message"}'
CLAIM = Claim(1, 1, 1, "m1", 7, "5", "sendMessage", PARAMS, Priority.NORMAL, NOW, attempts=2)
DRAFT = Draft("m1", 7, "5", "sendMessage", PARAMS, NOW)
log = Log()

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
    (Altered(("m1",), State.CANCELLED, NOW), "INFO", "m1 cancelled"),
    (Altered(("m1",), State.WAITING, NOW), "INFO", "m1 set waiting again"),
    (Altered(("m1",), None, NOW), "INFO", "m1 purged"),
    (Called(7, "getMe", "delivered", 0.25, 1), "DEBUG", "bot 7: getMe delivered in 0.250 s, repeated 1 times"),
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
    (SpoolingBegan("refused"), "WARNING", "messages are spooled on this machine: refused"),
    (Forwarded((DRAFT,), (Accepted("m1", State.WAITING),)), "INFO", "1 spooled messages went to the store"),
    (SpoolingEnded(7, 61.5), "WARNING", "the spool is empty: 7 messages went to the store in 61.5 s"),
    (
        Unforwardable(DRAFT, "invalid byte sequence"),
        "ERROR",
        "m1 stays in the spool: the store refuses it: invalid byte sequence",
    ),
    (
        Altered(("m1",), State.CANCELLED, NOW, 7, "its key is another's", by_hand=False),
        "WARNING",
        "m1 cancelled: its key is another's",
    ),
    (StoreBack(2.5), "WARNING", "the store works again after 2.5 s"),
    (Unsettled("keeping results", "m1 is in doubt"), "ERROR", "keeping results: m1 is in doubt"),
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


def test_a_text_is_shown_when_asked_for_and_in_debug_lines_alone(lines: pytest.LogCaptureFixture) -> None:
    for event, _, _ in EVENTS:
        Log(texts=True)(event)
    shown = [(r.levelname, r.getMessage()) for r in lines.records if SECRET in r.getMessage()]
    assert shown == [
        ("DEBUG", f'm1 accepted: sendMessage to 5: "{SECRET}"'),
        ("DEBUG", f'm1 sent to 5 in 0.250 s: "{SECRET}"'),
    ]


@pytest.mark.parametrize(
    ("params", "shown"),
    [
        (b'{"chat_id":5}', "m1 accepted: sendMessage to 5"),
        (b'{"caption":"a\\nb"}', 'm1 accepted: sendMessage to 5: "a\\nb"'),
        (b'{"text":{"odd":1},"caption":""}', "m1 accepted: sendMessage to 5"),
        (b'{"text":"' + b"x" * 5000 + b'"}', f'm1 accepted: sendMessage to 5: "{"x" * EXCERPT}..."'),
    ],
    ids=["none", "line break", "odd", "long"],
)
def test_an_excerpt_is_short_and_one_line(lines: pytest.LogCaptureFixture, params: bytes, shown: str) -> None:
    draft = dataclasses.replace(DRAFT, params=params)
    Log(texts=True)(Submitted((draft,), (Accepted("m1", State.WAITING),)))
    assert [r.getMessage() for r in lines.records] == [shown]


def test_the_hub_shows_texts_when_told_to(lines: pytest.LogCaptureFixture) -> None:
    submitted = Submitted((DRAFT,), (Accepted("m1", State.WAITING),))
    Hub().emit(submitted)
    assert SECRET not in lines.text
    Hub(texts=True).emit(submitted)
    assert SECRET in lines.text


def test_a_known_key_is_told_apart(lines: pytest.LogCaptureFixture) -> None:
    log(Submitted((DRAFT,), (Accepted("m0", State.DELIVERED, duplicate=True),)))
    assert [r.getMessage() for r in lines.records] == ["m0 accepted before, under the same key"]


@pytest.fixture
def json_lines() -> Iterator[io.StringIO]:
    root, ours = logging.getLogger(), logging.getLogger("kurir")
    handlers, levels = root.handlers[:], (root.level, ours.level)
    stream = io.StringIO()
    set_up("debug", redact=redact, json=True, stream=stream)
    yield stream
    root.handlers[:] = handlers
    root.setLevel(levels[0])
    ours.setLevel(levels[1])


def test_a_json_line_names_the_message_and_the_bot_in_fields_of_their_own(json_lines: io.StringIO) -> None:
    for event, _, _ in EVENTS:
        log(event)
    written = [json.loads(line) for line in json_lines.getvalue().splitlines()]
    assert len(written) == len(EVENTS)
    for (event, level, words), line in zip(EVENTS, written, strict=True):
        about = getattr(event, "claim", getattr(event, "draft", event))
        assert line["message"] == words
        assert line["level"] == level.lower()
        assert line.get("id") == ("m1" if words.startswith("m1 ") else None)
        if not isinstance(event, Submitted | Altered):
            assert line.get("bot") == getattr(about, "bot", None)
    assert SECRET not in json_lines.getvalue()


def test_no_line_holds_a_token_even_where_texts_are_shown(json_lines: io.StringIO) -> None:
    token = "123456789:AAsecretsecretsecretsecretsecret12"
    draft = dataclasses.replace(DRAFT, params=json.dumps({"text": f"my token is {token}"}).encode())
    Log(texts=True)(Submitted((draft,), (Accepted("m1", State.WAITING),)))
    (line,) = [json.loads(line) for line in json_lines.getvalue().splitlines()]
    assert line["message"] == 'm1 accepted: sendMessage to 5: "my token is <token>"'


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
