"""What a store holds, told so that any other store can hold it: rows, by section.

Days and API keys are rows as `ports` has them.
Only facts are told. What follows from them (a lane's head and what waits in it, counts, indexes) each store makes anew.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from .message import DEFAULT_OPTIONS, Attempt, Draft, FileRef, Options, Priority, State


class Section(StrEnum):
    """The kinds of rows, in an order in which each can be loaded."""

    SEQUENCE = "sequence"
    BOTS = "bots"
    LANES = "lanes"
    ALIASES = "aliases"
    MESSAGES = "messages"
    FILE_IDS = "file_ids"
    DAYS = "days"
    KEYS = "keys"


@dataclass(frozen=True, slots=True)
class SequenceRow:
    """The greatest order number given out; those after it are free. One row, if there ever was a message."""

    last: int


@dataclass(frozen=True, slots=True)
class BotRow:
    """A bot that was ever leased or paused. Its lease is not told: nobody may hold one while rows are loaded."""

    bot: int
    token: int = 0  # the last fencing token given out
    paused_until: float = 0.0  # Unix seconds, as every time here; `inf`: until resumed
    paused_why: str | None = None
    fenced: int = 0  # settles refused for a stale token


@dataclass(frozen=True, slots=True)
class LaneRow:
    """A (bot, chat), in the order in which these came into being."""

    bot: int
    chat: str
    chat_at: float = 0.0  # hears nothing before
    chat_why: str | None = None
    head_at: float | None = None  # since when its head has its turn (or is due); None: it has no head, or one in flight
    suppressed: str | None = None
    suppressed_at: float | None = None


@dataclass(frozen=True, slots=True)
class AliasRow:
    """A name that a chat had before it moved; `moved_to` is what it is called today."""

    bot: int
    chat: str
    moved_to: str


@dataclass(frozen=True, slots=True)
class MessageRow:
    """A message with all that is known of it. In flight iff `token` is set; `state` is then WAITING, never SENDING."""

    seq: int
    id: str
    bot: int
    chat: str  # what the chat is called today
    method: str
    params: bytes = field(repr=False)
    state: State
    priority: Priority
    pos: float  # place in the lane, as a multiple of 1/1024 below the order numbers still to come
    accepted_at: float
    token: int | None = None  # the fencing token it is in flight under
    later: bool = False  # it waits without a place until `due_at`
    due_at: float = 0.0
    ended_at: float | None = None
    expires_at: float | None = None
    asked_at: float | None = None
    requeued_at: float | None = None
    reason: str | None = None
    result: bytes | None = field(default=None, repr=False)
    key: str | None = None
    digest: bytes | None = field(default=None, repr=False)
    target: str | None = None
    files: tuple[FileRef, ...] = ()
    metadata: Mapping[str, str] | None = None
    options: Options = DEFAULT_OPTIONS
    tries: int = 0
    doubts: int = 0
    crashes: int = 0
    superseded_by: str | None = None
    attempts: tuple[Attempt, ...] = ()

    def draft(self, due_at: float) -> Draft:
        """It, as it was handed over, but due at `due_at`."""
        return Draft(
            id=self.id,
            bot=self.bot,
            chat=self.chat,
            method=self.method,
            params=self.params,
            accepted_at=self.accepted_at,
            priority=self.priority,
            files=self.files,
            due_at=due_at,
            expires_at=self.expires_at,
            key=self.key,
            digest=self.digest,
            target=self.target,
            metadata=self.metadata,
            options=self.options,
        )


@dataclass(frozen=True, slots=True)
class FileIdRow:
    """What Telegram calls a file that a bot has uploaded once; "" = no longer valid."""

    bot: int
    sha256: str
    kind: str
    file_id: str
