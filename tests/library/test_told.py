"""What listeners hear of messages that end without a call."""

from __future__ import annotations

from kurir import Message, Settings, State
from kurir.core.errors import StoreAway
from kurir.core.events import Altered
from kurir.ports import Page, Query, Store
from kurir.services.suppression import PAGE, suppress
from kurir.settings import make_bot
from kurir.simulator import ChatState
from kurir.stores.memory import MemoryStore
from kurir.web.rest.events import happenings

from .helpers import BOT, NEWS_TOKEN, TOKEN, Stage, in_virtual_time, playing

BLOCKED = "suppressed: Forbidden: bot was blocked by the user"
EXPIRED = "expired before it could be sent"


def told(s: Stage) -> list[Altered]:
    return [event for event in s.heard if isinstance(event, Altered)]


@in_virtual_time
async def test_what_a_blocked_chat_ends_besides_is_told_once_with_bot_and_reason(store: Store) -> None:
    async with playing(store, courier=False) as (kurir, s):
        for chat in (5, 6):
            s.world.add_chat(chat)
            s.world.set_state(chat, ChatState.BLOCKED)
        sent = [[await kurir.send_text(chat, f"{n}") for n in range(4)] for chat in (5, 6)]
        waits = await kurir.send_text(7, "waits", due_at=s.clock.now() + 1000)
        async with s.kurir(store):
            for receipts in sent:
                for receipt in receipts:
                    await receipt.ended(10)
            await s.sleep(1)
            await kurir.send_text(5, "too late")  # dead at once, which its submit tells
            await s.sleep(1)
            assert (await waits.record()).state is State.WAITING
    events = told(s)
    assert sorted(event.ids for event in events) == sorted(
        tuple(receipt.id for receipt in reversed(receipts[1:])) for receipts in sent
    )
    for event in events:
        assert (event.state, event.bot, event.reason, event.by_hand) == (State.DEAD, BOT, BLOCKED, False)


@in_virtual_time
async def test_a_chat_suppressed_by_hand_tells_of_all_it_ended_page_by_page(store: Store) -> None:
    async with playing(store, courier=False) as (kurir, s):
        batch = [Message("sendMessage", {"chat_id": 5, "text": f"{n}"}) for n in range(PAGE + 3)]
        receipts = await kurir.submit(batch)
        await suppress(kurir.store, s.clock, s.heard.append, BOT, "5", "a complaint")
        await s.sleep(1)
        await suppress(kurir.store, s.clock, s.heard.append, BOT, "5", "another one")
    events = told(s)
    assert [len(event.ids) for event in events] == [PAGE, 3]
    assert {id for event in events for id in event.ids} == {receipt.id for receipt in receipts}
    assert {(event.reason, event.by_hand) for event in events} == {("suppressed: a complaint", True)}


class Forgetful(MemoryStore):
    """It cannot say what died."""

    async def find(self, query: Query) -> Page:
        if query.reason is not None:
            raise StoreAway("it is away", "Wait.")
        return await super().find(query)


@in_virtual_time
async def test_a_store_that_cannot_tell_what_a_suppression_ended_stops_nobody() -> None:
    async with playing(Forgetful()) as (kurir, s):
        s.world.add_chat(5)
        s.world.set_state(5, ChatState.BLOCKED)
        for receipt in [await kurir.send_text(5, f"{n}") for n in range(3)]:
            assert (await receipt.ended(10)).state is State.DEAD
        await (await kurir.send_text(6, "goes on")).delivered(10)
    assert told(s) == []


@in_virtual_time
async def test_what_expires_while_it_waits_is_told_with_its_bot() -> None:
    bots = (make_bot("shop", TOKEN), make_bot("news", NEWS_TOKEN))
    async with playing(MemoryStore(), settings=Settings(bots=bots)) as (kurir, s):
        at = s.clock.now()
        paused = {}
        for bot in bots:
            await kurir.store.steer(bot.id, chat="5", until=at + 500)
            paused[bot.id] = await kurir.send_text(5, "late", bot=bot.name, expires_at=at + 20)
        await s.sleep(60)
        for receipt in paused.values():
            assert (await receipt.record()).state is State.EXPIRED
    events = told(s)
    assert {event.bot: event.ids for event in events} == {bot: (receipt.id,) for bot, receipt in paused.items()}
    assert {(event.state, event.reason, event.by_hand) for event in events} == {(State.EXPIRED, EXPIRED, False)}


@in_virtual_time
async def test_an_edit_that_gives_way_to_a_newer_one_is_told_of_as_cancelled(store: Store) -> None:
    async with playing(store, courier=False) as (kurir, s):
        old, new = [
            await kurir.submit("editMessageText", {"chat_id": 5, "message_id": 1, "text": text}) for text in ("a", "b")
        ]
    changes = [one for event in s.heard for one in happenings(event) if one.type == "altered"]
    assert [(one.id, one.bot, one.chat, one.state) for one in changes] == [(old.id, BOT, "5", State.CANCELLED)]
    assert new.id != old.id
