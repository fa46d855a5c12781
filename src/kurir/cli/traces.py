"""OpenTelemetry around what a command does, if it is wanted."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from kurir import __version__
from kurir.app import Kurir
from kurir.observe.tracing import open_traces, wanted


@asynccontextmanager
async def traced(kurir: Kurir) -> AsyncIterator[None]:
    """To be entered before Kurir is started, and left when it is closed: then the last spans are sent. Raises InvalidSetting
    where OpenTelemetry is wanted and not installed."""
    settings = kurir.settings
    if not wanted(settings.traces, os.environ):
        yield
        return
    names = {bot.id: bot.name for bot in settings.bots}
    traces = open_traces(names, __version__, texts=settings.log_texts)
    kurir.listen(traces.hear)
    try:
        yield
    finally:
        await traces.close()
