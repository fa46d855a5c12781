"""Kurir: makes a Telegram bot's messages arrive.

async with Kurir(store="sqlite:///kurir.db", token=TOKEN) as kurir:
    receipt = await kurir.send_text(chat_id, "Your order is on its way")

The names below are loaded when first used, so that `kurir --help` need not wait for them.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .app import Kurir, Parts
    from .core.errors import (
        DeliveryTimeout,
        InvalidMessage,
        InvalidSetting,
        KeyConflict,
        KeyHeld,
        KurirError,
        NotFound,
        SchemaMismatch,
        StoreAway,
        StoreError,
        StoreFull,
        Undelivered,
        UnknownBot,
        WrongState,
    )
    from .core.message import OnUnknown, Ordering, Priority, Record, State
    from .message import Message
    from .ports import Cancel, Expire, Purge, Query, Requeue
    from .services.receipts import Receipt
    from .settings import Settings, load
    from .telegram.files import InputFile

__version__ = "0.1.0"

__all__ = [
    "Cancel",
    "DeliveryTimeout",
    "Expire",
    "InputFile",
    "InvalidMessage",
    "InvalidSetting",
    "KeyConflict",
    "KeyHeld",
    "Kurir",
    "KurirError",
    "Message",
    "NotFound",
    "OnUnknown",
    "Ordering",
    "Parts",
    "Priority",
    "Purge",
    "Query",
    "Receipt",
    "Record",
    "Requeue",
    "SchemaMismatch",
    "Settings",
    "State",
    "StoreAway",
    "StoreError",
    "StoreFull",
    "Undelivered",
    "UnknownBot",
    "WrongState",
    "load",
]

_HOMES = {
    "app": ("Kurir", "Parts"),
    "core.errors": (
        "DeliveryTimeout",
        "InvalidMessage",
        "InvalidSetting",
        "KeyConflict",
        "KeyHeld",
        "KurirError",
        "NotFound",
        "SchemaMismatch",
        "StoreAway",
        "StoreError",
        "StoreFull",
        "Undelivered",
        "UnknownBot",
        "WrongState",
    ),
    "core.message": ("OnUnknown", "Ordering", "Priority", "Record", "State"),
    "message": ("Message",),
    "ports": ("Cancel", "Expire", "Purge", "Query", "Requeue"),
    "services.receipts": ("Receipt",),
    "settings": ("Settings", "load"),
    "telegram.files": ("InputFile",),
}
_HOME = {name: home for home, names in _HOMES.items() for name in names}


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f".{_HOME[name]}", __name__), name)
