"""Every message there is, found by id, key, or query; what refers to which file; what ended when."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime

from kurir.core.errors import InvalidMessage
from kurir.core.message import Draft, State
from kurir.ports import KEY_LIFE, Day, Query

from .agenda import Agenda
from .model import Message

MAX_PAGE = 1000
ENDS = (State.DELIVERED, State.DEAD, State.CANCELLED, State.EXPIRED)


class Book:
    """Messages in order of acceptance (a dict keeps its order of insertion, and `seq` only grows)."""

    def __init__(self) -> None:
        self.messages: dict[int, Message] = {}
        self._by_id: dict[str, Message] = {}
        self._by_key: dict[tuple[int, str], Message] = {}
        self._files: Counter[str] = Counter()  # sha256 -> messages that refer to it
        self._ended = (Agenda(), Agenda())  # without a key, with one
        self._expiring = Agenda()  # of what waits
        self._days: dict[tuple[str, int], Counter[State]] = {}
        self.last_seq = 0  # the greatest order number given out

    def next_seq(self) -> int:
        """A new order number."""
        self.last_seq += 1
        return self.last_seq

    def add(self, message: Message) -> None:
        """Keep a new message."""
        draft = message.draft
        self.messages[message.seq] = self._by_id[draft.id] = message
        if draft.key is not None:
            self._by_key[draft.bot, draft.key] = message
        if message.expires_at is not None:
            self._expiring.put(message.seq, (message.expires_at, message.seq))
        self._files.update({file.sha256: 1 for file in draft.files})

    def restore(self, message: Message) -> None:
        """Keep a message that lived elsewhere; days are told apart from it."""
        in_order = not self.messages or message.seq > next(reversed(self.messages))
        self.add(message)
        if message.state.final:
            self._expiring.drop(message.seq)
            self._ended[message.draft.key is not None].put(message.seq, (message.ended_at or 0.0, message.seq))
        if not in_order:
            self.messages = dict(sorted(self.messages.items()))

    def restore_day(self, day: Day) -> None:
        """What ended on one day elsewhere."""
        counts = zip(ENDS, (day.delivered, day.dead, day.cancelled, day.expired), strict=True)
        self._days[day.day, day.bot] = Counter(dict(counts))

    def remove(self, message: Message) -> list[str]:
        """Forget a message. Answers the files that only it referred to."""
        draft = message.draft
        del self.messages[message.seq], self._by_id[draft.id]
        if draft.key is not None:
            del self._by_key[draft.bot, draft.key]
        for agenda in (*self._ended, self._expiring):
            agenda.drop(message.seq)
        orphans = []
        for sha256 in dict.fromkeys(file.sha256 for file in draft.files):
            self._files[sha256] -= 1
            if not self._files[sha256]:
                del self._files[sha256]
                orphans.append(sha256)
        return orphans

    def ended(self, message: Message) -> None:
        """The message reached a final state. The day counts what happened; nothing is taken back."""
        assert message.ended_at is not None
        self._expiring.drop(message.seq)
        self._ended[message.draft.key is not None].put(message.seq, (message.ended_at, message.seq))
        day = datetime.fromtimestamp(message.ended_at, UTC).strftime("%Y-%m-%d")
        self._days.setdefault((day, message.draft.bot), Counter())[message.state] += 1

    def revived(self, message: Message) -> None:
        """The message waits again."""
        for ended in self._ended:
            ended.drop(message.seq)

    def by_id(self, id: str) -> Message | None:
        return self._by_id.get(id)

    def by_key(self, draft: Draft) -> Message | None:
        """The message that has the draft's key."""
        return None if draft.key is None else self._by_key.get((draft.bot, draft.key))

    def oldest_ended(self, before: float, now: float) -> Message | None:
        """Of the final messages that ended before `before`, and if they have a key long enough ago, the first."""
        found = []
        for ended, latest in zip(self._ended, (before, min(before, now - KEY_LIFE)), strict=True):
            at, seq = ended.at(), ended.first()
            if at is not None and seq is not None and at < latest:
                found.append((at, seq))
        return self.messages[min(found)[1]] if found else None

    def days(self, bot: int | None, most: int) -> tuple[Day, ...]:
        """What ended on each of the last `most` days that had any, oldest first."""
        last = sorted({day for day, _ in self._days}, reverse=True)[:most]
        return tuple(
            Day(id, day, *(ended[state] for state in ENDS))
            for (day, id), ended in sorted(self._days.items(), key=lambda item: item[0])
            if day in last and bot in (None, id)
        )

    def select(self, query: Query, today: Callable[[int, str], str]) -> Iterator[Message]:
        """What matches, in the query's order, after its cursor; `today` follows chats that moved."""
        after = parse_cursor(query.cursor)
        for message in self._candidates(query):
            if after is None or (message.seq > after if query.oldest_first else message.seq < after):
                chat = today(message.draft.bot, message.draft.chat)
                wanted = None if query.chat is None else today(message.draft.bot, query.chat)
                if wanted in (None, chat) and matches(message, query):
                    yield message

    def _candidates(self, query: Query) -> Sequence[Message]:
        if query.ids or query.seqs:
            found = {m.seq: m for id in query.ids if (m := self._by_id.get(id))} if query.ids else self.messages
            seqs = found.keys() & query.seqs if query.seqs else found
            return [found[seq] for seq in sorted(seqs, reverse=not query.oldest_first)]
        if query.expired_by is not None and query.states and not any(s.final for s in query.states):
            first = self._expiring.at()
            if first is None or first > query.expired_by:
                return ()
        messages = list(self.messages.values())
        return messages if query.oldest_first else messages[::-1]


def parse_cursor(cursor: str | None) -> int | None:
    """The order number of the last message already seen."""
    if cursor is None:
        return None
    if not (cursor.isascii() and cursor.isdigit()):
        raise InvalidMessage("cursor", f"{cursor!r} is not a cursor", "Pass `next` of the page before, unchanged.")
    return int(cursor)


def matches(message: Message, query: Query) -> bool:
    """Whether all conditions of the query hold, but for the chat and the cursor."""
    draft = message.draft
    metadata = draft.metadata or {}
    return (
        (query.bot is None or draft.bot == query.bot)
        and (not query.states or message.shown_state in query.states)
        and (query.method is None or draft.method == query.method)
        and (query.priority is None or draft.priority == query.priority)
        and (query.since is None or draft.accepted_at >= query.since)
        and (query.until is None or draft.accepted_at < query.until)
        and (query.expired_by is None or (message.expires_at is not None and message.expires_at <= query.expired_by))
        and (query.key is None or draft.key == query.key)
        and (query.reason is None or (message.reason or "").startswith(query.reason))
        and (query.file is None or any(file.sha256 == query.file for file in draft.files))
        and all(metadata.get(name) == value for name, value in query.metadata)
    )
