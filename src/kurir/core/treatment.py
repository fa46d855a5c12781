"""How a call that is not stored is treated: how long it is worth something, how often it may be tried, who goes first.

Pure: `treatment(method, params)` is a function of the call alone. All times are seconds.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from .methods import Kind, canonical, kind_of, repeatable

PAUSES: Final = (0.1, 0.2, 0.4, 0.8, 1.6)  # before the 2nd, 3rd, ... try; the last repeats
AGAIN_FOR: Final = 10.0  # a question is asked again for so long
ANSWER_QUERY: Final = 10.0  # an answer to a query of a user
BEYOND_POLL: Final = 15.0  # added to a long poll's own time: the official server holds a request up to 8 s
LONGEST_POLL: Final = 3600.0  # the official server cuts at 50
LONGEST_FETCH: Final = 500.0  # `getFile` of a local server ends when it has the file; its idle limit (`HttpServer.h`)

LIVES: Final[Mapping[str, float]] = {
    # "The status is set for 5 seconds or less" (Bot API, sendChatAction): later a bot asks anew, if it is still at it.
    "sendChatAction": 5.0,
    # A draft shows an answer as far as it has been written: within seconds the next one says more.
    "sendMessageDraft": 3.0,
    "sendRichMessageDraft": 3.0,
    # "must receive an answer within 10 seconds after the pre-checkout query was sent" (Bot API, answerPreCheckoutQuery).
    "answerPreCheckoutQuery": ANSWER_QUERY,
    "answerShippingQuery": ANSWER_QUERY,
    # "query is too old and response timeout expired": a user waits at a button or a list, by all accounts 10 to 15 s.
    "answerCallbackQuery": ANSWER_QUERY,
    "answerInlineQuery": ANSWER_QUERY,
    "answerWebAppQuery": ANSWER_QUERY,
    "answerGuestQuery": ANSWER_QUERY,
    "answerChatJoinRequestQuery": ANSWER_QUERY,
    "sendChatJoinRequestWebApp": ANSWER_QUERY,
}
"""Class B: for how long after it was asked for such a call is worth something. Never sent after."""

_HARMLESS_TWICE: Final = frozenset(
    {
        "sendChatAction",
        "sendMessageDraft",
        "sendRichMessageDraft",
        "answerCallbackQuery",
        "answerInlineQuery",
        "answerPreCheckoutQuery",
        "answerShippingQuery",
    }
)
"""Class B calls that say the same again when repeated. The others make a message, or open something."""

_SAID_ONCE: Final = frozenset({"logOut", "close"})
"""Done twice they are refused ("Logged out", 429), as if the first one had failed."""


@dataclass(frozen=True, slots=True)
class Treatment:
    """What may be done with a call that is not stored."""

    life: float  # no try begins later after the first might have
    strict: bool = False  # nor is an answer waited for after `life`
    sheds: bool = False  # refused at once under pressure
    repeats: bool = False  # may be tried again although an earlier try may have been done
    patience: float | None = None  # for the answer of one try; None: the transport's own
    counted: bool = True  # takes one of the places of the bot's calls


def treatment(method: str, params: bytes) -> Treatment:
    """How to treat a call of `method`, whatever its spelling. `params` is a JSON object, or should be one."""
    name = canonical(method)
    if name == "getUpdates":
        return Treatment(0.0, patience=_poll(params) + BEYOND_POLL, counted=False)
    if kind_of(name) is Kind.NOW:
        life, harmless = LIVES.get(name, ANSWER_QUERY), name in _HARMLESS_TWICE
        return Treatment(
            life,
            strict=True,
            sheds=True,
            repeats=harmless,
            patience=life / 2 if harmless else life,  # one that hangs leaves time for another
        )
    patience = LONGEST_FETCH if name == "getFile" else None
    return Treatment(AGAIN_FOR, repeats=repeatable(name) and name not in _SAID_ONCE, patience=patience)


def pause_before(repeat: int, jitter: float) -> float:
    """Seconds before the `repeat`th repetition (from 1). `jitter`: 0 to 1, spreads it by half."""
    return PAUSES[min(repeat, len(PAUSES)) - 1] * (0.5 + jitter)


def _poll(params: bytes) -> float:
    """How long the caller asks Telegram to wait for updates."""
    try:
        given = json.loads(params)
        seconds = float(given.get("timeout", 0))
    except (ValueError, TypeError, AttributeError, OverflowError, RecursionError):
        return 0.0
    return min(max(seconds, 0.0), LONGEST_POLL) if math.isfinite(seconds) else 0.0
