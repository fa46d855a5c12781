"""What the simulated Telegram saw, and what that says about a sender: lost, doubled, reordered, over the
limit."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from itertools import pairwise
from typing import NamedTuple

ROUNDING = 1e-6  # seconds: floats of Unix times resolve no better

ChatId = int | str
Expected = Mapping[ChatId, Sequence[str]] | Iterable[tuple[ChatId, Sequence[str]]]


class Verb(StrEnum):
    """What became of a call."""

    SENT = "sent"  # a message (or several) came into being
    PARTIAL = "partial"  # an album of which items were sent although the answer was an error
    EDITED = "edited"
    DONE = "done"  # any other change: deleted, pinned, answered, typing, ...
    REFUSED = "refused"  # 4xx but 429
    THROTTLED = "throttled"  # 429


class Entry(NamedTuple):
    """One call that Telegram handled."""

    number: int  # order of arrival, from 1
    verb: Verb
    at: float  # when it took effect, Unix seconds (later than `arrived` where the server held it)
    arrived: float
    bot: int
    chat: ChatId | None
    method: str
    mark: str | None
    message_ids: tuple[int, ...] = ()
    target: int | None = None  # the message edited, deleted, pinned, ...
    cost: int = 0  # spent from the limits
    status: int = 200
    why: str | None = None  # Telegram's words


@dataclass(frozen=True, slots=True)
class Report:
    """The verdict on a sender. `explained`: of the extra copies, those sent because the answer to the copy
    before them was lost. `reordered`: expected marks that arrived after one that should have followed them.
    """

    expected: int
    arrived: int  # expected marks that arrived at least once
    lost: tuple[tuple[ChatId, str], ...]
    doubled: tuple[tuple[ChatId, str], ...]  # one item an extra copy
    explained: int
    reordered: tuple[tuple[ChatId, str], ...]
    strangers: tuple[tuple[ChatId | None, str | None], ...]  # arrived, but nobody expected them
    throttled: int  # 429 answers
    refused: int
    lost_answers: int
    faults: Mapping[str, int] = field(default_factory=dict)

    @property
    def unexplained(self) -> int:
        """Extra copies that nothing excuses."""
        return len(self.doubled) - self.explained

    @property
    def clean(self) -> bool:
        """Nothing lost, nothing doubled without an excuse, nothing out of order."""
        return not self.lost and not self.unexplained and not self.reordered


class Journal:
    """Entries in order of arrival. `limit`: keep at most so many (None: all)."""

    def __init__(self, limit: int | None = None) -> None:
        self.entries: list[Entry] = []
        self.doubts: set[int] = set()  # numbers of the entries whose answer the sender did not get
        self.faults: Counter[str] = Counter()  # struck, by kind
        self.aliases: dict[ChatId, ChatId] = {}  # old chat id -> the id it moved to
        self._limit = limit
        self._number = 0

    def write(self, verb: Verb, at: float, arrived: float, bot: int, chat: ChatId | None, method: str,
              mark: str | None, **more: object) -> Entry:  # fmt: skip
        """Append an entry; the rest as in `Entry`."""
        self._number += 1
        entry = Entry(self._number, verb, at, arrived, bot, chat, method, mark, **more)  # type: ignore[arg-type]
        self.entries.append(entry)
        if self._limit is not None and len(self.entries) > 2 * self._limit:
            del self.entries[: -self._limit]
        return entry

    def doubt(self, number: int | None) -> None:
        """The sender will not learn what came of entry `number`."""
        if number is not None:
            self.doubts.add(number)

    def clear(self) -> None:
        self.entries.clear()
        self.doubts.clear()
        self.faults.clear()

    def sent(self, chat: ChatId | None = None, bot: int | None = None) -> list[Entry]:
        """Accepted sends (partial albums too), in order of arrival."""
        chat = None if chat is None else self._chat(chat)
        return [
            entry
            for entry in self.entries
            if entry.verb in (Verb.SENT, Verb.PARTIAL)
            and (chat is None or self._chat(entry.chat) == chat)
            and (bot is None or entry.bot == bot)
        ]

    def count(self, verb: Verb) -> int:
        return sum(1 for entry in self.entries if entry.verb is verb)

    def report(self, expected: Expected, bot: int | None = None) -> Report:
        """Judge what arrived against `expected`: marks per chat, in the order in which they should arrive.

        A chat may be given several times with a sequence each where its messages may overtake one another
        (one a priority, say); order is judged within a sequence. Marks must be unique in their chat.
        """
        plan = [(self._chat(chat), list(marks)) for chat, marks in _pairs(expected)]
        copies = self._copies(bot)
        lost = [(chat, mark) for chat, marks in plan for mark in marks if (chat, mark) not in copies]
        known = {(chat, mark) for chat, marks in plan for mark in marks}
        doubled, explained = [], 0
        for key, entries in copies.items():
            for before, _ in pairwise(entries):
                doubled.append(key)
                explained += before.number in self.doubts
        total = sum(len(marks) for _, marks in plan)
        return Report(
            expected=total,
            arrived=total - len(lost),
            lost=tuple(lost),
            doubled=tuple(doubled),  # type: ignore[arg-type]
            explained=explained,
            reordered=tuple(key for chat, marks in plan for key in _overtaken(chat, marks, copies)),
            strangers=tuple(key for key in copies if key not in known),
            throttled=self.count(Verb.THROTTLED),
            refused=self.count(Verb.REFUSED),
            lost_answers=len(self.doubts),
            faults=dict(self.faults),
        )

    def peak(self, seconds: float = 1.0, chat: ChatId | None = None, bot: int | None = None) -> int:
        """The most that was accepted in any `seconds`."""
        times = self._costs(chat, bot)
        best = first = 0
        for last in range(len(times)):
            while times[last] - times[first] >= seconds - ROUNDING:
                first += 1
            best = max(best, last - first + 1)
        return best

    def share(self, allowed: float, start: float, end: float, chat: ChatId | None = None,
              bot: int | None = None) -> float:  # fmt: skip
        """Accepted in [start, end) as a share of what `allowed` (messages/s) lets through; 1.0 is all."""
        times = self._costs(chat, bot)
        accepted = sum(1 for at in times if start <= at < end)
        return accepted / (allowed * (end - start)) if end > start else 0.0

    def span(self, bot: int | None = None) -> tuple[float, float]:
        """Unix seconds of the first and the last accepted call that cost something; (0, 0) where there is
        none."""
        times = self._costs(None, bot)
        return (times[0], times[-1]) if times else (0.0, 0.0)

    def _costs(self, chat: ChatId | None, bot: int | None) -> list[float]:
        chat = None if chat is None else self._chat(chat)
        return sorted(
            entry.at
            for entry in self.entries
            if entry.cost and (chat is None or self._chat(entry.chat) == chat) and (bot is None or entry.bot == bot)
            for _ in range(entry.cost)
        )

    def _copies(self, bot: int | None) -> dict[tuple[ChatId | None, str | None], list[Entry]]:
        copies: dict[tuple[ChatId | None, str | None], list[Entry]] = {}
        for entry in self.entries:
            if entry.verb in (Verb.SENT, Verb.PARTIAL) and (bot is None or entry.bot == bot) and entry.mark:
                copies.setdefault((self._chat(entry.chat), entry.mark), []).append(entry)
        return copies

    def _chat(self, chat: ChatId | None) -> ChatId:
        if isinstance(chat, str) and chat.lstrip("-").isdigit():
            chat = int(chat)
        while chat in self.aliases:
            chat = self.aliases[chat]
        return "" if chat is None else chat


def _pairs(expected: Expected) -> Iterable[tuple[ChatId, Sequence[str]]]:
    return expected.items() if isinstance(expected, Mapping) else expected


def _overtaken(
    chat: ChatId, marks: Sequence[str], copies: Mapping[tuple[ChatId | None, str | None], list[Entry]]
) -> list[tuple[ChatId, str]]:
    """Of `marks`, those whose first copy came after the first copy of one that stands behind them."""
    late: list[tuple[ChatId, str]] = []
    earliest = float("inf")
    for mark in reversed(marks):
        entries = copies.get((chat, mark))
        if not entries:
            continue
        if entries[0].number > earliest:
            late.append((chat, mark))
        earliest = min(earliest, entries[0].number)
    return late[::-1]
