"""Kurir: makes a Telegram bot's messages arrive.

async with Kurir(store="sqlite:///kurir.db", token=TOKEN) as kurir:
    receipt = await kurir.send_text(chat_id, "Your order is on its way")
"""

from .app import Kurir, Parts
from .core.errors import (
    DeliveryTimeout,
    InvalidMessage,
    InvalidSetting,
    KeyConflict,
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
