"""Users who come back: an update from a chat lifts its suppression."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping
from typing import Any, Final

from kurir.core.errors import StoreError
from kurir.core.outcome import Answer, Reply
from kurir.ports import Clock, LaneQuery, Store

_GONE: Final = frozenset({"kicked", "left"})  # states of the bot in a chat: it is out
_SIGNS: Final = ("message", "edited_message", "callback_query", "business_message", "channel_post", "chat_join_request")

logger = logging.getLogger("kurir.gateway")


class Returning:
    """Reads the updates that pass."""

    def __init__(self, store: Store, clock: Clock) -> None:
        self._store = store
        self._clock = clock

    async def hear(self, bot: int, reply: Answer) -> None:
        """`reply` answers getUpdates."""
        updates = reply.payload.get("result") if isinstance(reply, Reply) and reply.payload else None
        if not isinstance(updates, list) or not updates:
            return
        if not await self._any(bot):
            return
        for chat in {chat for update in updates if isinstance(update, dict) for chat in _open_chats(update)}:
            try:
                page = await self._store.lanes(LaneQuery(bot=bot, chat=chat, suppressed=True, limit=1))
                if page.items:
                    await self._store.suppress(bot, chat, None, self._clock.now())
                    logger.info("bot %d: chat %s has come back and is written to again", bot, chat)
            except StoreError as error:
                logger.warning("bot %d: whether chat %s came back is not known: %s", bot, chat, error)

    async def _any(self, bot: int) -> bool:
        """Is any chat of the bot suppressed?"""
        try:
            return bool((await self._store.lanes(LaneQuery(bot=bot, suppressed=True, limit=1))).items)
        except StoreError:
            return False


def _open_chats(update: Mapping[str, Any]) -> Iterator[str]:
    """The chats in which the update shows that the bot can write."""
    member = update.get("my_chat_member")
    if isinstance(member, dict):
        new = member.get("new_chat_member")
        if isinstance(new, dict) and new.get("status") not in _GONE:
            yield from _chat(member)
    for sign in _SIGNS:
        what = update.get(sign)
        if isinstance(what, dict):
            yield from _chat(what)
            message = what.get("message")
            if isinstance(message, dict):
                yield from _chat(message)


def _chat(what: Mapping[str, Any]) -> Iterator[str]:
    chat = what.get("chat")
    if isinstance(chat, dict) and isinstance(chat.get("id"), int):
        yield str(chat["id"])
