"""One path: finds the operation, recognises the key, and turns errors into problems. Plain ASGI, nothing in between."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping, MutableMapping
from typing import Any

from kurir.core.errors import KurirError
from kurir.web.auth import Keyring

from .answers import Answer, Receive, Send
from .asked import Asked, Left
from .describe import Operation
from .events import Stream
from .problems import NotThatWay, Stopping, nothing_at, problem
from .underway import Underway

logger = logging.getLogger("kurir.rest")


class Resource:
    """The operations of one path, by HTTP method."""

    __slots__ = ("_keyring", "_operations", "_underway")

    def __init__(self, keyring: Keyring, operations: Mapping[str, Operation], underway: Underway) -> None:
        self._keyring = keyring
        self._operations = operations
        self._underway = underway

    async def __call__(self, scope: MutableMapping[str, Any], receive: Receive, send: Send) -> None:
        """A request is a task of its own; a server that stops may cancel it."""
        if self._underway.refusing:
            await problem(Stopping()).to(receive, send)
            return
        task = asyncio.current_task()
        assert task is not None
        tasks = self._underway.tasks
        tasks.add(task)
        try:
            answer = await self._answered(scope, receive, task)
            if answer is None:
                return
            if type(answer) is Stream:
                tasks.discard(task)
            await answer.to(receive, send)
        finally:
            tasks.discard(task)

    async def _answered(
        self, scope: MutableMapping[str, Any], receive: Receive, task: asyncio.Task[Any]
    ) -> Answer | None:
        """The answer, or the problem in its place; None: the client left."""
        try:
            return await self._answer(scope, receive)
        except Left:
            return None
        except KurirError as error:
            return problem(error)
        except asyncio.CancelledError:
            if not self._underway.refusing:
                raise
            task.uncancel()
            return problem(Stopping())
        except Exception as error:
            logger.exception("%s %s failed", scope["method"], scope["path"])
            return problem(error)

    async def _answer(self, scope: MutableMapping[str, Any], receive: Receive) -> Answer:
        operation = self._operations.get(scope["method"])
        if operation is None:
            raise NotThatWay(scope["method"], self._operations)
        asked = Asked(scope, receive)
        if operation.roles:
            asked.caller = await self._keyring.admit(asked.header(b"authorization"), asked.address, operation.roles)
        return await operation.act(asked)


async def nowhere(scope: MutableMapping[str, Any], receive: Receive, send: Send) -> None:
    """Every other path."""
    await problem(nothing_at(scope["path"])).to(receive, send)
