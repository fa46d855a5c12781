"""`kurir send --from`: JSON lines into the store, a batch at a time."""

from __future__ import annotations

import asyncio
import contextlib
import os
import re
import stat
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from kurir.app import Kurir
from kurir.core.errors import InvalidMessage, KeyConflict, KurirError
from kurir.core.message import State
from kurir.message import Message

from .compose import from_line
from .context import App
from .lines import Batches
from .terminal import console

BATCH = 500
_INDEX = re.compile(r"messages\[(\d+)\]\.")


@dataclass
class Fed:
    """What became of the lines so far."""

    lines: int = 0
    accepted: int = 0
    duplicates: int = 0
    dead: int = 0  # to suppressed chats
    spooled: int = 0  # on this machine: the store is away
    seconds: float = 0.0


class BadLine(KurirError):
    """A line was refused; what came before its batch is accepted."""


Advance = Callable[[Fed, int], None]


async def feed(kurir: Kurir, fd: int, base: Mapping[str, Any], params: Mapping[str, Any], tell: Advance) -> Fed:
    """Hand over all lines of `fd`. Raises BadLine before anything of the bad line's batch is kept."""
    batches, fed, started = Batches(fd, BATCH), Fed(), time.monotonic()
    while batch := await asyncio.to_thread(batches.next):
        messages = _messages(batch, base, params, fed)
        try:
            receipts = await kurir.submit(messages)
        except KurirError as error:
            raise _bad(_line_of(error, batch, messages), error, fed) from None
        fed.lines += len(batch)
        fed.duplicates += sum(receipt.duplicate for receipt in receipts)
        fed.dead += sum(receipt.state is State.DEAD and not receipt.duplicate for receipt in receipts)
        fed.spooled += sum(receipt.spooled for receipt in receipts)
        fed.accepted = fed.lines - fed.duplicates
        fed.seconds = time.monotonic() - started
        tell(fed, batches.read)
    return fed


def _messages(
    batch: list[tuple[int, bytes]], base: Mapping[str, Any], params: Mapping[str, Any], fed: Fed
) -> list[Message]:
    messages = []
    for number, line in batch:
        try:
            messages.append(from_line(line, base, params))
        except KurirError as error:
            raise _bad(number, error, fed) from None
    return messages


def _line_of(error: KurirError, batch: list[tuple[int, bytes]], messages: list[Message]) -> int | None:
    """The number of the line an error is about; None where it is about none."""
    if isinstance(error, InvalidMessage):
        found = _INDEX.match(error.field)
        return batch[int(found[1]) if found else 0][0]
    if isinstance(error, KeyConflict):
        keys = [m.idempotency_key for m in messages]
        return batch[len(keys) - 1 - keys[::-1].index(error.key)][0] if error.key in keys else None
    return None


def _bad(line: int | None, error: KurirError, fed: Fed) -> BadLine:
    what = _INDEX.sub("", error.what)
    where = f"line {line}: " if line is not None else ""
    done = f"{fed.lines:,} lines before it are accepted" if fed.lines else "nothing is accepted"
    again = "Then run it again: lines with an idempotency_key are not doubled."
    return BadLine(f"{where}{what}; {done}", f"{error.remedy} {again}".strip())


@contextlib.contextmanager
def progress(app: App, fd: int) -> Iterator[Advance]:
    """A bar on a terminal; by bytes where the size is known."""
    if app.json or app.quiet or not sys.stderr.isatty():
        yield lambda fed, read: None
        return
    info = os.fstat(fd)
    total = info.st_size if stat.S_ISREG(info.st_mode) else None
    columns = (TextColumn("handed over"), MofNCompleteColumn(), BarColumn(), TimeElapsedColumn())
    with Progress(*columns, console=console(err=True), transient=True) as bar:
        task = bar.add_task("", total=None)

        def advance(fed: Fed, read: int) -> None:
            guess = None if not total or not read else max(fed.lines, round(fed.lines * total / read))
            bar.update(task, completed=fed.lines, total=guess)

        yield advance
