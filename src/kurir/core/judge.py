"""The verdict: what follows from an outcome. A pure function of (message, outcome, policy, now, jitter)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import assert_never

from .message import Claim, OnUnknown, Ordering, State
from .methods import is_basic_group
from .outcome import Delivered, Failed, Moved, Outcome, Refused, Scope, Throttled, Unknown
from .policy import KEEPS_PLACE, Policy, delay_after

CRASHED = "the courier stopped while sending"


@dataclass(frozen=True, slots=True)
class Finish:
    """The message is done. `suppress`: so is its chat, for this reason."""

    state: State
    reason: str | None = None
    suppress: str | None = None


@dataclass(frozen=True, slots=True)
class Again:
    """It waits until `due_at` (Unix seconds). `later`: the lane goes on without it meanwhile."""

    due_at: float
    reason: str
    later: bool = False
    charged: bool = False  # the try counts
    doubt: bool = False  # it may have arrived


@dataclass(frozen=True, slots=True)
class Reroute:
    """Its chat has another id: send it there at once, and all that waits behind it."""

    chat: str


@dataclass(frozen=True, slots=True)
class StopBot:
    """The bot may not send at all; the message waits."""

    reason: str


Verdict = Finish | Again | Reroute | StopBot


def judge(claim: Claim, outcome: Outcome, policy: Policy, now: float, jitter: float, charged: bool = True) -> Verdict:
    """`jitter` is drawn from [0, 1). `charged` False: the network is to blame, the message loses no try."""
    match outcome:
        case Delivered(benign=benign):
            return Finish(State.DELIVERED, benign)
        case Throttled(retry_after, reason):
            return Again(now + retry_after, reason)
        case Moved(chat):
            if is_basic_group(claim.chat):
                return Reroute(chat)
            return Finish(State.DEAD, f"a chat it refers to moved to {chat}")
        case Refused(Scope.BOT, reason):
            return StopBot(reason)
        case Refused(scope, reason):
            return Finish(State.DEAD, reason, reason if scope is Scope.RECIPIENT else None)
        case Failed(reason):
            return _retry(claim, reason, policy, now, jitter, charged=charged, doubt=False)
        case Unknown(reason):
            if holds_in_doubt(claim):
                return Finish(State.DEAD, f"unknown: {reason}")
            charged = charged or claim.doubts >= policy.doubt_limit
            return _retry(claim, reason, policy, now, jitter, charged=charged, doubt=True)
        case _:
            assert_never(outcome)


def crashes_after(claim: Claim, alone: bool) -> int:
    """The message's crashes when a courier died holding it. The first counts; of the others those at which it was `alone` in
    flight: among many, nearly all are innocent."""
    return claim.crashes + (alone or claim.crashes == 0)


def judge_crash(claim: Claim, policy: Policy, now: float, alone: bool) -> Verdict:
    """A courier died holding the claim: the request may have left."""
    crashes = crashes_after(claim, alone)
    if crashes >= policy.crash_limit:
        return Finish(State.DEAD, f"poison: in flight at {crashes} crashes")
    if holds_in_doubt(claim):
        return Finish(State.DEAD, f"unknown: {CRASHED}")
    return Again(now, CRASHED, doubt=True)


def holds_in_doubt(claim: Claim) -> bool:
    """Whether a message that may have arrived is kept back. (What costs money asks for it when it is accepted.)"""
    return claim.options.on_unknown is OnUnknown.HOLD


def _retry(
    claim: Claim, reason: str, policy: Policy, now: float, jitter: float, *, charged: bool, doubt: bool
) -> Verdict:
    if not charged:
        step = min(claim.doubts if doubt else 0, len(policy.quick) - 1)
        delay = policy.quick[step] if policy.quick else 1.0
        return Again(now + delay * (1 + policy.jitter * jitter), reason, doubt=doubt)
    delay_or_none = delay_after(claim.tries + 1, policy, claim.options)
    if delay_or_none is None:
        return Finish(State.DEAD, f"unknown: {reason}" if doubt else f"gave up after {claim.tries + 1} tries: {reason}")
    later = delay_or_none > KEEPS_PLACE and claim.options.ordering is not Ordering.STRICT
    return Again(now + delay_or_none * (1 + policy.jitter * jitter), reason, later, True, doubt)
