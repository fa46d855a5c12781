"""How the store's work is carried out: connections, insisting, the server's clock, and what is done beside the verbs."""

from __future__ import annotations

import asyncio
import contextlib
import secrets
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from itertools import count
from typing import Any, TypeVar

from kurir.core.errors import KurirError, StoreAway
from kurir.stores.breaker import Breaker
from kurir.stores.clock import ServerClock
from kurir.stores.commits import Commits

from .address import Address
from .connections import NOT_OPEN, Pool, Work
from .errors import Away
from .hints import Hints
from .schema import check_server, migrate, queries
from .searching import Searches
from .standing import Standing

T = TypeVar("T")

INSIST = 1.5  # seconds for which a verb is tried again by itself
PAUSE = 0.1  # seconds between two tries
AT_ONCE = 0.01  # the same, where somebody else's transaction was the cause
OPENING = 60.0  # seconds that migrations may take
FOLD_EVERY = 10.0  # seconds between two times that this handle adds up what was counted, while it writes
FOLD_ROWS = 20_000
TIDY_EVERY = 30  # folds between two at which old answers are removed
LEARN_EVERY = 20.0  # seconds between two looks at the server's clock


class Engine:
    """An open server. Whatever it carries out goes on to its end, even if the caller is cancelled."""

    def __init__(self, address: Address, pool: Pool, clock: ServerClock, *, version: int, whereabouts: str) -> None:
        self.address = address
        self.clock = clock
        self.commits = Commits()
        self.q: Mapping[str, str] = queries(address.schema)
        self.whereabouts = whereabouts  # which database it is
        self.standing = Standing(pool, self.q, address.schema, version)
        self.hints = Hints(pool, address.schema, secrets.token_hex(8), self.q)
        self._pool = pool
        self._searches = Searches(address, bounced=pool.bounced)
        self.breaker = Breaker(address.name)
        self._numbers = count(secrets.randbits(30) << 32)
        self._tasks: set[asyncio.Task[Any]] = set()
        self._learning = asyncio.get_running_loop().create_task(self._learn())
        self._fold_at = 0.0
        self._closing = False
        self._folds = 0
        self.hints.start()

    def number(self) -> int:
        """A number that no other request has."""
        return next(self._numbers)

    async def close(self) -> None:
        """Finish what was handed over; release everything."""
        self._closing = True
        while self._tasks:
            await asyncio.wait(list(self._tasks))
        self._learning.cancel()
        await self.hints.close()
        await self._searches.close()
        await self._pool.close()
        await asyncio.sleep(0)  # connections that were given up are closed in the next round of the loop

    # ---------------------------------------------------------------- work

    async def run(self, work: Work[T], *, limit: float | None = None) -> T:
        """Carry out `work(connection)`, which does no harm when done twice."""
        return await self.insist(lambda pool, repeated: pool.run(work, limit))

    async def last_word(self, work: Work[Any], seconds: float) -> None:
        """Carry out `work` if that can be done in so many seconds. Nobody hears whether it was."""
        with contextlib.suppress(Away, KurirError, TimeoutError):
            async with asyncio.timeout(seconds):
                await self._pool.run(work)

    async def insist(self, work: Callable[[Pool, bool], Awaitable[T]]) -> T:
        """`work(pool, repeated)`, again for a little while if the server is away; `repeated`: it may have been done."""
        return await self._shielded(self._passing(work))

    async def search(self, work: Work[T]) -> T:
        """Reading that may take long, but not too long. Holds up nothing else."""
        return await self.insist(lambda _, repeated: self._searches.run(work))

    async def admit(self, now: float | None) -> None:
        """What was submitted in other people's transactions, and is committed, takes its place among the rest."""

        async def work(db: Any) -> None:
            if await db.fetchval(self.q["has_arrivals"]):
                await db.execute(self.q["admit_all"], now)

        await self.run(work)

    def sql(self, sql: str) -> str:
        """`kurir.` stands for the schema."""
        return sql.replace("kurir.", f'"{self.address.schema}".')

    async def row(self, sql: str, *values: Any) -> Any:
        """The first row of the answer of one of our functions."""
        sql = self.sql(sql)
        return await self.run(lambda db: db.fetchrow(sql, *values))

    async def _shielded(self, work: Awaitable[T]) -> T:
        task = asyncio.ensure_future(work)
        self._tasks.add(task)
        task.add_done_callback(self._forget)
        return await asyncio.shield(task)

    def _forget(self, task: asyncio.Task[Any]) -> None:
        self._tasks.discard(task)
        if not task.cancelled():
            task.exception()  # a caller who left does not hear of it

    async def _passing(self, work: Callable[[Pool, bool], Awaitable[T]]) -> T:
        async with self.breaker.passing():
            end = time.monotonic() + INSIST
            repeated = False
            while True:
                try:
                    return await work(self._pool, repeated)
                except Away as away:
                    repeated = repeated or away.doubtful
                    if time.monotonic() > end:
                        raise away.error from None
                    await asyncio.sleep(AT_ONCE if away.again else PAUSE)

    # ---------------------------------------------------------------- beside the verbs

    def wrote(self, seconds: float) -> None:
        """A transaction of ours was committed; it took so long."""
        self.commits.took(seconds)
        self.hints.tell()
        if time.monotonic() >= self._fold_at:
            self._fold_at = time.monotonic() + FOLD_EVERY
            self._folds += 1
            self._in_background(self._fold(tidy=self._folds % TIDY_EVERY == 0))

    async def _fold(self, *, tidy: bool) -> None:
        """Until little is left, a step at a time."""
        sql = self.sql("SELECT kurir.fold($1::int4, $2)")
        folded = FOLD_ROWS
        with contextlib.suppress(Away, KurirError):  # the next one does it
            while folded == FOLD_ROWS and not self._closing:
                folded = await self._pool.run(lambda db: db.fetchval(sql, FOLD_ROWS, tidy))

    def _in_background(self, work: Awaitable[Any]) -> None:
        task = asyncio.ensure_future(work)
        self._tasks.add(task)
        task.add_done_callback(self._forget)

    async def _learn(self) -> None:
        while True:
            await asyncio.sleep(LEARN_EVERY)
            asked_at = self.clock.ticks()
            with contextlib.suppress(Away, KurirError):
                told = await self._pool.run(lambda db: db.fetchval(self.q["server_time"]))
                self.clock.learn(told, asked_at, self.clock.ticks())


