"""A message as JSON and as words."""

from __future__ import annotations

from typing import Any

import orjson

from kurir.core.message import Attempt, Record

from .times import rfc3339

EXCERPT = 48  # characters
_WORDS = ("text", "caption", "title", "question", "description", "emoji", "phone_number")


def loads(body: bytes | None) -> Any:
    """JSON, or None where there is none."""
    return orjson.loads(body) if body else None


def attempt_json(attempt: Attempt) -> dict[str, Any]:
    return {
        "number": attempt.number,
        "started_at": rfc3339(attempt.started_at),
        "duration_ms": round(attempt.duration * 1000),
        "outcome": attempt.outcome,
        "status": attempt.status,
        "error": attempt.error,
    }


def record_json(record: Record) -> dict[str, Any]:
    """All there is to know; the keys are a contract."""
    options = record.options
    return {
        "id": record.id,
        "bot": record.bot,
        "chat": record.chat,
        "method": record.method,
        "params": loads(record.params),
        "files": [
            {"field": f.field, "name": f.name, "mime": f.mime, "size": f.size, "sha256": f.sha256} for f in record.files
        ],
        "state": record.state.value,
        "reason": record.reason,
        "priority": record.priority.name.lower(),
        "accepted_at": rfc3339(record.accepted_at),
        "due_at": rfc3339(record.due_at),
        "expires_at": rfc3339(record.expires_at),
        "ended_at": rfc3339(record.ended_at),
        "attempts": [attempt_json(attempt) for attempt in record.attempts],
        "tries": record.tries,
        "doubts": record.doubts,
        "crashes": record.crashes,
        "result": loads(record.result),
        "idempotency_key": record.key,
        "metadata": dict(record.metadata or {}),
        "superseded_by": record.superseded_by,
        "ordering": options.ordering.value,
        "on_unknown": options.on_unknown.value if options.on_unknown else None,
        "max_attempts": options.max_attempts,
        "delete_after": options.delete_after,
    }


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
