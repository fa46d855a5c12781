"""Which processes send."""

from __future__ import annotations

from collections.abc import Sequence

from kurir.ports import Worker


class Workers:
    """Those alive, as of the last `attend`."""

    def __init__(self) -> None:
        self._by_holder: dict[str, Worker] = {}

    def attend(self, holder: str, bots: Sequence[int], until: float, now: float) -> bool:
        """See `ports.Roster.attend`. Answers whether anything but the times changed."""
        before = {worker.holder: worker.bots for worker in self._by_holder.values()}
        self._by_holder[holder] = Worker(holder, until, tuple(bots))
        self._by_holder = {name: worker for name, worker in self._by_holder.items() if worker.until > now}
        return before != {worker.holder: worker.bots for worker in self._by_holder.values()}

    @property
    def alive(self) -> tuple[Worker, ...]:
        return tuple(worker for _, worker in sorted(self._by_holder.items()))
