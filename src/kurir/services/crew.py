"""The couriers at work in this process, by bot: who is hired, prolonged, woken and let go."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from kurir.core.events import Crashed, Event, Leased, Unleased
from kurir.ports import Lease

from .courier import Courier


@dataclass(frozen=True, slots=True)
class _Job:
    courier: Courier
    token: int
    task: asyncio.Task[None]


class Crew:
    """`make` builds the courier of a bot."""

    def __init__(self, make: Callable[[int], Courier], emit: Callable[[Event], None]) -> None:
        self._make = make
        self._emit = emit
        self._jobs: dict[int, _Job] = {}

    @property
    def couriers(self) -> dict[int, Courier]:
        """The couriers at work, by bot."""
        return {bot: job.courier for bot, job in self._jobs.items()}

    def __contains__(self, bot: int) -> bool:
        return bot in self._jobs

    def start(self, lease: Lease) -> None:
        """A courier for a bot that has none."""
        courier = self._make(lease.bot)
        task = asyncio.create_task(courier.run(lease), name=f"kurir-courier-{lease.bot}")
        task.add_done_callback(self._ended)
        self._jobs[lease.bot] = _Job(courier, lease.token, task)
        self._emit(Leased(lease.bot, lease.token))

    def renew(self, lease: Lease) -> bool:
        """Whether a courier works under this lease; it is told of the new end."""
        job = self._jobs.get(lease.bot)
        if job is None or job.token != lease.token or job.task.done():
            return False
        job.courier.renew(lease)
        return True

    def failed(self, lease: Lease) -> bool:
        """Did a courier end under this very lease, by our own mistake?"""
        job = self._jobs.get(lease.bot)
        return job is not None and job.token == lease.token and job.task.done()

    def busy(self, bot: int, courier: Courier) -> bool:
        """The courier still works for the bot, and holds claims that are not settled."""
        job = self._jobs.get(bot)
        return job is not None and job.courier is courier and not job.task.done() and courier.in_flight > 0

    async def drop(self, bot: int, why: str) -> None:
        """End the bot's courier, if there is one, at once."""
        job = self._jobs.pop(bot, None)
        if job is None:
            return
        job.task.cancel()
        await asyncio.gather(job.task, return_exceptions=True)
        self._emit(Unleased(bot, why))

    def wake(self, bots: Iterable[int] | None = None) -> None:
        """There may be something to claim, for these bots or for any."""
        for bot in self._jobs if bots is None else bots:
            if bot in self._jobs:
                self._jobs[bot].courier.wake()

    def _ended(self, task: asyncio.Task[None]) -> None:
        if not task.cancelled() and (error := task.exception()) is not None:
            self._emit(Crashed(task.get_name(), f"{type(error).__name__}: {error}"))