async def start(address: Address, clock: ServerClock) -> Engine:
    """See what is there, and bring the schema up to date. Raises StoreError and its children, InvalidSetting."""
    pool = Pool(address, address.pool, longest=address.timeout)
    pool.bounced = True  # until we know better, nothing is taken for granted
    try:
        connection = await pool.connect()
        try:
            async with asyncio.timeout(OPENING):
                bounced, version, whereabouts = await _look_around(connection, address, clock)
        except Exception as error:
            raise pool.translated(error) from None
        finally:
            connection.terminate()
    except Away as away:
        raise away.error from None
    pool.bounced = bounced
    return Engine(address, pool, clock, version=version, whereabouts=whereabouts)


async def _look_around(connection: Any, address: Address, clock: ServerClock) -> tuple[bool, int, str]:
    """Whether a pooler is in between (it makes up process ids), the schema's version, and which database this is."""
    q = queries(address.schema)
    pids: Sequence[int] = [await connection.fetchval("SELECT pg_backend_pid()"), connection.get_server_pid()]
    check_server(await connection.fetchrow(q["server"]), address.name)
    version = await migrate(connection, address.schema)
    whereabouts = await connection.fetchval(q["whereabouts"])
    for _ in range(2):  # the second answer is quicker
        asked_at = clock.ticks()
        clock.learn(await connection.fetchval(q["server_time"]), asked_at, clock.ticks())
    return pids[0] != pids[1], version, whereabouts


def not_open(address: Address) -> StoreAway:
    return StoreAway(f"{address.name} is not open", NOT_OPEN)
