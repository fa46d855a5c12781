"""The hub that hands events to listeners, and the listener that writes lines a person can follow (C9).

What a line is about also stands in the record by itself, for machines: `record.kurir` is `{"id": ..., "bot": ...}`.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Iterable
from typing import Any, Final

import orjson

from kurir.core.events import (
    Altered,
    Attempted,
    Called,
    Crashed,
    Event,
    Fenced,
    Forwarded,
    Leased,
    OutageBegan,
    OutageEnded,
    PaceChanged,
    Paused,
    Recovered,
    Settled,
    SpoolingBegan,
    SpoolingEnded,
    StoreBack,
    StoreTrouble,
    Submitted,
    Unforwardable,
    Unleased,
    Unsettled,
)
from kurir.core.judge import Again
from kurir.core.message import State
from kurir.core.outcome import Delivered, Throttled, name_of
from kurir.ports import Listener

logger = logging.getLogger("kurir")
MANY = 20  # messages changed at once that still have a line each
DEBUG, INFO, WARNING, ERROR = logging.DEBUG, logging.INFO, logging.WARNING, logging.ERROR
EXCERPT = 80  # characters of a text
_TEXTS: Final = ("text", "caption", "question", "title", "description")  # parameters that hold what people read


class Hub:
    """Hands every event to every listener. One that fails is told of in the log and harms nobody else. `texts`: the log
    shows what messages say."""

    def __init__(self, listeners: Iterable[Listener] = (), *, texts: bool = False) -> None:
        self._listeners: tuple[Listener, ...] = (Log(texts=texts), *listeners)

    def add(self, listener: Listener) -> None:
        self._listeners = (*self._listeners, listener)

    def emit(self, event: Event) -> None:
        for listener in self._listeners:
            try:
                listener(event)
            except Exception:
                logger.exception("a listener failed on %s", type(event).__name__)


class Log:
    """The log lines. Ids, methods and chats; never a token; a text only where `texts`, in lines of level debug."""

    def __init__(self, *, texts: bool = False) -> None:
        self._texts = texts

    def __call__(self, event: Event) -> None:
        if isinstance(event, Submitted):
            self._submitted(event)
        elif isinstance(event, Attempted):
            self._attempted(event)
        else:
            line = _LINES.get(type(event))
            if line is not None:
                line(event)

    def _submitted(self, event: Submitted) -> None:
        if not logger.isEnabledFor(DEBUG):
            return
        for draft, accepted in zip(event.drafts, event.accepted, strict=True):
            what = self._excerpt(draft.params)
            if accepted.duplicate:
                _say(DEBUG, accepted.id, draft.bot, "%s accepted before, under the same key", accepted.id)
            else:
                words = "%s accepted: %s to %s%s"
                _say(DEBUG, accepted.id, draft.bot, words, accepted.id, draft.method, draft.chat, what)

    def _attempted(self, event: Attempted) -> None:
        claim, outcome, verdict = event.claim, event.outcome, event.verdict
        if isinstance(outcome, Delivered):
            if logger.isEnabledFor(DEBUG):
                what = self._excerpt(claim.params)
                words = "%s sent to %s in %.3f s%s"
                _say(DEBUG, claim.id, claim.bot, words, claim.id, claim.chat, event.duration, what)
        elif isinstance(outcome, Throttled):
            words = "%s throttled: waits %g s, as Telegram asks"
            _say(INFO, claim.id, claim.bot, words, claim.id, outcome.retry_after)
        elif isinstance(verdict, Again):
            _say(
                INFO,
                claim.id,
                claim.bot,
                "%s %s (%s): attempt %d %s, tried again in %.0f s",
                claim.id,
                name_of(outcome),
                verdict.reason,
                claim.attempts + 1,
                "counts" if verdict.charged else "does not count",
                verdict.due_at - event.started_at - event.duration,
            )

    def _excerpt(self, params: bytes) -> str:
        return excerpt(params) if self._texts else ""


def excerpt(params: bytes) -> str:
    """`: "the beginning of what the message says"`, or nothing."""
    told = orjson.loads(params)
    for name in _TEXTS:
        text = told.get(name)
        if isinstance(text, str) and text:
            short = text if len(text) <= EXCERPT else text[:EXCERPT] + "..."
            return f": {orjson.dumps(short).decode()}"
    return ""


def _say(level: int, id: str | None, bot: int | None, words: str, *values: object) -> None:
    if logger.isEnabledFor(level):
        about = {"id": id, "bot": bot}
        logger.log(level, words, *values, extra={"kurir": {k: v for k, v in about.items() if v is not None}})


def _settled(event: Settled) -> None:
    claim = event.claim
    if event.state is State.DEAD:
        words = "%s dead: %s to %s: %s"
        _say(WARNING, claim.id, claim.bot, words, claim.id, claim.method, claim.chat, event.reason)
    elif event.state is State.EXPIRED:
        _say(WARNING, claim.id, claim.bot, "%s expired: %s to %s", claim.id, claim.method, claim.chat)


def _altered(event: Altered) -> None:
    what = {State.WAITING: "set waiting again", None: "purged"}.get(event.state, str(event.state))
    why = f": {event.reason}" if event.reason else ""
    level = WARNING if event.state is State.CANCELLED and not event.by_hand else INFO  # nobody asked for it
    if len(event.ids) > MANY:
        _say(level, None, event.bot, "%d messages %s%s", len(event.ids), what, why)
        return
    for id in event.ids:
        _say(level, id, event.bot, "%s %s%s", id, what, why)


def _paused(event: Paused) -> None:
    whom = f"bot {event.bot}" if event.chat is None else f"chat {event.chat} of bot {event.bot}"
    if event.until == 0:
        _say(WARNING, None, event.bot, "%s resumed: %s", whom, event.why)
    elif math.isinf(event.until):
        _say(ERROR, None, event.bot, "%s stopped until somebody acts: %s", whom, event.why)
    elif event.chat is None:
        _say(WARNING, None, event.bot, "%s paused: %s", whom, event.why)


def _trouble(event: StoreTrouble) -> None:
    """Of a submit that was refused its caller has been told."""
    level = DEBUG if event.step == "submit" else ERROR
    _say(level, None, None, "the store refused to %s: %s", event.step, event.error)


def _of_bot(level: int, words: str, *names: str) -> Callable[[Any], None]:
    """A line about a bot: `words` after `bot N: `, with the event's attributes called `names`."""

    def line(event: Any) -> None:
        _say(level, None, event.bot, f"bot %d: {words}", event.bot, *(getattr(event, name) for name in names))

    return line


