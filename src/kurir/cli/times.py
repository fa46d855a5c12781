"""Times and durations as people write them on a command line, and as they read them."""

from __future__ import annotations

import math
import re
import time
from datetime import datetime
from typing import Any

import click

from kurir.core.errors import InvalidMessage
from kurir.core.times import unix

UNITS = {"s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0, "w": 604800.0}
_DURATION = re.compile(r"(?:\d+(?:\.\d+)?[smhdw])+|\d+(?:\.\d+)?")
_PIECE = re.compile(r"(\d+(?:\.\d+)?)([smhdw])")


def seconds(text: str) -> float | None:
    """Seconds of `90`, `90s`, `10m`, `1h30m`, `7d`, `2w`; None if it is no duration."""
    if not _DURATION.fullmatch(text):
        return None
    pieces = _PIECE.findall(text)
    return sum(float(number) * UNITS[unit] for number, unit in pieces) if pieces else float(text)


class Duration(click.ParamType[float]):
    """Seconds."""

    name = "duration"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        if isinstance(value, int | float):
            return float(value)
        found = seconds(str(value))
        if found is None:
            self.fail(f"{value!r} is no duration: write 90s, 10m, 1h30m or 7d.", param, ctx)
        return found


class Moment(click.ParamType[float]):
    """Unix seconds, of RFC 3339, Unix seconds, or a duration: before now if `past`, after it (`+10m`) if not."""

    name = "time"

    def __init__(self, *, past: bool) -> None:
        self._past = past

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        if isinstance(value, int | float):
            return float(value)
        text, now = str(value).strip(), time.time()
        if text.isdigit() and len(text) >= 9:
            return float(text)
        away = seconds(text.lstrip("+-" if self._past else "+"))
        if away is not None:
            return now - away if self._past else now + away
        try:
            return unix(param.name or "time" if param else "time", text, now)
        except InvalidMessage as error:
            example = "1h" if self._past else "+10m"
            self.fail(f"{error.what}. Write {example}, or 2026-12-31T18:00:00+03:00.", param, ctx)


DURATION = Duration()
SINCE = Moment(past=True)
DUE = Moment(past=False)


# ---------------------------------------------------------------- shown


def short(span: float) -> str:
    """A span in a few characters: `0.2s`, `45s`, `12m`, `3h05m`, `2d`."""
    if span < 0:
        return f"-{short(-span)}"
    if math.isinf(span):
        return "for good"
    if span < 10:
        return f"{span:.1f}s"
    if span < 60:
        return f"{span:.0f}s"
    if span < 3600:
        return f"{span / 60:.0f}m"
    if span < 86400:
        return f"{int(span // 3600)}h{int(span % 3600 // 60):02d}m"
    return f"{span / 86400:.0f}d"


def ago(at: float, now: float) -> str:
    """`3m ago`, `in 5s`."""
    return f"{short(now - at)} ago" if at <= now else f"in {short(at - now)}"


def local(at: float, *, date: bool = True) -> str:
    """In the zone of the machine."""
    moment = datetime.fromtimestamp(at).astimezone()
    return moment.strftime("%Y-%m-%d %H:%M:%S" if date else "%H:%M:%S")
