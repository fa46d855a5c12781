"""A blocking face for Django, Flask, Celery and scripts: one thread runs the event loop, every call goes through it."""

from __future__ import annotations

import asyncio
import atexit
import os
import threading
import time
import weakref
from collections.abc import Awaitable, Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import replace
from typing import Any, Self, TypeVar

from .app import Kurir
from .conveniences import Conveniences
from .core.errors import StoreAway
from .core.message import Record, State
from .ports import Listener
from .services.receipts import Receipt

T = TypeVar("T")

PATIENCE = 30.0  # seconds that closing waits for calls of other threads
OWN = ("start", "close", "listen")  # methods of `Kurir` that are not simply passed on


class _Threads(ThreadPoolExecutor):
    """Works to the very end: the standard one refuses once the interpreter begins to shut down, before `atexit`."""

    def submit(self, fn: Callable[..., T], /, *args: Any, **kwargs: Any) -> Future[T]:
        try:
            return super().submit(fn, *args, **kwargs)
        except RuntimeError:
            done: Future[T] = Future()
            try:
                done.set_result(fn(*args, **kwargs))
            except Exception as error:
                done.set_exception(error)
            return done


class Portal:
    """A thread with an event loop. `call` runs something there and waits for it."""

    def __init__(self) -> None:
        self._loop = asyncio.new_event_loop()
        self._threads = _Threads(thread_name_prefix="kurir-portal")
        self._loop.set_default_executor(self._threads)
        self._thread = threading.Thread(target=self._loop.run_forever, name="kurir-portal", daemon=True)
        self._thread.start()

    def call(self, make: Callable[[], Awaitable[T]]) -> T:
        """`make()` in the portal's thread. A KeyboardInterrupt abandons the wait, not the work."""
        answer: Future[T] = asyncio.run_coroutine_threadsafe(_run(make), self._loop)
        return answer.result()

    def close(self) -> None:
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._threads.shutdown()
        self._loop.close()


async def _run(make: Callable[[], Awaitable[T]]) -> T:
    return await make()


class _Drafting(Conveniences):
    """The ways of `Kurir` to submit, as far as they need no connection: drafts, and whether they are a list."""

    def __init__(self, kurir: Kurir) -> None:
        self._kurir = kurir

    async def submit(self, *args: Any, connection: None = None, spool: bool = False, **treatment: Any) -> Any:
        return await self._kurir.prepare(*args, **treatment)


class BlockingReceipt:
    """A `Receipt` whose waits block."""

    def __init__(self, receipt: Receipt, kurir: BlockingKurir) -> None:
        self._receipt = receipt
        self._kurir = kurir

    @property
    def id(self) -> str:
        return self._receipt.id

    @property
    def state(self) -> State:
        return self._receipt.state

    @property
    def duplicate(self) -> bool:
        return self._receipt.duplicate

    @property
    def spooled(self) -> bool:
        return self._receipt.spooled

    def delivered(self, timeout: float | None = None) -> Any:
        """See `Receipt.delivered`."""
        return self._kurir._wait(lambda kurir, left: self._of(kurir).delivered(left), timeout)

    def ended(self, timeout: float | None = None) -> Record:
        """See `Receipt.ended`."""
        return self._kurir._wait(lambda kurir, left: self._of(kurir).ended(left), timeout)

    def record(self) -> Record:
        """See `Receipt.record`."""
        return self._kurir._call(lambda kurir: self._of(kurir).record())

    def _of(self, kurir: Kurir) -> Receipt:
        """The receipt in the Kurir that is open now."""
        return replace(self._receipt, _waiting=kurir._waiting)


