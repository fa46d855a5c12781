"""A message as words."""

from __future__ import annotations

from kurir.core.message import Record
from kurir.records import loads

EXCERPT = 48  # characters
_WORDS = ("text", "caption", "title", "question", "description", "emoji", "phone_number")


def excerpt(record: Record, most: int = EXCERPT) -> str:
    """A few of the message's words, on one line."""
    params = loads(record.params)
    words = next((str(params[name]) for name in _WORDS if params.get(name)), "")
    if not words and isinstance(params.get("media"), list):
        captions = (item.get("caption") for item in params["media"] if isinstance(item, dict))
        words = next((str(c) for c in captions if c), f"{len(params['media'])} items")
    if not words and "latitude" in params:
        words = f"{params['latitude']}, {params.get('longitude')}"
    if not words and record.files:
        words = record.files[0].name
    line = " ".join(words.split())
    return line if len(line) <= most else line[: most - 1] + "…"
