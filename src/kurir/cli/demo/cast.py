"""Who is written to in the demo, and what: a plan from a seed, with what is to become of every message."""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from kurir.message import Message
from kurir.simulator.marks import mark_of

PRIVATE, GROUPS, SUPERGROUPS, CHANNELS = 84, 12, 14, 4
REFUSING = {"blocked": 4, "deactivated": 3, "never_started": 2}  # private chats
KICKED = 2  # supergroups
STORIES = 12  # messages that are edited or deleted later on
POISON = 8
MOST_IN_GROUP = 5  # messages: a group hears 20 calls a minute, repeats included
MIGRATED = (-4001, -1004000000001)

_WORDS = (
    "Order", "paid", "on its way", "arrives tomorrow", "thank you", "see you soon", "your table is booked", "sorry",
)  # fmt: skip
_KINDS = {
    "text": 50, "photo": 12, "document": 8, "album": 5, "location": 6, "venue": 4,
    "contact": 4, "voice": 5, "poll": 6,
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Chat:
    """`state`: closed to the bot in this way. `moves_to`: the supergroup it became."""

    id: int
    type: str
    state: str | None = None
    moves_to: int | None = None


@dataclass(frozen=True, slots=True)
class Line:
    """One message. `mark`: how the simulator's journal calls it. `dies`: Telegram will refuse it for good."""

    message: Message
    chat: int
    mark: str
    dies: bool = False


@dataclass(frozen=True, slots=True)
class Story:
    """A message that is changed once it has arrived: `edits` in order, or deleted where there are none."""

    line: Line
    edits: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Plan:
    """`lines` are in the order of submission; those of `stories` are among them."""

    chats: tuple[Chat, ...]
    lines: tuple[Line, ...]
    stories: tuple[Story, ...] = field(default=())

    def expected(self) -> list[tuple[int, list[str]]]:
        """Marks that must arrive, in order, for each chat and priority."""
        sequences: dict[tuple[int, str], list[str]] = {}
        for line in self.lines:
            if not line.dies:
                sequences.setdefault((line.chat, str(line.message.priority)), []).append(line.mark)
        return [(chat, marks) for (chat, _), marks in sequences.items()]


def make_plan(seed: int, messages: int, folder: Path) -> Plan:
    """A plan of about `messages` messages; files are written into `folder`."""
    rng = random.Random(seed)
    author = _Author(rng, _files(rng, folder))
    chats = tuple(_chats())
    lines: list[Line] = []
    for chat in chats:
        if chat.state is not None:
            lines += [author.any(chat, dies=True) for _ in range(rng.randint(2, 3))]
        if chat.moves_to is not None:
            lines += [author.any(chat) for _ in range(MOST_IN_GROUP)]
    open_chats = [chat for chat in chats if chat.state is None and chat.moves_to is None]
    private = [chat for chat in open_chats if chat.type == "private"]
    lines += [author.poison(chat) for chat in rng.sample(private, POISON)]
    stories = [author.story(chat, number) for number, chat in enumerate(rng.sample(private, STORIES))]
    room = {chat: MOST_IN_GROUP for chat in open_chats if chat.type != "private"}
    lines += [author.any(chat) for chat in open_chats]
    while len(lines) + len(stories) < messages:
        chat = rng.choice(open_chats)
        if room.get(chat, 2) > 1:
            if chat in room:
                room[chat] -= 1
            lines.append(author.any(chat))
    rng.shuffle(lines)
    return Plan(chats, (*(story.line for story in stories), *lines), tuple(stories))


def _chats() -> Iterator[Chat]:
    yield from (Chat(1000 + n, "private") for n in range(PRIVATE))
    yield from (Chat(-2000 - n, "group") for n in range(GROUPS))
    yield from (Chat(-1002000000000 - n, "supergroup") for n in range(SUPERGROUPS))
    yield from (Chat(-1003000000000 - n, "channel") for n in range(CHANNELS))
    yield Chat(MIGRATED[0], "group", moves_to=MIGRATED[1])
    number = 9000
    for state, count in REFUSING.items():
        yield from (Chat(number + n, "private", state) for n in range(count))
        number += count
    yield from (Chat(-1009000000000 - n, "supergroup", "kicked") for n in range(KICKED))


def _files(rng: random.Random, folder: Path) -> dict[str, list[Path]]:
    """A few files of each kind: what is sent to many is uploaded once."""
    names = {
        "photo": ("cat.jpg", "map.jpg", "menu.jpg"),
        "document": ("terms.pdf", "receipt.pdf"),
        "voice": ("hi.ogg",),
    }
    made: dict[str, list[Path]] = {}
    for kind, of_kind in names.items():
        for name in of_kind:
            path = folder / name
            path.write_bytes(rng.randbytes(rng.randint(8_000, 40_000)))
            made.setdefault(kind, []).append(path)
    return made


class _Author:
    """Writes messages; each has a mark of its own."""

    def __init__(self, rng: random.Random, files: dict[str, list[Path]]) -> None:
        self._rng = rng
        self._files = files
        self._number = 0

    def any(self, chat: Chat, *, dies: bool = False) -> Line:
        kinds = {k: w for k, w in _KINDS.items() if k != "poll" or chat.type != "private"}
        kind = self._rng.choices(list(kinds), list(kinds.values()))[0]
        priority = self._rng.choices(("high", "normal", "low"), (10, 75, 15))[0]
        method, params = self._call(kind)
        return self._line(chat, method, params, priority, dies)

    def poison(self, chat: Chat) -> Line:
        """What Telegram refuses whoever it goes to."""
        if self._number % 2:
            return self._line(
                chat, "sendMessage", {"text": self._words() + " " + "far too long " * 400}, "normal", True
            )
        text = f"{self._words()} <b>never closed"
        return self._line(chat, "sendMessage", {"text": text, "parse_mode": "HTML"}, "normal", True)

    def story(self, chat: Chat, number: int) -> Story:
        text = self._words()
        line = self._line(chat, "sendMessage", {"text": text}, "critical", False)
        return Story(line, () if number % 3 == 2 else tuple(f"{text}: step {step}" for step in (1, 2, 3)))

    def _line(self, chat: Chat, method: str, params: dict[str, Any], priority: str, dies: bool) -> Line:
        params = {"chat_id": chat.id, **params}
        mark = mark_of(method, params)
        assert mark is not None
        return Line(Message(method, params, priority=priority, metadata={"demo": "1"}), chat.id, mark, dies)

    def _words(self) -> str:
        self._number += 1
        return f"#{self._number} {' '.join(self._rng.sample(_WORDS, 4))}"

    def _call(self, kind: str) -> tuple[str, dict[str, Any]]:
        rng, words = self._rng, self._words()
        place = {"latitude": 50 + self._number / 1000, "longitude": round(rng.uniform(20, 40), 4)}
        if kind in self._files:
            return f"send{kind.title()}", {kind: rng.choice(self._files[kind]), "caption": words}
        if kind == "album":
            items = [{"type": "photo", "media": path} for path in rng.sample(self._files["photo"], 2)]
            return "sendMediaGroup", {"media": [{**items[0], "caption": words}, items[1]]}
        others: dict[str, tuple[str, dict[str, Any]]] = {
            "text": ("sendMessage", {"text": words}),
            "location": ("sendLocation", place),
            "venue": ("sendVenue", {**place, "title": words, "address": "Harbour 1"}),
            "contact": ("sendContact", {"phone_number": f"+100{self._number:05}", "first_name": "Ann"}),
            "poll": ("sendPoll", {"question": words, "options": [{"text": "yes"}, {"text": "no"}]}),
        }
        return others[kind]
