"""`kurir status`: what waits, what was delivered, who sends."""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

import click
from rich.console import Group, RenderableType
from rich.live import Live
from rich.table import Table
from rich.text import Text

from kurir.app import Kurir
from kurir.ports import BotStats, Day, Roll, Stats
from kurir.records import bot_json, day_json, standing, success
from kurir.telegram.redact import redact

from .context import App, json_option, pass_app
from .loop import run
from .opening import open_kurir
from .roll import call_roll, workers_json, workers_words
from .terminal import console, table
from .times import local, short

WEEK = 7  # days shown
BAR = 40  # columns of the longest bar


@click.command()
@click.option(
    "--watch", type=click.FloatRange(0.1), is_flag=False, flag_value=1.0, metavar="[SECONDS]", help="Keep showing."
)
@json_option
@pass_app
def status(app: App, /, watch: float | None) -> None:
    """What waits, what was delivered, who sends."""
    run(_status(app, watch))


async def _status(app: App, watch: float | None) -> None:
    async with open_kurir(app) as kurir:
        if watch is None:
            await _print(app, kurir)
        elif app.json or not console().is_terminal:
            await _repeat(app, kurir, watch)
        else:
            await _live(app, kurir, watch)


async def _print(app: App, kurir: Kurir) -> None:
    stats, roll = await kurir.stats(), await call_roll(kurir)
    if app.json:
        app.emit(stats_json(app, stats, roll, kurir.clock.now()))
    else:
        console().print(view(app, stats, roll, kurir.clock.now()))


async def _repeat(app: App, kurir: Kurir, every: float) -> None:
    """A document, or a table, each time; for pipes."""
    while True:
        await _print(app, kurir)
        await asyncio.sleep(every)


async def _live(app: App, kurir: Kurir, every: float) -> None:
    before: dict[int, int] = {}
    at = time.monotonic()
    with Live(console=console(), auto_refresh=False, screen=False) as live:
        while True:
            stats = await kurir.stats()
            span, at = time.monotonic() - at, time.monotonic()
            rates = {b.bot: (b.delivered - before[b.bot]) / span for b in stats.bots if b.bot in before}
            before = {b.bot: b.delivered for b in stats.bots}
            roll = await call_roll(kurir)
            live.update(view(app, stats, roll, kurir.clock.now(), rates), refresh=True)
            await asyncio.sleep(every)


# ---------------------------------------------------------------- facts


def stats_json(app: App, stats: Stats, roll: Roll, now: float) -> dict[str, Any]:
    """Everything; the keys are a contract."""
    bots = [bot_json(bot, app.names(), now) for bot in _with_configured(app, stats)]
    days = [day_json(day) for day in stats.days]
    store = {"url": redact(app.settings.store), **stats.store}
    return {"bots": bots, "days": days, "workers": workers_json(roll), "store": store}


def _with_configured(app: App, stats: Stats) -> list[BotStats]:
    """The store's bots, and those of the settings that it has not seen yet."""
    seen = {bot.bot for bot in stats.bots}
    return [*stats.bots, *(BotStats(bot.id) for bot in app.settings.bots if bot.id not in seen)]


# ---------------------------------------------------------------- for people


def view(app: App, stats: Stats, roll: Roll, now: float, rates: Mapping[int, float] | None = None) -> RenderableType:
    """All of it on a screen."""
    bots = _with_configured(app, stats)
    if not bots:
        return Text("no bots: set KURIR_BOT_TOKEN, then `kurir worker`")
    parts: list[RenderableType] = [_bots_table(app, bots, now, rates)]
    if stats.days:
        parts += ["", _days_table(stats.days, now)]
    parts += ["", Text(_store_words(app, stats), "dim"), Text(workers_words(roll), "dim")]
    if durability := stats.store.get("durability"):
        parts.append(Text(str(durability), "dim"))
    parts += [Text(f"warning: {words}", "yellow") for words in stats.store.get("warnings", ())]
    return Group(*parts)


def _bots_table(app: App, bots: list[BotStats], now: float, rates: Mapping[int, float] | None) -> Table:
    numbers = ("waiting", "in flight", "delivered", "dead", "expired", "cancelled", "chats", "oldest", "success")
    more = ("now",) if rates is not None else ()
    shown = table("bot", "state", *numbers, *more, right=(*numbers, *more))
    names = app.names()
    for bot in bots:
        rate = success(bot)
        cells: list[str | Text] = [
            *(f"{n:,}" for n in (bot.waiting, bot.sending, bot.delivered)),
            Text(f"{bot.dead:,}", "bold red" if bot.dead else ""),
            *(f"{n:,}" for n in (bot.expired, bot.cancelled, bot.lanes)),
            short(max(0.0, now - bot.oldest_due)) if bot.oldest_due else "-",
            "-" if rate is None else f"{rate:.1%}",
            *([f"{rates.get(bot.bot, 0.0):.1f}/s"] if rates is not None else []),
        ]
        shown.add_row(f"{names.get(bot.bot, '(no token)')} {bot.bot}", _standing_words(bot, now), *cells)
    return shown


def _standing_words(bot: BotStats, now: float) -> Text:
    name = standing(bot, now)
    colours = {"sending": "green", "paused": "yellow", "stopped": "bold red", "no worker": "yellow"}
    words = Text(name, colours[name])
    if name in ("paused", "stopped"):
        until = "" if math.isinf(bot.paused_until) else f" until {local(bot.paused_until, date=False)}"
        words.append(f"{until}: {bot.paused_why or 'no reason given'}", "dim")
    elif name == "no worker" and bot.waiting:
        words.append(": start `kurir worker`", "dim")
    return words


def _days_table(days: tuple[Day, ...], now: float) -> Table:
    """The last week, all bots together; days are UTC."""
    today = datetime.fromtimestamp(now, UTC).date()
    names = [(today - timedelta(days=back)).isoformat() for back in range(WEEK - 1, -1, -1)]
    good = {name: sum(d.delivered for d in days if d.day == name) for name in names}
    bad = {name: sum(d.dead + d.expired for d in days if d.day == name) for name in names}
    most = max((good[name] + bad[name] for name in names), default=0) or 1
    shown = table("day (UTC)", "", "delivered", "not", right=("delivered", "not"))
    for name in names:
        bar = Text("█" * _columns(good[name], most), "green") + Text("█" * _columns(bad[name], most), "red")
        shown.add_row(name, bar, f"{good[name]:,}", f"{bad[name]:,}")
    return shown


def _columns(count: int, most: int) -> int:
    return math.ceil(count * BAR / most) if count else 0


def _store_words(app: App, stats: Stats) -> str:
    engine = stats.store.get("engine", "")
    size = stats.store.get("bytes")
    words = f"store {redact(app.settings.store)} · {engine}"
    if size is not None:
        free = stats.store.get("free_bytes", 0)
        words += f" · {size / 1e6:,.1f} MB" + (f" ({free / 1e6:,.1f} MB to be reused)" if free else "")
    return words
