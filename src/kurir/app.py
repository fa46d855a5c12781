"""The composition root: the one place that knows the concrete classes. `Kurir` is the library's face."""

from __future__ import annotations

import contextlib
import os
import random
import secrets
import socket
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Self, cast, overload

from .conditions import query
from .conveniences import Conveniences
from .core.errors import InvalidSetting, NotFound, StoreAway, StoreError, UnknownBot, WrongState
from .core.events import Event
from .core.message import Draft, Record, State
from .core.outcome import NoReply
from .core.pace import Pace
from .delivery import Delivery
from .message import Message, gathered
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
    TimeKeeper,
    Transport,
)
from .services.courier import Courier
from .services.direct import Direct
from .services.filing import file_spool
from .services.housekeeping import Housekeeping, Retention
from .services.leftovers import Leftovers, folders_of
from .services.loops import Loops
from .services.matching import altered, change_matching
from .services.opened import Opened
from .services.receipts import End, Receipt, Waiting
from .services.spooling import Spooling, journal_of
from .services.supervisor import Supervisor
from .services.suppression import suppress
from .services.tools import Tools
from .settings import Settings, chosen
from .stores.journal import Journal
from .stores.urls import open_store
from .telegram.download import Download
from .telegram.transport import HttpTransport

ASKING = 2000  # connections for calls that are not stored; most are long polls
GRACE = 8.0  # seconds that calls in flight get at a clean stop; a second later all that is to be kept is on a disk


