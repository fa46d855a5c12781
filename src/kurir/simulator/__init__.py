"""A Bot API look-alike, in process and over HTTP: limits, faults, files, chats, updates, and a journal that judges.

The names below are loaded when first used: pytest imports this package in every project that has Kurir installed
(see `pytest_plugin`), so it must cost nothing.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .clock import ManualClock
    from .faults import Faults, Kind, Outage, Rule
    from .journal import Entry, Journal, Report, Verb
    from .limits import Limits
    from .marks import mark_of
    from .model import Bot, Chat, ChatState, Message, Response
    from .server import SimulatorServer, run
    from .transport import InProcessTransport, random_latency
    from .world import Exchange, World

__all__ = [
    "Bot", "Chat", "ChatState", "Entry", "Exchange", "Faults", "InProcessTransport", "Journal", "Kind",
    "Limits", "ManualClock", "Message", "Outage", "Report", "Response", "Rule", "SimulatorServer", "Verb",
    "World", "mark_of", "random_latency", "run",
]  # fmt: skip

_HOMES = {
    "clock": ("ManualClock",),
    "faults": ("Faults", "Kind", "Outage", "Rule"),
    "journal": ("Entry", "Journal", "Report", "Verb"),
    "limits": ("Limits",),
    "marks": ("mark_of",),
    "model": ("Bot", "Chat", "ChatState", "Message", "Response"),
    "server": ("SimulatorServer", "run"),
    "transport": ("InProcessTransport", "random_latency"),
    "world": ("Exchange", "World"),
}
_HOME = {name: home for home, names in _HOMES.items() for name in names}


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f".{_HOME[name]}", __name__), name)
