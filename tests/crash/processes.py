"""Real processes for crash tests: started, watched, killed at random moments, started again."""

from __future__ import annotations

import asyncio
import signal
import sys
from collections.abc import Sequence
from pathlib import Path

ROOT = Path(__file__).parents[2]


class Program:
    """One program of `programs.py`, or of another `module`; `kill` is SIGKILL."""

    def __init__(self, *args: object, module: str = "tests.crash.programs") -> None:
        self._module = module
        self._args: Sequence[str] = [str(arg) for arg in args]
        self._process: asyncio.subprocess.Process | None = None
        self.kills = 0

    async def start(self) -> None:
        self._process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", self._module, *self._args, cwd=ROOT, stdout=asyncio.subprocess.PIPE
        )
        assert self._process.stdout is not None
        line = await self._process.stdout.readline()
        assert line in (b"ready\n", b""), line

    @property
    def ended(self) -> bool:
        """It finished by itself, successfully."""
        return self._process is not None and self._process.returncode == 0

    async def kill(self) -> None:
        """SIGKILL, unless it has ended."""
        assert self._process is not None
        if self._process.returncode is None:
            self._process.kill()
            self.kills += 1
        await self._process.wait()

    def signal(self, number: signal.Signals) -> None:
        """Without waiting for what comes of it."""
        assert self._process is not None
        if self._process.returncode is None:
            self._process.send_signal(number)

    async def terminate(self) -> int:
        """SIGTERM; the exit code."""
        assert self._process is not None
        if self._process.returncode is None:
            self._process.terminate()
        return await self._process.wait()

    async def wait(self) -> int:
        assert self._process is not None
        return await self._process.wait()
