"""The hub that hands events to listeners, and the listener that writes lines a person can follow (C9)."""

from __future__ import annotations

import logging
import math
from collections.abc import Iterable
from typing import Any

from kurir.core.events import (
    Attempted,
    Crashed,
    Event,
    Fenced,
    Leased,
    OutageBegan,
    OutageEnded,
    PaceChanged,
    Paused,
    Recovered,
    Settled,
    StoreBack,
    StoreTrouble,
    Submitted,
    Unleased,
)
from kurir.core.judge import Again
from kurir.core.message import State
from kurir.core.outcome import Delivered, Throttled, name_of
from kurir.ports import Listener

logger = logging.getLogger("kurir")


class Hub:
    """Hands every event to every listener. One that fails is told of in the log and harms nobody else."""

    def __init__(self, listeners: Iterable[Listener] = ()) -> None:
        self._listeners: tuple[Listener, ...] = (log, *listeners)

    def add(self, listener: Listener) -> None:
        self._listeners = (*self._listeners, listener)

    def emit(self, event: Event) -> None:
        for listener in self._listeners:
            try:
                listener(event)
            except Exception:
                logger.exception("a listener failed on %s", type(event).__name__)


def log(event: Event) -> None:
    """The log lines. Ids, methods and chats; never a text, never a token."""
    line = _LINES.get(type(event))
    if line is not None:
        line(event)


def _submitted(event: Submitted) -> None:
    if logger.isEnabledFor(logging.DEBUG):
        for draft, accepted in zip(event.drafts, event.accepted, strict=True):
            logger.debug("%s accepted: %s to %s", accepted.id, draft.method, draft.chat)


def _attempted(event: Attempted) -> None:
    if isinstance(event.outcome, Delivered):
        logger.debug("%s sent to %s in %.3f s", event.claim.id, event.claim.chat, event.duration)
    elif isinstance(event.outcome, Throttled):
        seconds = event.outcome.retry_after
        logger.info("%s throttled: waits %g s, as Telegram asks", event.claim.id, seconds)
    elif isinstance(event.verdict, Again):
        verdict = event.verdict
        logger.info(
            "%s %s (%s): attempt %d %s, tried again in %.0f s",
            event.claim.id,
            name_of(event.outcome),
            verdict.reason,
            event.claim.attempts + 1,
            "counts" if verdict.charged else "does not count",
            verdict.due_at - event.started_at - event.duration,
        )


def _settled(event: Settled) -> None:
    if event.state is State.DEAD:
        logger.warning("%s dead: %s to %s: %s", event.claim.id, event.claim.method, event.claim.chat, event.reason)
    elif event.state is State.EXPIRED:
        logger.warning("%s expired: %s to %s", event.claim.id, event.claim.method, event.claim.chat)


def _paused(event: Paused) -> None:
    whom = f"bot {event.bot}" if event.chat is None else f"chat {event.chat} of bot {event.bot}"
    if event.until == 0:
        logger.warning("%s resumed: %s", whom, event.why)
    elif math.isinf(event.until):
        logger.error("%s stopped until somebody acts: %s", whom, event.why)
    elif event.chat is None:
        logger.warning("%s paused: %s", whom, event.why)


_LINES: dict[type[Any], Any] = {
    Submitted: _submitted,
    Attempted: _attempted,
    Settled: _settled,
    Paused: _paused,
    Fenced: lambda e: logger.warning("%s settled too late: somebody else holds the bot", e.claim.id),
    Leased: lambda e: logger.info("bot %d: this process sends for it now (token %d)", e.bot, e.token),
    Unleased: lambda e: logger.info("bot %d: this process does not send for it any more: %s", e.bot, e.why),
    Recovered: lambda e: logger.warning("bot %d: %d messages were in flight when a courier died", e.bot, e.claims),
    OutageBegan: lambda e: logger.warning(
        "bot %d: Telegram is out of reach (%s); messages wait, a probe goes out now and then", e.bot, e.why
    ),
    OutageEnded: lambda e: logger.warning("bot %d: Telegram is back after %.0f s", e.bot, e.seconds),
    PaceChanged: lambda e: logger.info("bot %d: pace of %s is now %.2f/s", e.bot, e.scope, e.rate),
    StoreTrouble: lambda e: logger.error("the store refused to %s: %s", e.step, e.error),
    StoreBack: lambda e: logger.warning("the store works again after %.1f s", e.seconds),
    Crashed: lambda e: logger.error("%s failed and is started anew: %s", e.loop, e.error),
}
