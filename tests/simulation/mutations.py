"""Planted bugs: each breaks one promise of the engine in a way that a reviewer could overlook. The simulation has to find
every one of them within a few seeds; `test_mutations.py` says which invariant did."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any
from unittest.mock import patch

import kurir.core.judge
from kurir.core.classify import classify
from kurir.core.judge import Again, Finish, judge, judge_crash
from kurir.core.message import Claim, State
from kurir.core.outcome import Delivered, Failed, Throttled, Unknown
from kurir.core.pace import Pace
from kurir.delivery import Delivery
from kurir.services.courier import Courier
from kurir.stores.memory import MemoryStore
from kurir.stores.memory.book import Book
from kurir.stores.memory.lanes import Lanes
from kurir.stores.memory.model import Lane

Undo = Callable[[], None]


@dataclass(frozen=True, slots=True)
class Mutation:
    """A bug, and the promises by which it may be found."""

    name: str
    plant: Callable[[], Any]  # a context manager
    promises: tuple[str, ...]


MUTATIONS: list[Mutation] = []


def mutation(*promises: str) -> Callable[[Callable[[], Iterator[None]]], Callable[[], Iterator[None]]]:
    """Register the function below as a bug that one of these promises shows."""

    def register(plant: Callable[[], Iterator[None]]) -> Callable[[], Iterator[None]]:
        MUTATIONS.append(Mutation(plant.__name__, contextmanager(plant), promises))
        return plant

    return register


@mutation("delivered is delivered")
def doubt_taken_for_success() -> Iterator[None]:
    """A lost answer is taken for a delivery."""
    real = classify

    def changed(method: str, answer: Any) -> Any:
        outcome = real(method, answer)
        return Delivered(None) if isinstance(outcome, Unknown) else outcome

    with patch("kurir.delivery.classify", changed):
        yield


@mutation("doubts are doubts", "no double without a doubt", "every doubt is recorded", "held is never doubled")
def doubt_taken_for_failure() -> Iterator[None]:
    """A lost answer is taken for a failure that is safe to repeat."""
    real = classify

    def changed(method: str, answer: Any) -> Any:
        outcome = real(method, answer)
        return Failed(outcome.reason, link=outcome.link) if isinstance(outcome, Unknown) else outcome

    with patch("kurir.delivery.classify", changed):
        yield


@mutation("held is never doubled")
def hold_forgotten() -> Iterator[None]:
    """`on_unknown=hold` is not looked at."""
    with patch.object(kurir.core.judge, "holds_in_doubt", lambda claim: False):
        yield


@mutation("held is never doubled")
def hold_forgotten_in_crashes() -> Iterator[None]:
    """A held message that was in flight at a crash is sent again."""
    real = judge_crash

    def changed(claim: Claim, *args: Any) -> Any:
        return real(replace(claim, options=replace(claim.options, on_unknown=None)), *args)

    with patch("kurir.delivery.judge_crash", changed):
        yield


@mutation("a 429 costs no try")
def throttled_is_charged() -> Iterator[None]:
    """A 429 uses up a try."""
    real = judge

    def changed(claim: Claim, outcome: Any, *args: Any) -> Any:
        verdict = real(claim, outcome, *args)
        return (
            replace(verdict, charged=True) if isinstance(verdict, Again) and isinstance(outcome, Throttled) else verdict
        )

    with patch("kurir.delivery.judge", changed):
        yield


@mutation("a wait is kept")
def wait_cut_short() -> Iterator[None]:
    """Half of what a 429 says is waited."""
    real, real_throttled = judge, Pace.throttled

    def changed(claim: Claim, outcome: Any, *args: Any) -> Any:
        if isinstance(outcome, Throttled):
            outcome = replace(outcome, retry_after=outcome.retry_after / 2)
        return real(claim, outcome, *args)

    def throttled(self: Pace, chat: str, group: bool, now: float, told: float, *more: Any) -> Any:
        return real_throttled(self, chat, group, now, told / 2, *more)

    with patch("kurir.delivery.judge", changed), patch.object(Pace, "throttled", throttled):
        yield


@mutation("everything ends")
def crash_forgotten() -> Iterator[None]:
    """Claims that a dead courier left are not taken over."""

    async def recover(self: Courier, lease: Any) -> None:
        return None

    with patch.object(Courier, "_recover", recover):
        yield


@mutation("order", "one in flight a lane", "no double without a doubt")
def lane_freed_early() -> Iterator[None]:
    """The next message of a lane may be claimed while one is in flight."""
    real = Lanes._take

    def take(self: Lanes, bot: Any, *args: Any) -> Iterator[Any]:
        for message, lane in real(self, bot, *args):
            lane.flying = None
            self.place(lane, args[1])
            yield message, lane

    with patch.object(Lanes, "_take", take):
        yield


@mutation("no 429")
def pace_forgotten_at_restart() -> Iterator[None]:
    """After a crash the pace starts as if nothing had left."""
    with patch.object(Pace, "restore", lambda self, recent, is_group, now: None):
        yield


@mutation("suppressed is not sent")
def suppression_unchecked() -> Iterator[None]:
    """A blocked chat is written to again and again."""
    real = Delivery._settlement

    def settlement(self: Delivery, *args: Any) -> Any:
        return replace(real(self, *args), suppress=None)

    with patch.object(Delivery, "_settlement", settlement), patch("kurir.delivery.is_chat", lambda chat: False):
        yield


@mutation("order")
def retry_loses_its_place() -> Iterator[None]:
    """A quick retry lets the rest of the lane pass."""
    real = judge

    def changed(*args: Any) -> Any:
        verdict = real(*args)
        return replace(verdict, later=True) if isinstance(verdict, Again) else verdict

    with patch("kurir.delivery.judge", changed), patch("tests.simulation.case.gave_way", lambda s: False):
        yield


@mutation("edits in order")
def edit_overtakes_a_delete() -> Iterator[None]:
    """A coalescing edit takes its forerunner's place though a delete of the same message stands between."""
    with patch.object(Lane, "has_behind", lambda self, message: False):
        yield


