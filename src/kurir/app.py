"""The composition root: the one place that knows the concrete classes. `Kurir` is the library's face."""

from __future__ import annotations

import asyncio
import os
import random
import secrets
import socket
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any, Self, cast, overload

from .conditions import query
from .conveniences import Conveniences
from .core.errors import InvalidMessage, InvalidSetting, NotFound, StoreAway, UnknownBot, WrongState
from .core.events import Crashed, Event
from .core.message import Record, State
from .core.outcome import NoReply
from .core.pace import Pace
from .delivery import Delivery
from .message import Message
from .observe.log import Hub
from .outbox import Bots, Outbox
from .ports import (
    Cancel,
    Change,
    Clock,
    Listener,
    Page,
    Purge,
    Query,
    Requeue,
    Stats,
    Store,
    SystemClock,
    Transport,
)
from .services.courier import Courier
from .services.direct import Direct
from .services.housekeeping import Housekeeping, Retention
from .services.matching import altered, change_matching
from .services.receipts import End, Receipt, Waiting
from .services.supervisor import Supervisor
from .services.suppression import suppress
from .services.tools import Tools
from .settings import KNOBS, Settings, load, make_bot, pace
from .stores.memory import MemoryStore
from .stores.sqlite import SqliteStore
from .telegram.download import Download
from .telegram.spool import Spool
from .telegram.transport import HttpTransport

DAYS = ("history", "suppression")  # settings that are days in the file and seconds here
ASKING = 2000  # connections for calls that are not stored; most are long polls
ANEW = 1.0  # seconds until a loop that failed starts again
GRACE = 8.0  # seconds that calls in flight get at a clean stop; the whole stop takes less than 10


@dataclass(frozen=True, slots=True)
class Parts:
    """What tests and simulations replace."""

    transport: Transport | None = None
    clock: Clock | None = None
    rng: random.Random | None = None
    holder: str | None = None
    listeners: tuple[Listener, ...] = ()


def open_store(url: str) -> Store:
    """The store a URL names. Raises InvalidSetting."""
    if url.startswith("sqlite:///") and not url.endswith("/"):
        return SqliteStore(Path(url.removeprefix("sqlite:///")))
    if url == "memory://":
        return MemoryStore()
    raise InvalidSetting(
        "KURIR_STORE", f"{url.split('@')[-1]!r} is no store we know", "Use sqlite:///file.db or memory://."
    )


