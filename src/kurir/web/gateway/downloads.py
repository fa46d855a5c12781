"""`/file/bot<token>/<path>`: a file of getFile, streamed through."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Mapping
from typing import Any, Final

from kurir.app import Kurir
from kurir.core.errors import KurirError
from kurir.core.outcome import NoReply
from kurir.settings import Bot
from kurir.telegram.download import Download

from . import answers
from .answers import Send
from .body import Receive
from .errors import BadRequest

PAUSES: Final = (0.2, 0.5, 1.0, 2.0)  # seconds before the 2nd, 3rd, ... try; nothing has been answered yet


class Downloads:
    """An ASGI application. A client that reads slowly slows the download; one that leaves ends it."""

    def __init__(self, kurir: Kurir, bot_of: Callable[[str], Bot], observe: Callable[[str, int, float], None]) -> None:
        self._kurir = kurir
        self._bot_of = bot_of
        self._observe = observe

    async def __call__(self, scope: Mapping[str, Any], receive: Receive, send: Send) -> None:
        began = time.perf_counter()
        status = 500
        try:
            path = scope["path"].removeprefix("/file")
            bot = self._bot_of(path)
            file_path = path.partition("/bot")[2].partition("/")[2]
            found = await self._begin(bot, file_path.removeprefix("test/") if bot.test else file_path)
            if isinstance(found, NoReply):
                answer = answers.of_reply(found)
                status = answer.status
                await answer.send(send)
                return
            status = found.status
            async with found:
                await _pass_on(found, receive, send, body=scope["method"] != "HEAD")
        except BadRequest as error:
            status = error.code
            await answers.of_error(error).send(send)
        finally:
            self._observe("file", status, time.perf_counter() - began)

    async def _begin(self, bot: Bot, file_path: str) -> Download | NoReply:
        """The beginning of the answer, tried again while nothing of it came. Raises BadRequest."""
        for pause in (*PAUSES, None):
            try:
                found = await self._kurir.open_file(bot.id, file_path)
            except KurirError as error:
                raise BadRequest(404, f"Not Found: {error.what}") from None
            if isinstance(found, Download) or pause is None:
                break
            await asyncio.sleep(pause)
        return found


async def _pass_on(found: Download, receive: Receive, send: Send, *, body: bool) -> None:
    headers = [(b"content-type", found.content_type.encode("latin-1", "replace"))]
    if found.content_length is not None:
        headers.append((b"content-length", str(found.content_length).encode()))
    await send({"type": "http.response.start", "status": found.status, "headers": headers})
    left = asyncio.ensure_future(_left(receive))
    try:
        if body:
            async for piece in found:
                if left.done():
                    return
                await send({"type": "http.response.body", "body": piece, "more_body": True})
        await send({"type": "http.response.body", "body": b""})
    finally:
        left.cancel()


async def _left(receive: Receive) -> None:
    """Returns when the client is gone."""
    while (await receive())["type"] != "http.disconnect":
        continue
