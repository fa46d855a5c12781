"""The ports: what the engine needs of the world. Concrete classes are chosen in `app.py` alone.

`Store` keeps facts; its contract is written here once and tested over every store by `tests/contract`. Its verbs are
thirteen, one more than a port should have: people look at lanes (`lanes`), and nothing else tells what holds a chat back.
Smaller ports stand beside it: `KeyStore` (the API keys of the doors), `Roster` (which processes send) and `Portable` (all
that is stored, to be carried elsewhere) are served by every store; `TimeKeeper` and `BlobStore` by those that several
machines share; `Joining` by those that speak SQL; `FileStore` by what keeps files alone.
`Transport` makes one HTTP call. `Clock` tells time and sleeps. A `Listener` hears frozen events.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

from .core.events import Event
from .core.message import Accepted, Attempt, Claim, Draft, Priority, Record, State
from .core.outcome import Answer
from .core.rows import AliasRow, BotRow, FileIdRow, LaneRow, MessageRow, Section, SequenceRow

Listener = Callable[[Event], None]
KEY_LIFE = 7 * 86400.0  # seconds an idempotency key lives at least after its message ended


class Clock(Protocol):
    """Wall time in Unix seconds, and sleep. Nothing in the engine asks the time elsewhere."""

    def now(self) -> float: ...

    async def sleep(self, seconds: float) -> None: ...


class SystemClock:
    """The machine's clock."""

    def now(self) -> float:
        return time.time()

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(max(0.0, seconds))


# ---------------------------------------------------------------- transport


@dataclass(frozen=True, slots=True)
class Part:
    """One file of a call, streamed from disk as multipart field `field`."""

    field: str
    path: Path
    name: str
    mime: str
    size: int  # bytes


@dataclass(frozen=True, slots=True)
class Call:
    """A Bot API call is data. `params` is a JSON object; `parts` make it a multipart request."""

    token: str = field(repr=False)
    method: str
    params: bytes = field(repr=False)
    parts: tuple[Part, ...] = ()
    timeout: float | None = None  # seconds to wait for the answer; None = the transport's own
    test: bool = False  # the bot lives in Telegram's test environment
    may_leave: Callable[[], bool] | None = field(default=None, repr=False, compare=False)  # asked last of all


class Withheld(Exception):
    """`Call.may_leave` said no: nothing of the call has left."""


class Transport(Protocol):
    """One HTTP call. Never raises for what the network or Telegram does: that is the `Answer`. Raises Withheld if
    `may_leave`, asked with nothing between it and the first byte, says no.

    Cancelling a call abandons it: the request may or may not have arrived.
    """

    async def call(self, call: Call) -> Answer: ...

    async def close(self) -> None: ...


# ---------------------------------------------------------------- store


@dataclass(frozen=True, slots=True)
class Lease:
    """A holder's right to send for a bot until `until`. `token` grows with each change of holder."""

    bot: int
    holder: str
    token: int
    until: float  # Unix seconds
    paused_until: float = 0.0  # the bot sends nothing before; `inf` = until resumed
    paused_why: str | None = None
    orphans: bool = False  # lanes are in flight under an older token: `adopt` them before claiming
    lone: str | None = None  # on change of holder: id of the message that alone was in flight under the newest of them
    recent: tuple[tuple[str, float], ...] = ()  # (chat, started_at) of the last minute's attempts; on change of holder


@dataclass(frozen=True, slots=True)
class Claimed:
    """`next_at`: when more can be claimable at the earliest as things stand (None: nothing waits)."""

    claims: tuple[Claim, ...]
    next_at: float | None


