"""Two processes on one file: one hands over, another sends, and may be killed."""

from __future__ import annotations

import asyncio
import signal
import sys
import time
from asyncio.subprocess import PIPE, Process
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from kurir import Kurir, Message, Settings
from kurir.ports import SystemClock
from kurir.simulator import Limits, SimulatorServer, World

from .helpers import TOKEN

WORKER = """
import asyncio, sys
from kurir import Kurir, Settings
async def main():
    options = dict(settings=Settings(), telegram_url=sys.argv[2], pace="off")
    async with Kurir("sqlite:///kurir.db", sys.argv[1], **options):
        print("ready", flush=True)
        await asyncio.Event().wait()
asyncio.run(main())
"""


@asynccontextmanager
async def telegram() -> AsyncIterator[tuple[World, str]]:
    world = World(SystemClock(), limits=Limits.none(), open_doors=True)
    world.add_bot(TOKEN)
    async with SimulatorServer(world) as server:
        yield world, server.url
    world.close()


@asynccontextmanager
async def worker(url: str) -> AsyncIterator[Process]:
    """Another process that sends."""
    process = await asyncio.create_subprocess_exec(sys.executable, "-c", WORKER, TOKEN, url, stdout=PIPE)
    assert process.stdout is not None
    assert await asyncio.wait_for(process.stdout.readline(), 30) == b"ready\n"
    try:
        yield process
    finally:
        if process.returncode is None:
            process.send_signal(signal.SIGKILL)
        await process.wait()
        process._transport.close()  # type: ignore[attr-defined]


async def test_one_process_hands_over_and_another_sends() -> None:
    async with (
        telegram() as (world, url),
        worker(url),
        Kurir("sqlite:///kurir.db", TOKEN, courier=False, settings=Settings()) as kurir,
    ):
        receipts = await kurir.submit([Message("sendMessage", {"chat_id": 5, "text": f"m{n}"}) for n in range(50)])
        await asyncio.gather(*(r.delivered(10) for r in receipts))
        assert [m.text for m in world.messages(5)] == [f"m{n}" for n in range(50)]


async def test_when_the_sending_process_is_killed_another_goes_on_at_once() -> None:
    async with telegram() as (world, url), worker(url) as process:
        options = {"settings": Settings(), "telegram_url": url, "pace": "off"}
        async with Kurir("sqlite:///kurir.db", TOKEN, **options) as standby:  # type: ignore[arg-type]
            receipts = await standby.submit(
                [Message("sendMessage", {"chat_id": c, "text": f"m{n}"}) for n in range(40) for c in range(1, 6)]
            )
            await receipts[20].delivered(10)
            process.send_signal(signal.SIGKILL)
            killed = time.monotonic()
            await asyncio.gather(*(r.delivered(15) for r in receipts))
            assert time.monotonic() - killed < 10
            report = world.journal.report({c: [f"m{n}" for n in range(40)] for c in range(1, 6)})
            assert (report.lost, report.reordered) == ((), ())
            assert len(report.doubled) <= 5  # at most one a lane
