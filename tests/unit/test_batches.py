"""Group commit: a lane keeps its order, and nobody waits behind another lane's trouble."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from kurir.stores.batches import Batches

Work = tuple[str, int]  # lane, number


class Server:
    """What lane "held" asks for is answered when the gate opens."""

    def __init__(self) -> None:
        self.gate = asyncio.Event()
        self.done: list[Work] = []
        self.batches: Batches[Work, Work] = Batches(self._carry_out, 1000)

    async def _carry_out(self, works: Sequence[Work]) -> Sequence[Work]:
        await asyncio.sleep(0)
        if any(lane == "held" for lane, _ in works):
            await self.gate.wait()
        self.done.extend(works)
        return works

    def ask(self, lane: str, number: int) -> asyncio.Task[Work]:
        return asyncio.ensure_future(self.batches.run((lane, number), 1, frozenset({lane})))


async def test_a_job_passes_those_that_wait_for_a_lane_of_a_batch_under_way() -> None:
    server = Server()
    held = [server.ask("held", 0)]
    await asyncio.sleep(0.01)
    held += [server.ask("held", number) for number in range(1, 20)]
    free = [server.ask("free", number) for number in range(20)]
    async with asyncio.timeout(5):
        await asyncio.gather(*free)
        assert not any(job.done() for job in held)
        server.gate.set()
        await asyncio.gather(*held)
    for lane in ("held", "free"):
        assert [number for its, number in server.done if its == lane] == list(range(20))


async def test_ten_thousand_jobs_that_wait_for_one_lane_keep_their_order() -> None:
    server = Server()
    jobs = [server.ask("held", 0)]
    await asyncio.sleep(0.01)
    jobs += [server.ask("held", number) for number in range(1, 10_000)]
    await asyncio.sleep(0)
    server.gate.set()
    await asyncio.gather(*jobs)
    assert [number for _, number in server.done] == list(range(10_000))
