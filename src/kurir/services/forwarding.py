"""Forwarding: what the local journal holds goes to the store, in order, and each message once.

    head of the journal ──> store.submit ──> removed from the journal
                                 │
                                 ├─ its key belongs to another message ──> kept in the store as cancelled, with the reason
                                 ├─ the store cannot keep it for what it is ──> stays, set aside; others go on
                                 ├─ its key is held, or its files cannot be had now ──> its chat waits; others go on
                                 └─ the store refuses it alone, while another one passes ──> stays, set aside; others go on

Only InvalidMessage, KeyConflict, KeyHeld and trouble with files say that they are about a message. Whatever else goes wrong
is taken for the store's: all wait, in order. Who stands at the head for long is suspected: it is set aside if the store
takes another one and still not it. That other one is of another chat where there is one, so that nothing is overtaken
should the trouble end just then.
A crash between any two steps repeats the last one: the store knows by a message's id what it has.
"""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace

from kurir.core.errors import (
    OF_ALL,
    InvalidMessage,
    KeyConflict,
    KeyHeld,
    KurirError,
    SchemaMismatch,
    StoreAway,
    StoreError,
    StoreFull,
)
from kurir.core.events import Altered, Event, Forwarded, SpoolingEnded, StoreBack, StoreTrouble, Unforwardable
from kurir.core.message import Draft, State
from kurir.ports import Cancel, Clock, Query, Store
from kurir.stores.journal import Entry, Journal

from .shelter import Shelter

BATCH = 200  # messages forwarded in one step
PAUSES = (0.2, 0.5, 1.0, 2.0)  # seconds between tries while the store takes nothing; the last repeats
REFUSALS = 4  # of a message, until others are tried before it; again after as many more
WITNESSES = 5  # others that are tried then
SWEEP_EVERY = 600.0  # seconds between looks for files that no spooled message needs any more
YIELD = 0.5  # seconds that who hands over waits at most for what was spooled before
LOOK_EVERY = 1.0  # seconds between looks at what other processes have put into the journal
FAR = 10 * 365 * 86400.0  # seconds; what is about to be cancelled is not due before
SAME = "the same as message "  # reason of a message whose key turned out to belong to an equal one
STEP = "forward"  # name of the step in events


class _FilesRefused(StoreError):
    """The files of a message cannot be brought back: every message with files would be answered so."""


class _FilesAway(StoreError):
    """The files of a message cannot be brought back now: the place where they go is away or full."""


_ITS_OWN = (KeyHeld, _FilesAway)  # the message, and its chat, can only wait


@dataclass(slots=True)
class _PassedBy:
    """Chats that wait while others go on, in one walk through the journal."""

    chats: set[tuple[int, str]] = field(default_factory=set)
    after: int = 0  # `pos` up to which the journal was gone through
    why: KurirError | None = None  # the first chat's reason

    def add(self, entry: Entry, why: KurirError) -> None:
        self.chats.add(_chat(entry))
        self.why = self.why or why


