"""What may be set about a bot's pace (`Rate`, `Limits`), and what it tells (`Throttle`, `Correction`,
`PaceState`)."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from math import inf

_UNITS = {"s": 1.0, "sec": 1.0, "m": 60.0, "min": 60.0, "h": 3600.0, "hour": 3600.0}
_RATE = re.compile(r"(\d+(?:\.\d+)?)\s*/\s*(\d+(?:\.\d+)?)?\s*([a-z]+)")


@dataclass(frozen=True, slots=True)
class Rate:
    """`count` messages in any `seconds`. `Rate.parse("20/min")`; also `30/s`, `1/3s`, `500/h`. `str` writes
    it back. Raises ValueError, with an example, for what is no rate."""

    count: float
    seconds: float = 1.0

    def __post_init__(self) -> None:
        if not (0 < self.count < inf and 0 < self.seconds < inf):
            raise ValueError(f"a rate must be above zero, not {self.count:g} in {self.seconds:g} s")

    @classmethod
    def parse(cls, text: str) -> Rate:
        match = _RATE.fullmatch(text.strip().lower())
        if match is None or match[3] not in _UNITS:
            raise ValueError(f"{text!r} is no rate; write for example 30/s, 20/min or 1/3s")
        return cls(float(match[1]), float(match[2] or 1) * _UNITS[match[3]])

    @property
    def per_second(self) -> float:
        return self.count / self.seconds

    def __str__(self) -> str:
        unit = {1.0: "s", 60.0: "min", 3600.0: "h"}.get(self.seconds, f"{_plain(self.seconds)}s")
        return f"{_plain(self.count)}/{unit}"


def _plain(number: float) -> str:
    return str(int(number)) if number == int(number) else format(number, "f").rstrip("0")


_BOT, _CHAT, _GROUP, _PAID = Rate(30, 1), Rate(1, 1), Rate(20, 60), Rate(1000, 1)


@dataclass(frozen=True, slots=True)
class Limits:
    """What a bot may do, as set: the ceiling of what is learned. Figures:
    https://core.telegram.org/bots/faq."""

    bot: Rate = _BOT
    bot_burst: int = 6  # at once, also after idling; steady sending then never stops for more than 0.25 s
    chat: Rate = _CHAT  # a private chat
    chat_burst: int = 3
    group: Rate = _GROUP  # a group or channel
    paid: Rate = _PAID  # calls with `allow_paid_broadcast`
    paid_burst: int = 20
    low_share: float = 0.2  # of the bot's pace for LOW while others wait
    on: bool = True  # False: no limits; a 429 still pauses
    throttle_buffer: float = 0.1  # seconds waited beyond `retry_after`
    several: int = 3  # chats refused ...
    several_within: float = 3.0  # ... within so many seconds: the bot's limit, not the chats'


@dataclass(frozen=True, slots=True)
class Throttle:
    """What follows from a 429: nothing leaves for the chat (for the bot, if not None) before, in Unix
    seconds."""

    chat_until: float
    bot_until: float | None = None


@dataclass(frozen=True, slots=True)
class Correction:
    """A limit changed. `scope`: "bot", "paid", a chat, or "private chats" or "groups": all of that kind."""

    scope: str
    rate: float  # messages/s
    burst: int
    at: float  # Unix seconds


@dataclass(frozen=True, slots=True)
class PaceState:
    """A bot's pace as people see it. Rates in messages/s, times in Unix seconds."""

    rate: float  # the bot's, now
    ceiling: float  # the bot's, as configured
    chat_rate: float  # of a private chat that taught nothing of its own
    group_rate: float
    paused_until: float  # in the past: not paused
    known_chats: int  # remembered: bounded by those that heard something lately
    learned: Mapping[str, float]  # chats with a limit of their own
