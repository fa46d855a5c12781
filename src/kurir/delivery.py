"""One attempt, as a value through a pipe of named steps: prepare, send, classify, judge, settlement."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, assert_never

import orjson

from .core.classify import classify
from .core.errors import StoreError
from .core.events import Attempted, Event
from .core.ids import RANDOM_BITS, make_id
from .core.judge import CRASHED, Again, Finish, Reroute, StopBot, Verdict, crashes_after, judge, judge_crash
from .core.link import Link, broke
from .core.message import Attempt, Claim, Draft, State
from .core.methods import UPLOAD_ONLY, is_chat
from .core.outcome import (
    Answer,
    Break,
    Delivered,
    Failed,
    NoReply,
    Outcome,
    Refused,
    Reply,
    Scope,
    Unknown,
    name_of,
)
from .core.policy import Policy
from .ports import Call, Clock, Settlement, Transport
from .telegram.files import learn, prepare
from .telegram.spool import Spool

PROBE_AGAIN = (0.1, 0.25)  # seconds after which a probe that was reset is repeated
STALE = " (by file_id: it will be uploaded anew)"
STOPPED = NoReply(Break.RESET, True, "stopped while sending")


@dataclass(frozen=True, slots=True)
class Tried:
    """What one call brought: the outcome, what follows, and how the store is to be told."""

    outcome: Outcome
    verdict: Verdict
    settlement: Settlement
    infrastructure: bool  # no answer, or a 5xx: a sign of the link's health


class Uploads:
    """A file is uploaded once for a bot and kind: who needs one that is on its way waits for its `file_id`."""

    def __init__(self) -> None:
        self._known: dict[tuple[str, str], str] = {}
        self._going: dict[tuple[str, str], asyncio.Event] = {}

    def going(self, claim: Claim) -> asyncio.Event | None:
        """Set when the upload ends that the claim has to wait for; None where there is none."""
        for file in claim.files:
            name = (file.sha256, file.kind)
            if not claim.file_ids.get(name) and name not in self._known and name in self._going:
                return self._going[name]
        return None

    def needed(self, claim: Claim) -> list[str]:
        """The files (their SHA-256) that have no `file_id` yet, or cannot go by one."""
        return [
            file.sha256
            for file in claim.files
            if file.kind in UPLOAD_ONLY
            or not (claim.file_ids.get((file.sha256, file.kind)) or (file.sha256, file.kind) in self._known)
        ]

    def join(self, claim: Claim) -> Claim:
        """The claim with every `file_id` known by now. What is still missing is the caller's to upload: `done` ends it."""
        known = {
            (f.sha256, f.kind): self._known[f.sha256, f.kind] for f in claim.files if (f.sha256, f.kind) in self._known
        }
        stored = {name: file_id for name, file_id in claim.file_ids.items() if file_id}
        for file in claim.files:
            name = (file.sha256, file.kind)
            if name not in stored and name not in known:
                self._going.setdefault(name, asyncio.Event())
        return replace(claim, file_ids={**known, **stored})

    def done(self, claim: Claim, learned: tuple[tuple[str, str, str], ...]) -> None:
        """The attempt is over; `learned` may be empty."""
        for sha256, kind, file_id in learned:
            if not file_id:
                continue
            if len(self._known) >= 10_000:
                self._known.clear()  # the store knows them
            self._known[sha256, kind] = file_id
        for file in claim.files:
            going = self._going.pop((file.sha256, file.kind), None)
            if going:
                going.set()

    def forget(self, claim: Claim) -> None:
        """Telegram does not know a `file_id` any more."""
        for file in claim.files:
            self._known.pop((file.sha256, file.kind), None)