@dataclass(frozen=True, slots=True)
class Settlement:
    """What became of a claim. `state` is WAITING (again) or final."""

    claim: Claim
    state: State
    attempt: Attempt | None = None  # None: handed back without a call
    reason: str | None = None
    result: bytes | None = None  # Telegram's `result`, JSON
    due_at: float = 0.0  # when WAITING: not before
    later: bool = False  # when WAITING: loses its place in the lane until `due_at`
    chat_at: float = 0.0  # the lane sends nothing before
    tries: int = 0  # the counters' new values
    doubts: int = 0
    crashes: int = 0
    suppress: str | None = None  # the chat is not to be written to: why, in Telegram's words
    moved_to: str | None = None  # the lane's chat has this id from now on
    file_ids: tuple[tuple[str, str, str], ...] = ()  # (sha256, kind, file_id) learned; "" = no longer valid
    follow_ups: tuple[Draft, ...] = ()  # accepted in the same transaction
    before: Attempt | None = None  # recorded first: the attempt that a crash left in doubt


@dataclass(frozen=True, slots=True)
class Query:
    """Which messages; all given conditions hold. Empty `ids`, `seqs`, `states` = any."""

    ids: tuple[str, ...] = ()
    seqs: tuple[int, ...] = ()  # `Record.seq`
    bot: int | None = None
    states: tuple[State, ...] = ()
    chat: str | None = None  # lane name
    method: str | None = None
    priority: Priority | None = None
    since: float | None = None  # accepted_at >=
    until: float | None = None  # accepted_at <
    expired_by: float | None = None  # expires_at <=
    key: str | None = None
    metadata: tuple[tuple[str, str], ...] = ()
    reason: str | None = None  # reason starts with
    file: str | None = None  # sha256 of a file it has
    limit: int = 100  # to 1,000
    cursor: str | None = None  # from `Page.next`
    oldest_first: bool = False
    with_attempts: bool = False


@dataclass(frozen=True, slots=True)
class Page:
    items: tuple[Record, ...]
    next: str | None = None


@dataclass(frozen=True, slots=True)
class Lane:
    """A (bot, chat) as people see it."""

    bot: int
    chat: str
    waiting: int = 0  # includes what is in flight
    sending: bool = False  # a message of it is in flight
    next_at: float | None = None  # when its next may leave at the earliest; None: nothing waits, or one is in flight
    chat_at: float = 0.0  # hears nothing before (cool-down or pause; `inf`: until resumed)
    head: str | None = None  # id of the message in flight, or whose turn it is; None: none waits, or all are `later`
    suppressed: str | None = None  # why nobody writes to it, in Telegram's words
    suppressed_at: float | None = None
    moved_to: str | None = None  # the chat has this id now; all else is told of the lane of that id
    chat_why: str | None = None  # why somebody paused it until `chat_at`; of interest until then


@dataclass(frozen=True, slots=True)
class LaneQuery:
    """Which lanes; all given conditions hold."""

    bot: int | None = None
    chat: str | None = None  # exact lane name; the name of a chat that moved answers its alias
    waiting: bool = False  # only lanes with something waiting
    suppressed: bool = False  # only suppressed ones
    limit: int = 100  # to 1,000
    cursor: str | None = None  # from `LanePage.next`


@dataclass(frozen=True, slots=True)
class LanePage:
    items: tuple[Lane, ...]
    next: str | None = None


@dataclass(frozen=True, slots=True)
class Cancel:
    """Waiting (not in flight) -> cancelled."""

    reason: str = "cancelled"


@dataclass(frozen=True, slots=True)
class Expire:
    """Waiting (not in flight) -> expired."""

    reason: str = "expired"


@dataclass(frozen=True, slots=True)
class Requeue:
    """Dead, cancelled or expired -> waiting at once, at the end of its lane; the counters start anew, `expires_at`
    and a suppression of the chat are lifted, attempts are kept."""


@dataclass(frozen=True, slots=True)
class Purge:
    """Final -> the record, its attempts and metadata are removed."""


Change = Cancel | Expire | Requeue | Purge


@dataclass(frozen=True, slots=True)
class BotStats:
    """Counts of one bot; `waiting` includes what is in flight (`sending`)."""

    bot: int
    waiting: int = 0
    sending: int = 0
    delivered: int = 0
    dead: int = 0
    cancelled: int = 0
    expired: int = 0
    lanes: int = 0  # with messages waiting
    oldest_due: float | None = None  # Unix seconds: since when the longest-ready lane could be sending
    fenced: int = 0  # settles refused for a stale token
    holder: str | None = None
    lease_until: float | None = None
    paused_until: float = 0.0
    paused_why: str | None = None


