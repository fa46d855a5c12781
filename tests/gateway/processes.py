"""`kurir serve` and `kurir worker` as processes of their own."""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from kurir.simulator.harness import Telegram
from tests.serving import answers, free_port

API_KEY = "a-key-of-the-environment"
START = 30.0  # seconds within which a process must be ready


class Process:
    """One command, with its store and its log in `folder`. Several may share a store."""

    def __init__(self, telegram: Telegram, folder: Path, *args: str) -> None:
        self.listen = f"127.0.0.1:{free_port()}"
        self.url = f"http://{self.listen}"
        self._telegram = telegram
        self._folder = folder
        self._args = args
        self._log = folder / f"{args[0]}.log"
        self._process: asyncio.subprocess.Process | None = None

    async def start(self) -> None:
        """Returns when it is ready."""
        with self._log.open("ab") as log:
            self._process = await asyncio.create_subprocess_exec(
                sys.executable, "-m", "kurir", *self._args, cwd=self._folder, env=self._environ(),
                stdin=asyncio.subprocess.DEVNULL, stdout=log, stderr=log,
            )  # fmt: skip
        async with asyncio.timeout(START):
            while not await asyncio.to_thread(answers, f"{self.url}/health/live"):
                assert self._process.returncode is None, self.log
                await asyncio.sleep(0.05)

    def _environ(self) -> dict[str, str]:
        own = {name: value for name, value in os.environ.items() if not name.startswith("KURIR_")}
        return own | {
            "KURIR_BOT_TOKEN": self._telegram.token,
            "KURIR_STORE": f"sqlite:///{self._folder / 'kurir.db'}",
            "KURIR_TELEGRAM_URL": self._telegram.url,
            "KURIR_LISTEN": self.listen,
            "KURIR_PACE": "off",
            "KURIR_API_KEY": API_KEY,
        }

    @property
    def log(self) -> str:
        return self._log.read_text("utf8", "replace")[-5000:]

    def at(self, method: str) -> str:
        """The URL of a method."""
        return f"{self.url}/bot{self._telegram.token}/{method}"

    def memory(self, peak: bool = False) -> int:
        """Bytes it holds, or held at most."""
        assert self._process is not None
        status = Path(f"/proc/{self._process.pid}/status").read_text()
        name = "VmHWM:" if peak else "VmRSS:"
        return next(int(line.split()[1]) * 1024 for line in status.splitlines() if line.startswith(name))

    @property
    def handles(self) -> int:
        """Open file descriptors."""
        assert self._process is not None
        return len(os.listdir(f"/proc/{self._process.pid}/fd"))

    def terminate(self) -> None:
        """SIGTERM."""
        assert self._process is not None
        self._process.terminate()

    async def ended(self, within: float) -> int:
        """Its exit code."""
        assert self._process is not None
        async with asyncio.timeout(within):
            return await self._process.wait()

    async def kill(self) -> None:
        """SIGKILL, unless it has ended."""
        if self._process is not None and self._process.returncode is None:
            self._process.kill()
            await self._process.wait()


@asynccontextmanager
async def running(telegram: Telegram, folder: Path, *args: str) -> AsyncIterator[Process]:
    """A ready process, which does not outlive the test."""
    process = Process(telegram, folder, *args)
    try:
        await process.start()
        yield process
    finally:
        await process.kill()
