"""Every store answers as the memory store does: the same random steps, all answers compared."""

from __future__ import annotations

import asyncio
import shutil
import tempfile
from collections.abc import Awaitable, Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from kurir.core.errors import KurirError
from kurir.core.message import Accepted, Attempt, Claim, Draft, Record, State
from kurir.ports import (
    Cancel,
    Change,
    Claimed,
    Expire,
    LanePage,
    LaneQuery,
    Lease,
    Page,
    Purge,
    Query,
    Requeue,
    Roster,
    Settlement,
    Stats,
    Store,
)
from kurir.stores.memory import MemoryStore
from kurir.stores.sqlite import SqliteStore
from tests.contract.stores import STORES, Place, Places

from .shapes import BOTS, CHATS, FOREVER, HOLDERS, Fate, Shape, T, fates, looks, queries, selections, shapes, some


@contextmanager
def inline_sqlite(folder: Path) -> Iterator[Place]:
    """Answers at once; leases end by time alone."""
    yield lambda: SqliteStore(folder / "kurir.db", inline=True)


def plain(answer: Any) -> Any:
    """The answer without what is a store's own: order numbers, lane numbers, cursors."""
    match answer:
        case Claim():
            return replace(answer, seq=0, lane=0, file_ids=dict(answer.file_ids))
        case Accepted(id, _, True):
            return id  # its state now, or before this batch superseded it: not promised
        case Accepted():
            return replace(answer, seq=0)
        case Record():
            return replace(answer, seq=0, metadata=dict(answer.metadata) if answer.metadata else None)
        case Claimed(claims, next_at):
            return (tuple(map(plain, claims)), next_at)
        case Page(items, more) | LanePage(items, more):
            return (tuple(map(plain, items)), more is not None)
        case Stats(bots, days, _):
            return (bots, days)
        case KurirError():
            return (type(answer), answer.__dict__.get("key"), answer.__dict__.get("id"))
        case list() | tuple():
            return [plain(item) for item in answer]
        case _:
            return answer


