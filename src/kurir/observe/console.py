"""Where log lines go: coloured lines for people on a terminal, JSON lines for machines. No token gets through."""

from __future__ import annotations

import logging
import sys
from collections.abc import Callable
from datetime import UTC, datetime
from typing import TextIO

import orjson

_COLOURS = {"DEBUG": "2", "INFO": "0", "WARNING": "33", "ERROR": "31", "CRITICAL": "1;31"}  # ANSI SGR codes


class Redaction(logging.Filter):
    """Cleans a record's words, traceback included, before any formatter sees them."""

    def __init__(self, redact: Callable[[str], str]) -> None:
        super().__init__()
        self._redact = redact
        self._plain = logging.Formatter()

    def filter(self, record: logging.LogRecord) -> bool:
        record.msg = self._redact(record.getMessage())
        record.args = None
        if record.exc_info and not record.exc_text:
            record.exc_text = self._plain.formatException(record.exc_info)
        if record.exc_text:
            record.exc_text = self._redact(record.exc_text)
        return True


class Lines(logging.Formatter):
    """`12:00:01 warning  text`, in colour where `colour`."""

    def __init__(self, *, colour: bool) -> None:
        super().__init__()
        self._colour = colour

    def format(self, record: logging.LogRecord) -> str:
        at = datetime.fromtimestamp(record.created).astimezone().strftime("%H:%M:%S")
        level, text = f"{record.levelname.lower():<8}", record.getMessage()
        if record.exc_text:
            text = f"{text}\n{record.exc_text}"
        if not self._colour:
            return f"{at} {level} {text}"
        return f"\x1b[2m{at}\x1b[0m \x1b[{_COLOURS.get(record.levelname, '0')}m{level} {text}\x1b[0m"


class Json(logging.Formatter):
    """One JSON object a line: `time` (RFC 3339, UTC), `level`, `logger`, `message`; `id` of the message and `bot` (numeric)
    if it is about one; `error` with a traceback."""

    def format(self, record: logging.LogRecord) -> str:
        at = datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds")
        line = {
            "time": at.replace("+00:00", "Z"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
            **getattr(record, "kurir", {}),
        }
        if record.exc_text:
            line["error"] = record.exc_text
        return orjson.dumps(line).decode()


def set_up(
    level: str, *, redact: Callable[[str], str], json: bool | None = None, stream: TextIO | None = None
) -> logging.Handler:
    """Send all log lines of `level` and above to `stream` (stderr). `json` None: JSON unless it is a terminal."""
    stream = stream or sys.stderr
    terminal = stream.isatty()
    handler = logging.StreamHandler(stream)
    handler.setFormatter(Json() if (not terminal if json is None else json) else Lines(colour=terminal))
    handler.addFilter(Redaction(redact))
    root = logging.getLogger()
    for old in root.handlers[:]:
        root.removeHandler(old)
    root.addHandler(handler)
    root.setLevel(logging.WARNING)
    logging.getLogger("kurir").setLevel(level.upper())
    return handler
