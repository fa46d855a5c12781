"""`/v1/events`: what happens to messages, as server-sent events, as it happens in this process.

A client that reads too slowly is told how many events it lost; nothing is kept for it beyond `QUEUE` of them, and nothing
is sent again after a break (`Last-Event-ID`): GET /v1/messages tells what became of a message.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import orjson

from kurir.app import Kurir
from kurir.core.errors import InvalidMessage
from kurir.core.events import Altered, Attempted, Event, Settled, Submitted
from kurir.core.message import Claim, State
from kurir.core.outcome import name_of
from kurir.records import rfc3339
from kurir.web.auth import Caller, Keyring, TooMany

from .answers import Receive, Send
from .asked import Asked
from .describe import BOT, READ, TEXT, Json, Operation, answer, describe, parameter
from .examples import EVENTS
from .filters import MOST_IDS, STATES, any_bot, chat
from .problems import TooMuchAtOnce, unknown_field

TAG = "Events"
QUEUE = 5000  # events kept for one client; a submit of a thousand is as many
QUEUE_BYTES = 8 << 20  # of them
CLIENTS = 100  # at once in one process
PER_KEY = 10  # of them with one key
KEY_LOOK = 1.0  # seconds between looks at whether the key still opens this
HEARTBEAT = 15.0  # seconds of silence after which a comment is sent
RETRY = 2000  # milliseconds after which a browser connects again
TYPES = ("submitted", "attempted", "settled", "altered")
_FILTERS = ("bot", "state", "chat_id", "id", "type")


@dataclass(frozen=True, slots=True)
class Happening:
    """An event of one message, ready to be sent. `bot` and `chat` None: not told."""

    type: str
    id: str
    bot: int | None
    chat: str | None
    state: State | None
    data: Json


@dataclass(frozen=True, slots=True)
class Interest:
    """What a client asked for; empty: all."""

    bot: int | None = None
    chat: str | None = None
    states: frozenset[str] = frozenset()
    ids: frozenset[str] = frozenset()
    types: frozenset[str] = frozenset()

    def covers(self, one: Happening) -> bool:
        """Changes by hand do not tell bot and chat: they pass those filters."""
        return not (
            (self.types and one.type not in self.types)
            or (self.ids and one.id not in self.ids)
            or (self.states and one.state not in self.states)
            or (self.bot is not None and one.bot not in (None, self.bot))
            or (self.chat is not None and one.chat not in (None, self.chat))
        )


class Client:
    """One who listens: a bounded queue, and a count of what did not fit."""

    __slots__ = ("caller", "interest", "lost", "queue", "size", "wake")

    def __init__(self, interest: Interest, caller: Caller) -> None:
        self.interest = interest
        self.caller = caller
        self.size = 0  # bytes in the queue
        self.queue: deque[bytes] = deque()
        self.lost = 0
        self.wake = asyncio.Event()

    def put(self, frame: bytes) -> None:
        """Once one was lost, all are until the queue is empty: the gap stands in one place."""
        if self.lost or len(self.queue) >= QUEUE or self.size >= QUEUE_BYTES:
            self.lost += 1
        else:
            self.queue.append(frame)
            self.size += len(frame)
        self.wake.set()

    def take(self) -> bytes:
        """All that waits."""
        frames = b"".join(self.queue)
        self.queue.clear()
        self.size = 0
        if self.lost:
            frames += frame("lost", {"count": self.lost})
            self.lost = 0
        return frames


def frame(type: str, data: Json, number: int | None = None) -> bytes:
    """One server-sent event."""
    head = b"" if number is None else b"id: %d\n" % number
    return b"%sevent: %s\ndata: %s\n\n" % (head, type.encode(), orjson.dumps(data))


class Feed:
    """Hears the engine's events and hands them to those who listen."""

    def __init__(self, names: Mapping[int, str], keyring: Keyring) -> None:
        self._names = names
        self._keyring = keyring
        self._clients: set[Client] = set()
        self._number = 0
        self.closed = False

    def hear(self, event: Event) -> None:
        """A listener: costs nothing while nobody listens."""
        if not self._clients:
            return
        for one in happenings(event):
            covered = [client for client in self._clients if client.interest.covers(one)]
            if covered:
                self._number += 1
                text = frame(one.type, self._data(one), self._number)
                for client in covered:
                    client.put(text)

    def _data(self, one: Happening) -> Json:
        told: Json = {"id": one.id}
        if one.bot is not None:
            told |= {"bot": self._names.get(one.bot, str(one.bot)), "chat": one.chat}
        return told | one.data

    def join(self, interest: Interest, caller: Caller) -> Client:
        """Raises TooMany, TooMuchAtOnce."""
        if sum(client.caller.id == caller.id for client in self._clients) >= PER_KEY:
            raise TooMany(f"key {caller.name!r} listens {PER_KEY} times already", "Close a stream of it.", 10.0)
        if self.closed or len(self._clients) >= CLIENTS:
            raise TooMuchAtOnce(f"{len(self._clients)} clients listen already", "Close some, or ask later.", 10.0)
        client = Client(interest, caller)
        self._clients.add(client)
        return client

    def leave(self, client: Client) -> None:
        self._clients.discard(client)

    async def serves(self, client: Client) -> bool:
        """Whether it may hear more: this process does not stop, and its key was not revoked."""
        return not self.closed and await self._keyring.holds(client.caller)

    def close(self) -> None:
        """End all streams."""
        self.closed = True
        for client in self._clients:
            client.wake.set()


