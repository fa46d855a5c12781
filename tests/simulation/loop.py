"""An event loop for simulations: virtual time, and nothing that differs from run to run.

Tasks hash by their number, so a set of tasks has the same order in every run; nothing touches a socket. A task belongs to
the process in whose context it was created.
"""

from __future__ import annotations

import asyncio
import contextvars
import itertools
from collections.abc import Callable, Coroutine
from typing import Any, Protocol, TypeVar

from tests.virtual import Deadlock, VirtualLoop

T = TypeVar("T")


class Owner(Protocol):
    """Whoever wants to know of its tasks."""

    def adopt(self, task: SimTask) -> None: ...


owner: contextvars.ContextVar[Owner | None] = contextvars.ContextVar("owner", default=None)


class SimTask(asyncio.Task):  # type: ignore[type-arg]
    """A task with a number."""

    def __init__(self, coro: Any, *, loop: Any, number: int, context: Any = None) -> None:
        self._number = number
        super().__init__(coro, loop=loop, context=context)

    def __hash__(self) -> int:
        return self._number

    def __eq__(self, other: object) -> bool:
        return self is other


class SimLoop(VirtualLoop):
    """Single-threaded: `call_soon_threadsafe` is `call_soon`."""

    def __init__(self) -> None:
        super().__init__()
        self._numbers = itertools.count(1)
        self._selector.select = self._no_select  # type: ignore[attr-defined]
        self.set_task_factory(self._task)

    def _no_select(self, timeout: float | None = None) -> list[Any]:
        if timeout is None:
            raise Deadlock("every task waits, and no timer is set")
        if timeout > 0:
            self.jump(timeout)
        return []

    def _write_to_self(self) -> None:
        """Nobody waits in `select`."""

    def _task(self, loop: Any, coro: Any, context: Any = None) -> SimTask:
        task = SimTask(coro, loop=loop, number=next(self._numbers), context=context)
        if (mine := owner.get()) is not None:
            mine.adopt(task)
        return task


def outside(coro: Coroutine[Any, Any, T], who: Owner | None = None) -> asyncio.Task[T]:
    """A task that belongs to `who`, whoever creates it."""
    context = contextvars.copy_context()
    context.run(owner.set, who)
    return context.run(asyncio.get_running_loop().create_task, coro)


def run(main: Callable[[], Coroutine[Any, Any, T]]) -> T:
    """Run to the end in virtual time."""
    with asyncio.Runner(loop_factory=SimLoop) as runner:
        return runner.run(main())
