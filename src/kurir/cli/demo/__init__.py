"""`kurir demo`: the main job, on screen. A bad network, an outage, a crash; nothing is lost."""

from __future__ import annotations

import asyncio
import contextlib
import shutil
import signal
import tempfile
from pathlib import Path

import click

from kurir.app import Kurir
from kurir.cli.context import App, json_option, pass_app
from kurir.cli.loop import run
from kurir.cli.terminal import console
from kurir.settings import load

from .cast import make_plan
from .play import Play, Script, dead_records
from .screen import screen_for
from .stage import Telegram, Worker, environment
from .verdict import Verdict, judge, table

MESSAGES = 600


@click.command()
@click.option("--messages", type=click.IntRange(200, 5000), default=MESSAGES, show_default=True)
@click.option("--seed", type=int, default=1, show_default=True, help="Of the messages and of the network.")
@click.option("--scale", type=click.FloatRange(0.05, 10), default=1.0, hidden=True, help="Of the script's times.")
@click.option("--keep", is_flag=True, hidden=True, help="Leave the folder with the store and the logs.")
@json_option
@pass_app
def demo(app: App, /, messages: int, seed: int, scale: float, keep: bool) -> None:
    """Show what Kurir is for, in about a minute.

    A simulated Telegram behind a network that loses 40 % of all calls and is out for 15 s, a worker that is killed in the
    middle, hundreds of messages of all kinds, some to people who blocked the bot, some that are poison. Then the figures,
    by Telegram's own journal. Exits 1 where a promise broke.
    """
    verdict = run(_demo(app, messages, seed, Script().scaled(scale), keep))
    if app.json:
        app.emit(verdict.json())
    else:
        console().print(table(verdict))
    if verdict.broken:
        click.get_current_context().exit(1)


async def _demo(app: App, messages: int, seed: int, script: Script, keep: bool) -> Verdict:
    """SIGTERM cleans up as Ctrl-C does."""
    task = asyncio.current_task()
    assert task is not None
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, task.cancel)
    folder = Path(tempfile.mkdtemp(prefix="kurir-demo-"))
    try:
        return await _play(app, messages, seed, script, folder)
    except asyncio.CancelledError:
        raise KeyboardInterrupt from None
    finally:
        if keep:
            app.say(f"kept {folder}")
        else:
            shutil.rmtree(folder, ignore_errors=True)


async def _play(app: App, messages: int, seed: int, script: Script, folder: Path) -> Verdict:
    plan = make_plan(seed, messages, folder)
    app.say(f"{len(plan.lines)} messages to {len(plan.chats)} chats; a simulated Telegram, a real worker, SQLite\n")
    telegram = Telegram(folder, seed)
    async with contextlib.AsyncExitStack() as stack:
        stack.push_async_callback(telegram.stop)
        await telegram.start()
        env = environment(folder, telegram.url)
        worker = Worker(folder, env)
        kurir = await stack.enter_async_context(Kurir(courier=False, settings=load(env)))
        stack.push_async_callback(worker.kill)
        play = Play(plan, script, telegram, worker, kurir)
        with screen_for(console(), silent=app.json or app.quiet) as screen:
            await play.run(screen)
        await worker.stop()
        limit = kurir.settings.bots[0].limits.bot.per_second
        stats, dead = await kurir.stats(), await dead_records(kurir)
        return await judge(plan, play.course, telegram, stats, dead, limit)
