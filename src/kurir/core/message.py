"""The nouns: a message as handed over (`Draft`), as a courier holds it (`Claim`), as people see it (`Record`)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import IntEnum, StrEnum


class Priority(IntEnum):
    """Urgency; smaller leaves first. `LOW` (broadcasts) has a bounded share of a bot's pace while others wait."""

    CRITICAL = 0
    HIGH = 1
    NORMAL = 2
    LOW = 3


class State(StrEnum):
    """Where a message stands. The last four are final."""

    WAITING = "waiting"
    SENDING = "sending"
    DELIVERED = "delivered"
    DEAD = "dead"
    CANCELLED = "cancelled"
    EXPIRED = "expired"

    @property
    def final(self) -> bool:
        return self not in (State.WAITING, State.SENDING)


class OnUnknown(StrEnum):
    """What to do when Telegram's answer was lost after the request had left."""

    RESEND = "resend"
    HOLD = "hold"


class Ordering(StrEnum):
    """`FIFO`: a message on its slow schedule is overtaken. `STRICT`: it is not."""

    FIFO = "fifo"
    STRICT = "strict"


@dataclass(frozen=True, slots=True)
class FileRef:
    """One spooled file of a message; `params` refer to it as `attach://<field>`."""

    field: str
    sha256: str
    size: int  # bytes
    name: str  # the file name Telegram shows
    mime: str
    kind: str  # "photo", "document", ...: the Bot API type a later `file_id` will have


@dataclass(frozen=True, slots=True)
class Options:
    """How to treat one message where it differs from the policy; `None` means: as the policy says."""

    max_attempts: int | None = None
    backoff: tuple[float, ...] | None = None  # seconds before the 2nd, 3rd, ... try
    timeout: float | None = None  # seconds, one attempt
    delete_after: float | None = None  # seconds after delivery
    ordering: Ordering = Ordering.FIFO
    on_unknown: OnUnknown | None = None


DEFAULT_OPTIONS = Options()


@dataclass(frozen=True, slots=True)
class Draft:
    """A validated message about to be stored. `bot` is the bot's numeric id (the token's part before the colon)."""

    id: str
    bot: int
    chat: str  # lane name, see `methods.lane_of`
    method: str  # the Bot API's spelling
    params: bytes  # a JSON object
    accepted_at: float  # Unix seconds
    priority: Priority = Priority.NORMAL
    files: tuple[FileRef, ...] = ()
    due_at: float = 0.0  # Unix seconds; 0 = at once
    expires_at: float | None = None
    key: str | None = None  # idempotency key, unique per bot
    digest: bytes | None = None  # hash of the body; set when `key` is
    target: str | None = None  # "<message id>:<method>" of a set (class C), see `methods.target_of`
    coalesce: bool = False  # may replace an older waiting message of the same target
    metadata: Mapping[str, str] | None = None
    options: Options = DEFAULT_OPTIONS
    force: bool = False  # lifts a suppression of the chat


@dataclass(frozen=True, slots=True)
class Accepted:
    """What `submit` answers for one draft. `duplicate`: the key was known; `id` and `seq` are the first message's."""

    id: str
    state: State
    duplicate: bool = False
    seq: int = 0  # the store's own order of acceptance, as `Record.seq`
    replaces: str | None = None  # id of the waiting message that it superseded
    spooled: bool = False  # it is in the local journal, and goes to the store when that is back


@dataclass(frozen=True, slots=True)
class Claim:
    """A message in a courier's hands. `token` fences: a settle with a stale one changes nothing."""

    seq: int  # the store's own order of acceptance
    token: int
    lane: int
    id: str
    bot: int
    chat: str  # the lane's chat today: differs from `params` after a migration
    method: str
    params: bytes
    priority: Priority
    accepted_at: float
    files: tuple[FileRef, ...] = ()
    expires_at: float | None = None
    options: Options = DEFAULT_OPTIONS
    tries: int = 0  # charged against the schedule
    attempts: int = 0  # HTTP calls made, charged or not
    doubts: int = 0  # attempts that ended `unknown`
    crashes: int = 0  # couriers that died holding it
    suppressed: str | None = None  # the chat is suppressed: why, in Telegram's words
    file_ids: Mapping[tuple[str, str], str] = field(default_factory=dict)  # (sha256, kind) -> file_id
    asked_at: float | None = None  # when it was to leave at the earliest; None: at once
    requeued_at: float | None = None  # when it was last set waiting again by hand

    @property
    def ready_at(self) -> float:
        """Since when it could have left, had nothing stood before it."""
        return self.requeued_at or self.asked_at or self.accepted_at


@dataclass(frozen=True, slots=True)
class Attempt:
    """One HTTP call and its outcome."""

    number: int  # from 1
    started_at: float  # Unix seconds
    duration: float  # seconds
    outcome: str  # delivered, throttled, moved, refused, failed, unknown
    status: int | None = None  # HTTP status, if an answer came
    error: str | None = None  # Telegram's words or the network's


@dataclass(frozen=True, slots=True)
class Record:
    """A message as people see it."""

    id: str
    seq: int
    bot: int
    chat: str
    method: str
    params: bytes
    state: State
    priority: Priority
    accepted_at: float
    due_at: float = 0.0
    ended_at: float | None = None
    expires_at: float | None = None
    reason: str | None = None
    result: bytes | None = None  # Telegram's `result`, JSON
    key: str | None = None
    metadata: Mapping[str, str] | None = None
    files: tuple[FileRef, ...] = ()
    options: Options = DEFAULT_OPTIONS
    tries: int = 0
    doubts: int = 0
    crashes: int = 0
    superseded_by: str | None = None
    attempts: tuple[Attempt, ...] = ()