class Forwarding:
    """Runs in every process that shares the journal; one at a time forwards."""

    def __init__(
        self,
        journal: Journal,
        store: Store,
        clock: Clock,
        rng: random.Random,
        emit: Callable[[Event], None],
        shelter: Shelter,
    ) -> None:
        self._journal = journal
        self._store = store
        self._clock = clock
        self._rng = rng
        self._emit = emit
        self._shelter = shelter
        self._awake = asyncio.Event()
        self._draining = asyncio.Lock()
        self._still = asyncio.Event()  # nothing goes to the store at the moment
        self._still.set()
        self._since: float | None = None  # Unix seconds: when there was something to forward
        self._moved = 0  # messages since then
        self._trouble_since: float | None = None  # Unix seconds: when the store began to refuse; that has been told
        self._refusals: Counter[int] = Counter()  # of entries, by `pos`: how often they were not taken alone
        self._proven = False  # since the last pause: somebody was refused alone while another one passed

    def wake(self) -> None:
        """There is something to forward."""
        self._awake.set()

    async def let_pass(self) -> None:
        """While the store takes what is forwarded, wait a little for the end of it: who hands over must not be faster for
        ever."""
        if not self._still.is_set():
            with suppress(TimeoutError):
                async with asyncio.timeout(YIELD):
                    await self._still.wait()

    async def run(self) -> None:
        """Until cancelled."""
        tries, swept_at = 0, self._clock.now() - SWEEP_EVERY
        while True:
            if not self._journal.holds():
                self._still.set()
                if not self._draining.locked():
                    self._all_gone()
                tries = 0
                await self._idle()
                if self._clock.now() - swept_at >= SWEEP_EVERY:
                    swept_at = self._clock.now()
                    await self._sweep()
                continue
            pause = PAUSES[min(tries, len(PAUSES) - 1)]
            try:
                if await self.drain():
                    tries = 0
                    continue
            except StoreError as error:
                self._refused(error)
                tries += 1
            await self._clock.sleep(pause * self._rng.uniform(0.7, 1.0))

    def _refused(self, error: StoreError) -> None:
        if self._trouble_since is None:
            self._trouble_since = self._clock.now()
            self._emit(StoreTrouble(STEP, str(error)))

    def _all_gone(self) -> None:
        """Nothing is left to forward, whoever did it."""
        now = self._clock.now()
        if self._trouble_since is not None:
            self._emit(StoreBack(now - self._trouble_since, STEP))
        if self._moved and self._since is not None:
            self._emit(SpoolingEnded(self._moved, now - self._since))
        self._trouble_since, self._since, self._moved = None, None, 0
        self._refusals.clear()

    async def _idle(self) -> None:
        self._awake.clear()
        waiting = asyncio.ensure_future(self._awake.wait())
        looking = asyncio.ensure_future(self._clock.sleep(LOOK_EVERY))
        try:
            await asyncio.wait((waiting, looking), return_when=asyncio.FIRST_COMPLETED)
        finally:
            waiting.cancel()
            looking.cancel()

    async def _sweep(self) -> None:
        with suppress(StoreError):
            await self._shelter.sweep(await self._journal.files())

    async def drain(self) -> bool:
        """Forward all there is. False: another process is at it. Raises StoreError while something cannot be forwarded."""
        async with self._draining:
            if self._since is None:
                self._since = self._clock.now()
            self._proven = False
            passed = _PassedBy()
            try:
                with self._journal.forwarding() as ours:
                    while ours and (entries := await self._journal.head(BATCH, passed.after)):
                        await self._forward(entries, passed)
                        self._still.clear()
            finally:
                self._still.set()
            if passed.why is not None:
                raise StoreError(*_words(passed.why)) from passed.why
            if not ours:
                self._still.clear()
                return False
            self._all_gone()
            return True

    # ---------------------------------------------------------------- one step

    async def _forward(self, entries: Sequence[Entry], passed: _PassedBy) -> None:
        """Raises StoreError while nothing can be forwarded."""
        free = [entry for entry in entries if _chat(entry) not in passed.chats]
        left = [entry for entry in free if entry.fate is not None]
        live = [entry for entry in free if entry.fate is None]
        if not await self._together(live):
            left = [*live, *left]  # in order: whom it is about shows itself
        while left:
            entry = left.pop(0)
            try:
                error = await self._alone(entry)
            except _ITS_OWN as why:
                passed.add(entry, why)
                left = [other for other in left if _chat(other) != _chat(entry)]
            else:
                if error is not None:
                    await self._suspect(entry, error, left)
                    return
        if passed.chats:
            passed.after = entries[-1].pos

    async def _together(self, entries: Sequence[Entry]) -> bool:
        """False: they are to go one by one."""
        if len(entries) < 2:
            return not entries
        try:
            await self._submit(entries)
        except OF_ALL:
            raise
        except Exception:
            return False
        return True

    async def _submit(self, entries: Sequence[Entry]) -> None:
        drafts = [entry.draft for entry in entries]
        await self._bring_back(drafts)
        accepted = await self._store.submit(drafts, self._clock.now())
        gone = []
        for entry, answer in zip(entries, accepted, strict=True):
            if answer.id == entry.draft.id:
                gone.append((entry, answer))
            else:
                await self._journal.doom(entry.pos, f"{SAME}{answer.id}, which was accepted before under the same key")
        await self._journal.remove([entry.pos for entry, _ in gone])
        self._moved += len(gone)
        self._emit(Forwarded(tuple(entry.draft for entry, _ in gone), tuple(answer for _, answer in gone)))

    async def _bring_back(self, drafts: Sequence[Draft]) -> None:
        try:
            await self._shelter.bring_back([file for draft in drafts for file in draft.files])
        except SchemaMismatch:
            raise
        except (StoreAway, StoreFull) as error:
            raise _FilesAway(error.what, error.remedy) from error
        except StoreError as error:
            raise _FilesRefused(error.what, error.remedy) from error

    async def _alone(self, entry: Entry) -> Exception | None:
        """Forward this one. Answers what went wrong where nobody can say whose trouble it is; raises StoreError for what
        is surely the store's, and what is the message's own for now."""
        try:
            await (self._submit([entry]) if entry.fate is None else self._bury(entry, entry.fate))
        except (*OF_ALL, *_ITS_OWN):
            raise
        except KeyConflict as error:
            await self._journal.doom(entry.pos, error.what)
        except InvalidMessage as error:
            await self._set_aside(entry, error)
        except Exception as error:
            self._refusals[entry.pos] += 1
            return error
        return None

    async def _suspect(self, entry: Entry, error: Exception, others: Sequence[Entry]) -> None:
        """It was not taken alone. Raises StoreError unless another one passes: then it is set aside, if it is not taken
        even now."""
        too_early = not self._proven and self._refusals[entry.pos] % REFUSALS
        if isinstance(error, _FilesRefused):
            others = [other for other in others if other.draft.files]
        if too_early or not await self._one_passes(entry, others):
            what, remedy = _words(error)
            raise StoreError(f"the store does not take spooled message {entry.draft.id}: {what}", remedy) from error
        self._proven = True
        error_now = await self._alone(entry)
        if error_now is not None:
            await self._set_aside(entry, error_now)

    async def _one_passes(self, suspect: Entry, others: Sequence[Entry]) -> bool:
        """Those that were refused least are tried first, and those of other chats before those of the same."""
        ranked = sorted(others, key=lambda o: (self._refusals[o.pos], _chat(o) == _chat(suspect), o.pos))
        for other in ranked[:WITNESSES]:
            before = self._moved
            with suppress(*_ITS_OWN):
                await self._alone(other)
            if self._moved > before:
                return True
        return False

    async def _set_aside(self, entry: Entry, error: Exception) -> None:
        why = str(error) if isinstance(error, KurirError) else _words(error)[0]
        await self._journal.set_aside(entry.pos, why)
        self._emit(Unforwardable(entry.draft, why))

    async def _bury(self, entry: Entry, fate: str) -> None:
        """Its key belongs to another message: it is kept without it, and never sent, for people to see."""
        now, draft = self._clock.now(), entry.draft
        kept = replace(
            draft,
            key=None,
            digest=None,
            target=None,
            coalesce=False,
            force=False,
            due_at=now + FAR,
            expires_at=None,
        )
        await self._bring_back([draft])
        await self._store.submit([kept], now)
        ended = await self._store.alter(Query(ids=(draft.id,), limit=1), Cancel(fate), now)
        await self._journal.remove([entry.pos])
        self._moved += 1
        if ended:
            self._emit(Altered((draft.id,), State.CANCELLED, now, draft.bot, fate, by_hand=False))


def _chat(entry: Entry) -> tuple[int, str]:
    return entry.draft.bot, entry.draft.chat


def _words(error: Exception) -> tuple[str, str]:
    """What went wrong, and what to do."""
    if isinstance(error, KurirError):
        return error.what, error.remedy
    return f"{type(error).__name__}: {error}", "Run `kurir doctor`."


def original(reason: str | None) -> str | None:
    """The id of the message that one cancelled for this reason is the same as; None: the reason is another."""
    return reason.removeprefix(SAME).partition(",")[0] if reason is not None and reason.startswith(SAME) else None