class StoreMachine(RuleBasedStateMachine):
    """Drives the memory store and another, in step."""

    name: str
    other: Places

    def __init__(self) -> None:
        super().__init__()
        self.loop = asyncio.new_event_loop()
        self.folder = Path(tempfile.mkdtemp(prefix="kurir-machine-", dir=_ram()))
        self.places = ExitStack()
        other = self.places.enter_context(type(self).other(self.folder))()
        self.stores: list[tuple[str, Store]] = [("memory", MemoryStore()), (self.name, other)]
        self.now = T
        self.batches: list[list[Draft]] = []  # the last that were submitted
        self.last_id = 0
        self.agreed = True
        self.leases: dict[tuple[str, int], list[Lease]] = {}  # as each store gave it
        self.claims: list[list[Claim]] = []  # in flight or stale, as each store gave them

    # ------------------------------------------------------------ driving

    def ask(self, verb: Callable[[int, Store], Awaitable[Any]]) -> list[Any]:
        """The answers of all stores, equal but for what is their own."""
        answers = [self.loop.run_until_complete(_answer(verb(n, store))) for n, (_, store) in enumerate(self.stores)]
        expected = plain(answers[0])
        for (name, _), answer in zip(self.stores[1:], answers[1:], strict=True):
            self.agreed = plain(answer) == expected
            assert plain(answer) == expected, f"{name} differs from memory"
        return answers

    def draft(self, shape: Shape) -> Draft:
        self.last_id += 1
        return Draft(
            id=f"m{self.last_id}",
            bot=shape.bot,
            chat=shape.chat,
            method="sendMessage",
            params=b'{"n":%d}' % self.last_id,
            accepted_at=self.now,
            priority=shape.priority,
            files=shape.files,
            due_at=0.0 if shape.due is None else self.now + shape.due,
            expires_at=None if shape.expires is None else self.now + shape.expires,
            key=shape.key,
            digest=shape.digest if shape.key else None,
            target=shape.target,
            coalesce=shape.coalesce and shape.target is not None,
            metadata=shape.metadata or None,
            options=shape.options,
            force=shape.force,
        )

    def settlement(self, claim: Claim, fate: Fate, follow_ups: tuple[Draft, ...]) -> Settlement:
        final, (tries, doubts, crashes) = fate.state.final, fate.counters
        number = claim.attempts + 1
        outcome = "delivered" if fate.state is State.DELIVERED else "failed"
        attempt = Attempt(number, self.now - 0.25, 0.125, outcome, 200, f"call {number}") if fate.called else None
        return Settlement(
            claim,
            fate.state,
            attempt,
            None if fate.state is State.DELIVERED else f"why {number}",
            b'{"message_id":1}' if fate.called and fate.state is State.DELIVERED else None,
            due_at=0.0 if final else self.now + fate.due,
            later=fate.later and not final,
            chat_at=0.0 if fate.chat is None else self.now + fate.chat,
            tries=tries,
            doubts=doubts,
            crashes=crashes,
            suppress=fate.suppress,
            moved_to=fate.moved_to,
            file_ids=(("aa" * 32, "photo", fate.file_id),) if fate.file_id else (),
            follow_ups=follow_ups,
        )

    # ------------------------------------------------------------ steps

    @initialize()
    def begin(self) -> None:
        self.ask(lambda n, store: store.open())
        self.lease("left", BOTS, 1e6)

    @rule(seconds=some((0.5, 1.0, 7.0, 60.0, 4000.0)))
    def time_passes(self, seconds: float) -> None:
        self.now += seconds

    @rule(batch=st.lists(shapes, min_size=1, max_size=6))
    def submit(self, batch: list[Shape]) -> None:
        drafts = [self.draft(shape) for shape in batch]
        self.batches = [*self.batches[-9:], drafts]
        self.hand_over(drafts)

    @precondition(lambda self: self.batches)
    @rule(data=st.data(), more=st.lists(shapes, max_size=2))
    def submit_again(self, data: st.DataObject, more: list[Shape]) -> None:
        """The answer to some had been lost."""
        known = data.draw(some(self.batches), label="batch")
        self.hand_over([*known, *map(self.draft, more)], frozenset(draft.id for draft in known))

    def hand_over(self, drafts: list[Draft], known: frozenset[str] = frozenset()) -> None:
        """Of those `known` the state is told as it is now, or as it was before this batch superseded them."""

        async def submit(store: Store) -> list[Accepted]:
            accepted = await store.submit(drafts, self.now)
            return [replace(a, state=State.WAITING) if a.id in known else a for a in accepted]

        answers = self.ask(lambda n, store: submit(store))
        if not isinstance(answers[0], KurirError):
            seqs = [tuple(accepted.seq for accepted in answer) for answer in answers]
            pages = self.ask(lambda n, store: store.find(Query(seqs=seqs[n], limit=1000)))
            assert {record.id for record in pages[0].items} == {accepted.id for accepted in answers[0]}

    @rule(holder=some(HOLDERS), bots=some((BOTS, (1,), (2,))), seconds=some((-1.0, 30.0, 1e4, 1e6)))
    def lease(self, holder: str, bots: tuple[int, ...], seconds: float) -> None:
        answers = self.ask(lambda n, store: store.lease(holder, bots, self.now + seconds, self.now))
        for leases in zip(*answers, strict=True):
            self.leases[holder, leases[0].bot] = list(leases)

    @rule(holder=some(HOLDERS), bots=some((BOTS, (1,), ())), seconds=some((-1.0, 30.0, 1e4)))
    def attend(self, holder: str, bots: tuple[int, ...], seconds: float) -> None:
        self.ask(lambda n, store: roster(store).attend(holder, bots, self.now + seconds, self.now))

    @rule(who=st.tuples(some(HOLDERS), some(BOTS)), limit=st.integers(0, 5), low=st.integers(0, 3))
    def claim(self, who: tuple[str, int], limit: int, low: int) -> None:
        if leases := self.leases.get(who):
            answers = self.ask(lambda n, store: store.claim(leases[n], self.now, limit, low))
            self.claims += map(list, zip(*(answer.claims for answer in answers), strict=True))

    @rule(who=st.tuples(some(HOLDERS), some(BOTS)), suspects=some((False, False, True)))
    def adopt(self, who: tuple[str, int], suspects: bool) -> None:
        if leases := self.leases.get(who):
            answers = self.ask(lambda n, store: _by_id(store.adopt(leases[n], 1000, suspects)))
            self.claims += map(list, zip(*answers, strict=True))

    @rule(bot=some((1, 1, 2)), limit=st.integers(1, 4), given=st.lists(fates, min_size=1, max_size=4))
    def work(self, bot: int, limit: int, given: list[Fate]) -> None:
        """What a courier does all day: claim and settle, some of it badly."""
        if leases := self.leases.get(("left", bot)):
            self.now += 0.5
            answers = self.ask(lambda n, store: store.claim(leases[n], self.now, limit, 1))
            claims = list(zip(*(answer.claims for answer in answers), strict=True))
            chosen = [
                (mine, fate, (self.draft(fate.follow_up),) if fate.follow_up else ())
                for mine, fate in zip(claims, given, strict=False)
            ]
            self.claims += map(list, claims[len(chosen) :])
            self.ask(
                lambda n, store: store.settle([self.settlement(c[n], fate, more) for c, fate, more in chosen], self.now)
            )

    @precondition(lambda self: self.claims)
    @rule(
        data=st.data(),
        given=st.lists(fates, min_size=1, max_size=3),
        keep=some((False, False, True)),
        twice=some((False, False, True)),
    )
    def settle(self, data: st.DataObject, given: list[Fate], keep: bool, twice: bool) -> None:
        chosen = []
        for fate in given:
            if self.claims:
                index = data.draw(st.integers(0, len(self.claims) - 1), label="claim")
                follow_ups = (self.draft(fate.follow_up),) if fate.follow_up else ()
                chosen.append((self.claims.pop(index), fate, follow_ups))
        if keep:  # to be settled again, too late
            self.claims += [claims for claims, _, _ in chosen]
        if twice:  # the first counts
            chosen.append((chosen[0][0], given[-1], ()))
        self.ask(
            lambda n, store: store.settle([self.settlement(c[n], fate, more) for c, fate, more in chosen], self.now)
        )

    @rule(query=st.one_of(selections, queries), change=some((Cancel(), Expire(), Requeue(), Requeue(), Purge())))
    def alter(self, query: Query, change: Change) -> None:
        self.ask(lambda n, store: store.alter(query, change, self.now))

    @rule(
        bot=some(BOTS),
        chat=some((None, *CHATS)),
        seconds=some((None, 5.0, FOREVER)),
        why=some((None, "opted out")),
        steer=st.booleans(),
        extend=st.booleans(),
    )
    def disturb(
        self, bot: int, chat: str | None, seconds: float | None, why: str | None, steer: bool, extend: bool
    ) -> None:
        """Pause or resume a bot or a chat; suppress a chat or lift that."""
        until = 0.0 if seconds is None else self.now + seconds
        if steer or chat is None:
            self.ask(lambda n, store: store.steer(bot, chat=chat, until=until, reason="told", extend=extend))
        else:
            self.ask(lambda n, store: store.suppress(bot, chat, why, self.now))

    @rule(age=some((0.0, 50.0)), limit=some((1, 3, 1000)), lift=some((None, None, 0.0, 5.0)))
    def prune(self, age: float, limit: int, lift: float | None) -> None:
        lift_before = 0.0 if lift is None else self.now - lift
        self.ask(lambda n, store: store.prune(self.now - age, self.now, limit, lift_before))

    @rule(query=queries)
    def find(self, query: Query) -> None:
        cursors: list[str | None] = [None] * len(self.stores)
        more = True
        while more:
            after = tuple(cursors)
            pages = self.ask(lambda n, store, after=after: store.find(replace(query, cursor=after[n])))
            cursors = [page.next for page in pages]
            more = cursors[0] is not None

    @rule(query=looks)
    def look_at_lanes(self, query: LaneQuery) -> None:
        cursors: list[str | None] = [None] * len(self.stores)
        more = True
        while more:
            after = tuple(cursors)
            pages = self.ask(lambda n, store, after=after: store.lanes(replace(query, cursor=after[n])))
            cursors = [page.next for page in pages]
            more = cursors[0] is not None

    @invariant()
    def everything_reads_the_same(self) -> None:
        if self.last_id:
            self.ask(lambda n, store: store.stats())
            self.ask(lambda n, store: store.find(Query(limit=1000, with_attempts=True)))
            self.ask(lambda n, store: store.lanes(LaneQuery()))

    def drain(self) -> None:
        """In the end everything is delivered, by a new courier, in one order."""
        self.now += 1e5
        for holder in HOLDERS:
            self.ask(lambda n, store, holder=holder: store.lease(holder, BOTS, 0.0, self.now))
        for bot in BOTS:
            self.ask(lambda n, store, bot=bot: store.steer(bot, until=0.0))
            for chat in CHATS:
                self.ask(lambda n, store, bot=bot, chat=chat: store.steer(bot, chat=chat, until=0.0))
            self.lease("last", (bot,), 1e6)
            leases = self.leases["last", bot]
            while True:
                self.now += 1.0
                adopted = self.ask(lambda n, store, leases=leases: _by_id(store.adopt(leases[n], 1000)))
                claimed = self.ask(lambda n, store, leases=leases: store.claim(leases[n], self.now, 1))
                sent = [[*a, *c.claims] for a, c in zip(adopted, claimed, strict=True)]
                if not sent[0]:
                    break
                self.ask(
                    lambda n, store, sent=sent: store.settle(
                        [Settlement(claim, State.DELIVERED) for claim in sent[n]], self.now
                    )
                )

    def teardown(self) -> None:
        try:
            if self.last_id and self.agreed:
                self.drain()
        finally:
            self.end()

    def end(self) -> None:
        for _, store in self.stores:
            self.loop.run_until_complete(store.close())
        self.loop.close()
        self.places.close()
        shutil.rmtree(self.folder)


def _ram() -> str | None:
    """Flushing to a real disk proves nothing here and takes long."""
    return "/dev/shm" if Path("/dev/shm").is_dir() else None


def roster(store: Store) -> Roster:
    assert isinstance(store, Roster)
    return store


async def _by_id(claims: Awaitable[list[Claim]]) -> list[Claim]:
    """Claims adopted come in no order that is promised."""
    return sorted(await claims, key=lambda claim: claim.id)


async def _answer(verb: Awaitable[Any]) -> Any:
    try:
        return await verb
    except KurirError as error:
        return error


def machine(store: str, place: Places, examples: int) -> type[RuleBasedStateMachine.TestCase]:
    made = type(f"{store.title()}Machine", (StoreMachine,), {"name": store, "other": staticmethod(place)})
    made.TestCase.settings = settings(
        max_examples=examples,
        stateful_step_count=60,
        deadline=None,
        suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large, HealthCheck.filter_too_much],
    )
    return made.TestCase


TestSqlite = machine("sqlite", inline_sqlite, 150)
TestPostgres = machine("postgres", STORES["postgres"], 25)
TestRedis = machine("redis", STORES["redis"], 40)