@mutation("only probes in an outage", "an outage costs no try")
def outage_unseen() -> Iterator[None]:
    """The courier goes on sending into an outage."""
    real = Courier._room

    def room(self: Courier) -> Any:
        since, self.reach.link.outage_since = self.reach.link.outage_since, None
        try:
            return real(self)
        finally:
            self.reach.link.outage_since = since

    async def turn(self: Courier, claim: Claim, paid: bool) -> float | None:
        return None

    with patch.object(Courier, "_room", room), patch.object(Courier, "_turn", turn):
        yield


@mutation("no double without a doubt", "counters", "one double a lane a kill", "accepted once", "everything ends")
def fence_ignored() -> Iterator[None]:
    """A settle with a stale token counts."""
    real = MemoryStore.settle

    async def settle(self: MemoryStore, settlements: Any, now: float) -> Any:
        fresh = []
        for s in settlements:
            message = self._book.by_id(s.claim.id)
            token = message.token if message is not None and message.token is not None else s.claim.token
            fresh.append(replace(s, claim=replace(s.claim, token=token)))
        return await real(self, fresh, now)

    with patch.object(MemoryStore, "settle", settle):
        yield


@mutation("expired is not sent")
def expiry_unchecked() -> Iterator[None]:
    """An expired message that is claimed is sent."""
    real = Delivery.unsent

    def unsent(self: Delivery, claim: Claim) -> Any:
        settlement = real(self, claim)
        return None if settlement is not None and settlement.state is State.EXPIRED else settlement

    with patch.object(Delivery, "unsent", unsent):
        yield


@mutation("accepted once")
def key_ignored() -> Iterator[None]:
    """An idempotency key is not looked up."""
    with patch.object(Book, "by_key", lambda self, draft: None):
        yield


@mutation("dead letters are explained", "an outage costs no try")
def outage_is_charged() -> Iterator[None]:
    """Tries are charged although Telegram is out of reach."""
    real = judge

    def changed(claim: Claim, outcome: Any, policy: Any, now: float, jitter: float, charged: bool = True) -> Any:
        return real(claim, outcome, policy, now, jitter, True)

    with patch("kurir.delivery.judge", changed):
        yield


@mutation("dead letters are explained")
def doubt_is_fatal() -> Iterator[None]:
    """Every doubt ends the message, not only where it asked for that."""
    real = judge

    def changed(claim: Claim, outcome: Any, *args: Any) -> Any:
        if isinstance(outcome, Unknown):
            return Finish(State.DEAD, f"unknown: {outcome.reason}")
        return real(claim, outcome, *args)

    with patch("kurir.delivery.judge", changed):
        yield
