"""At least once, and honest about it: what follows when Telegram's answer is lost."""

from __future__ import annotations

from typing import Any

import pytest

from kurir import OnUnknown, State
from kurir.ports import Store
from kurir.simulator import Kind, Rule

from .helpers import in_virtual_time, playing

LOST = Rule(Kind.RESET_AFTER, times=1)


@in_virtual_time
async def test_a_lost_answer_is_resent_by_default_and_recorded_as_unknown(store: Store) -> None:
    async with playing(store) as (kurir, s):
        s.world.faults.add(LOST)
        receipt = await kurir.send_text(5, "x")
        await receipt.delivered(30)
        record = await kurir.get(receipt.id)
        assert [a.outcome for a in record.attempts] == ["unknown", "delivered"]
        assert record.doubts == 1
        assert s.texts(5) == ["x", "x"]
        assert s.world.journal.report({5: ["x"]}).unexplained == 0


@in_virtual_time
async def test_hold_keeps_what_may_have_arrived(store: Store) -> None:
    async with playing(store) as (kurir, s):
        s.world.faults.add(LOST)
        record = await (await kurir.send_text(5, "x", on_unknown="hold")).ended(30)
        assert record.state is State.DEAD
        assert (record.reason or "").startswith("unknown:")
        await s.sleep(600)
        assert s.texts(5) == ["x"]
        assert [r.id for r in (await kurir.dead(reason="unknown:")).items] == [record.id]


@in_virtual_time
async def test_what_was_held_is_sent_when_somebody_says_so(store: Store) -> None:
    async with playing(store) as (kurir, s):
        s.world.faults.add(Rule(Kind.RESET_BEFORE, times=1))
        receipt = await kurir.send_text(5, "x", on_unknown="hold")
        assert (await receipt.ended(30)).state is State.DEAD
        await kurir.retry(receipt.id)
        await receipt.delivered(30)
        assert s.texts(5) == ["x"]


@pytest.mark.parametrize(
    ("method", "params"),
    [
        ("sendGift", {"user_id": 5, "gift_id": "g"}),
        ("sendMessage", {"chat_id": 5, "text": "x", "allow_paid_broadcast": True}),
    ],
)
@in_virtual_time
async def test_money_is_held_by_default(method: str, params: dict[str, Any]) -> None:
    async with playing() as (kurir, s):
        s.world.faults.add(LOST)
        record = await (await kurir.submit(method, params)).ended(30)
        assert record.options.on_unknown is OnUnknown.HOLD
        assert (record.reason or "").startswith("unknown:")
        assert len(s.wire.sends()) == 1


@pytest.mark.parametrize("kind", [Kind.REFUSED, Kind.DNS, Kind.UNREACHABLE, Kind.CONNECT_TIMEOUT])
@in_virtual_time
async def test_what_never_left_is_no_doubt(kind: Kind) -> None:
    async with playing() as (kurir, s):
        s.world.faults.add(Rule(kind, method="sendMessage", times=2))
        receipt = await kurir.send_text(5, "x", on_unknown="hold")
        await receipt.delivered(120)
        record = await kurir.get(receipt.id)
        assert record.doubts == 0
        assert {a.outcome for a in record.attempts} == {"failed", "delivered"}
        assert s.texts(5) == ["x"]


@in_virtual_time
async def test_a_repeatable_call_is_no_doubt(store: Store) -> None:
    async with playing(store) as (kurir, s):
        sent = await (await kurir.send_text(5, "v1")).delivered(10)
        s.world.faults.add(Rule(Kind.RESET_AFTER, method="editMessageText", times=1))
        edit = {"chat_id": 5, "message_id": sent["message_id"], "text": "v2"}
        receipt = await kurir.submit("editMessageText", edit, on_unknown="hold")
        await receipt.delivered(30)
        assert [a.outcome for a in (await kurir.get(receipt.id)).attempts] == ["failed", "delivered"]
        assert s.texts(5) == ["v2"]


@pytest.mark.parametrize("kind", [Kind.STATUS_JSON, Kind.STATUS_HTML])
@in_virtual_time
async def test_a_5xx_after_a_send_is_a_doubt(kind: Kind) -> None:
    async with playing() as (kurir, s):
        s.world.faults.add(Rule(kind, method="sendMessage", times=1, status=502, handled=True))
        receipt = await kurir.send_text(5, "x")
        await receipt.delivered(60)
        assert [a.outcome for a in (await kurir.get(receipt.id)).attempts] == ["unknown", "delivered"]


@in_virtual_time
async def test_a_message_that_alone_breaks_the_line_is_dead_in_the_end(store: Store) -> None:
    """A poison message: every other chat gets through, this one's connection is always reset."""
    async with playing(store) as (kurir, s):
        s.world.faults.add(Rule(Kind.RESET_BEFORE, chat=5))
        receipt = await kurir.send_text(5, "poison", max_attempts=5)
        record = await receipt.ended(3600)
        assert record.state is State.DEAD
        assert (record.reason or "").startswith("unknown:")
        await (await kurir.send_text(6, "y")).delivered(5)
