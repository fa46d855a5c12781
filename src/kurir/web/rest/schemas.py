"""The shapes of the OpenAPI document."""

from __future__ import annotations

from .describe import BOOLEAN, INTEGER, TEXT, TIME, Json, maybe, ref
from .filters import STATES
from .problems import INTERNAL, KINDS

_WHEN: Json = {"type": ["string", "null"], "format": "date-time"}
_COUNT: Json = {"type": "integer", "minimum": 0}
_SHARE: Json = {"type": ["number", "null"], "minimum": 0, "maximum": 1}
_NAME: Json = {"type": "string", "description": "The bot's name in the settings; its id where it has none."}
_STATE: Json = {"type": "string", "enum": STATES}
_PRIORITY: Json = {"type": "string", "enum": ["critical", "high", "normal", "low"]}
_RATE: Json = {"type": ["number", "null"], "description": "Messages/s; null: no limit."}


def shape(properties: Json, required: tuple[str, ...] | None = None, more: bool = False) -> Json:
    """An object; all of it is required unless said otherwise."""
    return {
        "type": "object",
        "required": list(properties) if required is None else list(required),
        "properties": properties,
        "additionalProperties": more,
    }


def _message() -> Json:
    delays: Json = {"type": "array", "items": {"type": "number", "minimum": 0, "maximum": 2592000}, "maxItems": 1000}
    shaped: Json = {
        "type": "object",
        "required": ["type"],
        "properties": {
            "type": {"type": "string", "enum": ["exponential", "fixed"]},
            "base": {"type": "number", "minimum": 0, "maximum": 2592000},
        },
        "additionalProperties": False,
    }
    scalar: Json = {"type": ["string", "number", "boolean"]}
    fields: Json = {
        "method": {
            **TEXT,
            "description": "A Bot API method, for example `sendMessage`.",
            "pattern": "^[A-Za-z0-9]{1,64}$",
        },
        "params": maybe({"type": "object", "description": "The method's parameters, as the Bot API names them."}),
        "bot": {"type": ["string", "integer", "null"], "description": "Its name or id; not needed when there is one."},
        "priority": maybe(_PRIORITY),
        "idempotency_key": maybe({"type": "string", "minLength": 1, "maxLength": 255}),
        "due_at": maybe({**TIME, "description": "Not before; a past time means now."}),
        "expires_at": maybe({**TIME, "description": "Not after; a past time is refused."}),
        "delete_after": maybe(
            {"type": "number", "minimum": 0, "maximum": 172800, "description": "Seconds in the chat."}
        ),
        "ordering": maybe({"type": "string", "enum": ["fifo", "strict"]}),
        "on_unknown": maybe({"type": "string", "enum": ["resend", "hold"]}),
        "max_attempts": maybe({"type": "integer", "minimum": 1, "maximum": 1000}),
        "backoff": {
            "anyOf": [delays, shaped, {"type": "null"}],
            "description": "Seconds before the 2nd, 3rd, ... try.",
        },
        "timeout": maybe(
            {"type": "number", "minimum": 0.001, "maximum": 3600, "description": "Seconds of one attempt."}
        ),
        "metadata": maybe({"type": "object", "additionalProperties": scalar, "maxProperties": 50}),
        "force": maybe({"type": "boolean", "description": "Lift a suppression of the chat."}),
    }
    return shape(fields, ("method",))


def _record() -> Json:
    attempt = shape(
        {
            "number": INTEGER,
            "started_at": _WHEN,
            "duration_ms": INTEGER,
            "outcome": {"type": "string", "enum": ["delivered", "throttled", "moved", "refused", "failed", "unknown"]},
            "status": {"type": ["integer", "null"], "description": "The HTTP status, if an answer came."},
            "error": {"type": ["string", "null"], "description": "Telegram's words or the network's."},
        }
    )
    file = shape({"field": TEXT, "name": TEXT, "mime": TEXT, "size": INTEGER, "sha256": TEXT})
    return shape(
        {
            "id": TEXT,
            "bot": _NAME,
            "bot_id": INTEGER,
            "chat": {"type": "string", "description": "Whose queue it is in."},
            "method": TEXT,
            "params": {"type": "object"},
            "files": {"type": "array", "items": file},
            "state": _STATE,
            "reason": {
                "type": ["string", "null"],
                "description": "Why it is as it is, in Telegram's words where it spoke.",
            },
            "priority": _PRIORITY,
            "accepted_at": _WHEN,
            "due_at": _WHEN,
            "expires_at": _WHEN,
            "ended_at": _WHEN,
            "attempts": {"type": "array", "items": attempt},
            "tries": INTEGER,
            "doubts": INTEGER,
            "crashes": INTEGER,
            "result": {"description": "Telegram's own result."},
            "idempotency_key": {"type": ["string", "null"]},
            "metadata": {"type": "object", "additionalProperties": {"type": "string"}},
            "superseded_by": {"type": ["string", "null"]},
            "ordering": {"type": "string", "enum": ["fifo", "strict"]},
            "on_unknown": {"type": ["string", "null"], "enum": ["resend", "hold", None]},
            "max_attempts": {"type": ["integer", "null"]},
            "delete_after": {"type": ["number", "null"]},
        }
    )


