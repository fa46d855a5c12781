"""Methods that ask, updates, webhooks, commands (class D and settings)."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from . import params as read
from .errors import ApiError, bad_request, too_many
from .model import Json, Webhook
from .query import Query

COMMAND = re.compile(r"^[a-z0-9_]{1,32}$")
SECRET = re.compile(r"^[A-Za-z0-9_-]{1,256}$")
LONGEST_POLL = 50  # seconds
CLOSE_AFTER = 600  # seconds after the start in which `close` is refused


@dataclass(frozen=True, slots=True)
class Described:
    """A result with a `description` beside it."""

    value: Any
    words: str


def get_me(query: Query) -> Json:
    abilities = {
        "can_join_groups": True,
        "can_read_all_group_messages": False,
        "supports_inline_queries": False,
    }
    return {**query.bot.json, **abilities, "can_connect_to_business": False, "has_main_web_app": False}


def get_chat(query: Query) -> Json:
    chat = query.find_chat()
    gifts = dict.fromkeys(("unlimited_gifts", "limited_gifts", "unique_gifts", "premium_subscription"), True)
    shown: Json = {**chat.json, "accent_color_id": 0, "max_reaction_count": 11}
    shown["accepted_gift_types"] = {**gifts, "gifts_from_channels": True}
    return shown


def get_chat_member(query: Query) -> Json:
    query.find_chat()
    user = read.number(query.params, "user_id")
    if user <= 0:
        raise bad_request("invalid user_id specified")
    own = user == query.bot.id
    who = query.bot.json if own else {"id": user, "is_bot": False, "first_name": f"User {user}"}
    return {"status": "member", "user": who}


def get_chat_member_count(query: Query) -> int:
    query.find_chat()
    return 2


def get_file(query: Query) -> Json:
    file_id = read.text(query.params, "file_id")
    if not file_id:
        raise bad_request("invalid file_id")
    return query.world.files.describe(query.bot.id, file_id)


# ---------------------------------------------------------------- updates


def get_updates(query: Query) -> list[Json]:
    """Long polling. The newest call ends the ones that wait; see `World.poll` for the waiting."""
    bot = query.bot
    if bot.webhook is not None:
        words = "can't use getUpdates method while webhook is active"
        raise ApiError(409, f"Conflict: {words}; use deleteWebhook to delete the webhook first")
    bot.polls += 1
    bot.wake()
    allowed = read.document(query.params, "allowed_updates", "can't parse allowed_updates JSON object")
    if isinstance(allowed, list):
        bot.allowed = [str(one) for one in allowed] or None
    offset = read.number(query.params, "offset")
    if offset < 0:
        offset = bot.next_update + offset
    while offset > 0 and bot.updates and bot.updates[0]["update_id"] < offset:
        bot.updates.popleft()
    limit = min(max(read.number(query.params, "limit", 100), 1), 100)
    found = [update for _, update in zip(range(limit), bot.updates, strict=False)]
    if not found:
        query.poll = float(min(max(read.number(query.params, "timeout"), 0), LONGEST_POLL))
    return found


def set_webhook(query: Query) -> Described:
    url = read.text(query.params, "url")
    if not url:
        return delete_webhook(query)
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise bad_request("bad webhook: An HTTPS URL must be provided for webhook")
    secret = read.text(query.params, "secret_token")
    if secret and not SECRET.match(secret):
        raise bad_request("secret token contains unallowed characters")
    allowed = read.document(query.params, "allowed_updates", "can't parse allowed_updates JSON object")
    kept = [str(one) for one in allowed] if isinstance(allowed, list) and allowed else None
    same = query.bot.webhook is not None and query.bot.webhook.url == url
    connections = min(max(read.number(query.params, "max_connections", 40), 1), 100)
    query.bot.webhook = Webhook(url, secret, connections, kept)
    _drop_pending(query)
    query.bot.wake()
    return Described(True, "Webhook is already set" if same else "Webhook was set")


def delete_webhook(query: Query) -> Described:
    was = query.bot.webhook is not None
    query.bot.webhook = None
    _drop_pending(query)
    query.bot.wake()
    return Described(True, "Webhook was deleted" if was else "Webhook is already deleted")


def _drop_pending(query: Query) -> None:
    if read.flag(query.params, "drop_pending_updates"):
        query.bot.updates.clear()


def get_webhook_info(query: Query) -> Json:
    hook = query.bot.webhook
    shown: Json = {
        "url": hook.url if hook else "",
        "has_custom_certificate": False,
        "pending_update_count": len(query.bot.updates),
    }
    if hook is not None:
        shown["max_connections"] = hook.max_connections
        if hook.allowed:
            shown["allowed_updates"] = hook.allowed
        if hook.last_error_date:
            shown["last_error_date"] = hook.last_error_date
            shown["last_error_message"] = hook.last_error
    return shown


# ---------------------------------------------------------------- commands


def _scope(query: Query) -> tuple[str, str]:
    given = read.document(query.params, "scope", "can't parse BotCommandScope JSON object")
    kind = given.get("type", "default") if isinstance(given, dict) else "default"
    detail = f":{given.get('chat_id')}:{given.get('user_id')}" if isinstance(given, dict) else ""
    return f"{kind}{detail if kind.startswith('chat') else ''}", read.text(query.params, "language_code")


def set_my_commands(query: Query) -> bool:
    given = read.document(query.params, "commands", "can't parse commands JSON object")
    if not isinstance(given, list):
        raise bad_request("expected an Array of BotCommand")
    kept = []
    for one in given:
        if not isinstance(one, dict) or "command" not in one or "description" not in one:
            raise bad_request("can't parse BotCommand: Can't find field \"command\"")
        name, words = str(one["command"]).removeprefix("/"), str(one["description"]).strip()
        if len(name) > 32:
            raise bad_request("command length must not exceed 32")
        if not COMMAND.match(name):
            raise bad_request("BOT_COMMAND_INVALID")
        if not words:
            raise bad_request("command description must be non-empty")
        kept.append({"command": name, "description": words})
    query.bot.commands[_scope(query)] = {"commands": kept}
    return True


def get_my_commands(query: Query) -> list[Json]:
    found: list[Json] = query.bot.commands.get(_scope(query), {"commands": []})["commands"]
    return found


def delete_my_commands(query: Query) -> bool:
    query.bot.commands.pop(_scope(query), None)
    return True


# ---------------------------------------------------------------- leaving


def log_out(query: Query) -> bool:
    """From now on this server answers "Logged out" to the bot."""
    query.bot.logged_out = True
    query.bot.wake()
    return True


def close(query: Query) -> bool:
    """Refused with 429 in the first ten minutes, as on the official server."""
    left = query.bot.added_at + CLOSE_AFTER - query.at
    if left > 0:
        raise too_many(int(left) + 1)
    return True