@dataclass(frozen=True, slots=True)
class Parts:
    """What tests and simulations replace."""

    transport: Transport | None = None
    clock: Clock | None = None
    rng: random.Random | None = None
    holder: str | None = None
    journal: Journal | None = None
    listeners: tuple[Listener, ...] = ()


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
        self.settings = chosen(settings, token, overrides)
        if courier and not self.settings.bots:
            raise InvalidSetting("KURIR_BOT_TOKEN", "is not set", "Set it, or pass token=...; @BotFather gives one.")
        url = self.settings.store if store is None else store
        self.store: Store = open_store(url) if isinstance(url, str) else url
        self.clock: Clock = parts.clock or (self.store.clock if isinstance(self.store, TimeKeeper) else SystemClock())
        self._rng = parts.rng or random.Random(secrets.randbits(256))
        self._parts = parts
        self._hub = Hub(parts.listeners, texts=self.settings.log_texts)
        self._with_courier = courier
        self._loops = Loops(self.clock, self._hub.emit, self._rng)
        self._asked_store = cast("Store", Opened(self.store, lambda: self.away))
        self.spool = file_spool(self.settings.files, self.store, self.clock, url)
        journal = parts.journal or journal_of(self.settings.spool, self.settings.spool_mb, self.store)
        self.spooling: Spooling | None = None
        if journal is not None:
            self.spooling = Spooling(journal, self._asked_store, self.clock, self._rng, self._hub.emit, self.spool)
        places = folders_of(None if self.spooling is None else self.spooling.folder, self.spool)
        self._leftovers = Leftovers(places, self.store, self.clock, self._hub.emit)
        detour = self.spooling.detour if self.spooling is not None else None
        self._waiting = Waiting(detour or self._asked_store, self.clock, elsewhere=not courier)
        self._hub.add(self._waiting.hear)
        self.bots = Bots({bot.name: bot.id for bot in self.settings.bots})
        self._outbox = Outbox(
            self._asked_store,
            self.bots,
            self.clock,
            rng=self._rng,
            spool=self.spool,
            emit=self._hub.emit,
            local=self.settings.local_server,
            soon=self._soon,
            take=detour.submit if detour is not None else None,
        )
        self._transport: Transport | None = None
        self._asking: HttpTransport | None = None  # for what is not stored: long polls take no delivery's connection
        self._direct: Direct | None = None
        self._supervisor: Supervisor | None = None
        self._tasks = self._loops.tasks

    # ---------------------------------------------------------------- life

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def start(self, *, patient: bool = False) -> None:
        """Open the store and, with a courier, begin to send. Raises StoreError; if `patient`, or with a spool, a store that
        is away is opened as soon as it is there."""
        s = self.settings
        if self._with_courier:  # before the store is open: its arguments may be wrong
            self._transport = self._parts.transport or self._http(s.concurrency * max(1, len(s.bots)))
        if self.spooling is not None:
            await self.spooling.open()
            self._loops.run("kurir-spool", self.spooling.run)
        try:
            await self._loops.open(self.store, patient=patient or self.spooling is not None)
        except BaseException:
            await self._end_loops()
            raise
        self._waiting.open()
        if not self._with_courier:
            return
        holder = self._parts.holder or f"{socket.gethostname()}:{os.getpid()}:{secrets.token_hex(4)}"
        tools = Tools(self.store, self.clock, self._hub.emit, s.concurrency, random.Random(holder))
        self._supervisor = Supervisor([bot.id for bot in s.bots], self._courier(tools), tools, holder, self._leftovers)
        self._hub.add(self._supervisor.hear)
        retention = Retention(s.history, s.suppression)
        housekeeping = Housekeeping(self.store, self.clock, self.spool, retention, self._hub.emit)
        self._loops.run("kurir-supervisor", self._supervisor.run)
        self._loops.run("kurir-housekeeping", housekeeping.run)

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
        """Stop cleanly: what is in flight gets `grace` seconds, the rest is handed back; everything accepted is kept. All is
        closed, too, where this is cancelled or something fails."""
        try:
            if self._supervisor is not None:
                await self._supervisor.stop(grace)
        finally:
            await self._close_all()

    async def _close_all(self) -> None:
        """From the last line to the first, whatever fails."""
        async with contextlib.AsyncExitStack() as ends:
            ends.push_async_callback(self.store.close)
            if self.spool is not None:
                ends.push_async_callback(self.spool.close)
            if self._transport is not None and self._parts.transport is None:
                ends.push_async_callback(self._transport.close)
            if self._asking is not None:
                ends.push_async_callback(self._asking.close)
            if self._direct is not None:
                ends.push_async_callback(self._direct.close)
            ends.callback(self._waiting.close)
            ends.push_async_callback(self._end_loops)

    async def _end_loops(self) -> None:
        await self._loops.end()
        if self.spooling is not None:
            await self.spooling.close()

    def listen(self, listener: Listener) -> None:
        """Hear every event from now on. A listener must not block."""
        self._hub.add(listener)

    # ---------------------------------------------------------------- the way in

    @overload
    async def submit(self, what: Message, /, *, connection: Any = None, spool: bool = True) -> Receipt: ...
    @overload
    async def submit(
        self, what: str, params: Mapping[str, Any], /, *, connection: Any = None, spool: bool = True, **treatment: Any
    ) -> Receipt: ...
    @overload
    async def submit(
        self, what: Sequence[Message], /, *, connection: Any = None, spool: bool = True
    ) -> list[Receipt]: ...

    async def submit(
        self,
        what: Message | str | Sequence[Message],
        params: Mapping[str, Any] | None = None,
        /,
        *,
        connection: Any = None,
        spool: bool = True,
        **treatment: Any,
    ) -> Receipt | list[Receipt]:
        """Hand over one message (a `Message`, or a method and its parameters) or a list of them, all or none.

        When it returns, they are durable. Raises InvalidMessage, UnknownBot, KeyConflict, StoreError; then nothing is kept.

        `spool` False: not into this machine's spool, if it has one: raises StoreAway while the store is away.
        `connection`: one to the store's own database with a transaction of the caller's, which is joined: they are durable
        when it commits, and never were if it does not.
        """
        messages, many = gathered(what, params, treatment)
        if connection is None:
            accepted = await self._outbox.submit(messages, spool=spool)
        else:
            accepted = await self._outbox.submit_within(connection, messages)
        receipts = [Receipt(one, self._waiting, joined=connection is not None) for one in accepted]
        return receipts if many else receipts[0]

    async def prepare(
        self, what: Message | str | Sequence[Message], params: Mapping[str, Any] | None = None, /, **treatment: Any
    ) -> tuple[list[Draft], bool]:
        """What `submit` would store, with its files kept already, and whether it is a list: for `submit_prepared`."""
        self._outbox.joining()
        messages, many = gathered(what, params, treatment)
        return await self._outbox.prepare(messages, joined=True), many

    def submit_prepared(self, connection: Any, drafts: Sequence[Draft]) -> list[Receipt]:
        """The other half of a `submit` with a `connection` that blocks, in whatever thread the connection lives in."""
        store = self._outbox.joining()
        accepted = store.submit_within_sync(connection, drafts, drafts[0].accepted_at) if drafts else []
        return [Receipt(one, self._waiting, joined=True) for one in accepted]

    # ---------------------------------------------------------------- looking and steering

    async def get(self, id: str) -> Record:
        """The message with its attempts. Raises NotFound."""
        return await self._waiting.get(id, with_attempts=True)

    async def find(self, **conditions: Any) -> Page:
        """The messages that match: `states`, `chat`, `since`, `metadata={...}`, `limit`, ... (see `ports.Query`)."""
        return await self._waiting.find(self._asked(conditions))

    async def dead(self, **conditions: Any) -> Page:
        """The dead letters, newest first; conditions as for `find`."""
        return await self.find(states=(State.DEAD,), **conditions)

    async def stats(self) -> Stats:
        """Counts by bot and day, and what the store says of itself."""
        return await self._asked_store.stats()

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
    def away(self) -> StoreError | None:
        """Why the store could not be opened yet; None: it is open."""
        return self._loops.away

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
        await suppress(self._asked_store, self.clock, self._hub.emit, bot, chat, why)

    async def change_all(self, change: Change, **conditions: Any) -> int:
        """Retry (`Requeue()`), cancel (`Cancel()`) or purge (`Purge()`) all that match; answers how many it was."""
        return await change_matching(self._asked_store, self.clock, self._asked(conditions), change, self._hub.emit)

    async def prune(self, older_than: float) -> int:
        """Remove what ended more than `older_than` seconds ago, its idempotency keys, and the files only it needed;
        answers how many messages."""
        housekeeping = Housekeeping(
            self._asked_store, self.clock, self.spool, Retention(older_than, self.settings.suppression)
        )
        return await housekeeping.prune(self.clock.now() - older_than)

    def _asked(self, conditions: dict[str, Any]) -> Query:
        return query(conditions, self.bots, self.clock.now())

    async def _change(self, id: str, change: Requeue | Cancel | Purge, needed: str) -> None:
        if self.spooling is not None:
            await self.spooling.check_in_journal(id)
        changed = await self._asked_store.alter(Query(ids=(id,), limit=1), change, self.clock.now())
        if not changed:
            record = await self._waiting.get(id)
            raise WrongState(f"message {id} is {record.state}", f"It {needed}.")
        self._hub.emit(altered(changed, change, self.clock.now()))


__all__ = ["Event", "Kurir", "NotFound", "Parts", "StoreAway", "open_store"]
