"""What happened, as frozen values for listeners: logs, metrics, receipts, alerts. The path never asks who listens."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from .message import Accepted, Attempt, Claim, Draft, State
from .outcome import Outcome

if TYPE_CHECKING:
    from .judge import Verdict


@dataclass(frozen=True, slots=True)
class Submitted:
    """Drafts became durable: in the store, or (`accepted.spooled`) in the local journal."""

    drafts: tuple[Draft, ...]
    accepted: tuple[Accepted, ...]


@dataclass(frozen=True, slots=True)
class SpoolingBegan:
    """The store does not take what is handed over; the local journal does."""

    why: str


@dataclass(frozen=True, slots=True)
class Forwarded:
    """Drafts went from the local journal to the store."""

    drafts: tuple[Draft, ...]
    accepted: tuple[Accepted, ...]


@dataclass(frozen=True, slots=True)
class SpoolingEnded:
    """The local journal is empty again: in `seconds`, this process forwarded `messages` of it."""

    messages: int
    seconds: float


@dataclass(frozen=True, slots=True)
class Unforwardable:
    """The store refuses a spooled message for what it is, or it alone: it stays in the local journal, and others go on."""

    draft: Draft
    why: str


@dataclass(frozen=True, slots=True)
class Attempted:
    """One HTTP call ended."""

    claim: Claim
    outcome: Outcome
    verdict: Verdict
    started_at: float
    duration: float  # seconds


@dataclass(frozen=True, slots=True)
class Settled:
    """A message's new state became durable. `state` WAITING: it will be tried again at `due_at`."""

    claim: Claim
    state: State
    reason: str | None
    result: bytes | None
    due_at: float
    at: float
    attempt: Attempt | None = None  # the call that brought it about


@dataclass(frozen=True, slots=True)
class Altered:
    """Messages changed without a call: cancelled or set waiting again by hand, purged (`state` None), expired, or dead
    because their chat was suppressed. `bot` None: not told, or of several bots."""

    ids: tuple[str, ...]
    state: State | None
    at: float
    bot: int | None = None
    reason: str | None = None  # as their records have it; None: not told
    by_hand: bool = True


@dataclass(frozen=True, slots=True)
class Fenced:
    """A settle came too late: somebody else holds the bot now."""

    claim: Claim


@dataclass(frozen=True, slots=True)
class Leased:
    """This process sends for the bot from now on."""

    bot: int
    token: int


@dataclass(frozen=True, slots=True)
class Unleased:
    """This process no longer sends for the bot."""

    bot: int
    why: str


@dataclass(frozen=True, slots=True)
class Recovered:
    """Claims of a courier that died were taken over."""

    bot: int
    claims: int


@dataclass(frozen=True, slots=True)
class OutageBegan:
    """The bot's upstream is unreachable; one probe at a time goes out."""

    bot: int
    why: str


@dataclass(frozen=True, slots=True)
class OutageEnded:
    """The upstream answers again after `seconds`."""

    bot: int
    seconds: float


@dataclass(frozen=True, slots=True)
class Paused:
    """The bot (or one chat of it) sends nothing before `until` (Unix seconds)."""

    bot: int
    chat: str | None
    until: float
    why: str


@dataclass(frozen=True, slots=True)
class Called:
    """A call that is not stored was answered, or given up.

    `method` in the Bot API's spelling; "unknown" where it has no such method, so that the names stay few. `outcome`:
    that of the last try (`delivered`, `throttled`, ...: see `outcome.name_of`), or `shed` (refused under pressure),
    `busy` (its turn did not come in time), `cached` (`getMe`, as Telegram answered before), `closed` (Kurir was closed
    meanwhile), `abandoned` (the caller left). `repeats`: tries after the first.
    """

    bot: int
    method: str
    outcome: str
    duration: float  # seconds
    repeats: int


@dataclass(frozen=True, slots=True)
class PaceChanged:
    """A limit was corrected by what Telegram answered. `scope`: "bot", or the chat; `rate` in messages/s."""

    bot: int
    scope: str
    rate: float


@dataclass(frozen=True, slots=True)
class StoreTrouble:
    """The store refused a step; it will be tried again. Nothing is lost."""

    step: str
    error: str


@dataclass(frozen=True, slots=True)
class StoreBack:
    """The store works again after `seconds`. `step`: that of the trouble, where it was but one's."""

    seconds: float
    step: str = ""


@dataclass(frozen=True, slots=True)
class Unsettled:
    """Results that the store had not taken at a stop, which cannot be kept or settled as they should: the messages they are
    about may be sent again. `step`: what was being done."""

    step: str
    why: str


@dataclass(frozen=True, slots=True)
class Crashed:
    """A loop ended by an error of ours and starts again."""

    loop: str
    error: str


Event = (
    Submitted
    | SpoolingBegan
    | Forwarded
    | SpoolingEnded
    | Unforwardable
    | Attempted
    | Settled
    | Altered
    | Fenced
    | Leased
    | Unleased
    | Recovered
    | OutageBegan
    | OutageEnded
    | Paused
    | Called
    | PaceChanged
    | StoreTrouble
    | StoreBack
    | Unsettled
    | Crashed
)
