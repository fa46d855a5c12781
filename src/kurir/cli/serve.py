"""`kurir serve`: the doors, and the courier unless told otherwise."""

from __future__ import annotations

import contextlib
import logging
import resource
import time

import click

from kurir.app import GRACE, Kurir
from kurir.observe.console import set_up
from kurir.telegram.redact import redact
from kurir.web.doors import Doors

from .context import App, json_option, pass_app
from .loop import run, settle
from .opening import open_kurir
from .traces import traced
from .worker import Tally, opening_lines, told_to_stop, until_told

STOP = 7.5  # seconds that clients and calls in flight get together; see also `app.GRACE`

logger = logging.getLogger("kurir.serve")


@click.command()
@click.option("--courier/--no-courier", default=True, show_default=True, help="Also send; else `kurir worker` does.")
@click.option("--listen", metavar="HOST:PORT", help="Instead of KURIR_LISTEN.")
@click.option("--log", type=click.Choice(["lines", "json"]), help="Lines for people or JSON; by default as fits.")
@json_option
@pass_app
def serve(app: App, courier: bool, listen: str | None, log: str | None) -> None:
    """Open the doors: the Bot API gateway, REST, health and metrics; and send.

    Any bot becomes durable when its base URL is this server's: http://127.0.0.1:8080/bot<token>/sendMessage.
    SIGTERM or Ctrl-C: clients that wait get their answer or are told that it comes later; a second one stops at once.
    """
    app.need_bots()
    as_json = True if app.json or log == "json" else False if log == "lines" else None
    set_up("warning" if app.quiet else app.settings.log_level, redact=redact, json=as_json)
    for warning in app.settings.warnings:
        logger.warning("%s", warning)
    _many_files()
    kurir = open_kurir(app, courier=courier, spool=True, **({"listen": listen} if listen else {}))
    run(_serve(kurir, courier))


def _many_files() -> None:
    """A connection is an open file, and a long poll two: as many as the system lets this process have."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    with contextlib.suppress(ValueError, OSError):
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))


async def _serve(kurir: Kurir, courier: bool) -> None:
    doors, stop = Doors(kurir), told_to_stop()
    tally = Tally()
    kurir.listen(tally.hear)
    for line in opening_lines(kurir.settings, courier):
        logger.info("%s", line)
    async with traced(kurir):
        await kurir.start(patient=True)
        grace = GRACE
        try:
            async with doors:
                for line in door_lines(doors.url, kurir):
                    logger.info("%s", line)
                settle()
                await until_told(stop, tally, kurir)
                told = time.monotonic()
                logger.info("stopping: clients that wait get a few seconds")
            logger.info("stopping: calls in flight get a few seconds, the rest waits in the store")
            grace = max(1.0, STOP - (time.monotonic() - told))
        finally:
            await kurir.close(grace)
    logger.info("stopped: %d delivered, %d dead in this run", tally.delivered, tally.dead)


def door_lines(url: str, kurir: Kurir) -> list[str]:
    """Where the doors are."""
    return [
        f"gateway: {url}/bot<token>/<method>, in place of https://api.telegram.org",
        f"REST: {url}/v1/docs" + ("" if kurir.settings.api_key else " (needs a key: `kurir keys add NAME`)"),
        f"health: {url}/health/ready, metrics: {url}/metrics",
    ]