_LINES: dict[type[Any], Callable[[Any], None]] = {
    Settled: _settled,
    Altered: _altered,
    Paused: _paused,
    Fenced: lambda e: _say(
        WARNING, e.claim.id, e.claim.bot, "%s settled too late: somebody else holds the bot", e.claim.id
    ),
    Leased: _of_bot(INFO, "this process sends for it now (token %d)", "token"),
    Unleased: _of_bot(INFO, "this process does not send for it any more: %s", "why"),
    Recovered: _of_bot(WARNING, "%d messages were in flight when a courier died", "claims"),
    OutageBegan: _of_bot(WARNING, "Telegram is out of reach (%s); messages wait, a probe goes out now and then", "why"),
    OutageEnded: _of_bot(WARNING, "Telegram is back after %.0f s", "seconds"),
    Called: _of_bot(DEBUG, "%s %s in %.3f s, repeated %d times", "method", "outcome", "duration", "repeats"),
    PaceChanged: _of_bot(INFO, "pace of %s is now %.2f/s", "scope", "rate"),
    StoreTrouble: _trouble,
    SpoolingBegan: lambda e: _say(WARNING, None, None, "messages are spooled on this machine: %s", e.why),
    Forwarded: lambda e: _say(INFO, None, None, "%d spooled messages went to the store", len(e.drafts)),
    SpoolingEnded: lambda e: _say(
        WARNING, None, None, "the spool is empty: %d messages went to the store in %.1f s", e.messages, e.seconds
    ),
    Unforwardable: lambda e: _say(
        ERROR, e.draft.id, e.draft.bot, "%s stays in the spool: the store refuses it: %s", e.draft.id, e.why
    ),
    StoreBack: lambda e: _say(WARNING, None, None, "the store works again after %.1f s", e.seconds),
    Unsettled: lambda e: _say(ERROR, None, None, "%s: %s", e.step, e.why),
    Crashed: lambda e: _say(ERROR, None, None, "%s failed and is started anew: %s", e.loop, e.error),
}