def happenings(event: Event) -> Iterator[Happening]:
    """What an event says of messages."""
    if isinstance(event, Submitted):
        for draft, accepted in zip(event.drafts, event.accepted, strict=True):
            data: Json = {
                "method": draft.method,
                "state": accepted.state,
                "duplicate": accepted.duplicate,
                "at": rfc3339(draft.accepted_at),
            }
            yield Happening("submitted", accepted.id, draft.bot, draft.chat, accepted.state, data)
            if accepted.replaces is not None:
                data = {"state": State.CANCELLED, "at": rfc3339(draft.accepted_at)}
                yield Happening("altered", accepted.replaces, draft.bot, draft.chat, State.CANCELLED, data)
    elif isinstance(event, Attempted):
        data = {
            "method": event.claim.method,
            "number": event.claim.attempts + 1,
            "outcome": name_of(event.outcome),
            "reason": getattr(event.outcome, "reason", None),
            "duration_ms": round(event.duration * 1000),
            "at": rfc3339(event.started_at + event.duration),
        }
        yield _of(event.claim, "attempted", State.SENDING, data)
    elif isinstance(event, Settled):
        data = {
            "method": event.claim.method,
            "state": event.state,
            "reason": event.reason,
            "result": None if event.result is None else orjson.Fragment(event.result),
            "due_at": rfc3339(event.due_at),
            "at": rfc3339(event.at),
        }
        yield _of(event.claim, "settled", event.state, data)
    elif isinstance(event, Altered):
        for id in event.ids:
            yield Happening("altered", id, None, None, event.state, {"state": event.state, "at": rfc3339(event.at)})


def _of(claim: Claim, type: str, state: State, data: Json) -> Happening:
    return Happening(type, claim.id, claim.bot, claim.chat, state, data)


@dataclass(frozen=True, slots=True)
class Stream:
    """An answer that goes on until the client leaves, its key is revoked, or this process stops."""

    feed: Feed
    client: Client
    resumed: bool  # the client was here before, and missed what happened since

    async def to(self, receive: Receive, send: Send) -> None:
        gone = asyncio.ensure_future(_gone(receive, self.client))
        try:
            await send({"type": "http.response.start", "status": 200, "headers": _HEADERS})
            hello = b": connected\nretry: %d\n\n" % RETRY
            if self.resumed:
                hello += frame("lost", {"count": None})
            await send({"type": "http.response.body", "body": hello, "more_body": True})
            silence = 0.0
            while not gone.done() and await self.feed.serves(self.client):
                silence = await self._next(send, silence)
            if not gone.done():
                await send({"type": "http.response.body", "body": b""})
        except OSError:  # it hung up in the middle
            return
        finally:
            gone.cancel()
            self.feed.leave(self.client)

    async def _next(self, send: Send, silence: float) -> float:
        """What waits, or after a silence a comment; answers the seconds of silence so far."""
        client, span = self.client, min(KEY_LOOK, HEARTBEAT)
        try:
            async with asyncio.timeout(span):
                await client.wake.wait()
        except TimeoutError:
            silence += span
            if silence < HEARTBEAT:
                return silence
            await send({"type": "http.response.body", "body": b": still here\n\n", "more_body": True})
            return 0.0
        client.wake.clear()
        if frames := client.take():
            await send({"type": "http.response.body", "body": frames, "more_body": True})
        return 0.0


