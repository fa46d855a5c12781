"""A blocking face for Django, Flask, Celery and scripts: one thread runs the event loop, every call goes through it."""

from __future__ import annotations

import asyncio
import atexit
import os
import threading
from collections.abc import Awaitable, Callable, Sequence
from concurrent.futures import Future
from typing import Any, Self, TypeVar

from .app import Kurir
from .core.message import Record, State
from .services.receipts import Receipt

T = TypeVar("T")


class Portal:
    """A thread with an event loop. `call` runs a coroutine there and waits for it."""

    def __init__(self) -> None:
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="kurir-portal", daemon=True)
        self._thread.start()

    def call(self, make: Callable[[], Awaitable[T]]) -> T:
        """`make()` in the portal's thread. A KeyboardInterrupt abandons the wait, not the work."""
        answer: Future[T] = asyncio.run_coroutine_threadsafe(_await(make), self._loop)
        return answer.result()

    def close(self) -> None:
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()


async def _await(make: Callable[[], Awaitable[T]]) -> T:
    return await make()


class BlockingReceipt:
    """A `Receipt` whose waits block."""

    def __init__(self, receipt: Receipt, portal: Portal) -> None:
        self._receipt = receipt
        self._portal = portal

    @property
    def id(self) -> str:
        return self._receipt.id

    @property
    def state(self) -> State:
        return self._receipt.state

    @property
    def duplicate(self) -> bool:
        return self._receipt.duplicate

    def delivered(self, timeout: float | None = None) -> Any:
        """See `Receipt.delivered`."""
        return self._portal.call(lambda: self._receipt.delivered(timeout))

    def ended(self, timeout: float | None = None) -> Record:
        """See `Receipt.ended`."""
        return self._portal.call(lambda: self._receipt.ended(timeout))

    def record(self) -> Record:
        """See `Receipt.record`."""
        return self._portal.call(self._receipt.record)


class BlockingKurir:
    """`Kurir` for code without an event loop; thread-safe; every method of `Kurir` blocks until it is done.

        kurir = BlockingKurir(store="sqlite:///kurir.db", token=TOKEN, courier=False)   # once, at import
        kurir.send_text(chat_id, "Your order is on its way")                            # in any view or task

    It opens itself at the first call, and anew after a fork (gunicorn, Celery), and closes at exit. By default it only
    hands over; `kurir worker` sends. With `courier=True` this process sends as well.
    """

    def __init__(self, *args: Any, courier: bool = False, **options: Any) -> None:
        self._make: Callable[[], Kurir] = lambda: Kurir(*args, courier=courier, **options)
        self._make()  # what is wrong with the arguments shows here
        self._lock = threading.Lock()
        self._pid = 0
        self._portal: Portal | None = None
        self._kurir: Kurir | None = None

    def open(self) -> Self:
        """Open now instead of at the first call. Raises StoreError."""
        self._opened()
        return self

    def close(self) -> None:
        """See `Kurir.close`."""
        with self._lock:
            if self._kurir is not None and self._portal is not None and self._pid == os.getpid():
                self._portal.call(self._kurir.close)
                self._portal.close()
                atexit.unregister(self.close)
            self._kurir = self._portal = None

    def __enter__(self) -> Self:
        return self.open()

    def __exit__(self, *_: object) -> None:
        self.close()

    def _opened(self) -> tuple[Kurir, Portal]:
        with self._lock:
            if self._kurir is None or self._portal is None or self._pid != os.getpid():
                self._pid = os.getpid()
                portal, kurir = Portal(), self._make()
                portal.call(kurir.start)
                self._portal, self._kurir = portal, kurir
                atexit.register(self.close)
            return self._kurir, self._portal

    def __getattr__(self, name: str) -> Callable[..., Any]:
        if name.startswith("_") or not callable(getattr(Kurir, name, None)):
            raise AttributeError(name)

        def method(*args: Any, **options: Any) -> Any:
            kurir, portal = self._opened()
            answer = portal.call(lambda: getattr(kurir, name)(*args, **options))
            if isinstance(answer, Receipt):
                return BlockingReceipt(answer, portal)
            if isinstance(answer, Sequence) and answer and isinstance(answer[0], Receipt):
                return [BlockingReceipt(receipt, portal) for receipt in answer]
            return answer

        method.__name__ = name
        method.__doc__ = getattr(Kurir, name).__doc__
        return method
