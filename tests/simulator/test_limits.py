"""The limits: more than allowed in any window is refused, accepted calls alone count, penalties grow, short floods
are held."""

from __future__ import annotations

from itertools import pairwise

import pytest

from kurir.simulator import Limits, ManualClock, World

from .helpers import GROUP, Ask, result, why


def flood(ask: Ask, count: int, **params: object) -> list[int]:
    """Status codes of so many sends."""
    return [ask("sendMessage", **{"chat_id": 1, "text": "x", **params}).status for _ in range(count)]


def test_a_bot_may_send_30_messages_in_any_second(world: World, ask: Ask, clock: ManualClock) -> None:
    world.limits = Limits(private=())
    codes = [ask("sendMessage", chat_id=chat, text="x").status for chat in range(1, 33)]
    assert codes == [200] * 30 + [429] * 2
    clock.set(clock.now() + 1.0)
    assert flood(ask, 1) == [200]


def test_the_window_slides(world: World, ask: Ask, clock: ManualClock) -> None:
    world.limits = Limits(bot=((2, 1.0),), private=())
    start = clock.now()
    assert flood(ask, 1) == [200]
    clock.set(start + 0.9)
    assert flood(ask, 1) == [200]
    clock.set(start + 1.0)
    assert flood(ask, 1) == [200]
    clock.set(start + 1.1)
    assert flood(ask, 1) == [429]


def test_a_429_names_the_wait_in_the_body_and_in_the_header(world: World, ask: Ask) -> None:
    world.limits = Limits(group=((1, 60.0),))
    flood(ask, 1, chat_id=GROUP)
    refused = ask("sendMessage", chat_id=GROUP, text="x")
    assert refused.status == 429
    assert why(refused) == "Too Many Requests: retry after 60"
    assert refused.payload["parameters"] == {"retry_after": 60}
    assert refused.headers["Retry-After"] == "60"


def test_waiting_as_told_is_enough(world: World, ask: Ask, clock: ManualClock) -> None:
    world.limits = Limits(group=((20, 60.0),))
    assert flood(ask, 21, chat_id=GROUP)[-1] == 429
    wait = ask("sendMessage", chat_id=GROUP, text="x").payload["parameters"]["retry_after"]
    clock.set(clock.now() + wait)
    assert flood(ask, 1, chat_id=GROUP) == [200]


def test_going_on_inside_the_wait_lengthens_it(world: World, ask: Ask, clock: ManualClock) -> None:
    world.limits = Limits(group=((1, 5.0),), penalties=(0, 3, 10))
    assert flood(ask, 2, chat_id=GROUP) == [200, 429]
    waits = [ask("sendMessage", chat_id=GROUP, text="x").payload["parameters"]["retry_after"] for _ in range(4)]
    assert waits == [5, 8, 18, 28]


def test_refused_calls_do_not_count(world: World, ask: Ask, clock: ManualClock) -> None:
    world.limits = Limits(private=((2, 1.0),))
    for _ in range(5):
        assert ask("sendMessage", chat_id=1, text="<b>", parse_mode="HTML").status == 400
    assert flood(ask, 3) == [200, 200, 429]


def test_edits_share_the_budget_of_sends(world: World, ask: Ask) -> None:
    world.limits = Limits(private=((3, 1.0),))
    message = result(ask("sendMessage", chat_id=1, text="0"))
    for text in "12":
        assert ask("editMessageText", chat_id=1, message_id=message["message_id"], text=text).status == 200
    assert flood(ask, 1) == [429]


@pytest.mark.parametrize("method", ["sendChatAction", "deleteMessage", "getMe"])
def test_what_does_not_send_costs_nothing(world: World, ask: Ask, method: str) -> None:
    world.limits = Limits(bot=((1, 1.0),), private=((1, 1.0),))
    message = result(ask("sendMessage", chat_id=1, text="0"))
    answer = ask(method, chat_id=1, message_id=message["message_id"], action="typing")
    assert answer.status == 200


