"""`kurir worker`: the courier on its own."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import signal
import time

import click

from kurir import __version__
from kurir.app import Kurir
from kurir.core.errors import InvalidSetting, StoreError
from kurir.core.events import Event, Settled
from kurir.core.message import State
from kurir.core.pace import Limits
from kurir.observe.console import set_up
from kurir.settings import Settings
from kurir.telegram.redact import redact
from kurir.web.doors import Doors

from .context import App, json_option, pass_app
from .loop import run, settle
from .opening import open_kurir
from .traces import traced

TALLY_EVERY = 10.0  # seconds between two lines that say how much was delivered

logger = logging.getLogger("kurir.worker")


@click.command()
@click.option("--log", type=click.Choice(["lines", "json"]), help="Lines for people or JSON; by default as fits.")
@json_option
@pass_app
def worker(app: App, log: str | None) -> None:
    """Send what waits, until stopped.

    SIGTERM or Ctrl-C: calls in flight get up to 8 s, the rest is handed back; a second one stops at once. Any number of
    workers may run on one store: one at a time sends for a bot, another takes over when it dies.
    """
    app.need_bots()
    as_json = True if app.json or log == "json" else False if log == "lines" else None
    level = "warning" if app.quiet else app.settings.log_level
    set_up(level, redact=redact, json=as_json)
    for warning in app.settings.warnings:
        logger.warning("%s", warning)
    run(_work(open_kurir(app, courier=True, spool=True)))


async def _work(kurir: Kurir) -> None:
    doors, stop = Doors(kurir, api=False), told_to_stop()
    tally = Tally()
    kurir.listen(tally.hear)
    for line in opening_lines(kurir.settings):
        logger.info("%s", line)
    async with traced(kurir), contextlib.AsyncExitStack() as life:
        await kurir.start(patient=True)
        life.push_async_callback(kurir.close)
        async with contextlib.AsyncExitStack() as stack:
            try:
                await stack.enter_async_context(doors)
                logger.info("health: %s/health/ready, metrics: %s/metrics", doors.url, doors.url)
            except InvalidSetting as error:  # several workers on one machine: they need no door to send
                logger.warning("no health and metrics: %s", error)
            settle()
            await until_told(stop, tally, kurir)
        logger.info("stopping: calls in flight get a few seconds, the rest waits in the store")
    logger.info("stopped: %d delivered, %d dead in this run", tally.delivered, tally.dead)


def told_to_stop() -> asyncio.Event:
    """Set at SIGTERM or SIGINT, from now on."""
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, _asked_to_stop, stop, number)
    return stop


async def until_told(stop: asyncio.Event, tally: Tally, kurir: Kurir) -> None:
    """Until `stop` is set; says now and then how much was delivered."""
    telling = asyncio.create_task(tally.tell(kurir))
    await stop.wait()
    telling.cancel()


def _asked_to_stop(stop: asyncio.Event, number: int) -> None:
    """The first time: cleanly. The second: at once; what is in flight is then in doubt, as after a crash."""
    if stop.is_set():
        os._exit(128 + number)
    stop.set()


def opening_lines(settings: Settings, sends: bool = True) -> list[str]:
    """What this process is about to do."""
    bots = ", ".join(f"{bot.name} ({bot.id})" for bot in settings.bots)
    lines = [f"kurir {__version__}, pid {os.getpid()}, {'sends for' if sends else 'takes messages for'} {bots}"]
    lines.append(f"store {redact(settings.store)}, Telegram at {redact(settings.telegram_url)}")
    paces = {pace_words(bot.limits) for bot in settings.bots}
    lines += [f"pace: {words}" for words in sorted(paces)]
    return lines


def pace_words(limits: Limits) -> str:
    """`30/s a bot, 1/s a chat (burst 3), 20/min a group`."""
    if not limits.on:
        return "off: no limits"
    return f"{limits.bot} a bot, {limits.chat} a chat (burst {limits.chat_burst}), {limits.group} a group"


class Tally:
    """Counts ends, and says so now and then while there is something to say."""

    def __init__(self) -> None:
        self.delivered = 0
        self.dead = 0

    def hear(self, event: Event) -> None:
        if isinstance(event, Settled):
            self.delivered += event.state is State.DELIVERED
            self.dead += event.state is State.DEAD

    async def tell(self, kurir: Kurir) -> None:
        """Until cancelled."""
        before, since = (0, 0), time.monotonic()
        while True:
            await asyncio.sleep(TALLY_EVERY)
            now, at = (self.delivered, self.dead), time.monotonic()
            if now != before:
                delivered, dead = now[0] - before[0], now[1] - before[1]
                rate = delivered / (at - since)
                logger.info("%d delivered (%.1f/s), %d dead, %s", delivered, rate, dead, await _waiting(kurir))
            before, since = now, at


async def _waiting(kurir: Kurir) -> str:
    try:
        return f"{sum(bot.waiting for bot in (await kurir.stats()).bots)} waiting"
    except StoreError:
        return "the store is away"
