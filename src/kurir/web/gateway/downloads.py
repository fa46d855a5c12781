"""`/file/bot<token>/<path>`: a file of getFile, streamed through."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Mapping
from typing import Any, Final

from kurir.app import Kurir
from kurir.core.errors import KurirError
from kurir.core.outcome import NoReply
from kurir.settings import Bot
from kurir.telegram.download import Download
from kurir.web.forms.body import Receive
from kurir.web.forms.errors import BadRequest

from . import answers
from .answers import Answer, Send
from .visit import Visit, Why

Known = Callable[[Mapping[str, Any]], Bot]  # the bot of a request; raises BadRequest
Observe = Callable[[str, int, float], None]  # door, HTTP status, seconds

PAUSES: Final = (0.2, 0.5, 1.0, 2.0)  # seconds before the 2nd, 3rd, ... try; nothing has been answered yet
_LEFT: Final = 499  # as nginx notes clients that left before there was an answer

logger = logging.getLogger("kurir.gateway")


class Downloads:
    """An ASGI application. A client that reads slowly slows the download; one that leaves ends it."""

    def __init__(self, kurir: Kurir, known: Known, observe: Observe) -> None:
        self._kurir = kurir
        self._known = known
        self._observe = observe
        self._visits: set[Visit] = set()

    def end(self) -> None:
        """Break off all that run."""
        for visit in list(self._visits):
            visit.end()

    async def __call__(self, scope: Mapping[str, Any], receive: Receive, send: Send) -> None:
        began = time.perf_counter()
        course = _Course(send)
        try:
            with Visit(receive, self._visits) as visit:
                try:
                    await self._answer(scope, course)
                except asyncio.CancelledError:
                    if not visit.caught():
                        raise
                    if visit.broken is Why.STOPPING and course.status == _LEFT:
                        await course.answer(answers.stopping())
        except BadRequest as error:
            await course.answer(answers.of_error(error))
        except KurirError as error:
            logger.warning("%s", error)
        finally:
            self._observe("file", course.status, time.perf_counter() - began)

    async def _answer(self, scope: Mapping[str, Any], course: _Course) -> None:
        path = scope["path"].removeprefix("/file")
        bot = self._known({**scope, "path": path})
        file_path = path.partition("/bot")[2].partition("/")[2]
        found = await self._begin(bot, file_path.removeprefix("test/") if bot.test else file_path)
        if isinstance(found, NoReply):
            await course.answer(answers.of_reply(found))
            return
        async with found:
            await course.pass_on(found, body=scope["method"] != "HEAD")

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


class _Course:
    """What was answered so far."""

    def __init__(self, send: Send) -> None:
        self.status = _LEFT
        self._send = send

    async def answer(self, answer: Answer) -> None:
        self.status = answer.status
        await answer.send(self._send)

    async def pass_on(self, found: Download, *, body: bool) -> None:
        """Raises KurirError when the file breaks off; then the connection is closed, so that the client sees it."""
        headers = [(b"content-type", found.content_type.encode("latin-1", "replace"))]
        if found.content_length is not None:
            headers.append((b"content-length", str(found.content_length).encode()))
        self.status = found.status
        await self._send({"type": "http.response.start", "status": found.status, "headers": headers})
        if body:
            async for piece in found:
                await self._send({"type": "http.response.body", "body": piece, "more_body": True})
        await self._send({"type": "http.response.body", "body": b""})