@dataclass(frozen=True, slots=True)
class Day:
    """Messages of one bot that ended on one day (UTC)."""

    bot: int
    day: str  # YYYY-MM-DD
    delivered: int = 0
    dead: int = 0
    cancelled: int = 0
    expired: int = 0


@dataclass(frozen=True, slots=True)
class Stats:
    bots: tuple[BotStats, ...] = ()
    days: tuple[Day, ...] = ()  # the last (31, or as asked) that had any, oldest first
    store: Mapping[str, Any] = field(default_factory=dict)  # engine, schema, size in bytes, commits, ...


@dataclass(frozen=True, slots=True)
class Pruned:
    messages: int = 0
    lanes: int = 0
    orphan_files: tuple[str, ...] = ()  # sha256, in order, of spooled files that no remaining message refers to


class Store(Protocol):
    """Facts, kept durably. A verb is one atomic, batch-first step: when it returns, what it did survives SIGKILL and loss
    of power; when it raises, nothing of it was done. Policy never lives here. Errors: `StoreError` and its children.

    Terms. A lane's *head* is, of its waiting messages that hold a place (not `later`, or `due_at` passed), the first by
    (priority, order of acceptance). A lane is *ready* when nothing of it is in flight, `chat_at` has passed and its head's
    `due_at` has passed. A `later` message whose time has come takes its place at the next `claim`, as if at its `due_at`.
    """

    async def open(self) -> None:
        """Create or migrate the schema. Raises SchemaMismatch when the store is newer than this Kurir."""

    async def close(self) -> None:
        """Finish what was handed over and release everything. The holder's leases end."""

    # -- 1
    async def submit(self, drafts: Sequence[Draft], now: float) -> list[Accepted]:
        """Keep all drafts or none, in this order. Answers in the same order.

        A draft whose `id` the store knows already is the same submit once more (its answer was lost): it is answered as the
        message stands, not as a duplicate, and nothing is kept twice.

        A known (bot, key) with the same digest answers the first message (duplicate); with another digest raises
        KeyConflict and keeps nothing; the same holds inside the batch. A draft to a suppressed chat is kept as dead with
        reason `suppressed: <why>`, unless `force`, which lifts the suppression. A draft to a chat that moved goes to the
        lane of its new id. With `coalesce`, an older waiting (not in flight) message of the same lane, priority and
        target becomes cancelled (`superseded_by` = the new id, reason `superseded`), and the new one takes its place in
        the order, and its lane's turn, if no other message of the lane with the same message id in `target` stands
        behind it.
        """
        ...

    # -- 2
    async def lease(self, holder: str, bots: Sequence[int], until: float, now: float) -> list[Lease]:
        """Take or renew the right to each bot until `until`; `until <= now` gives it up. Answers the leases now held
        by `holder`. A lease is taken when nobody holds it, it ran out, or the store can tell that its holder is dead. A
        store with a clock of its own counts `until - now` seconds by that, whatever the caller's clock says.
        A change of holder raises the token; the same holder keeps it. Unknown bots are created. With no
        bots it writes a sign of life, where there is something to write to: what it raises, every write would."""
        ...

    # -- 3
    async def claim(self, lease: Lease, now: float, limit: int, low: int = 0) -> Claimed:
        """Up to `limit` heads of ready lanes, most urgent priority first, then the lane ready longest; up to `low` of
        them are LOW even when more urgent ones wait. Each is in flight from then on. Nothing if the token is stale or the
        bot is paused. Cost does not grow with what waits, nor with lanes that are not ready."""
        ...

    # -- 4
    async def adopt(self, lease: Lease, limit: int, suspects: bool = False) -> list[Claim]:
        """Up to `limit` claims left in flight under older tokens, now fenced to this lease: those that no crash had hit
        before, or with `suspects` those that one had (`crashes` > 0). They stay in flight until settled. Nothing if the
        token is stale."""
        ...

    # -- 5
    async def settle(self, settlements: Sequence[Settlement], now: float) -> list[bool]:
        """Record what became of claims, as if one after the other; False where the claim's token is stale or it is not in
        flight (nothing changed, counted as fenced), as for its second settlement in one call. Frees the lane. A message
        to wait `later` while a newer one of the same lane and target waits becomes cancelled instead (`superseded_by` the
        newest). `suppress` also ends the lane's waiting messages as dead (`suppressed: ...`); `moved_to` renames the lane
        (merging it into an existing one in order of acceptance) and keeps the alias."""
        ...

    # -- 6
    async def find(self, query: Query) -> Page:
        """Records, newest acceptance first unless `oldest_first`. Raises InvalidMessage for a bad cursor."""
        ...

    # -- 7
    async def alter(self, query: Query, change: Change, now: float) -> list[str]:
        """Oldest first, apply `change` to at most `query.limit` of the messages that match and whose state allows it;
        answers their ids. Call again until it answers none."""
        ...

    # -- 8
    async def steer(
        self, bot: int, *, chat: str | None = None, until: float, reason: str | None = None, extend: bool = False
    ) -> None:
        """Pause a bot (or one chat) until `until` (`inf`: until resumed; 0: resume now), and keep the reason. A
        chat's is kept until it is resumed, or hears nothing for longer for another cause. `extend`: a bot's pause that lasts
        longer stays as it is. Survives restarts."""

    # -- 9
    async def suppress(self, bot: int, chat: str, why: str | None, now: float) -> None:
        """Suppress a chat (its waiting messages end dead), or lift it (`why` None)."""

    # -- 10
    async def stats(self, bot: int | None = None, days: int = 31) -> Stats:
        """Counts, kept up to date by every verb: no scan of the messages. `days`: how many of the last that had any."""
        ...

    # -- 11
    async def prune(self, before: float, now: float, limit: int = 1000, lift_before: float = 0.0) -> Pruned:
        """Remove up to `limit` final messages that ended before `before`, oldest end first, and those of their lanes
        which have no message left, are not suppressed, and whose `chat_at` passed more than an hour ago. Keys go with
        their message, and live at least 7 days after it ended. Suppressions from before `lift_before` are lifted. Answers
        the files that only the removed messages referred to; what Telegram calls these is forgotten."""
        ...

    # -- 12
    async def watch(self, timeout: float) -> None:
        """Return when something may have changed (by this process or another), or after `timeout` seconds. A hint."""

    # -- 13
    async def lanes(self, query: LaneQuery) -> LanePage:
        """Lanes in the order in which they came into being; with `chat`, in that of the bots' ids. A chat that moved is
        listed under its new id alone; asked for by its exact old name it answers a lane with `moved_to`, and nothing else
        in it. A page costs what it shows, and with `waiting` what waits. Raises InvalidMessage for a bad cursor."""
        ...


