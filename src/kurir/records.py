"""What the doors tell as JSON: messages and bots. The keys are a contract."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import fields
from datetime import UTC, datetime
from typing import Any

import orjson

from .core.message import Attempt, Record
from .ports import BotStats, Day

_COUNTS = ("waiting", "sending", "delivered", "dead", "expired", "cancelled", "lanes", "fenced")


def loads(body: bytes | None) -> Any:
    """JSON, or None where there is none."""
    return orjson.loads(body) if body else None


def rfc3339(at: float | None) -> str | None:
    """UTC, milliseconds; None for never."""
    if not at or math.isinf(at):
        return None
    moment = datetime.fromtimestamp(at, UTC)
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")


# ---------------------------------------------------------------- messages


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
    """All there is to know."""
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


# ---------------------------------------------------------------- bots


def is_held(bot: BotStats, now: float) -> bool:
    """Does a worker hold the bot's lease?"""
    return bot.holder is not None and (bot.lease_until or 0.0) > now


def standing(bot: BotStats, now: float) -> str:
    """`sending`, `paused`, `stopped` (Telegram refuses the bot) or `no worker`."""
    if bot.paused_until > now:
        refused = math.isinf(bot.paused_until) and (bot.paused_why or "").startswith("refused:")
        return "stopped" if refused else "paused"
    return "sending" if is_held(bot, now) else "no worker"


def success(counts: BotStats | Day) -> float | None:
    """Delivered, as a share of what ended without being cancelled; None where nothing did."""
    ended = counts.delivered + counts.dead + counts.expired
    return counts.delivered / ended if ended else None


def bot_json(bot: BotStats, names: Mapping[int, str], now: float) -> dict[str, Any]:
    paused = bot.paused_until > now
    return {
        "bot": bot.bot,
        "name": names.get(bot.bot),
        "state": standing(bot, now),
        **{name: getattr(bot, name) for name in _COUNTS},
        "oldest_due_seconds": round(max(0.0, now - bot.oldest_due), 3) if bot.oldest_due else None,
        "success_rate": success(bot),
        "holder": bot.holder if is_held(bot, now) else None,
        "paused_until": rfc3339(bot.paused_until) if paused else None,
        "paused_why": bot.paused_why if paused else None,
    }


def day_json(day: Day) -> dict[str, Any]:
    return {**{f.name: getattr(day, f.name) for f in fields(day)}, "success_rate": success(day)}
