"""The event loop of a command: uvloop where there is one."""

from __future__ import annotations

import asyncio
import gc
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

T = TypeVar("T")

try:
    import uvloop
except ImportError:  # pragma: no cover - Windows, PyPy
    new_loop: Callable[[], asyncio.AbstractEventLoop] = asyncio.new_event_loop
else:
    new_loop = uvloop.new_event_loop


def settle() -> None:
    """What is alive now stays so: the garbage collector need not walk it again and again. A full walk over what imports made
    takes 30 ms, in which nobody is answered."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(10_000, 50, 100)


def run(work: Coroutine[Any, Any, T]) -> T:
    """Run `work` to its end."""
    with asyncio.Runner(loop_factory=new_loop) as runner:
        return runner.run(work)