@dataclass(frozen=True, slots=True)
class ApiKey:
    """What is kept of an API key: never the secret."""

    id: str  # short, public ("k_3f9a...")
    name: str
    role: str  # "admin", "send" or "read"
    digest: bytes = field(repr=False)  # SHA-256 of the secret
    created_at: float  # Unix seconds
    revoked_at: float | None = None


class KeyStore(Protocol):
    """API keys, kept as durably as messages, by the same class as `Store`. Errors: `StoreError` and its children."""

    async def add_key(self, key: ApiKey) -> None:
        """Keep a new key. Its `id` and its `digest` are nobody else's: raises StoreError otherwise."""

    async def keys(self) -> list[ApiKey]:
        """All of them, the revoked ones too, oldest first."""
        ...

    async def revoke_key(self, id: str, now: float) -> bool:
        """The key opens nothing from now on. False when there is no such key, or it was revoked before."""
        ...


# ---------------------------------------------------------------- beside the store


@dataclass(frozen=True, slots=True)
class Worker:
    """A process that sends, as the store knows it."""

    holder: str  # as in its leases
    until: float  # Unix seconds: taken for alive until then
    bots: tuple[int, ...]  # those it could send for


@dataclass(frozen=True, slots=True)
class Roll:
    """Who is there. `holders`: bot -> holder of its lease, of those leases that hold."""

    workers: tuple[Worker, ...]  # alive, by holder
    holders: Mapping[int, str]


