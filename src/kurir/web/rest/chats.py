"""`/v1/chats`: what waits for whom, and why nothing goes; pause, resume, clear."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

from kurir.app import Kurir
from kurir.core.errors import NotFound
from kurir.core.message import State
from kurir.core.methods import chat_name
from kurir.ports import Cancel, Clock, Lane, LaneQuery
from kurir.records import rfc3339

from .answers import Reply, reply
from .asked import Asked
from .bots import PAUSE_BODY, pause_of
from .describe import (
    ADMIN,
    BOOLEAN,
    BOT,
    COUNT,
    CURSOR,
    LIMIT,
    READ,
    TEXT,
    Json,
    Operation,
    answer,
    describe,
    page_of,
    parameter,
    ref,
)
from .examples import CHAT
from .filters import any_bot, chat, flag, limit, single

STEP = 500  # messages cancelled in one step
TAG = "Chats"


@dataclass(frozen=True, slots=True)
class Chats:
    """The handlers. `names`: the bots' names by id."""

    kurir: Kurir
    clock: Clock
    names: Mapping[int, str]

    async def page(self, asked: Asked) -> Reply:
        """GET /v1/chats."""
        given = single(asked.query(), ("bot", "chat_id", "waiting", "suppressed", "limit", "cursor"))
        page = await self.kurir.store.lanes(
            LaneQuery(
                bot=any_bot(given["bot"], self.kurir.bots) if "bot" in given else None,
                chat=chat(given["chat_id"]) if "chat_id" in given else None,
                waiting=flag("waiting", given),
                suppressed=flag("suppressed", given),
                limit=limit(given.get("limit")),
                cursor=given.get("cursor"),
            )
        )
        return reply({"items": [self._shown(lane) for lane in page.items], "next": page.next})

    async def get(self, asked: Asked) -> Reply:
        """GET /v1/chats/{chat}."""
        return reply(self._shown(await self._lane(*self.whom(asked))))

    async def pause(self, asked: Asked) -> Reply:
        """POST /v1/chats/{chat}/pause."""
        bot, name = self.whom(asked)
        pause = await pause_of(asked, self.clock.now())
        await self.kurir.store.steer(bot, chat=name, until=pause.until, reason=pause.reason)
        return reply(self._shown(await self._lane(bot, name)))

    async def resume(self, asked: Asked) -> Reply:
        """POST /v1/chats/{chat}/resume."""
        bot, name = self.whom(asked)
        await self._lane(bot, name)
        await self.kurir.store.steer(bot, chat=name, until=0.0)
        return reply(self._shown(await self._lane(bot, name)))

    async def clear(self, asked: Asked) -> Reply:
        """POST /v1/chats/{chat}/clear."""
        bot, name = self.whom(asked)
        await self._lane(bot, name)
        count = await self.kurir.change_all(Cancel(), bot=bot, chat=name, states=(State.WAITING,), limit=STEP)
        return reply({"count": count})

    # ---------------------------------------------------------------- facts

    def whom(self, asked: Asked) -> tuple[int, str]:
        """The bot and the chat of a path. Raises InvalidMessage."""
        given = single(asked.query(), ("bot",))
        bot = any_bot(given["bot"], self.kurir.bots) if "bot" in given else self.kurir.bots.resolve(None)
        return bot, chat_name(asked.path_params["chat"])

    async def _lane(self, bot: int, name: str) -> Lane:
        """The chat, or the one it became. Raises NotFound."""
        page = await self.kurir.store.lanes(LaneQuery(bot=bot, chat=name, limit=1))
        if not page.items:
            raise NotFound(f"nothing was ever sent to chat {name[:64]!r} by this bot", "See GET /v1/chats.")
        return page.items[0]

    def _shown(self, lane: Lane) -> Json:
        paused = math.isinf(lane.chat_at)
        silent = lane.chat_at > self.clock.now() and not paused
        return {
            "chat": lane.chat,
            "bot": self.names.get(lane.bot, str(lane.bot)),
            "bot_id": lane.bot,
            "waiting": lane.waiting,
            "sending": lane.sending,
            "next_at": rfc3339(lane.next_at),
            "paused": paused,
            "silent_until": rfc3339(lane.chat_at) if silent else None,
            "paused_why": lane.chat_why if paused or silent else None,
            "head": lane.head,
            "suppressed": lane.suppressed,
            "suppressed_at": rfc3339(lane.suppressed_at),
            "moved_to": lane.moved_to,
        }


# ---------------------------------------------------------------- described

CHAT_PATH = parameter("chat", "The chat: a number, or @channelname.", TEXT, "path", "42")


def operations(c: Chats) -> list[Operation]:
    one = answer("The chat.", ref("Chat"), CHAT)
    theirs = [CHAT_PATH, BOT]
    listed = describe(
        "Chats",
        "A chat of one bot: what waits for it, when the next message may leave, and why nothing goes.",
        tag=TAG,
        parameters=[
            BOT,
            parameter("chat_id", "Only this chat.", TEXT),
            parameter("waiting", "Only those with something waiting.", BOOLEAN),
            parameter("suppressed", "Only those not to be written to.", BOOLEAN),
            LIMIT,
            CURSOR,
        ],
        answers={200: answer("A page.", page_of("Chat"), {"items": [CHAT], "next": None})},
        errors=(400, 422),
    )
    got = describe("One chat", "Of one bot.", tag=TAG, parameters=theirs, answers={200: one}, errors=(400, 404, 422))
    paused = describe(
        "Pause a chat",
        "Nothing is sent to it for a while; its messages wait.",
        tag=TAG,
        parameters=theirs,
        body=PAUSE_BODY,
        optional=True,
        answers={200: one},
        errors=(400, 404, 413, 415, 422),
    )
    resumed = describe(
        "Resume a chat", "Ends a pause.", tag=TAG, parameters=theirs, answers={200: one}, errors=(400, 404, 422)
    )
    cleared = describe(
        "Clear a chat",
        "Cancel all that waits for it; what is being sent is not stopped.",
        tag=TAG,
        parameters=theirs,
        answers={200: answer("How many it was.", COUNT, {"count": 3})},
        errors=(400, 404, 422),
    )
    return [
        Operation("GET", "/v1/chats", READ, c.page, listed),
        Operation("GET", "/v1/chats/{chat}", READ, c.get, got),
        Operation("POST", "/v1/chats/{chat}/pause", ADMIN, c.pause, paused),
        Operation("POST", "/v1/chats/{chat}/resume", ADMIN, c.resume, resumed),
        Operation("POST", "/v1/chats/{chat}/clear", ADMIN, c.clear, cleared),
    ]
