"""Lines of a file or a pipe, in batches: full ones while they come fast, what there is when they come slowly."""

from __future__ import annotations

import os
import select
from collections.abc import Iterator

BLOCK = 1 << 16  # bytes read at once
IDLE = 0.2  # seconds without more input after which a batch leaves as it is


class Batches:
    """Batches of (line number, line); empty lines are left out. `read` counts bytes."""

    def __init__(self, fd: int, most: int) -> None:
        self._fd = fd
        self._most = most
        self._rest = b""
        self._lines: list[bytes] = []
        self._ended = False
        self._number = 0
        self.read = 0

    def next(self) -> list[tuple[int, bytes]]:
        """The next batch; empty at the end of input. Blocks."""
        batch: list[tuple[int, bytes]] = []
        while len(batch) < self._most:
            if not self._lines and not self._fill(wait=not batch):
                break
            batch += self._take(self._most - len(batch))
        return batch

    def _take(self, most: int) -> Iterator[tuple[int, bytes]]:
        taken, self._lines = self._lines[:most], self._lines[most:]
        for line in taken:
            self._number += 1
            if line.strip():
                yield self._number, line

    def _fill(self, *, wait: bool) -> bool:
        """Get lines; False where there are none (any more, or for now)."""
        while not self._lines:
            if self._ended:
                return False
            if not wait and not select.select([self._fd], [], [], IDLE)[0]:
                return False
            block = os.read(self._fd, BLOCK)
            self.read += len(block)
            if block:
                *self._lines, self._rest = (self._rest + block).split(b"\n")
            else:
                self._ended = True
                self._lines = [self._rest] if self._rest else []
                self._rest = b""
        return True
