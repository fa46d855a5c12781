"""What all cases share: the message they send, scratch folders, Kurir as they run it, stores filled in advance."""

from __future__ import annotations

import asyncio
import random
import shutil
import tempfile
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import orjson
import uvloop

from kurir import Kurir, Message, Parts, Priority, Settings
from kurir.core.events import Event, Settled
from kurir.core.ids import RANDOM_BITS, make_id
from kurir.core.message import Draft
from kurir.core.outcome import Reply
from kurir.core.pace import Limits
from kurir.ports import Call, Listener, Store, Transport
from kurir.settings import make_bot
from kurir.stores.sqlite import SqliteStore

from .report import RESULTS
from .rounds import Say

TOKEN = "110201543:AAHdqTcvCH1vGWJxfSeofSAs0K5PALDsaw"
BOT = 110201543
CHATS = 1_000
OFFSET = 100_000_000  # what our numbers of chats are apart from their ids
CONCURRENCY = 100  # Kurir's default, and what every peer and floor gets
TEXT = "Your order is on its way. " * 13 + "Thank you!!"
MESSAGE = {
    "message_id": 4711,
    "from": {"id": BOT, "is_bot": True, "first_name": "Bench", "username": "bench_bot"},
    "chat": {"id": 123456789, "first_name": "Ada", "type": "private"},
    "date": 1763800000,
    "text": TEXT,
}
RESULT = orjson.dumps(MESSAGE)


@dataclass(frozen=True, slots=True)
class Run:
    """One run of the benchmarks, as a case sees it."""

    tmp: Path  # on a real disk; emptied after the run
    say: Say
    quick: bool = False
    engines: tuple[str, ...] = ()  # servers that are wanted, by the beginnings of their names

    @property
    def rounds(self) -> int:
        return 3 if self.quick else 5

    def size(self, full: int, quick: int) -> int:
        return quick if self.quick else full

    @contextmanager
    def folder(self) -> Iterator[Path]:
        """A fresh folder on the disk, removed afterwards."""
        path = Path(tempfile.mkdtemp(dir=self.tmp))
        try:
            yield path
        finally:
            shutil.rmtree(path, ignore_errors=True)


def scratch() -> Path:
    """A folder for one run on the disk this repository lives on."""
    (RESULTS / "tmp").mkdir(parents=True, exist_ok=True)
    return Path(tempfile.mkdtemp(dir=RESULTS / "tmp"))


# ---------------------------------------------------------------- messages


def params(chat: int) -> dict[str, Any]:
    """A sendMessage that is 400 bytes of JSON."""
    return {"chat_id": OFFSET + chat, "text": TEXT, "parse_mode": "HTML"}


BODY = orjson.dumps(params(0))
assert len(BODY) == 400, len(BODY)


def make_draft(
    chat: int, now: float, rng: random.Random, priority: Priority = Priority.NORMAL, bot: int = BOT
) -> Draft:
    """What the outbox makes of such a message."""
    return Draft(
        id=make_id(now, rng.getrandbits(RANDOM_BITS)),
        bot=bot,
        chat=str(OFFSET + chat),
        method="sendMessage",
        params=orjson.dumps(params(chat)),
        accepted_at=now,
        priority=priority,
    )


async def fill(store: Store, count: int, chats: int, priority: Priority = Priority.NORMAL) -> None:
    """Let `count` messages wait in an open store, dealt out to `chats` chats in turn."""
    rng = random.Random(4711)
    for start in range(0, count, 1000):
        now = time.time()
        batch = [make_draft(i % chats, now, rng, priority) for i in range(start, min(start + 1000, count))]
        await store.submit(batch, now)


def stocked(run: Run, count: int, chats: int, priority: Priority = Priority.NORMAL) -> Path:
    """A closed SQLite store with `count` messages waiting. Made once a run; to be copied by who changes it."""
    path = run.tmp / f"stock-{count}-{chats}-{priority.name.lower()}.db"
    if not path.exists():
        run.say(f"accepting {count:,} messages beforehand")
        making = path.with_suffix(".making")

        async def make() -> None:
            store = SqliteStore(making)
            await store.open()
            await fill(store, count, chats, priority)
            await store.close()

        uvloop.run(make())
        making.rename(path)
    return path


def copied(stock: Path, folder: Path) -> Path:
    """A copy to work on."""
    return Path(shutil.copyfile(stock, folder / "kurir.db"))


# ---------------------------------------------------------------- Kurir


class NoSender:
    """A transport that does nothing: Telegram's answer is there at once."""

    def __init__(self) -> None:
        self._reply = Reply(200, {"ok": True, "result": MESSAGE})

    async def call(self, call: Call) -> Reply:
        return self._reply

    async def close(self) -> None:
        return


class Ends:
    """A listener that counts the messages that have ended."""

    def __init__(self, wanted: int) -> None:
        self.count = 0
        self._wanted = wanted
        self._reached = asyncio.Event()

    def __call__(self, event: Event) -> None:
        if isinstance(event, Settled) and event.state.final:
            self.count += 1
            if self.count >= self._wanted:
                self._reached.set()

    async def reached(self) -> None:
        await self._reached.wait()


class Heard:
    """A listener that tells when a message has ended, without a look at the store."""

    def __init__(self) -> None:
        self._ended: dict[str, asyncio.Event] = {}

    def __call__(self, event: Event) -> None:
        if isinstance(event, Settled) and event.state.final:
            self._of(event.claim.id).set()

    async def end_of(self, id: str) -> None:
        await asyncio.wait_for(self._of(id).wait(), 60)

    def _of(self, id: str) -> asyncio.Event:
        return self._ended.setdefault(id, asyncio.Event())


def make_kurir(
    path: Path,
    *,
    courier: bool = False,
    url: str = "http://127.0.0.1:9",
    transport: Transport | None = None,
    listeners: Iterable[Listener] = (),
) -> Kurir:
    """Kurir on a SQLite file, limits off, and whatever the environment says left aside."""
    return make_kurir_on(
        f"sqlite:///{path}",
        path.with_suffix(".files"),
        courier=courier,
        url=url,
        transport=transport,
        listeners=listeners,
    )


def make_kurir_on(
    store: str,
    files: Path,
    *,
    courier: bool = False,
    url: str = "http://127.0.0.1:9",
    transport: Transport | None = None,
    listeners: Iterable[Listener] = (),
) -> Kurir:
    """The same on any store; `files`: where it would put files."""
    bots = (make_bot("bench", TOKEN, Limits(on=False)),)
    settings = Settings(store=store, bots=bots, telegram_url=url, concurrency=CONCURRENCY, files=files)
    return Kurir(courier=courier, settings=settings, parts=Parts(transport=transport, listeners=tuple(listeners)))


def batches(count: int, size: int) -> Iterator[Sequence[Message]]:
    """`count` messages to CHATS chats in batches of `size`."""
    for start in range(0, count, size):
        yield [Message("sendMessage", params(i % CHATS)) for i in range(start, min(start + size, count))]
