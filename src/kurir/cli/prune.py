"""`kurir prune`: remove history."""

from __future__ import annotations

import click

from .asking import confirm
from .context import App, json_option, pass_app
from .loop import run
from .opening import open_kurir
from .times import DURATION, short

KEYS_LIVE = 7 * 86400.0  # seconds that idempotency keys are promised to live after their message ended


@click.command()
@click.option("--older-than", type=DURATION, metavar="TIME", help="Ended so long ago; by default history_days.")
@click.option("--yes", "-y", is_flag=True, help="Do not ask.")
@json_option
@pass_app
def prune(app: App, /, older_than: float | None, yes: bool) -> None:
    """Remove messages that have ended, their attempts, keys, and the files only they needed. Workers do so by
    themselves."""
    age = app.settings.history if older_than is None else older_than
    if age < KEYS_LIVE:
        confirm(app, f"remove history of the last {short(KEYS_LIVE)}, idempotency keys with it", yes=yes)
    run(_prune(app, age))


async def _prune(app: App, age: float) -> None:
    async with open_kurir(app) as kurir:
        removed = await kurir.prune(age)
    if app.json:
        app.emit({"pruned": removed, "older_than": age})
    else:
        app.say(f"removed {removed:,} messages that ended more than {short(age)} ago")