class Delivery:
    """Attempts for one bot. Knows nothing of leases, pace or loops."""

    def __init__(
        self,
        token: str,
        transport: Transport,
        clock: Clock,
        *,
        policy: Policy,
        rng: random.Random,
        spool: Spool | None,
        emit: Callable[[Event], None],
        test: bool = False,
    ) -> None:
        self.link = Link()
        self._token = token
        self._test = test  # the bot lives in Telegram's test environment
        self._transport = transport
        self._clock = clock
        self._policy = policy
        self._rng = rng
        self._spool = spool
        self._emit = emit
        self._uploads = Uploads()

    def upload_ahead(self, claim: Claim) -> asyncio.Event | None:
        """Set when another message's upload of a file of this one ends; None: there is nothing to wait for."""
        return self._uploads.going(claim) if claim.files else None

    async def fetch(self, claim: Claim) -> str | None:
        """The files that the claim uploads are brought to this machine, if they are kept elsewhere. Answers why that cannot
        be done now, whatever went wrong: nothing has left, so it is no crash. One that is nowhere is left to `attempt`."""
        if self._spool is None:
            return None
        try:
            await self._spool.fetch(self._uploads.needed(claim))
        except StoreError as error:
            return error.what
        except Exception as error:
            return f"its files cannot be had: {type(error).__name__}"
        return None

    # ---------------------------------------------------------------- one attempt

    async def attempt(self, claim: Claim, chat_at: float = 0.0, may_leave: Callable[[], bool] | None = None) -> Tried:
        """Send once and tell what follows; the chat hears nothing more before `chat_at`. Cancelled while the request is
        out: the outcome is unknown. Raises Withheld if `may_leave` says no at the last moment."""
        uploading = claim
        if claim.files:
            claim = self._uploads.join(claim)
        started = self._clock.now()
        learned: tuple[tuple[str, str, str], ...] = ()
        try:
            try:
                answer = await self._send(claim, may_leave)
            except asyncio.CancelledError:
                answer = STOPPED
            outcome = self._lacking(claim, answer) or classify(claim.method, answer)
            if claim.files and isinstance(outcome, Delivered):
                learned = learn(claim, outcome.result)
            elif claim.file_ids and isinstance(outcome, Refused) and "file" in outcome.reason.lower():
                outcome = Failed(outcome.reason + STALE)
                learned = tuple((sha256, kind, "") for sha256, kind in claim.file_ids)
                self._uploads.forget(claim)
        finally:
            if claim.files:
                self._uploads.done(uploading, learned)
        return self._tried(claim, answer, outcome, started, learned, chat_at)

    async def _send(self, claim: Claim, may_leave: Callable[[], bool] | None) -> Answer:
        if claim.files and self._spool is None:
            return NoReply(Break.FILE, False, "this process has no file spool")
        params, parts = prepare(claim, self._spool)
        call = Call(self._token, claim.method, params, parts, claim.options.timeout, self._test, may_leave)
        return await self._transport.call(call)

    def _lacking(self, claim: Claim, answer: Answer) -> Outcome | None:
        """What follows where a file of the call is nowhere to be had. With a setting that may be wrong it is tried again."""
        if self._spool is None or not isinstance(answer, NoReply) or answer.kind is not Break.FILE:
            return None
        lack = self._spool.lack(self._uploads.needed(claim))
        if lack is None:
            return None
        reason = f"{Break.FILE}: {lack.why}"
        return Failed(reason) if lack.hopeful else Refused(Scope.MESSAGE, reason)

    def _tried(
        self,
        claim: Claim,
        answer: Answer,
        outcome: Outcome,
        started: float,
        learned: tuple[tuple[str, str, str], ...],
        chat_at: float,
    ) -> Tried:
        now = self._clock.now()
        stopped = answer is STOPPED
        bad = broke(answer)
        if not stopped:
            self.link.observe(claim.chat, answer, now)
        stale = isinstance(outcome, Failed) and outcome.reason.endswith(STALE)
        charged = not stopped and not stale and not (bad and self._excused(claim, answer, now))
        verdict = judge(claim, outcome, self._policy, now, self._rng.random(), charged)
        attempt = Attempt(
            claim.attempts + 1,
            started,
            max(0.0, now - started),
            name_of(outcome),
            answer.status if isinstance(answer, Reply) else None,
            _error(outcome),
        )
        settlement = self._settlement(claim, verdict, attempt, outcome, learned, chat_at)
        self._emit(Attempted(claim, outcome, verdict, started, attempt.duration))
        return Tried(outcome, verdict, settlement, bad)

    def _excused(self, claim: Claim, answer: Answer, now: float) -> bool:
        """Whether a break costs the message no try: the network is to blame, or may yet turn out to be, since this is the
        first sign of trouble with it (unless it may be tried but once)."""
        if isinstance(answer, NoReply) and answer.kind is Break.FILE:
            return False
        first = claim.attempts == 0 and claim.options.max_attempts != 1
        return first or self.link.to_blame(claim.chat, now)

    def _settlement(
        self,
        claim: Claim,
        verdict: Verdict,
        attempt: Attempt,
        outcome: Outcome,
        learned: tuple[tuple[str, str, str], ...] = (),
        chat_at: float = 0.0,
    ) -> Settlement:
        state, due_at, later, tries = State.WAITING, 0.0, False, claim.tries
        reason: str | None = None
        suppress: str | None = None
        moved_to: str | None = None
        result: bytes | None = None
        follow_ups: tuple[Draft, ...] = ()
        match verdict:
            case Finish(State.DELIVERED, reason) if isinstance(outcome, Delivered):
                state, result = State.DELIVERED, orjson.dumps(outcome.result)
                if claim.options.delete_after is not None:
                    follow_ups = self._follow_ups(claim, outcome.result)
            case Finish(state, reason, suppress):
                tries += state is State.DEAD
                suppress = suppress if is_chat(claim.chat) else None
            case Again(due_at, reason, later, charged):
                tries += charged
            case Reroute(moved_to):
                reason = f"moved to {moved_to}"
            case StopBot(reason):
                pass
            case _:
                assert_never(verdict)
        doubts = claim.doubts + isinstance(outcome, Unknown)
        return Settlement(
            claim, state, attempt, reason, result, due_at, later, chat_at, tries, doubts, claim.crashes, suppress,
            moved_to, learned, follow_ups,
        )  # fmt: skip

    # ---------------------------------------------------------------- without a call

    def crashed(self, claim: Claim, alone: bool) -> Settlement:
        """The settlement of a claim whose courier died holding it, `alone` or among others."""
        now = self._clock.now()
        verdict = judge_crash(claim, self._policy, now, alone)
        attempt = Attempt(claim.attempts + 1, now, 0.0, "unknown", None, CRASHED)
        settlement = self._settlement(claim, verdict, attempt, Unknown(CRASHED))
        return replace(settlement, crashes=crashes_after(claim, alone), tries=claim.tries)

    def unsent(self, claim: Claim) -> Settlement | None:
        """The settlement of a claim that must not be sent (any more); None: it may be."""
        if claim.suppressed is not None:
            why = claim.suppressed
            return self._untouched(claim, State.DEAD, f"suppressed: {why}", why)
        if claim.expires_at is not None and claim.expires_at <= self._clock.now():
            return self._untouched(claim, State.EXPIRED, "expired before it could be sent")
        return None

    def hand_back(self, claim: Claim) -> Settlement:
        """The settlement of a claim that was not sent: it waits as before."""
        return self._untouched(claim, State.WAITING, None)

    def _untouched(self, claim: Claim, state: State, reason: str | None, suppress: str | None = None) -> Settlement:
        return Settlement(
            claim,
            state,
            reason=reason,
            tries=claim.tries,
            doubts=claim.doubts,
            crashes=claim.crashes,
            suppress=suppress,
        )

    def _follow_ups(self, claim: Claim, result: Any) -> tuple[Draft, ...]:
        """A message to be deleted later (E17): its deletion is accepted together with its delivery."""
        after = claim.options.delete_after
        ids = message_ids(result)
        chat = chat_of(result) or claim.chat
        if after is None or not ids or not is_chat(chat):
            return ()
        now = self._clock.now()
        method = "deleteMessage" if len(ids) == 1 else "deleteMessages"
        which = {"message_id": ids[0]} if len(ids) == 1 else {"message_ids": ids}
        return (
            Draft(
                id=make_id(now, self._rng.getrandbits(RANDOM_BITS)),
                bot=claim.bot,
                chat=claim.chat if is_chat(claim.chat) else chat,
                method=method,
                params=orjson.dumps({"chat_id": chat if chat.startswith("@") else int(chat), **which}),
                accepted_at=now,
                priority=claim.priority,
                due_at=now + after,
                metadata={"deletes": claim.id},
            ),
        )

    # ---------------------------------------------------------------- probes

    async def probe(self) -> bool:
        """Whether Telegram answers at all: `getMe` costs nothing and doubles nothing. On a network that loses much, a reset
        says little: then it is asked again, thrice in all."""
        for pause in (*PROBE_AGAIN, None):
            answer = await self._transport.call(Call(self._token, "getMe", b"{}", timeout=10.0, test=self._test))
            if pause is None or not (isinstance(answer, NoReply) and answer.kind is Break.RESET):
                break
            await self._clock.sleep(pause)
        self.link.observe("", answer, self._clock.now())
        return not broke(answer)

    async def token_works(self) -> bool:
        """Whether Telegram takes the bot's token (again)."""
        answer = await self._transport.call(Call(self._token, "getMe", b"{}", timeout=10.0, test=self._test))
        return isinstance(answer, Reply) and answer.status == 200


def message_ids(result: Any) -> list[int]:
    """The ids of the messages a send made: of one, or of an album or a copy of several."""
    items = result if isinstance(result, list) else [result]
    return [i["message_id"] for i in items if isinstance(i, dict) and isinstance(i.get("message_id"), int)]


def chat_of(result: Any) -> str | None:
    """The chat that a result's (first) message is in."""
    first = result[0] if isinstance(result, list) and result else result
    chat = first.get("chat") if isinstance(first, dict) else None
    return str(chat["id"]) if isinstance(chat, dict) and "id" in chat else None


def _error(outcome: Outcome) -> str | None:
    match outcome:
        case Delivered(benign=benign):
            return benign
        case _:
            return getattr(outcome, "reason", None) or f"moved to {getattr(outcome, 'chat', '')}"
