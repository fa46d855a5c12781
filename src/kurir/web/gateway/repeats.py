"""The same request again: a client that got no answer to its first one joins it instead of doubling it.

The first client is known to be gone when its connection closed, or when it was told 504 or 503. As long as it still waits,
an identical request is a message of its own.

A call that sets something (class C) is joined only until another such call in the same chat: after "A" and "B" a further
"A" is meant.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections import OrderedDict, deque
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final

import orjson

from kurir.core.errors import KurirError
from kurir.core.message import Accepted
from kurir.core.methods import Kind, kind_of, lane_of
from kurir.drafting import TEXTS
from kurir.ports import Clock
from kurir.services.receipts import Receipt

WINDOW: Final = 120.0  # seconds for which an unanswered request can be joined
SETTLE: Final = 0.05  # seconds in which the close of the first connection is seen, when the second is there already
_MOST: Final = 100_000  # requests remembered; beyond that the oldest are forgotten
_DEEPEST: Final = 50  # levels of nested values that are compared by value

Subject = tuple[int, str]  # (bot, lane) of a call that sets something


@dataclass(frozen=True, slots=True)
class Same:
    """What a request is recognised by. `subject` None: it makes something new."""

    digest: bytes
    subject: Subject | None


def same(bot: int, method: str, params: Mapping[str, Any], files: Iterable[tuple[str, str]] = ()) -> Same:
    """What makes two requests the same: bot, method, parameters in any order, numbers as numbers or as text, nested values
    as JSON or as text; `files` are (field, SHA-256)."""
    normal = {
        name: value if name in TEXTS else _normal(value, 0) for name, value in params.items() if value is not None
    }
    body = orjson.dumps([bot, method, normal, sorted(files)], option=orjson.OPT_SORT_KEYS | orjson.OPT_NON_STR_KEYS)
    subject = (bot, lane_of(method, params)) if kind_of(method) is Kind.SET else None
    return Same(hashlib.blake2b(body, digest_size=16).digest(), subject)


def _normal(value: Any, depth: int) -> Any:
    if depth > _DEEPEST:
        return repr(value) if depth == _DEEPEST + 1 and not isinstance(value, list | dict) else "deep"
    if isinstance(value, str):
        if value[:1] in ("[", "{"):
            try:
                return _normal(orjson.loads(value), depth + 1)
            except orjson.JSONDecodeError:
                return value
        return value
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int | float):
        return str(int(value)) if value == int(value) else str(value)
    if isinstance(value, dict):
        return {name: _normal(item, depth + 1) for name, item in value.items()}
    if isinstance(value, list):
        return [_normal(item, depth + 1) for item in value]
    return value


@dataclass(frozen=True, slots=True)
class Left:
    """A request whose client went without its answer. `what` is what came of it, perhaps not yet."""

    same: Same
    at: float  # Unix seconds
    what: Accepted | asyncio.Future[Receipt]

    @property
    def accepted(self) -> Accepted | None:
        """The message, if there is one by now."""
        if isinstance(self.what, Accepted):
            return self.what
        done = self.what.done() and not self.what.cancelled() and self.what.exception() is None
        return self.what.result().accepted if done else None


class Repeats:
    """Which requests are waiting, and which were left unanswered of late."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._waiting: dict[bytes, int] = {}
        self._left: OrderedDict[bytes, deque[Left]] = OrderedDict()
        self._by_subject: dict[Subject, set[bytes]] = {}

    async def join(self, request: Same) -> Accepted | None:
        """The message of an identical request that nobody waits for any more."""
        found = self._take(request)
        if found is None and request.digest in self._waiting:
            await asyncio.sleep(SETTLE)
            found = self._take(request)
        if found is None:
            return None
        if isinstance(found.what, Accepted):
            return found.what
        try:
            return (await asyncio.shield(found.what)).accepted
        except KurirError:
            return None  # it was not accepted
        except asyncio.CancelledError:
            self.unanswered(request, found.what)
            raise

    def enter(self, request: Same) -> None:
        """A client waits."""
        self._waiting[request.digest] = self._waiting.get(request.digest, 0) + 1
        if request.subject is not None:
            for digest in self._by_subject.pop(request.subject, ()):
                if digest != request.digest:
                    self._left.pop(digest, None)

    def leave(self, request: Same) -> None:
        """It does not wait any more."""
        waiting = self._waiting[request.digest] - 1
        if waiting:
            self._waiting[request.digest] = waiting
        else:
            del self._waiting[request.digest]

    def unanswered(self, request: Same, what: Accepted | asyncio.Future[Receipt], at: float | None = None) -> None:
        """It left without its answer, now or at `at` (Unix seconds)."""
        now = self._clock.now()
        self._left.setdefault(request.digest, deque()).append(Left(request, now if at is None else at, what))
        self._left.move_to_end(request.digest)
        if request.subject is not None:
            self._by_subject.setdefault(request.subject, set()).add(request.digest)
        while self._left:
            oldest = next(iter(self._left))
            if len(self._left) <= _MOST and self._left[oldest][-1].at > now - WINDOW:
                break
            self._forget(oldest, self._left[oldest][-1].same.subject)

    def left(self) -> list[Left]:
        """All that can be joined at the moment."""
        since = self._clock.now() - WINDOW
        return [one for entries in self._left.values() for one in entries if one.at > since]

    def _take(self, request: Same) -> Left | None:
        entries = self._left.get(request.digest)
        since = self._clock.now() - WINDOW
        found = None
        while entries and found is None:
            first = entries.popleft()
            found = first if first.at > since else None
        if entries is not None and not entries:
            self._forget(request.digest, request.subject)
        return found

    def _forget(self, digest: bytes, subject: Subject | None) -> None:
        self._left.pop(digest, None)
        others = self._by_subject.get(subject) if subject is not None else None
        if others is not None and subject is not None:
            others.discard(digest)
            if not others:
                del self._by_subject[subject]