@runtime_checkable
class Roster(Protocol):
    """Which processes send, so that they can share the bots. Errors: `StoreError` and its children."""

    async def attend(self, holder: str, bots: Sequence[int], until: float, now: float) -> Roll:
        """`holder` is alive until `until` and could send for `bots` (`until <= now`: it leaves); answers who else is. Time
        is the store's own, as for leases; a holder that the store can tell is dead is not listed."""
        ...


@runtime_checkable
class TimeKeeper(Protocol):
    """A store that several machines share also keeps their time: their own clocks may be minutes apart."""

    @property
    def clock(self) -> Clock:
        """The store's time: the machine's until `open`, then as last learned from the store and counted on from there by
        a clock that nobody sets."""
        ...


@runtime_checkable
class BlobStore(Protocol):
    """Files in the store itself, by SHA-256, for couriers on other machines. Errors: `StoreError` and its children."""

    async def put_blob(self, sha256: str, path: Path, now: float) -> None:
        """Keep the bytes of the file at `path`; durable when it returns. One that is there is marked as used `now`."""
        ...

    async def get_blob(self, sha256: str, path: Path) -> bool:
        """Write the bytes to `path`, never holding more than a piece of them. False when there is no such blob."""
        ...

    async def drop_blobs(self, sha256s: Sequence[str], before: float) -> int:
        """Remove those last used before `before`; answers how many went."""
        ...

    async def blobs(self, before: float) -> list[str]:
        """Those last used before `before`."""
        ...


class FileStore(BlobStore, Protocol):
    """A place for files that is no message store."""

    async def close(self) -> None:
        """Release what it holds open."""


Row = SequenceRow | BotRow | LaneRow | AliasRow | MessageRow | FileIdRow | Day | ApiKey


@dataclass(frozen=True, slots=True)
class Chunk:
    """Some rows of a section; `next` is the cursor of those that follow, None after the last."""

    rows: tuple[Row, ...]
    next: str | None = None


class Portable(Protocol):
    """All that is stored, as rows that any store can load. Errors: `StoreError` and its children."""

    async def dump(self, section: Section, cursor: str | None = None, limit: int = 1000) -> Chunk:
        """About `limit` rows of the section that follow `cursor` (a `Chunk.next` of this store; None: from the first), each
        once, lanes in the order in which they came into being. What is added meanwhile may be left out, except messages:
        those come in order of acceptance, the newest last. Changes nothing."""
        ...

    async def load(self, section: Section, rows: Sequence[Row]) -> None:
        """Keep the rows, each in the place of its older copy (same bot, lane, message, ...) where there is one: doing it
        again changes nothing, and puts right what broke off halfway. Order numbers are kept; those given out from now on
        come behind them. A bot's fencing token never falls. What follows from the rows is brought up to date; a lane that
        only messages tell of comes into being."""
        ...

    async def mark(self, mark: str | None) -> None:
        """Remember a note about who fills this store, how far; None forgets it. No verb but `marked` heeds it."""
        ...

    async def marked(self) -> str | None:
        """The note."""
        ...


class Joining(Protocol):
    """Submit inside a transaction of the caller's own: the messages exist iff it commits."""

    async def submit_within(self, connection: Any, drafts: Sequence[Draft], now: float) -> list[Accepted]:
        """As `Store.submit`, on the caller's connection; neither commits nor rolls back. Raises InvalidMessage for a
        connection it does not know, or of another database."""
        ...

    def submit_within_sync(self, connection: Any, drafts: Sequence[Draft], now: float) -> list[Accepted]:
        """The same for connections that block."""
        ...
