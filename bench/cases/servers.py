"""What is measured on PostgreSQL and on Redis alike: the way in and the way out beside other queues on the same server, and
what a claim costs when much waits."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Coroutine, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

import uvloop

from bench.queues import Mode, Peer
from bench.report import Figure, Target
from bench.rounds import Contestant, compared, take_turns
from bench.servers import Database
from bench.upstream import upstream
from bench.world import CHATS, Ends, Run, batches, fill, make_kurir_on
from kurir import Kurir
from kurir.ports import Store
from kurir.stores.urls import open_store

from .claim import both, claim_figure
from .drain import until_settled
from .submit import BATCH, SUBMITTERS, at_once, handed_over, in_batches, in_turn

ROUNDS = 3  # each has all the peers
PER_CHAT = 10  # messages waiting in each chat of the backlogs
TARGET_BATCH = Target("value", 20_000)
TARGET_BACKLOG = Target("ratio", 1.3, most=True)

Floor = Callable[[str, int], Coroutine[Any, Any, float]]
Work = Callable[[Kurir], Awaitable[None]]


@dataclass(frozen=True, slots=True)
class Contest:
    """Kurir and other queues on one server. `better`: how many times the best of them Kurir is hoped to be; `floor`: the
    least that one message costs, by its name."""

    run: Run
    server: Database
    peers: Sequence[Peer]
    better: float
    floor: tuple[str, Floor]

    def figures(self) -> list[Figure]:
        return [*self._one(), *self._hundred(), *self._batches(), *self._drain()]

    def _one(self) -> list[Figure]:
        count = self.run.size(1_500, 200)
        name, floor = self.floor
        measured = self._measured(
            "one",
            {
                "Kurir": lambda: self._submitted(lambda kurir: in_turn(kurir, count), count),
                name: lambda: self._with_fresh(lambda url: uvloop.run(floor(url, count))),
            },
        )
        return [
            *self._beside_best("submit one by one", measured, name),
            compared(f"{self.server.name}: the same, beside what one flush allows", "/s", measured, "Kurir", name),
        ]

    def _hundred(self) -> list[Figure]:
        count = self.run.size(15_000, 2_000)
        measured = self._measured(
            "hundred", {"Kurir": lambda: self._submitted(lambda kurir: at_once(kurir, count), count)}
        )
        return self._beside_best(f"submit, {SUBMITTERS} at once", measured)

    def _batches(self) -> list[Figure]:
        count = self.run.size(40_000, 5_000)
        messages = list(batches(count, BATCH))
        measured = self._measured(
            "bulk", {"Kurir": lambda: self._submitted(lambda kurir: in_batches(kurir, messages), count)}
        )
        return self._beside_best(f"submit, batches of {BATCH}", measured, target=TARGET_BATCH)

    def _drain(self) -> list[Figure]:
        count = self.run.size(10_000, 2_000)
        with upstream() as telegram:
            measured = self._measured("drain", {"Kurir": lambda: self._drained(telegram.url, count)})
        return self._beside_best("drain (Kurir over HTTP, the others no-ops)", measured)

    # ------------------------------------------------------------ contestants

    def _measured(self, mode: Mode, ours: Mapping[str, Contestant]) -> dict[str, list[float]]:
        theirs = {peer.name: self._peer(peer, mode) for peer in self.peers if peer.installed and peer.count(mode)}
        return take_turns(ROUNDS, {**ours, **theirs}, lambda at: self.run.say(f"{mode}, {at}"))

    def _peer(self, peer: Peer, mode: Mode) -> Contestant:
        count = self.run.size(peer.count(mode), max(100, peer.count(mode) // 8))
        return lambda: self._with_fresh(lambda url: peer.measure(url, mode, count))

    def _with_fresh(self, measure: Callable[[str], float]) -> float:
        with self.server.fresh() as url:
            return measure(url)

    def _submitted(self, work: Work, count: int) -> float:
        with self.run.folder() as folder, self.server.fresh() as url:
            return uvloop.run(handed_over(make_kurir_on(url, folder / "files"), work, count))

    def _drained(self, telegram: str, count: int) -> float:
        with self.run.folder() as folder, self.server.fresh() as url:
            uvloop.run(filled(url, count, CHATS))
            self.server.settle()

            def make(ends: Ends) -> Kurir:
                return make_kurir_on(url, folder / "files", courier=True, url=telegram, listeners=(ends,))

            return count / uvloop.run(until_settled(make, count)).wall

    # ------------------------------------------------------------ figures

    def _beside_best(
        self, what: str, measured: Mapping[str, Sequence[float]], *floors: str, target: Target | None = None
    ) -> list[Figure]:
        """Kurir, the best peer beside it, and how fast the others are."""
        name = f"{self.server.name}: {what}"
        peers = {peer: median(rates) for peer, rates in measured.items() if peer not in ("Kurir", *floors)}
        missing = [peer.name for peer in self.peers if not peer.installed]
        notes = [", ".join(f"{peer} {rate:,.0f}/s" for peer, rate in peers.items())] if peers else []
        if missing:
            notes.append(f"{', '.join(missing)}: not installed (python -m bench --install-peers)")
        target = target or Target("ratio", self.better)
        if not peers:
            ours = measured["Kurir"]
            return [Figure(name, median(ours), "/s", target=target, note="; ".join(notes), rounds=tuple(ours))]
        best = max(peers, key=lambda peer: peers[peer])
        return [compared(name, "/s", measured, "Kurir", best, target, "; ".join(notes))]


# ---------------------------------------------------------------- stores


async def filled(url: str, count: int, chats: int) -> None:
    """Let `count` messages wait in a store that is closed again."""
    store = open_store(url)
    await store.open()
    try:
        await fill(store, count, chats)
    finally:
        await store.close()


def claims(run: Run, server: Database) -> Figure:
    """A large backlog beside a small one on the same server, claimed from in turn."""
    many, few = run.size(1_000_000, 50_000), run.size(10_000, 5_000)

    with ExitStack() as databases:

        def backlog(count: int) -> Callable[[Run, Path], Awaitable[Store]]:
            url = databases.enter_context(server.fresh())

            async def prepare(run: Run, _: Path) -> Store:
                store = open_store(url)
                await store.open()
                run.say(f"accepting {count:,} messages on {server.name}")
                await fill(store, count, count // PER_CHAT)
                server.settle()
                run.say(f"claiming on {server.name}")
                return store

            return prepare

        measured = both(run, backlog(many), backlog(few), run.size(150, 60))
    return claim_figure(f"claim at {many:,} waiting", f"at {few:,}", measured, TARGET_BACKLOG, server.name)