class BlockingKurir:
    """`Kurir` for code without an event loop; thread-safe; every method of `Kurir` blocks until it is done.

        kurir = BlockingKurir(store="sqlite:///kurir.db", token=TOKEN, courier=False)   # once, at import
        kurir.send_text(chat_id, "Your order is on its way")                            # in any view or task

    It opens itself at the first call and closes at exit. By default it only hands over; `kurir worker` sends. With
    `courier=True` this process sends as well.

    A fork (gunicorn, Celery) finds it closed and parent and child open it anew: nothing of SQLite may be carried over
    (https://www.sqlite.org/howtocorrupt.html, "Carrying an open database connection across a fork()").
    """

    def __init__(self, *args: Any, courier: bool = False, **options: Any) -> None:
        self._make: Callable[[], Kurir] = lambda: Kurir(*args, courier=courier, **options)
        self._make()  # what is wrong with the arguments shows here
        self._sends = courier
        self._listeners: list[Listener] = []
        self._portal: Portal | None = None
        self._kurir: Kurir | None = None
        self._pid = 0
        self._forks = 0
        self._renew_locks()
        _everyone.add(self)

    def _renew_locks(self) -> None:
        self._lock = threading.RLock()  # held while it opens, closes or forks
        self._fewer = threading.Condition()  # the calls or waits under way became fewer
        self._calls = 0
        self._waits = 0

    # ---------------------------------------------------------------- life

    def open(self) -> Self:
        """Open now instead of at the first call. Raises StoreError."""
        with self._lock:
            self._opened()
        return self

    def close(self) -> None:
        """See `Kurir.close`. Calls of other threads are finished first; who waits for a receipt is told."""
        with self._lock:
            self._shut()

    def __enter__(self) -> Self:
        return self.open()

    def __exit__(self, *_: object) -> None:
        self.close()

    def _opened(self) -> tuple[Kurir, Portal]:
        """The open Kurir and its portal. The lock is held."""
        if self._kurir is None or self._portal is None or self._pid != os.getpid():
            self._pid = os.getpid()
            portal, kurir = Portal(), self._make()
            for listener in self._listeners:
                kurir.listen(listener)
            try:
                portal.call(kurir.start)
            except BaseException:
                portal.close()
                raise
            self._portal, self._kurir = portal, kurir
            atexit.register(self._at_exit)
        return self._kurir, self._portal

    def _shut(self) -> None:
        """The lock is held: no call begins. Those under way end first, those that wait are sent away by the closing."""
        kurir, portal = self._kurir, self._portal
        if kurir is not None and portal is not None and self._pid == os.getpid():
            with self._fewer:
                self._fewer.wait_for(lambda: self._calls == 0, PATIENCE)
            portal.call(kurir.close)
            with self._fewer:
                self._fewer.wait_for(lambda: self._waits == 0, PATIENCE)
            portal.close()
            atexit.unregister(self._at_exit)
        self._kurir = self._portal = None

    def _at_exit(self) -> None:
        self._lock.acquire()  # for good: a daemon thread's next call waits for the end
        self._shut()

    # ---------------------------------------------------------------- forks

    def _before_fork(self) -> None:
        self._lock.acquire()
        self._forks += 1
        self._was_open = self._kurir is not None
        self._shut()

    def _after_fork_in_parent(self) -> None:
        if self._was_open and self._sends:
            self._opened()
        self._lock.release()

    def _after_fork_in_child(self) -> None:
        self._renew_locks()

    # ---------------------------------------------------------------- calls

    def listen(self, listener: Listener) -> None:
        """See `Kurir.listen`."""
        with self._lock:
            self._listeners.append(listener)
            if self._kurir is not None:
                self._kurir.listen(listener)

    def _call(self, work: Callable[[Kurir], Awaitable[T]]) -> T:
        with self._under_way() as (kurir, portal):
            return portal.call(lambda: work(kurir))

    @contextmanager
    def _under_way(self) -> Iterator[tuple[Kurir, Portal]]:
        """Closing waits for what is done here."""
        with self._lock:
            kurir, portal = self._opened()
            with self._fewer:
                self._calls += 1
        try:
            yield kurir, portal
        finally:
            with self._fewer:
                self._calls -= 1
                self._fewer.notify_all()

    def _wait(self, work: Callable[[Kurir, float | None], Awaitable[T]], timeout: float | None) -> T:
        """A call that may last. One that a fork has sent away goes on afterwards."""
        end = None if timeout is None else time.monotonic() + timeout
        while True:
            with self._lock:
                kurir, portal = self._opened()
                forks = self._forks
                with self._fewer:
                    self._waits += 1
            left = None if end is None else max(0.0, end - time.monotonic())
            try:
                return portal.call(lambda: work(kurir, left))  # noqa: B023 - called at once
            except StoreAway:
                if forks == self._forks:
                    raise
            finally:
                with self._fewer:
                    self._waits -= 1
                    self._fewer.notify_all()

    def _join(self, connection: Any, work: Callable[[_Drafting], Awaitable[Any]]) -> Any:
        """A submit inside the caller's transaction: its connection is touched in the caller's own thread alone."""
        with self._under_way() as (kurir, portal):
            drafts, many = portal.call(lambda: work(_Drafting(kurir)))
            receipts = [BlockingReceipt(receipt, self) for receipt in kurir.submit_prepared(connection, drafts)]
        return receipts if many else receipts[0]

    def __getattr__(self, name: str) -> Callable[..., Any]:
        if name.startswith("_") or name in OWN or not callable(getattr(Kurir, name, None)):
            raise AttributeError(name)

        def method(*args: Any, **options: Any) -> Any:
            connection = options.pop("connection", None)
            if connection is not None:
                return self._join(connection, lambda drafting: getattr(drafting, name)(*args, **options))
            answer = self._call(lambda kurir: getattr(kurir, name)(*args, **options))
            if isinstance(answer, Receipt):
                return BlockingReceipt(answer, self)
            if isinstance(answer, Sequence) and answer and isinstance(answer[0], Receipt):
                return [BlockingReceipt(receipt, self) for receipt in answer]
            return answer

        method.__name__ = name
        method.__doc__ = getattr(Kurir, name).__doc__
        return method


_everyone: weakref.WeakSet[BlockingKurir] = weakref.WeakSet()
_forking: list[BlockingKurir] = []


def _before_fork() -> None:
    _forking[:] = _everyone
    for kurir in _forking:
        kurir._before_fork()


def _after_fork_in_parent() -> None:
    for kurir in _forking:
        kurir._after_fork_in_parent()
    _forking.clear()


def _after_fork_in_child() -> None:
    for kurir in _forking:
        kurir._after_fork_in_child()
    _forking.clear()


if hasattr(os, "register_at_fork"):  # not on Windows
    os.register_at_fork(before=_before_fork, after_in_parent=_after_fork_in_parent, after_in_child=_after_fork_in_child)
