"""`kurir simulator`: a Bot API look-alike to try things on."""

from __future__ import annotations

import asyncio
import contextlib
import random
import signal

import click

from kurir.core.errors import InvalidSetting
from kurir.simulator.faults import Faults, Kind, Rule
from kurir.simulator.limits import Limits
from kurir.simulator.server import run as serve

from .context import App, json_option, pass_app
from .loop import run
from .times import DURATION


@click.command()
@click.option("--host", default="127.0.0.1", show_default=True)
@click.option("--port", type=click.IntRange(0, 65535), default=8081, show_default=True, help="0: any free one.")
@click.option("--token", "tokens", multiple=True, help="A bot; without any, every token is one.")
@click.option(
    "--limits",
    type=click.Choice(["strict", "hold", "off"]),
    default="strict",
    show_default=True,
    help="Telegram's limits; hold: short floods are held up to 8 s instead of answered 429.",
)
@click.option("--loss", type=click.FloatRange(0, 1), default=0.0, metavar="SHARE", help="Lose this share of calls.")
@click.option("--latency", type=DURATION, default=0.0, metavar="TIME", help="Answer so late: 0.2s.")
@click.option("--seed", type=int, default=0, help="Of what is left to chance.")
@json_option
@pass_app
def simulator(
    app: App, /, host: str, port: int, tokens: tuple[str, ...], limits: str, loss: float, latency: float, seed: int
) -> None:
    """Serve a Bot API look-alike: limits, real error texts, files, a journal.

    Chats come into being when first written to. Of what --loss loses, half is reset before Telegram did it, half after.
    The control API is at /sim/state, /sim/journal, /sim/faults, ...
    """
    allowed = {"strict": Limits(), "hold": Limits(hold=True), "off": Limits.none()}[limits]
    serving = serve(
        host,
        port,
        tokens=tokens,
        limits=allowed,
        faults=weather(loss, latency, seed),
        seed=seed,
        ready=lambda url: _ready(app, url),
    )
    try:
        run(_until_told(serving))
    except OSError as error:
        raise InvalidSetting("--port", f"cannot listen on {host}:{port}: {error.strerror}", "Choose another.") from None


def weather(loss: float, latency: float, seed: int) -> Faults:
    """A network that loses `loss` of all calls, and delays the answers of the others by `latency` seconds."""
    faults = Faults.lossy(loss, rng=random.Random(seed)) if loss else Faults(rng=random.Random(seed))
    if latency:
        faults.add(Rule(Kind.SLOW, seconds=latency))
    return faults


async def _until_told(serving: object) -> None:
    """SIGTERM ends it as Ctrl-C does."""
    task = asyncio.ensure_future(serving)  # type: ignore[call-overload]
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, task.cancel)
    with contextlib.suppress(asyncio.CancelledError):
        await task


def _ready(app: App, url: str) -> None:
    if app.json:
        app.emit({"url": url})
    else:
        app.say(f"Telegram, simulated: {url}")
        app.say(f"  export KURIR_TELEGRAM_URL={url}")