_HEADERS = [
    (b"content-type", b"text/event-stream"),
    (b"cache-control", b"no-cache"),
    (b"x-accel-buffering", b"no"),  # nginx passes it on at once
]


async def _gone(receive: Receive, client: Client) -> None:
    """Until the client hung up."""
    while (await receive())["type"] != "http.disconnect":
        pass
    client.wake.set()


@dataclass(frozen=True, slots=True)
class Events:
    """The handler."""

    kurir: Kurir
    feed: Feed

    async def listen(self, asked: Asked) -> Stream:
        """GET /v1/events."""
        assert asked.caller is not None
        client = self.feed.join(self._interest(asked), asked.caller)
        return Stream(self.feed, client, asked.header(b"last-event-id") is not None)

    def _interest(self, asked: Asked) -> Interest:
        given: dict[str, list[str]] = {}
        for name, value in asked.query():
            if name not in _FILTERS:
                raise unknown_field(name, _FILTERS)
            given.setdefault(name, []).extend(value.split(",") if name in ("state", "id", "type") else [value])
        for name in ("bot", "chat_id"):
            if len(given.get(name, [])) > 1:
                raise InvalidMessage(name, "is given twice", "Give it once.")
        for name, known in (("state", STATES), ("type", TYPES)):
            for value in given.get(name, []):
                if value not in known:
                    raise InvalidMessage(name, f"{value[:40]!r} is none", f"Known: {', '.join(known)}.")
        if len(given.get("id", [])) > MOST_IDS:
            raise InvalidMessage("id", f"is given more than {MOST_IDS:,} times", "Ask for fewer, or for all.")
        return Interest(
            bot=any_bot(given["bot"][0], self.kurir.bots) if "bot" in given else None,
            chat=chat(given["chat_id"][0]) if "chat_id" in given else None,
            states=frozenset(given.get("state", ())),
            ids=frozenset(given.get("id", ())),
            types=frozenset(given.get("type", ())),
        )


# ---------------------------------------------------------------- described

_WORDS = (
    "Server-sent events `submitted`, `attempted` (one call to Telegram ended), `settled` (a new state: `waiting` again, or"
    " the end) and `altered` (cancelled, retried or, `state` null, purged by hand; they tell the id alone). They are those"
    " of the process that is asked. Nothing is replayed: `Last-Event-ID` gets an event `lost` with `count` null. Who reads"
    f" too slowly is sent `lost` with the count of what did not fit into {QUEUE:,} events or {QUEUE_BYTES >> 20} MB of"
    f" them. A key may listen {PER_KEY} times at once; its streams end when it is revoked."
)


def operations(e: Events) -> list[Operation]:
    def several(name: str, words: str, items: Json) -> Json:
        return parameter(name, words, {"type": "array", "items": items})

    described = describe(
        "Hear what happens",
        _WORDS,
        tag=TAG,
        parameters=[
            BOT,
            parameter("chat_id", "Only of this chat.", TEXT),
            several("state", "Only events with this state.", {"type": "string", "enum": STATES}),
            several("type", "Only these events.", {"type": "string", "enum": list(TYPES)}),
            several("id", "Only of these messages.", TEXT),
        ],
        answers={200: answer("A stream without end.", {"type": "string"}, EVENTS, "text/event-stream")},
        errors=(400, 422),
    )
    return [Operation("GET", "/v1/events", READ, e.listen, described)]
