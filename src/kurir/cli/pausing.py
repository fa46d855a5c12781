"""`kurir pause` and `kurir resume`."""

from __future__ import annotations

import math

import click

from kurir.core.methods import chat_name
from kurir.records import rfc3339

from .context import App, json_option, pass_app
from .loop import run
from .opening import open_kurir
from .times import DURATION, local, short

chat_option = click.option("--chat", metavar="ID|@NAME", help="Only this chat.")


@click.command()
@click.argument("bot")
@chat_option
@click.option("--for", "span", type=DURATION, metavar="TIME", help="So long (10m); else until resumed.")
@click.option("--reason", default="paused by hand", show_default=True)
@json_option
@pass_app
def pause(app: App, /, bot: str, chat: str | None, span: float | None, reason: str) -> None:
    """Let BOT (a name or id) send nothing for a while; its messages wait. Survives restarts."""
    run(_steer(app, bot, chat, math.inf if span is None else span, reason))


@click.command()
@click.argument("bot")
@chat_option
@json_option
@pass_app
def resume(app: App, /, bot: str, chat: str | None) -> None:
    """End a pause of BOT (a name or id), or of one chat."""
    run(_steer(app, bot, chat, 0.0, None))


async def _steer(app: App, bot: str, chat: str | None, span: float, reason: str | None) -> None:
    """`span`: seconds from now, by the store's time; 0 resumes."""
    id = app.bot(bot)
    name = None if chat is None else chat_name(chat)
    async with open_kurir(app) as kurir:
        until = kurir.clock.now() + span if span else 0.0
        await kurir.store.steer(id, chat=name, until=until, reason=reason)
    whom = f"bot {bot}" if name is None else f"chat {name} of bot {bot}"
    if app.json:
        paused = until > 0
        end = rfc3339(until) if paused else None
        app.emit({"bot": id, "chat": name, "paused": paused, "until": end, "reason": reason})
    elif not until:
        app.say(f"resumed {whom}")
    elif math.isinf(until):
        app.say(f"paused {whom} until `kurir resume`")
    else:
        app.say(f"paused {whom} for {short(span)}, until {local(until)}")
