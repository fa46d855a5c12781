"""Opening Kurir for a command, and asking who sends."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from kurir.app import Kurir
from kurir.core.errors import InvalidSetting
from kurir.records import is_held

from .context import App


def open_kurir(app: App, *, courier: bool = False, spool: bool = False, **overrides: Any) -> Kurir:
    """Kurir as the settings say; by default it only looks. `spool`: it may hand over, and so uses this machine's spool; else
    a store that is away is an error at once. Raises InvalidSetting."""
    settings = app.settings if spool else replace(app.settings, spool=None)
    if settings.store == "memory://" and not courier:
        raise InvalidSetting(
            "KURIR_STORE",
            "memory:// is seen by nobody but this command",
            "Use a store that others open too: sqlite:///kurir.db, or a server's.",
        )
    return Kurir(courier=courier, settings=settings, **overrides)


async def nobody_sends(app: App, bot: int) -> bool:
    """Is no worker running for the bot? (Nobody else can be, on a store in memory.)"""
    if app.settings.store == "memory://":
        return True
    async with open_kurir(app) as kurir:
        stats = await kurir.stats()
        now = kurir.clock.now()
    return not any(entry.bot == bot and is_held(entry, now) for entry in stats.bots)
