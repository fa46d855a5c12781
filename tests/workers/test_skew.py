"""Machines whose clocks are minutes apart: everything goes by the store's time."""

from __future__ import annotations

import asyncio

from kurir import Message
from kurir.simulator.limits import Limits

from .conftest import Gather

BOTS = range(1001, 1005)
RATE = 20  # messages/s of one bot
JITTER = 5  # messages that a busy machine may bring closer together
SKEW = 300.0  # seconds


async def test_clocks_ten_minutes_apart_make_nothing_late_early_doubled_or_too_fast(gather: Gather) -> None:
    fleet = await gather(BOTS, {"bot": f"{RATE}/s"})
    fleet.telegram.limit(Limits(bot=((RATE + JITTER, 1.0), (5 * RATE + JITTER, 5.0))))
    await fleet.add(skew=SKEW)
    behind = await fleet.add(skew=-SKEW)
    await fleet.spread(2, 2)
    clock = fleet.telegram.world.clock
    due: dict[str, float] = {}
    expected: dict[int, list[str]] = {}
    now = clock.now()
    for bot in BOTS:
        messages = []
        for n in range(40):
            mark, chat = f"b{bot}n{n}", bot * 1000 + n
            due[mark], expected[chat] = now + 0.1 * n, [mark]
            messages.append(Message("sendMessage", {"chat_id": chat, "text": mark}, bot=bot, due_at=due[mark]))
        await fleet.hand_over.submit(messages)
    await asyncio.sleep(2.0)
    await behind.terminate()  # one that is ten minutes ahead takes over
    await fleet.spread(4, within=4)
    await fleet.drained()
    late = {entry.mark: entry.at - due[entry.mark or ""] for entry in fleet.telegram.calls("sendMessage")}
    assert min(late.values()) > -0.05, "before its time"
    assert max(late.values()) < 1.5, "after its time"
    report = fleet.telegram.report(expected)
    assert not report.lost
    assert not report.doubled
    assert report.throttled == 0
    ahead = await fleet.add(skew=-SKEW)
    await fleet.spread(2, 2, within=8)  # leases and the roll mean the same to all
    assert not any(worker.heard("recovered") for worker in (*fleet.workers, ahead))
