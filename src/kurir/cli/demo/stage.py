"""The demo's processes: a simulated Telegram, a worker, and the way to both."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import sys
from asyncio.subprocess import Process
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import aiohttp
import orjson

from kurir.core.errors import KurirError

from .cast import Chat

TOKEN = "123456789:demo-token-of-nobody-0000000000000"  # noqa: S105
READY = 15.0  # seconds a process has to come up
PATIENCE = 10.0  # seconds a process has to stop

KURIR = (sys.executable, "-m", "kurir")


def environment(folder: Path, url: str) -> dict[str, str]:
    """What a worker is told: nothing of the caller's own settings."""
    config = folder / "kurir.toml"
    config.touch()
    ours = {
        "KURIR_CONFIG": str(config),
        "KURIR_STORE": f"sqlite:///{folder / 'kurir.db'}",
        "KURIR_BOT_TOKEN": TOKEN,
        "KURIR_TELEGRAM_URL": url,
    }
    return {**{k: v for k, v in os.environ.items() if not k.startswith("KURIR_")}, **ours}


class Telegram:
    """The simulator in a process of its own, and its control API."""

    def __init__(self, folder: Path, seed: int) -> None:
        self._folder = folder
        self._seed = seed
        self._process: Process | None = None
        self._session: aiohttp.ClientSession | None = None
        self.url = ""

    async def start(self) -> None:
        """Raises KurirError when it does not come up."""
        with (self._folder / "simulator.log").open("wb") as log:
            self._process = await asyncio.create_subprocess_exec(
                *KURIR, "simulator", "--port", "0", "--token", TOKEN, "--seed", str(self._seed), "--json",
                stdout=asyncio.subprocess.PIPE, stderr=log, cwd=self._folder, start_new_session=True,
            )  # fmt: skip
        assert self._process.stdout is not None
        try:
            async with asyncio.timeout(READY):
                line = await self._process.stdout.readline()
            self.url = orjson.loads(line)["url"]
        except (TimeoutError, orjson.JSONDecodeError, KeyError):
            said = (self._folder / "simulator.log").read_text("utf8", "replace")[-500:]
            raise KurirError(f"the simulator did not start: {said or 'no word from it'}", "Try again.") from None
        self._session = aiohttp.ClientSession(self.url, timeout=aiohttp.ClientTimeout(total=20))

    async def ask(self, verb: str, path: str, body: Any = None) -> Any:
        """One call of the control API. Raises KurirError for a refusal, OSError while the network is out."""
        assert self._session is not None
        data = None if body is None else orjson.dumps(body)
        async with self._session.request(verb, f"/sim/{path}", data=data) as response:
            answer = orjson.loads(await response.read())
        if response.status != 200:
            raise KurirError(f"the simulator refused {verb} {path}: {answer}")
        return answer

    async def sure(self, verb: str, path: str, body: Any = None) -> Any:
        """As `ask`, again and again while the network is out."""
        while True:
            try:
                return await self.ask(verb, path, body)
            except (OSError, aiohttp.ClientError):
                await asyncio.sleep(0.1)

    async def populate(self, chats: tuple[Chat, ...]) -> None:
        for chat in chats:
            await self.ask("POST", "chats", {"id": chat.id, "type": chat.type})
            if chat.state is not None:
                await self.ask("POST", f"chats/{chat.id}/state", {"state": chat.state})
            if chat.moves_to is not None:
                await self.ask("POST", f"chats/{chat.id}/migrate", {"to": chat.moves_to})

    async def weather(self, loss: float, latency: float) -> None:
        """The network from now on: of what is lost, half is lost before Telegram did it, half after."""
        half = loss / 2
        rules = [
            {"kind": "reset_before", "probability": half},
            {"kind": "reset_after", "probability": half / (1 - half)},
            {"kind": "slow", "seconds": latency},
        ]
        await self.sure("DELETE", "faults")
        await self.sure("POST", "faults", rules if loss else rules[-1:])

    async def stop(self) -> None:
        if self._session is not None:
            await self._session.close()
        if self._process is not None:
            await end(self._process, signal.SIGKILL)


class Worker:
    """`kurir worker` in a process of its own."""

    def __init__(self, folder: Path, env: Mapping[str, str]) -> None:
        self._folder = folder
        self._env = env
        self._process: Process | None = None
        self.log = folder / "worker.log"

    @property
    def pid(self) -> int | None:
        """While it runs."""
        process = self._process
        return process.pid if process is not None and process.returncode is None else None

    async def start(self) -> None:
        with self.log.open("ab") as log:
            self._process = await asyncio.create_subprocess_exec(
                *KURIR, "worker", stdout=log, stderr=log, cwd=self._folder, env=self._env, start_new_session=True
            )

    async def kill(self) -> None:
        """SIGKILL: no chance to say goodbye."""
        if self._process is not None:
            await end(self._process, signal.SIGKILL)

    async def stop(self) -> int | None:
        """SIGTERM; its exit code, None where it had to be killed."""
        return None if self._process is None else await end(self._process, signal.SIGTERM)


async def end(process: Process, number: signal.Signals) -> int | None:
    """End a process; the exit code, None where it did not listen."""
    if process.returncode is not None:
        return process.returncode
    with contextlib.suppress(ProcessLookupError):
        process.send_signal(number)
    try:
        async with asyncio.timeout(PATIENCE):
            return await process.wait()
    except TimeoutError:
        process.kill()
        await process.wait()
        return None
