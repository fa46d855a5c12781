"""The same request again: a client that got no answer to its first one joins it instead of doubling it.

The first client is known to be gone when its connection closed, or when it was told 504. As long as it still waits, an
identical request is a message of its own.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections import OrderedDict, deque
from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any, Final

import orjson

from kurir.core.message import Accepted, Record, State
from kurir.ports import Clock, Query, Store

WINDOW: Final = 120.0  # seconds for which an unanswered request can be joined
SETTLE: Final = 0.05  # seconds in which the close of the first connection is seen, when the second is there already
WAITED_FOR: Final = {"door": "gateway"}
"""Metadata of a message whose client waits for its delivery."""
_MOST: Final = 100_000  # requests remembered; beyond that the oldest are forgotten


def digest(bot: int, method: str, params: Mapping[str, Any], files: Iterable[tuple[str, str]] = ()) -> bytes:
    """What makes two requests the same: bot, method, parameters in any order, numbers as numbers or as text, nested values
    as JSON or as text; `files` are (field, SHA-256)."""
    same = {name: _normal(value) for name, value in params.items() if value is not None}
    body = orjson.dumps([bot, method, same, sorted(files)], option=orjson.OPT_SORT_KEYS | orjson.OPT_NON_STR_KEYS)
    return hashlib.blake2b(body, digest_size=16).digest()


def _normal(value: Any) -> Any:
    if isinstance(value, str):
        if value[:1] in ("[", "{"):
            try:
                return _normal(orjson.loads(value))
            except orjson.JSONDecodeError:
                return value
        return value
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int | float):
        return str(int(value)) if value == int(value) else str(value)
    if isinstance(value, dict):
        return {name: _normal(item) for name, item in value.items()}
    if isinstance(value, list):
        return [_normal(item) for item in value]
    return value


def _digest_of(record: Record) -> bytes:
    files = [(file.field, file.sha256) for file in record.files]
    return digest(record.bot, record.method, orjson.loads(record.params), files)


class Repeats:
    """Which requests are waiting, and which were left unanswered of late. In memory of one process."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._waiting: dict[bytes, int] = {}
        self._left: OrderedDict[bytes, deque[tuple[float, Accepted]]] = OrderedDict()

    @property
    def anybody(self) -> bool:
        """Does any client wait?"""
        return bool(self._waiting)

    async def join(self, request: bytes) -> Accepted | None:
        """The message of an identical request that nobody waits for any more."""
        found = self._take(request)
        if found is None and request in self._waiting:
            await asyncio.sleep(SETTLE)
            found = self._take(request)
        return found

    def enter(self, request: bytes) -> None:
        """A client waits."""
        self._waiting[request] = self._waiting.get(request, 0) + 1

    def leave(self, request: bytes) -> None:
        """It does not wait any more."""
        waiting = self._waiting[request] - 1
        if waiting:
            self._waiting[request] = waiting
        else:
            del self._waiting[request]

    def unanswered(self, request: bytes, accepted: Accepted) -> None:
        """It left without its answer."""
        now = self._clock.now()
        self._left.setdefault(request, deque()).append((now, accepted))
        self._left.move_to_end(request)
        while self._left:
            oldest = next(iter(self._left))
            if len(self._left) <= _MOST and self._left[oldest][-1][0] > now - WINDOW:
                break
            del self._left[oldest]

    async def recall(self, store: Store) -> None:
        """After a restart: the clients of messages that still wait have lost their connection."""
        query = Query(
            states=(State.WAITING, State.SENDING),
            since=self._clock.now() - WINDOW,
            metadata=tuple(WAITED_FOR.items()),
            limit=1000,
            oldest_first=True,
        )
        while True:
            page = await store.find(query)
            for record in page.items:
                self.unanswered(_digest_of(record), Accepted(record.id, record.state, True, record.seq))
            if page.next is None:
                return
            query = replace(query, cursor=page.next)

    def _take(self, request: bytes) -> Accepted | None:
        entries = self._left.get(request)
        if not entries:
            return None
        now = self._clock.now()
        while entries:
            at, accepted = entries.popleft()
            if not entries:
                del self._left[request]
            if at > now - WINDOW:
                return accepted
        return None
