"""The examples of the OpenAPI document; the tests send them."""

from __future__ import annotations

from .describe import Json

TEXT: Json = {"chat_id": 42, "text": "Your order is on its way"}
CALL: Json = {
    "method": "sendMessage",
    "params": TEXT,
    "priority": "high",
    "idempotency_key": "order-7-shipped",
    "metadata": {"order": "7"},
}
CALLS: list[Json] = [
    {"method": "sendMessage", "params": {"chat_id": chat, "text": "We are closed on Monday"}, "priority": "low"}
    for chat in (42, 43)
]
EDIT: Json = {"method": "editMessageText", "params": {"chat_id": 42, "message_id": 5, "text": "Delivered"}}
PHOTO: Json = {
    "message": {"method": "sendPhoto", "params": {"chat_id": 42, "photo": "attach://cat", "caption": "Look"}},
    "cat": "(the bytes of cat.jpg)",
}
ACCEPTED: Json = {"id": "06h060tokkq2870ueg2gff83", "state": "waiting", "duplicate": False}
RECORD: Json = {
    "id": "06h060tokkq2870ueg2gff83",
    "bot": "shop",
    "bot_id": 123456789,
    "chat": "42",
    "method": "sendMessage",
    "params": TEXT,
    "files": [],
    "state": "delivered",
    "reason": None,
    "priority": "high",
    "accepted_at": "2026-05-04T10:15:00.120Z",
    "due_at": None,
    "expires_at": None,
    "ended_at": "2026-05-04T10:15:00.310Z",
    "attempts": [
        {
            "number": 1,
            "started_at": "2026-05-04T10:15:00.135Z",
            "duration_ms": 162,
            "outcome": "delivered",
            "status": 200,
            "error": None,
        }
    ],
    "tries": 1,
    "doubts": 0,
    "crashes": 0,
    "result": {"message_id": 5, "date": 1777889700, "chat": {"id": 42, "type": "private"}, "text": TEXT["text"]},
    "idempotency_key": "order-7-shipped",
    "metadata": {"order": "7"},
    "superseded_by": None,
    "ordering": "fifo",
    "on_unknown": None,
    "max_attempts": None,
    "delete_after": None,
}
PACE: Json = {"rate": 30.0, "ceiling": 30.0, "chat_rate": 1.0, "group_rate": 0.333, "paused_until": None, "learned": 0}
BOT: Json = {
    "bot": "shop",
    "bot_id": 123456789,
    "health": "ok",
    "why": None,
    "state": "sending",
    "waiting": 12,
    "sending": 2,
    "delivered": 48211,
    "dead": 17,
    "expired": 3,
    "cancelled": 40,
    "chats": 9,
    "fenced": 0,
    "oldest_due_seconds": 0.4,
    "success_rate": 0.9996,
    "holder": "host-1:811:5f2c9a10",
    "paused_until": None,
    "paused_why": None,
    "here": True,
    "in_flight": 2,
    "pace": PACE,
}
CHAT: Json = {
    "chat": "42",
    "bot": "shop",
    "bot_id": 123456789,
    "waiting": 3,
    "sending": False,
    "next_at": "2026-05-04T10:15:01.000Z",
    "paused": False,
    "silent_until": "2026-05-04T10:15:01.000Z",
    "paused_why": None,
    "head": "06h060tokkq2870ueg2gff83",
    "suppressed": None,
    "suppressed_at": None,
    "moved_to": None,
}
SUPPRESSION: Json = {
    "chat": "43",
    "bot": "shop",
    "bot_id": 123456789,
    "why": "bot was blocked by the user",
    "since": "2026-05-04T10:15:01.000Z",
}
STATS: Json = {
    "at": "2026-05-04T10:15:01.000Z",
    "totals": {
        "waiting": 12,
        "sending": 2,
        "delivered": 48211,
        "dead": 17,
        "expired": 3,
        "cancelled": 40,
        "success_rate": 0.9996,
    },
    "bots": [BOT],
    "days": [
        {
            "day": "2026-05-04",
            "total": 522,
            "delivered": 520,
            "dead": 1,
            "expired": 0,
            "cancelled": 1,
            "success_rate": 0.9981,
        }
    ],
    "months": [
        {
            "month": "2026-05",
            "total": 2105,
            "delivered": 2101,
            "dead": 3,
            "expired": 0,
            "cancelled": 1,
            "success_rate": 0.9986,
        }
    ],
    "store": {"engine": "SQLite 3.46.0", "bytes": 40960},
}
EVENTS = (
    ": connected\nretry: 2000\n\n"
    "id: 1\nevent: submitted\n"
    'data: {"id":"06h060tokkq2870ueg2gff83","bot":"shop","chat":"42","method":"sendMessage","state":"waiting",'
    '"duplicate":false,"at":"2026-05-04T10:15:00.120Z"}\n\n'
)
