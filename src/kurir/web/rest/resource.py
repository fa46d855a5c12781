"""One path: finds the operation, recognises the key, and turns errors into problems. Plain ASGI, nothing in between."""

from __future__ import annotations

import logging
from collections.abc import Mapping, MutableMapping
from typing import Any

from kurir.core.errors import KurirError
from kurir.web.auth import Keyring

from .answers import Answer, Receive, Send
from .asked import Asked, Left
from .describe import Operation
from .problems import NoRoute, NotThatWay, problem

logger = logging.getLogger("kurir.rest")


class Resource:
    """The operations of one path, by HTTP method."""

    __slots__ = ("_keyring", "_operations")

    def __init__(self, keyring: Keyring, operations: Mapping[str, Operation]) -> None:
        self._keyring = keyring
        self._operations = operations

    async def __call__(self, scope: MutableMapping[str, Any], receive: Receive, send: Send) -> None:
        try:
            answer = await self._answer(scope, receive)
        except Left:
            return
        except KurirError as error:
            answer = problem(error)
        except Exception as error:
            logger.exception("%s %s failed", scope["method"], scope["path"])
            answer = problem(error)
        await answer.to(receive, send)

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
    error = NoRoute(f"there is nothing at {scope['path'][:200]}", "See /v1/docs for what there is.")
    await problem(error).to(receive, send)
