"""How the parts of a message are written into a store's columns. One spelling for every engine."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import orjson

from kurir.core.errors import InvalidMessage
from kurir.core.message import DEFAULT_OPTIONS, FileRef, OnUnknown, Options, Ordering


def too_large() -> InvalidMessage:
    """What to say of a number that no column holds; Telegram's own fit."""
    return InvalidMessage("a number", "does not fit into 64 bits", "Look at the ids that were given.")


def dump_options(options: Options) -> str | None:
    """JSON of what differs from the defaults; None when nothing does."""
    if options == DEFAULT_OPTIONS:
        return None
    fields: dict[str, Any] = {
        "max_attempts": options.max_attempts,
        "backoff": options.backoff,
        "timeout": options.timeout,
        "delete_after": options.delete_after,
        "ordering": None if options.ordering is Ordering.FIFO else options.ordering.value,
        "on_unknown": options.on_unknown.value if options.on_unknown else None,
    }
    return orjson.dumps({name: value for name, value in fields.items() if value is not None}).decode()


def load_options(text: str | bytes | None) -> Options:
    if not text:
        return DEFAULT_OPTIONS
    fields = orjson.loads(text)
    backoff = fields.get("backoff")
    on_unknown = fields.get("on_unknown")
    return Options(
        max_attempts=fields.get("max_attempts"),
        backoff=tuple(backoff) if backoff is not None else None,
        timeout=fields.get("timeout"),
        delete_after=fields.get("delete_after"),
        ordering=Ordering(fields.get("ordering", Ordering.FIFO)),
        on_unknown=OnUnknown(on_unknown) if on_unknown else None,
    )


def dump_files(files: tuple[FileRef, ...]) -> str | None:
    if not files:
        return None
    return orjson.dumps([[f.field, f.sha256, f.size, f.name, f.mime, f.kind] for f in files]).decode()


def load_files(text: str | bytes | None) -> tuple[FileRef, ...]:
    return tuple(FileRef(*row) for row in orjson.loads(text)) if text else ()


def dump_metadata(metadata: Mapping[str, str] | None) -> str | None:
    return orjson.dumps(dict(metadata)).decode() if metadata else None


_FINE = 1024  # places between two order numbers
_BELOW = 2**52  # what was loaded keeps its place below all that is given out here


def dump_pos(pos: float) -> int:
    """A place that was given out elsewhere, where places are whole numbers: in the same order, before every order number."""
    return round(pos * _FINE) - _BELOW


def load_pos(kept: int) -> float:
    """A place as it is told elsewhere."""
    return (kept + _BELOW) / _FINE if kept < 0 else float(kept)


def load_metadata(text: str | bytes | None) -> Mapping[str, str] | None:
    loaded: dict[str, str] | None = orjson.loads(text) if text else None
    return loaded
