"""Two workers together send as much as Telegram allows, and never more, also while a bot goes from one to the other."""

from __future__ import annotations

import asyncio
import gc
from itertools import pairwise

from kurir import Message
from kurir.core.methods import is_group
from kurir.ports import Query
from kurir.simulator.limits import Limits
from tests.soak import sized

from .conftest import Gather
from .fleet import Fleet

BOTS = range(1001, sized(1009, 1021))
RATE = sized(6, 30)  # messages/s of one bot; usually so slow that a machine which is busy otherwise can keep it up
PACE = {"bot": f"{RATE}/s"}
# Messages come closer together on their way, by more than the courier's 10 ms when processes wait for each other on a busy
# machine; two couriers at once would be more than that. A soak allows for one message.
ALLOWED = sized(Limits(bot=((2 * RATE, 1.0), (6 * RATE, 5.0))), Limits(bot=((RATE + 1, 1.0),)))
SECONDS = sized(5.0, 12.0)  # in which each bot goes steadily
GROUP = -1_000_000
GROUP_RATE = 20  # messages a minute


async def backlog(fleet: Fleet, seconds: int) -> None:
    """So much that every bot could send for so long, each message to a chat of its own; and a group that hears enough."""
    for bot in fleet.bots:
        first = bot * 100_000
        to_group = [{"chat_id": GROUP - bot, "text": f"b{bot}g{n}"} for n in range(GROUP_RATE + 10)]
        to_all = [{"chat_id": first + n, "text": f"b{bot}c{n}"} for n in range(RATE * seconds)]
        messages = [Message("sendMessage", given, bot=bot, priority="high") for given in to_group]
        messages += [Message("sendMessage", given, bot=bot) for given in to_all]
        await fleet.hand_over.submit(messages)


async def departures(fleet: Fleet, bot: int) -> list[tuple[float, str]]:
    """When each of the bot's calls began, and to whom, by the store's time, whoever made it."""
    records = (await fleet.hand_over.store.find(Query(bot=bot, limit=1000, with_attempts=True))).items
    return sorted((attempt.started_at, record.chat) for record in records for attempt in record.attempts)


def peak(times: list[float], seconds: float) -> int:
    """Most of them in any so many seconds."""
    return max((sum(start <= at < start + seconds for at in times) for start in times), default=0)


async def test_together_they_use_the_whole_of_the_limit_and_never_exceed_it(gather: Gather) -> None:
    fleet = await gather(BOTS, PACE)
    await fleet.add()
    leaving = await fleet.add()
    await fleet.spread(len(BOTS) // 2, len(BOTS) // 2)
    await backlog(fleet, int(SECONDS) + 5)
    gc.collect()
    gc.freeze()  # Telegram is not to stand still for this process' own sake
    await asyncio.sleep(1.5)  # connections are made, all at once
    fleet.telegram.limit(ALLOWED)
    start = fleet.telegram.world.clock.now()
    await asyncio.sleep(SECONDS)
    end = fleet.telegram.world.clock.now()
    await leaving.terminate()
    await fleet.spread(len(BOTS), within=5)
    await asyncio.sleep(2.0)  # the new couriers at full pace
    assert fleet.telegram.report({}).throttled == 0
    sent, seconds = 0, 0.0
    for bot in BOTS:
        left = await departures(fleet, bot)
        assert peak([at for at, _ in left], 1.0) <= RATE + 1  # one: two processes' clocks agree to some milliseconds
        assert 1 < peak([at for at, chat in left if is_group(chat)], 60.0) <= GROUP_RATE
        steady = [at for at, _ in left if start <= at < end]
        sent += len(steady) - 1
        seconds += sum(later - sooner for sooner, later in pairwise(steady))
    assert sent / (RATE * seconds) >= 0.99