class Kurir(Conveniences):
    """Makes a bot's messages arrive.

        async with Kurir(store="sqlite:///kurir.db", token=TOKEN) as kurir:
            receipt = await kurir.send_text(chat_id, "Your order is on its way")   # durable from here on
            await receipt.delivered(timeout=30)                                     # only if you want to wait

    `courier=False`: only hand over; another process (`kurir worker`) sends. `settings` replaces what the environment and
    kurir.toml say; further keywords replace single ones (`telegram_url=`, `concurrency=`, `pace="off"`, ...).
    Raises InvalidSetting.
    """

    def __init__(
        self,
        store: str | Store | None = None,
        token: str | None = None,
        *,
        courier: bool = True,
        settings: Settings | None = None,
        parts: Parts = Parts(),
        **overrides: Any,
    ) -> None:
        self.settings = _settings(settings, token, overrides)
        if courier and not self.settings.bots:
            raise InvalidSetting("KURIR_BOT_TOKEN", "is not set", "Set it, or pass token=...; @BotFather gives one.")
        url = self.settings.store if store is None else store
        self.store: Store = open_store(url) if isinstance(url, str) else url
        self.clock: Clock = parts.clock or SystemClock()
        self._rng = parts.rng or random.Random(secrets.randbits(256))
        self._parts = parts
        self._hub = Hub(parts.listeners, texts=self.settings.log_texts)
        self._with_courier = courier
        self.spool = _spool(self.settings, self.store)
        self._waiting = Waiting(self.store, self.clock, elsewhere=not courier)
        self._hub.add(self._waiting.hear)
        self.bots = Bots({bot.name: bot.id for bot in self.settings.bots})
        self._outbox = Outbox(
            self.store,
            self.bots,
            self.clock,
            rng=self._rng,
            spool=self.spool,
            emit=self._hub.emit,
            local=self.settings.local_server,
            soon=self._soon,
        )
        self._transport: Transport | None = None
        self._asking: HttpTransport | None = None  # for what is not stored: long polls take no delivery's connection
        self._direct: Direct | None = None
        self._supervisor: Supervisor | None = None
        self._tasks: list[asyncio.Task[None]] = []

    # ---------------------------------------------------------------- life

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def start(self) -> None:
        """Open the store and, with a courier, begin to send. Raises StoreError."""
        s = self.settings
        if self._with_courier:  # before the store is open: its arguments may be wrong
            self._transport = self._parts.transport or self._http(s.concurrency * max(1, len(s.bots)))
        await self.store.open()
        if not self._with_courier:
            return
        tools = Tools(self.store, self.clock, self._hub.emit, s.concurrency)
        holder = self._parts.holder or f"{socket.gethostname()}:{os.getpid()}:{secrets.token_hex(4)}"
        self._supervisor = Supervisor([bot.id for bot in s.bots], self._courier(tools), tools, holder)
        self._hub.add(self._supervisor.hear)
        retention = Retention(s.history, s.suppression)
        housekeeping = Housekeeping(self.store, self.clock, self.spool, retention, self._hub.emit)
        self._tasks = [
            asyncio.create_task(self._kept_up("kurir-supervisor", self._supervisor.run)),
            asyncio.create_task(self._kept_up("kurir-housekeeping", housekeeping.run)),
        ]

    async def _kept_up(self, loop: str, run: Callable[[], Awaitable[None]]) -> None:
        """A loop that our own mistake ended is told of, and starts anew."""
        while True:
            try:
                await run()
                return
            except Exception as error:
                self._hub.emit(Crashed(loop, f"{type(error).__name__}: {error}"))
                await self.clock.sleep(ANEW)

    def _http(self, pool: int) -> HttpTransport:
        s = self.settings
        return HttpTransport(
            s.telegram_url,
            proxy=s.proxy,
            connect_timeout=s.connect_timeout,
            read_timeout=s.read_timeout,
            pool=pool,
            local=s.local_server,
        )

    def _soon(self, bots: set[int]) -> None:
        if self._supervisor is not None:
            self._supervisor.wake(bots)

    def _courier(self, tools: Tools) -> Any:
        bots = {bot.id: bot for bot in self.settings.bots}
        transport = self._transport
        assert transport is not None

        def make(bot: int) -> Courier:
            delivery = Delivery(
                bots[bot].token,
                transport,
                self.clock,
                policy=self.settings.policy,
                rng=self._rng,
                spool=self.spool,
                emit=self._hub.emit,
                test=bots[bot].test,
            )
            return Courier(bot, delivery, Pace(bots[bot].limits), tools)

        return make

    async def close(self, grace: float = GRACE) -> None:
        """Stop cleanly: what is in flight gets `grace` seconds, the rest is handed back; everything accepted is kept."""
        if self._supervisor is not None:
            await self._supervisor.stop(grace)
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        self._waiting.close()
        if self._direct is not None:
            await self._direct.close()
        if self._asking is not None:
            await self._asking.close()
        if self._transport is not None and self._parts.transport is None:
            await self._transport.close()
        await self.store.close()

    def listen(self, listener: Listener) -> None:
        """Hear every event from now on. A listener must not block."""
        self._hub.add(listener)

    # ---------------------------------------------------------------- the way in

    @overload
    async def submit(self, what: Message, /) -> Receipt: ...
    @overload
    async def submit(self, what: str, params: Mapping[str, Any], /, **treatment: Any) -> Receipt: ...
    @overload
    async def submit(self, what: Sequence[Message], /) -> list[Receipt]: ...

    async def submit(
        self,
        what: Message | str | Sequence[Message],
        params: Mapping[str, Any] | None = None,
        /,
        **treatment: Any,
    ) -> Receipt | list[Receipt]:
        """Hand over one message (a `Message`, or a method and its parameters) or a list of them, all or none.

        When it returns, they are durable. Raises InvalidMessage, UnknownBot, KeyConflict, StoreError; then nothing is kept.
        """
        if isinstance(what, str):
            what = _message(what, {} if params is None else params, treatment)
        elif treatment or params is not None:
            raise InvalidMessage("params", "go with a method's name", "Put them into the Message.")
        if not isinstance(what, Message | Sequence):
            raise InvalidMessage(
                "message", f"is a {type(what).__name__}", "Give a Message, a list of them, or a method and parameters."
            )
        if isinstance(what, Message):
            (accepted,) = await self._outbox.submit([what])
            return Receipt(accepted, self._waiting)
        messages = cast("Sequence[Message]", what)
        return [Receipt(accepted, self._waiting) for accepted in await self._outbox.submit(list(messages))]

    # ---------------------------------------------------------------- looking and steering

    async def get(self, id: str) -> Record:
        """The message with its attempts. Raises NotFound."""
        return await self._waiting.get(id, with_attempts=True)

    async def find(self, **conditions: Any) -> Page:
        """The messages that match: `states`, `chat`, `since`, `metadata={...}`, `limit`, ... (see `ports.Query`)."""
        return await self.store.find(self._asked(conditions))

    async def dead(self, **conditions: Any) -> Page:
        """The dead letters, newest first; conditions as for `find`."""
        return await self.find(states=(State.DEAD,), **conditions)

    async def stats(self) -> Stats:
        """Counts by bot and day, and what the store says of itself."""
        return await self.store.stats()

    async def end(self, id: str, timeout: float | None = None, *, fresh: bool = False) -> End:
        """How the message ended, once it has. `fresh`: it was accepted this moment. Raises NotFound, DeliveryTimeout,
        StoreAway when Kurir is closed meanwhile."""
        return await self._waiting.end(id, timeout, fresh=fresh)

    @property
    def direct(self) -> Direct:
        """Calls that are answered and not stored: `get...`, and what is worth something now or never."""
        if self._direct is None:
            bots = self.settings.bots
            self._direct = Direct(
                {bot.id: bot.token for bot in bots},
                self._parts.transport or self._asking_pool(),
                self.clock,
                self._rng,
                self._hub.emit,
                at_once=self.settings.concurrency,
                tests={bot.id for bot in bots if bot.test},
            )
            self._hub.add(self._direct.hear)
        return self._direct

    async def open_file(self, bot: int, file_path: str) -> Download | NoReply:
        """Begin to download a file of `getFile`; the caller closes it. Raises UnknownBot, KurirError for a path that is
        none."""
        for known in self.settings.bots:
            if known.id == bot:
                return await self._asking_pool().stream(known.token, file_path, test=known.test)
        raise UnknownBot("bot", f"{bot} is not configured", "Give Kurir its token.")

    def _asking_pool(self) -> HttpTransport:
        if self._asking is None:
            self._asking = self._http(ASKING)
        return self._asking

    @property
    def couriers(self) -> Mapping[int, Courier]:
        """The couriers at work in this process, by bot."""
        return self._supervisor.couriers if self._supervisor is not None else {}

    async def retry(self, id: str) -> None:
        """Send a dead, cancelled or expired message again. Raises NotFound, WrongState."""
        await self._change(id, Requeue(), "is to be dead, cancelled or expired")

    async def cancel(self, id: str) -> None:
        """Cancel a waiting message. Raises NotFound, WrongState (also while it is being sent)."""
        await self._change(id, Cancel(), "is to be waiting, and not being sent at the moment")

    async def suppress(self, bot: int, chat: str, why: str) -> None:
        """Write to the chat no more; what waits for it ends dead. Lifted by `store.suppress(bot, chat, None, now)`, by
        `force`, by an update from the chat that passes the gateway, or by age."""
        await suppress(self.store, self.clock, self._hub.emit, bot, chat, why)

    async def change_all(self, change: Change, **conditions: Any) -> int:
        """Retry (`Requeue()`), cancel (`Cancel()`) or purge (`Purge()`) all that match; answers how many it was."""
        return await change_matching(self.store, self.clock, self._asked(conditions), change, self._hub.emit)

    async def prune(self, older_than: float) -> int:
        """Remove what ended more than `older_than` seconds ago, its idempotency keys, and the files only it needed;
        answers how many messages."""
        housekeeping = Housekeeping(
            self.store, self.clock, self.spool, Retention(older_than, self.settings.suppression)
        )
        return await housekeeping.prune(self.clock.now() - older_than)

    def _asked(self, conditions: dict[str, Any]) -> Query:
        return query(conditions, self.bots, self.clock.now())

    async def _change(self, id: str, change: Requeue | Cancel | Purge, needed: str) -> None:
        changed = await self.store.alter(Query(ids=(id,), limit=1), change, self.clock.now())
        if not changed:
            record = await self._waiting.get(id)
            raise WrongState(f"message {id} is {record.state}", f"It {needed}.")
        self._hub.emit(altered(changed, change, self.clock.now()))


