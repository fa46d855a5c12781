"""`/v1/bots`: who sends, how fast, how it is; pause and resume."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

from kurir.app import Kurir
from kurir.core.errors import InvalidMessage, NotFound
from kurir.core.pace import PaceState
from kurir.core.times import unix
from kurir.ports import BotStats, Clock
from kurir.records import bot_json, rfc3339

from .answers import Reply, reply
from .asked import Asked, an_object, parse
from .describe import (
    ADMIN,
    READ,
    TEXT,
    TIME,
    Json,
    Operation,
    answer,
    body,
    describe,
    parameter,
    ref,
)
from .examples import BOT
from .filters import any_bot
from .problems import unknown_field

TAG = "Bots"
MOST_PAUSE = 366 * 86400.0  # seconds
SMALL = 64 << 10  # bytes of a body that says little
MOST_REASON = 500  # characters
_PAUSE = ("for", "until", "reason")


@dataclass(frozen=True, slots=True)
class Pause:
    """What the body of a pause says."""

    until: float  # Unix seconds; inf: until resumed
    reason: str


async def pause_of(asked: Asked, now: float) -> Pause:
    """The body of a pause; an empty one means: until resumed. Raises InvalidMessage."""
    raw = await asked.raw_json(SMALL)
    given = an_object(parse(raw)) if raw else {}
    for name in given:
        if name not in _PAUSE:
            raise unknown_field(name, _PAUSE)
    if "for" in given and "until" in given:
        raise InvalidMessage("until", "and for are both given", "Give one of them.")
    until = math.inf
    if "for" in given:
        span = given["for"]
        if isinstance(span, bool) or not isinstance(span, int | float) or not 0 < span <= MOST_PAUSE:
            raise InvalidMessage("for", "is no number of seconds to a year", "As 600; leave it out for good.")
        until = now + span
    elif "until" in given:
        until = unix("until", given["until"], now)
        if until <= now:
            raise InvalidMessage("until", "is in the past", "Give a later time, or resume it.")
    reason = given.get("reason", "paused by hand")
    if not isinstance(reason, str) or not 0 < len(reason) <= MOST_REASON:
        raise InvalidMessage("reason", f"is no text to {MOST_REASON} characters", "Say why.")
    return Pause(until, reason)


@dataclass(frozen=True, slots=True)
class BotsDesk:
    """The handlers. `names`: the bots' names by id."""

    kurir: Kurir
    clock: Clock
    names: Mapping[int, str]

    async def page(self, asked: Asked) -> Reply:
        """GET /v1/bots."""
        return reply({"items": self.shown((await self.kurir.stats()).bots), "next": None})

    async def get(self, asked: Asked) -> Reply:
        """GET /v1/bots/{bot}."""
        return reply(await self._one(await self._id(asked)))

    async def pause(self, asked: Asked) -> Reply:
        """POST /v1/bots/{bot}/pause."""
        id = await self._id(asked)
        pause = await pause_of(asked, self.clock.now())
        await self.kurir.store.steer(id, until=pause.until, reason=pause.reason)
        return reply(await self._one(id))

    async def resume(self, asked: Asked) -> Reply:
        """POST /v1/bots/{bot}/resume."""
        id = await self._id(asked)
        await self.kurir.store.steer(id, until=0.0)
        return reply(await self._one(id))

    # ---------------------------------------------------------------- facts

    def shown(self, bots: tuple[BotStats, ...]) -> list[Json]:
        """The store's bots, and those of the settings that it has not seen yet."""
        seen = {bot.bot for bot in bots}
        fresh = [BotStats(id) for id in self.names if id not in seen]
        return [self._shown(bot) for bot in (*bots, *fresh)]

    async def _id(self, asked: Asked) -> int:
        """The bot of the path: one of the settings, or of the store. Raises NotFound."""
        name = asked.path_params["bot"]
        try:
            id = any_bot(name, self.kurir.bots)
        except InvalidMessage as error:
            raise NotFound(f"there is no bot {name.split(':')[0][:64]!r}", error.remedy) from None
        if id not in self.names and not (await self.kurir.store.stats(id)).bots:
            raise NotFound(f"there is no bot {id}", "See GET /v1/bots.")
        return id

    async def _one(self, id: int) -> Json:
        found = [bot for bot in (await self.kurir.store.stats(id)).bots if bot.bot == id]
        return self._shown(found[0] if found else BotStats(id))

    def _shown(self, bot: BotStats) -> Json:
        """What the store knows of it, and the courier where one is at work in this process."""
        known = bot_json(bot, self.names, self.clock.now())
        name, id, chats = known.pop("name"), known.pop("bot"), known.pop("lanes")
        courier = self.kurir.couriers.get(bot.bot)
        health, why = self._health(bot, known["state"])
        shown: Json = {"bot": name or str(id), "bot_id": id, "health": health, "why": why, **known, "chats": chats}
        shown["here"] = courier is not None
        shown["in_flight"] = courier.in_flight if courier is not None else None
        shown["pace"] = _pace(courier.pace.state(), self.clock.now()) if courier is not None else None
        return shown

    def _health(self, bot: BotStats, state: str) -> tuple[str, str | None]:
        """`ok`, `outage`, `paused`, `refused` or `no courier`; and why, where it is not ok."""
        courier = self.kurir.couriers.get(bot.bot)
        if state == "stopped":
            return "refused", bot.paused_why
        if state == "paused":
            return "paused", bot.paused_why
        if courier is not None and courier.reach.out:
            since = courier.reach.link.outage_since or 0.0
            return "outage", f"Telegram is out of reach since {rfc3339(since)}: {courier.reach.link.why}"
        if state == "no worker":
            return "no courier", "no process sends for it: start `kurir serve` or `kurir worker`"
        return "ok", None