def test_an_album_costs_what_is_set(world: World, ask: Ask) -> None:
    world.limits = Limits(private=((3, 1.0),), album_cost=3)
    media = [{"type": "photo", "media": "https://example.org/1.jpg"}] * 2
    assert ask("sendMediaGroup", chat_id=1, media=media).status == 200
    assert flood(ask, 1) == [429]


def test_a_flood_of_one_chat_does_not_close_another(world: World, ask: Ask) -> None:
    world.limits = Limits(private=((1, 60.0),))
    assert flood(ask, 2) == [200, 429]
    assert flood(ask, 1, chat_id=2) == [200]


def test_two_bots_have_budgets_of_their_own(world: World, ask: Ask) -> None:
    world.add_bot("9:Z")
    world.limits = Limits(bot=((1, 60.0),))
    assert flood(ask, 2) == [200, 429]
    assert flood(ask, 1, token="9:Z") == [200]


def test_channels_count_as_groups_unless_told_otherwise(world: World, ask: Ask) -> None:
    world.add_chat(-1_009, "channel")
    world.limits = Limits(group=((1, 60.0),))
    assert flood(ask, 2, chat_id=-1_009) == [200, 429]
    world.limits = Limits(group=((1, 60.0),), channel=((2, 60.0),))
    world.add_chat(-1_010, "channel")
    assert flood(ask, 3, chat_id=-1_010) == [200, 200, 429]


def test_a_paid_broadcast_has_its_own_limit(world: World, ask: Ask) -> None:
    world.limits = Limits(bot=((1, 1.0),), private=(), paid=((3, 1.0),))
    assert flood(ask, 3, allow_paid_broadcast=True) == [200] * 3


def test_a_short_flood_is_held_and_delivered(world: World, ask: Ask, clock: ManualClock) -> None:
    world.limits = Limits(private=((1, 1.0),), hold=True)
    answers = [ask("sendMessage", chat_id=1, text=str(n)) for n in range(10)]
    assert [answer.hold for answer in answers[:9]] == [float(n) for n in range(9)]
    assert answers[9].status == 429
    assert len(world.messages(1)) == 9
    assert [entry.at - clock.now() for entry in world.journal.sent(1)] == [float(n) for n in range(9)]


def test_lifted_limits_let_everything_through(world: World, ask: Ask) -> None:
    world.limits = Limits.none()
    assert set(flood(ask, 200)) == {200}


def test_uploads_of_identical_size_are_spread_and_then_refused(world: World, ask: Ask) -> None:
    world.limits = Limits(bot=(), private=())
    data = b"x" * 100_001
    answers = [ask("sendDocument", chat_id=1, files={"document": data}) for _ in range(40)]
    held = [answer.hold for answer in answers if answer.status == 200]
    assert held[0] == 0.0
    assert held[-1] > 4.0
    assert all(0.19 < later - sooner < 0.21 for sooner, later in pairwise(held[6:]))
    assert answers[-1].payload["parameters"] == {"retry_after": 60}


def test_a_file_id_is_no_upload(world: World, ask: Ask) -> None:
    world.limits = Limits(bot=(), private=())
    first = result(ask("sendDocument", chat_id=1, files={"document": b"x" * 100_001}))
    again = [ask("sendDocument", chat_id=1, document=first["document"]["file_id"]) for _ in range(40)]
    assert {answer.hold for answer in again} == {0.0}


def test_calls_held_for_one_chat_do_not_hold_another(world: World, ask: Ask) -> None:
    world.limits = Limits(bot=((10, 1.0),), private=((1, 1.0),), hold=True)
    flood(ask, 9)
    assert [ask("sendMessage", chat_id=chat, text="x").hold for chat in range(2, 11)] == [0.0] * 9


def test_the_limit_holds_whatever_the_arrivals(world: World, ask: Ask, clock: ManualClock) -> None:
    world.limits = Limits(bot=((7, 1.0),), private=(), penalties=(0,))
    for step in range(300):
        clock.set(clock.now() + (step * 37 % 11) / 50)
        ask("sendMessage", chat_id=step % 5 + 1, text=str(step))
    assert world.journal.peak(1.0) == 7