def _message(method: str, params: Mapping[str, Any], treatment: dict[str, Any]) -> Message:
    try:
        return Message(method, params, **treatment)
    except TypeError:
        known = {f.name for f in fields(Message)}
        wrong = sorted(set(treatment) - known)[0]
        raise InvalidMessage(wrong, "is unknown", "Bot API parameters go into params.") from None


def _settings(settings: Settings | None, token: str | None, overrides: dict[str, Any]) -> Settings:
    s = load() if settings is None else settings
    limits = overrides.pop("pace", None)
    if token is not None:
        s = replace(s, bots=(make_bot("default", token),))
    if limits is not None:
        s = replace(s, bots=tuple(replace(b, limits=pace(limits, b.limits, "pace")) for b in s.bots))
    knobs = {knob.name: knob for knob in KNOBS}
    for name, value in overrides.items():
        if name not in Settings.__slots__:
            raise InvalidSetting(name, "is unknown", f"Known: {', '.join(Settings.__slots__)}.")
        if name in knobs and value != getattr(s, name):
            given = str(value) if isinstance(value, Path) else value
            parsed = knobs[name].parse(name, given)
            overrides[name] = value if isinstance(value, int | float) and name in DAYS else parsed
    return replace(s, **overrides) if overrides else s


def _spool(settings: Settings, store: Store) -> Spool | None:
    """The file spool: where the settings say, else beside the SQLite file."""
    if settings.files is not None:
        return Spool(settings.files)
    if isinstance(store, SqliteStore):
        return Spool(store.path.with_name(f"{store.path.name}.files"))
    return None


__all__ = ["Event", "Kurir", "NotFound", "Parts", "StoreAway", "open_store"]