def _pace(state: PaceState, now: float) -> Json:
    """What may be sent now, in messages/s."""
    return {
        "rate": _rate(state.rate),
        "ceiling": _rate(state.ceiling),
        "chat_rate": _rate(state.chat_rate),
        "group_rate": _rate(state.group_rate),
        "paused_until": rfc3339(state.paused_until) if state.paused_until > now else None,
        "learned": len(state.learned),
    }


def _rate(rate: float) -> float | None:
    return None if math.isinf(rate) else round(rate, 3)


# ---------------------------------------------------------------- described

PAUSE: Json = {
    "type": "object",
    "properties": {
        "for": {"type": "number", "exclusiveMinimum": 0, "maximum": MOST_PAUSE, "description": "Seconds."},
        "until": TIME,
        "reason": {"type": "string", "minLength": 1, "maxLength": MOST_REASON},
    },
    "not": {"required": ["for", "until"]},
    "additionalProperties": False,
}
PAUSE_BODY = body(PAUSE, {"for ten minutes": {"for": 600, "reason": "maintenance"}, "until resumed": {}})
_BOT = parameter("bot", "Its name in the settings, or its id.", TEXT, "path", "shop")


def operations(b: BotsDesk) -> list[Operation]:
    one = answer("The bot.", ref("Bot"), BOT)
    listed = describe(
        "All bots",
        "Those of the settings and of the store. `pace`, `in_flight` and an outage are known of bots that this process "
        "sends for (`here`).",
        tag=TAG,
        answers={200: answer("All of them.", _ALL, {"items": [BOT], "next": None})},
    )
    got = describe("One bot", "Counts, health and pace.", tag=TAG, parameters=[_BOT], answers={200: one}, errors=(404,))
    paused = describe(
        "Pause a bot",
        "It sends nothing for a while; its messages wait. Heard within 3 s by the process that sends; survives restarts.",
        tag=TAG,
        parameters=[_BOT],
        body=PAUSE_BODY,
        optional=True,
        answers={200: one},
        errors=(400, 404, 413, 415, 422),
    )
    resumed = describe("Resume a bot", "Ends a pause.", tag=TAG, parameters=[_BOT], answers={200: one}, errors=(404,))
    return [
        Operation("GET", "/v1/bots", READ, b.page, listed),
        Operation("GET", "/v1/bots/{bot}", READ, b.get, got),
        Operation("POST", "/v1/bots/{bot}/pause", ADMIN, b.pause, paused),
        Operation("POST", "/v1/bots/{bot}/resume", ADMIN, b.resume, resumed),
    ]


_ALL: Json = {
    "type": "object",
    "required": ["items", "next"],
    "properties": {"items": {"type": "array", "items": ref("Bot")}, "next": {"type": "null"}},
    "additionalProperties": False,
}
