"""A bot's lease as its holder is told of it."""

from __future__ import annotations

from collections.abc import Iterator

from kurir.ports import Lease

from .book import Book
from .lanes import Lanes
from .model import Bot

RECENT = 60.0  # seconds of attempts that a new holder is told of


def lease_of(bot: Bot, new: bool, now: float, book: Book, lanes: Lanes) -> Lease:
    """The lease of a bot that is held. `new`: its holder changed just now."""
    orphans = [message for message in bot.flying.values() if message.token != bot.token]
    newest = max((message.token or 0 for message in orphans), default=0)
    last = [message.draft.id for message in orphans if message.token == newest]
    lone = last[0] if new and len(last) == 1 else None
    recent = tuple(_recent(bot, now, book, lanes)) if new else ()
    assert bot.holder is not None
    return Lease(
        bot.id, bot.holder, bot.token, bot.until, bot.paused_until, bot.paused_why, bool(orphans), lone, recent
    )


def _recent(bot: Bot, now: float, book: Book, lanes: Lanes) -> Iterator[tuple[str, float]]:
    found = [
        (started_at, lanes.of(message).chat)
        for started_at, _, seq in bot.recent
        if started_at > now - RECENT and (message := book.messages.get(seq))
    ]
    for started_at, chat in sorted(found):
        yield chat, started_at
