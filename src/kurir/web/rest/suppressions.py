"""`/v1/suppressions`: who is not to be written to."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from kurir.app import Kurir
from kurir.core.errors import InvalidMessage, NotFound
from kurir.core.methods import is_chat
from kurir.ports import Clock, Lane, LaneQuery
from kurir.records import rfc3339

from .answers import NO_CONTENT, Reply, reply
from .asked import Asked, an_object
from .bots import MOST_REASON, SMALL
from .chats import CHAT_PATH, Chats
from .describe import (
    ADMIN,
    BOT,
    CURSOR,
    LIMIT,
    READ,
    Json,
    Operation,
    answer,
    body,
    describe,
    page_of,
    ref,
)
from .examples import SUPPRESSION
from .filters import any_bot, chat, limit, single
from .problems import unknown_field

TAG = "Suppressions"
_FIELDS = ("chat_id", "bot", "reason")


@dataclass(frozen=True, slots=True)
class Suppressions:
    """The handlers."""

    kurir: Kurir
    clock: Clock
    names: Mapping[int, str]
    chats: Chats

    async def page(self, asked: Asked) -> Reply:
        """GET /v1/suppressions."""
        given = single(asked.query(), ("bot", "limit", "cursor"))
        bot = any_bot(given["bot"], self.kurir.bots) if "bot" in given else None
        page = await self.kurir.store.lanes(
            LaneQuery(bot=bot, suppressed=True, limit=limit(given.get("limit")), cursor=given.get("cursor"))
        )
        return reply({"items": [self._shown(lane) for lane in page.items], "next": page.next})

    async def add(self, asked: Asked) -> Reply:
        """POST /v1/suppressions."""
        given = an_object(await asked.json(SMALL))
        for name in given:
            if name not in _FIELDS:
                raise unknown_field(name, _FIELDS)
        if "chat_id" not in given:
            raise InvalidMessage("chat_id", "is missing", "Say which chat: a number, or @channelname.")
        name = chat(given["chat_id"])
        if not is_chat(name):
            raise InvalidMessage("chat_id", "is no chat", "Give a number, or @channelname.")
        reason = given.get("reason", "suppressed by hand")
        if not isinstance(reason, str) or not 0 < len(reason) <= MOST_REASON:
            raise InvalidMessage("reason", f"is no text to {MOST_REASON} characters", "Say why.")
        bot = any_bot(given["bot"], self.kurir.bots) if "bot" in given else self.kurir.bots.resolve(None)
        await self.kurir.suppress(bot, name, reason)
        page = await self.kurir.store.lanes(LaneQuery(bot=bot, chat=name, limit=1))
        lane = page.items[0] if page.items else Lane(bot, name, suppressed=reason, suppressed_at=self.clock.now())
        return reply(self._shown(lane), 201)

    async def lift(self, asked: Asked) -> Reply:
        """DELETE /v1/suppressions/{chat}."""
        bot, name = self.chats.whom(asked)
        page = await self.kurir.store.lanes(LaneQuery(bot=bot, chat=name, limit=1))
        if not page.items or page.items[0].suppressed is None:
            raise NotFound(f"chat {name[:64]!r} of this bot is not suppressed", "See GET /v1/suppressions.")
        await self.kurir.store.suppress(bot, name, None, self.clock.now())
        return NO_CONTENT

    def _shown(self, lane: Lane) -> Json:
        return {
            "chat": lane.chat,
            "bot": self.names.get(lane.bot, str(lane.bot)),
            "bot_id": lane.bot,
            "why": lane.suppressed,
            "since": rfc3339(lane.suppressed_at),
        }


# ---------------------------------------------------------------- described

_ID: Json = {"anyOf": [{"type": "integer"}, {"type": "string"}]}
_ADD: Json = {
    "type": "object",
    "required": ["chat_id"],
    "properties": {
        "chat_id": {"anyOf": [{"type": "integer"}, {"type": "string", "pattern": "^@[A-Za-z0-9_]{1,64}$"}]},
        "bot": _ID,
        "reason": {"type": "string", "minLength": 1, "maxLength": MOST_REASON},
    },
    "additionalProperties": False,
}


def operations(s: Suppressions) -> list[Operation]:
    listed = describe(
        "Suppressions",
        "Chats that are not written to: they blocked the bot, are gone, or were put here by hand.",
        tag=TAG,
        parameters=[BOT, LIMIT, CURSOR],
        answers={200: answer("A page.", page_of("Suppression"), {"items": [SUPPRESSION], "next": None})},
        errors=(400, 422),
    )
    added = describe(
        "Suppress a chat",
        "What waits for it ends dead with that reason, and so does what is handed over later, unless it says `force`.",
        tag=TAG,
        body=body(_ADD, {"an opt-out": {"chat_id": 43, "reason": "opted out"}}),
        answers={201: answer("Suppressed.", ref("Suppression"), SUPPRESSION)},
        errors=(400, 413, 415, 422),
    )
    lifted = describe(
        "Lift a suppression",
        "The chat may be written to again; what died stays dead until it is retried.",
        tag=TAG,
        parameters=[CHAT_PATH, BOT],
        answers={204: answer("Lifted.")},
        errors=(400, 404, 422),
    )
    return [
        Operation("GET", "/v1/suppressions", READ, s.page, listed),
        Operation("POST", "/v1/suppressions", ADMIN, s.add, added),
        Operation("DELETE", "/v1/suppressions/{chat}", ADMIN, s.lift, lifted),
    ]
