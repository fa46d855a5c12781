"""The journal tells lost, doubled, reordered, over the limit."""

from __future__ import annotations

from typing import Any

import pytest

from kurir.simulator import Faults, Kind, Limits, ManualClock, Rule, Verb, World, mark_of

from .helpers import TOKEN, Ask


def send(world: World, *texts: str, chat: int = 1) -> None:
    for text in texts:
        world.exchange(TOKEN, "sendMessage", {"chat_id": chat, "text": text})


def test_what_arrived_once_and_in_order_is_clean(world: World) -> None:
    send(world, "a", "b", "c")
    report = world.journal.report({1: ["a", "b", "c"]})
    assert report.clean
    assert (report.expected, report.arrived) == (3, 3)


def test_what_did_not_arrive_is_lost(world: World) -> None:
    send(world, "a")
    report = world.journal.report({1: ["a", "b"], 2: ["c"]})
    assert report.lost == ((1, "b"), (2, "c"))
    assert not report.clean


def test_a_copy_without_an_excuse_is_unexplained(world: World) -> None:
    send(world, "a", "a")
    report = world.journal.report({1: ["a"]})
    assert (report.doubled, report.explained, report.unexplained) == (((1, "a"),), 0, 1)


def test_a_copy_after_a_lost_answer_is_explained(world: World) -> None:
    world.faults.add(Rule(Kind.RESET_AFTER, times=1))
    send(world, "a", "a")
    report = world.journal.report({1: ["a"]})
    assert (len(report.doubled), report.explained, report.unexplained) == (1, 1, 0)
    assert report.clean


def test_a_lost_answer_explains_one_copy_only(world: World) -> None:
    world.faults.add(Rule(Kind.RESET_AFTER, times=1))
    send(world, "a", "a", "a")
    report = world.journal.report({1: ["a"]})
    assert (len(report.doubled), report.explained, report.unexplained) == (2, 1, 1)


def test_what_came_after_its_successor_is_reordered(world: World) -> None:
    send(world, "b", "a", "c")
    assert world.journal.report({1: ["a", "b", "c"]}).reordered == ((1, "a"),)


def test_a_late_copy_is_not_out_of_order(world: World) -> None:
    send(world, "a", "b", "a")
    assert world.journal.report({1: ["a", "b"]}).reordered == ()


def test_sequences_of_one_chat_may_overtake_one_another(world: World) -> None:
    send(world, "urgent", "a", "b")
    assert world.journal.report([(1, ["a", "b"]), (1, ["urgent"])]).clean


def test_what_nobody_expected_is_a_stranger(world: World) -> None:
    send(world, "a", "x")
    assert world.journal.report({1: ["a"]}).strangers == ((1, "x"),)


def test_over_the_limit_is_counted(world: World, ask: Ask) -> None:
    world.limits = Limits(private=((1, 1.0),))
    for _ in range(3):
        ask("sendMessage", chat_id=1, text="x")
    assert world.journal.report({1: ["x"]}).throttled == 2
    assert world.journal.count(Verb.THROTTLED) == 2


def test_the_peak_and_the_share_of_the_allowed_rate_are_told(world: World, clock: ManualClock) -> None:
    start = clock.now()
    for number in range(20):
        send(world, f"m{number}", chat=number + 1)
        clock.set(clock.now() + 0.1)
    assert world.journal.peak(1.0) == 10
    assert world.journal.share(20, start, start + 2) == pytest.approx(0.5)
    assert world.journal.span() == (start, pytest.approx(start + 1.9))


def test_a_partial_album_is_sent_and_in_doubt(world: World) -> None:
    world.faults.add(Rule(Kind.ALBUM, item=2, times=1, description="MEDIA_EMPTY"))
    media = [
        {"type": "photo", "media": f"https://example.org/{n}.jpg", "caption": "x" if n == 0 else ""} for n in range(3)
    ]
    refused = world.exchange(TOKEN, "sendMediaGroup", {"chat_id": 1, "media": media}).response
    assert refused is not None
    words = 'Bad Request: failed to send message #2 with the error message "MEDIA_EMPTY"'
    assert refused.payload["description"] == words
    assert len(world.messages(1)) == 2
    entry = world.journal.sent(1)[0]
    assert (entry.verb, entry.mark, entry.number in world.journal.doubts) == (Verb.PARTIAL, "x", True)


MARKS: list[tuple[str, dict[str, Any], str | None]] = [
    ("sendMessage", {"text": "<b>m</b>"}, "<b>m</b>"),
    ("sendPhoto", {"photo": "x", "caption": "m"}, "m"),
    ("sendMediaGroup", {"media": [{"type": "photo"}, {"caption": "m"}]}, "m"),
    ("sendMediaGroup", {"media": '[{"caption": "m"}]'}, "m"),
    ("sendVenue", {"latitude": 1, "longitude": 2, "title": "m"}, "m"),
    ("sendInvoice", {"title": "m"}, "m"),
    ("sendPoll", {"question": "m"}, "m"),
    ("sendContact", {"phone_number": "+1", "first_name": "x"}, "+1"),
    ("sendLocation", {"latitude": 1.25, "longitude": "2"}, "1.25,2"),
    ("sendGame", {"game_short_name": "m"}, "m"),
    ("createForumTopic", {"name": "m"}, "m"),
    ("sendGift", {"gift_id": "g", "text": "m"}, "m"),
    ("forwardMessage", {"from_chat_id": 1, "message_id": 2}, "1:2"),
    ("copyMessages", {"from_chat_id": 1, "message_ids": [2, 3]}, "1:[2,3]"),
    ("sendSticker", {"sticker": "x", "reply_markup": {"inline_keyboard": [[{"callback_data": "m"}]]}}, "m"),
    ("sendDice", {}, None),
]


@pytest.mark.parametrize(("method", "params", "mark"), MARKS)
def test_every_kind_of_message_can_carry_a_mark(method: str, params: dict[str, Any], mark: str | None) -> None:
    assert mark_of(method, params) == mark


def test_the_mark_can_be_chosen(clock: ManualClock) -> None:
    world = World(clock, open_doors=True, mark=lambda method, params: str(params.get("tag")))
    world.add_bot(TOKEN)
    world.handle(TOKEN, "sendDice", {"chat_id": 1, "tag": "t1"})
    assert world.journal.sent()[0].mark == "t1"


def test_the_same_seed_strikes_the_same_calls(clock: ManualClock) -> None:
    def struck() -> list[bool]:
        faults = Faults.lossy(0.4)
        return [faults.draw(123, 1, "sendMessage") is not None for _ in range(500)]

    assert struck() == struck()
    assert 160 < sum(struck()) < 240