def _bot() -> Json:
    pace = shape(
        {
            "rate": {**_RATE, "description": "Messages/s now; null: no limit."},
            "ceiling": {**_RATE, "description": "Messages/s as set."},
            "chat_rate": _RATE,
            "group_rate": _RATE,
            "paused_until": _WHEN,
            "learned": {**_COUNT, "description": "Chats with a limit of their own, learned from Telegram's answers."},
        }
    )
    counts = ("waiting", "sending", "delivered", "dead", "expired", "cancelled")
    return shape(
        {
            "bot": _NAME,
            "bot_id": INTEGER,
            "health": {"type": "string", "enum": ["ok", "outage", "paused", "refused", "no courier"]},
            "why": {"type": ["string", "null"]},
            "state": {"type": "string", "enum": ["sending", "paused", "stopped", "no worker"]},
            **dict.fromkeys(counts, _COUNT),
            "fenced": _COUNT,
            "oldest_due_seconds": {"type": ["number", "null"]},
            "success_rate": _SHARE,
            "holder": {"type": ["string", "null"], "description": "The process that sends for it."},
            "paused_until": {**_WHEN, "description": "Null in a pause: until resumed."},
            "paused_why": {"type": ["string", "null"]},
            "chats": {**_COUNT, "description": "Those with something waiting."},
            "here": {"type": "boolean", "description": "The process that was asked sends for it."},
            "in_flight": {"type": ["integer", "null"]},
            "pace": {"anyOf": [pace, {"type": "null"}]},
        }
    )


def _statistics() -> Json:
    ended = dict.fromkeys(("delivered", "dead", "expired", "cancelled"), _COUNT)
    day = shape({"day": {"type": "string", "format": "date"}, "total": _COUNT, **ended, "success_rate": _SHARE})
    month = shape({"month": {"type": "string", "example": "2026-05"}, "total": _COUNT, **ended, "success_rate": _SHARE})
    return shape(
        {
            "at": _WHEN,
            "totals": shape({"waiting": _COUNT, "sending": _COUNT, **ended, "success_rate": _SHARE}),
            "bots": {"type": "array", "items": ref("Bot")},
            "days": {"type": "array", "items": day},
            "months": {"type": "array", "items": month},
            "store": {"type": "object", "description": "What the store says of itself."},
        }
    )


def _problem() -> Json:
    kinds = sorted({f"/v1/docs#{kind.name}" for _, kind in KINDS} | {f"/v1/docs#{INTERNAL.name}"})
    return shape(
        {
            "type": {"type": "string", "enum": kinds},
            "title": TEXT,
            "status": INTEGER,
            "detail": {**TEXT, "description": "What happened."},
            "field": {**TEXT, "description": "Which field is wrong: `params.text`, `messages[3].due_at`, ..."},
            "remedy": {**TEXT, "description": "What to do now."},
        },
        ("type", "title", "status", "detail", "remedy"),
    )


def _accepted() -> Json:
    return shape(
        {
            "id": TEXT,
            "state": _STATE,
            "duplicate": {**BOOLEAN, "description": "The idempotency key was known; `id` is the first message's."},
            "spooled": {
                **BOOLEAN,
                "description": "Only while the store is away: the message is on this machine until it is back.",
            },
        },
        ("id", "state", "duplicate"),
    )


def _chat() -> Json:
    return shape(
        {
            "chat": TEXT,
            "bot": _NAME,
            "bot_id": INTEGER,
            "waiting": _COUNT,
            "sending": BOOLEAN,
            "next_at": {
                **_WHEN,
                "description": "When a message may leave at the earliest; null also while paused.",
            },
            "paused": {**BOOLEAN, "description": "Until resumed."},
            "silent_until": {**_WHEN, "description": "It hears nothing before: a pause, or Telegram's wish."},
            "paused_why": {"type": ["string", "null"], "description": "The reason given with the pause."},
            "head": {"type": ["string", "null"], "description": "The message whose turn it is."},
            "suppressed": {"type": ["string", "null"], "description": "Why nobody writes to it."},
            "suppressed_at": _WHEN,
            "moved_to": {"type": ["string", "null"]},
        }
    )


def schemas() -> Json:
    """The components of the OpenAPI document."""
    return {
        "Message": _message(),
        "Accepted": _accepted(),
        "Record": _record(),
        "File": shape(
            {
                "id": {**TEXT, "description": "The SHA-256 of its bytes."},
                "file": {**TEXT, "description": "To be written where a parameter takes a file."},
                "name": TEXT,
                "mime": {"type": ["string", "null"]},
                "size": {**INTEGER, "description": "Bytes."},
            }
        ),
        "Bot": _bot(),
        "Chat": _chat(),
        "Suppression": shape(
            {"chat": TEXT, "bot": _NAME, "bot_id": INTEGER, "why": {"type": ["string", "null"]}, "since": _WHEN}
        ),
        "Statistics": _statistics(),
        "Problem": _problem(),
    }
