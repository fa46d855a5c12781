"""The nouns of the simulated Telegram: bots, chats, messages, answers."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

Json = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Response:
    """An answer. `payload`: the Bot API envelope. `hold`: seconds the server keeps the request before it
    answers.

    `poll`: a getUpdates that found nothing and may wait so many seconds for an update (see `World.poll`).
    `entry`: number of the journal's entry, if one was written.
    """

    status: int
    payload: Json
    headers: Mapping[str, str] = field(default_factory=dict)
    hold: float = 0.0
    poll: float = 0.0
    entry: int | None = None


class ChatState(StrEnum):
    """Why a chat cannot be written to. (It moved: see `Chat.moved_to`.)"""

    OPEN = "open"
    BLOCKED = "blocked"
    DEACTIVATED = "deactivated"
    NEVER_STARTED = "never_started"
    IS_BOT = "is_bot"
    KICKED = "kicked"
    LEFT = "left"
    DELETED = "deleted"
    NO_RIGHTS = "no_rights"


@dataclass(slots=True)
class Webhook:
    url: str
    secret: str = ""
    max_connections: int = 40
    allowed: list[str] | None = None
    last_error_date: int = 0
    last_error: str = ""


@dataclass(slots=True, eq=False)
class Bot:
    """A bot and its queue of updates."""

    id: int
    token: str
    username: str
    name: str
    added_at: float
    revoked: bool = False
    logged_out: bool = False
    frozen: bool = False
    updates: deque[Json] = field(default_factory=deque)
    next_update: int = 1
    next_message: int = 1  # private chats and basic groups count together
    polls: int = 0  # getUpdates calls so far: the newest ends the older ones
    webhook: Webhook | None = None
    allowed: list[str] | None = None
    commands: dict[tuple[str, str], Json] = field(default_factory=dict)
    queries: set[str] = field(default_factory=set)  # callback, inline, ... queries still to be answered
    listeners: list[Callable[[], None]] = field(default_factory=list)  # told when an update came or a poll ended

    @property
    def json(self) -> Json:
        return {"id": self.id, "is_bot": True, "first_name": self.name, "username": self.username}

    def wake(self) -> None:
        for listener in list(self.listeners):
            listener()


@dataclass(slots=True, eq=False)
class Chat:
    """A chat. `states` by bot id, None for all bots."""

    id: int
    type: str  # "private", "group", "supergroup", "channel"
    title: str
    username: str | None = None
    states: dict[int | None, ChatState] = field(default_factory=dict)
    moved_to: int | None = None
    forum: bool = False
    topics: dict[int, bool] = field(default_factory=dict)  # message_thread_id -> open?
    next_message: int = 1  # supergroups and channels count for themselves
    pinned: list[int] = field(default_factory=list)
    _json: Json | None = None

    def state(self, bot: int) -> ChatState:
        if not self.states:
            return ChatState.OPEN
        return self.states.get(bot) or self.states.get(None) or ChatState.OPEN

    @property
    def shared(self) -> bool:
        """Do all bots see the same message ids?"""
        return self.type in ("supergroup", "channel")

    @property
    def json(self) -> Json:
        if self._json is None:
            name = "first_name" if self.type == "private" else "title"
            self._json = {"id": self.id, "type": self.type, name: self.title}
            if self.username:
                self._json["username"] = self.username
            if self.forum:
                self._json["is_forum"] = True
        return self._json

    def forget_json(self) -> None:
        self._json = None


@dataclass(slots=True, eq=False)
class Message:
    """A message. `content`: the fields of its kind, as the Bot API shows them."""

    id: int
    chat: Chat
    bot: Bot
    date: int
    kind: str  # "text", "photo", ...
    content: Json
    mark: str | None = None
    sender: Json | None = None  # the user; None: the bot
    markup: Json | None = None
    extra: Json | None = None  # replies, threads, albums, origins
    edit_date: int = 0

    @property
    def own(self) -> bool:
        """Was it sent by the bot?"""
        return self.sender is None

    @property
    def json(self) -> Json:
        """The Bot API's `Message`."""
        shown: Json = {"message_id": self.id}
        if self.chat.type == "channel":
            shown["sender_chat"] = self.chat.json
        else:
            shown["from"] = self.sender or self.bot.json
        shown["chat"] = self.chat.json
        shown["date"] = self.date
        if self.edit_date:
            shown["edit_date"] = self.edit_date
        shown.update(self.content)
        if self.extra:
            shown.update(self.extra)
        if self.markup and "inline_keyboard" in self.markup:
            shown["reply_markup"] = self.markup
        return shown

    @property
    def text(self) -> str:
        """Its text or caption; empty where it has none."""
        return str(self.content.get("text") or self.content.get("caption") or "")


def user_json(user: int, name: str = "") -> Json:
    return {"id": user, "is_bot": False, "first_name": name or f"User {user}"}
