"""Opening Kurir for a command, and asking who sends."""

from __future__ import annotations

import time
from typing import Any

from kurir.app import Kurir
from kurir.core.errors import InvalidSetting
from kurir.ports import BotStats
from kurir.records import is_held as held

from .context import App


def open_kurir(app: App, *, courier: bool = False, **overrides: Any) -> Kurir:
    """Kurir as the settings say; by default it only looks and hands over. Raises InvalidSetting."""
    settings = app.settings
    if settings.store == "memory://" and not courier:
        raise InvalidSetting(
            "KURIR_STORE",
            "memory:// is seen by nobody but this command",
            "Use a file that others open too: sqlite:///kurir.db.",
        )
    return Kurir(courier=courier, settings=settings, **overrides)


async def nobody_sends(app: App, bot: int) -> bool:
    """Is no worker running for the bot? (Nobody else can be, on a store in memory.)"""
    if app.settings.store == "memory://":
        return True
    async with open_kurir(app) as kurir:
        stats = await kurir.stats()
    return not any(entry.bot == bot and is_held(entry) for entry in stats.bots)


def is_held(bot: BotStats) -> bool:
    """Does a worker hold the bot's lease now?"""
    return held(bot, time.time())
