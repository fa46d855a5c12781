"""`/v1/stats`: totals, and what ended by day and by month."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from kurir.app import Kurir
from kurir.ports import BotStats, Clock, Day
from kurir.records import rfc3339, success

from .answers import Reply, reply
from .asked import Asked
from .bots import BotsDesk
from .describe import BOT, READ, Json, Operation, answer, describe, ref
from .examples import STATS
from .filters import any_bot, single

ENDED = ("delivered", "dead", "expired", "cancelled")
DAYS = 31  # told by day, of those that had any
HISTORY = 800  # days that the months are made of
TAG = "Statistics"


@dataclass(frozen=True, slots=True)
class Statistics:
    """The handler."""

    kurir: Kurir
    clock: Clock
    names: Mapping[int, str]
    bots: BotsDesk

    async def get(self, asked: Asked) -> Reply:
        """GET /v1/stats."""
        given = single(asked.query(), ("bot",))
        bot = any_bot(given["bot"], self.kurir.bots) if "bot" in given else None
        stats = await self.kurir.store.stats(bot, HISTORY)
        bots = [one for one in self.bots.shown(stats.bots) if bot is None or one["bot_id"] == bot]
        return reply(
            {
                "at": rfc3339(self.clock.now()),
                "totals": totals(stats.bots),
                "bots": bots,
                "days": by("day", ((day.day, day) for day in stats.days))[-DAYS:],
                "months": by("month", ((day.day[:7], day) for day in stats.days)),
                "store": dict(stats.store),
            }
        )


def totals(bots: Iterable[BotStats]) -> Json:
    """All bots together."""
    bots = list(bots)
    counts = {name: sum(getattr(bot, name) for bot in bots) for name in ("waiting", "sending", *ENDED)}
    return {**counts, "success_rate": success(BotStats(0, **counts))}


def by(span: str, days: Iterable[tuple[str, Day]]) -> list[Json]:
    """What ended in each span, all bots together, oldest first. `span`: the name of the key."""
    found: dict[str, Day] = {}
    for name, day in days:
        before = found.get(name, Day(0, name))
        found[name] = Day(
            0, name, *(getattr(before, n) + getattr(day, n) for n in ("delivered", "dead", "cancelled", "expired"))
        )
    return [
        {
            span: name,
            "total": sum(getattr(day, ended) for ended in ENDED),
            **{ended: getattr(day, ended) for ended in ENDED},
            "success_rate": success(day),
        }
        for name, day in sorted(found.items())
    ]


def operations(s: Statistics) -> list[Operation]:
    described = describe(
        "Statistics",
        "What waits and what ended, now, by day and by month (UTC). `success_rate`: delivered, as a share of what ended "
        "without being cancelled.",
        tag=TAG,
        parameters=[BOT],
        answers={200: answer("The figures.", ref("Statistics"), STATS)},
        errors=(400, 422),
    )
    return [Operation("GET", "/v1/stats", READ, s.get, described)]
