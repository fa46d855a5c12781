"""Who each bot is, kept beside the file spool: clients ask `getMe` before anything else, and Kurir may have been started in
the middle of an outage."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from pathlib import Path
from typing import Any, Final

import orjson

from kurir.services.direct import Direct

_NAME: Final = ".bots"


class Identities:
    """`folder` None: they are remembered in memory alone."""

    def __init__(self, direct: Direct, folder: Path | None) -> None:
        self._direct = direct
        self._path = None if folder is None else folder / _NAME
        self._known: dict[str, Any] = {}

    async def recall(self) -> None:
        """What was known when Kurir ran last."""
        self._known = await asyncio.to_thread(self._read)
        for bot, user in self._known.items():
            if bot.isdecimal() and isinstance(user, dict):
                self._direct.introduce(int(bot), user)

    async def learn(self, bot: int) -> None:
        """Ask Telegram, and keep the answer."""
        await self._direct.call(bot, "getMe", b"{}")
        user = self._direct.me(bot)
        if user is not None and self._known.get(str(bot)) != user:
            self._known[str(bot)] = user
            await asyncio.to_thread(self._write, orjson.dumps(self._known))

    def _read(self) -> dict[str, Any]:
        with suppress(OSError, ValueError):
            known = orjson.loads(self._path.read_bytes()) if self._path is not None else {}
            return known if isinstance(known, dict) else {}
        return {}

    def _write(self, known: bytes) -> None:
        if self._path is None:
            return
        fresh = self._path.with_name(f"{_NAME}.new")
        with suppress(OSError):  # then it is asked again at the next start
            self._path.parent.mkdir(parents=True, exist_ok=True)
            fresh.write_bytes(known)
            fresh.replace(self._path)
