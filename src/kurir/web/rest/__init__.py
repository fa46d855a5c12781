"""REST `/v1`: messages and all that is to be seen and steered, with API keys, as OpenAPI describes it.

A file a noun; each names its operations and describes them. `Resource` runs them without anything in between, because
every message of a fast caller passes here.
"""

from __future__ import annotations

from collections.abc import MutableMapping
from typing import Any, cast

from starlette.routing import BaseRoute, Mount, Route, Router

from kurir import __version__
from kurir.app import Kurir
from kurir.ports import Clock, KeyStore
from kurir.services.opened import Opened
from kurir.web.auth import Allowance, Keyring

from . import bots, chats, dead, events, files, messages, stats, suppressions
from .about import with_about
from .answers import Receive, Send
from .describe import Operation
from .resource import Resource, nowhere
from .underway import Underway


class Rest:
    """The REST door of one Kurir: an ASGI application for all below /v1, or its `routes` for a Starlette one.

    It stops in steps: `refuse`, then wait while it is `busy`, then `end`.
    """

    def __init__(self, kurir: Kurir, *, allowance: Allowance | None = None, clock: Clock | None = None) -> None:
        allowance = allowance or Allowance()
        clock = clock or kurir.clock
        names = {bot.id: bot.name for bot in kurir.settings.bots}
        keys = cast("KeyStore", Opened(kurir.store, lambda: kurir.away))
        self.keyring = Keyring(keys, kurir.settings.api_key, clock, allowance)
        self._feed = events.Feed(names, self.keyring)
        self._underway = Underway()
        kurir.listen(self._feed.hear)
        desk = files.Desk(kurir.spool, files.limit_of(kurir.settings.local_server), allowance.body)
        of_messages = messages.Messages(kurir, desk, clock, names)
        of_bots = bots.BotsDesk(kurir, clock, names)
        of_chats = chats.Chats(kurir, clock, names)
        self.operations: list[Operation] = with_about(
            [
                *messages.operations(of_messages),
                *files.operations(desk),
                *dead.operations(dead.DeadLetters(of_messages)),
                *bots.operations(of_bots),
                *chats.operations(of_chats),
                *suppressions.operations(suppressions.Suppressions(kurir, clock, names, of_chats)),
                *stats.operations(stats.Statistics(kurir, clock, names, of_bots)),
                *events.operations(events.Events(kurir, self._feed)),
            ],
            __version__,
        )

        paths: dict[str, dict[str, Operation]] = {}
        for operation in self.operations:
            paths.setdefault(operation.path, {})[operation.verb] = operation
        self._resources = {path: Resource(self.keyring, verbs, self._underway) for path, verbs in paths.items()}
        self._router = Router(self.routes)

    async def __call__(self, scope: MutableMapping[str, Any], receive: Receive, send: Send) -> None:
        """A path without a variable needs no search."""
        resource = self._resources.get(scope["path"])
        if resource is not None and "{" not in scope["path"]:
            await resource(scope, receive, send)
        else:
            await self._router(scope, receive, send)

    @property
    def routes(self) -> list[BaseRoute]:
        """One a path, those without a variable first; every other path below /v1 is told that it is nothing."""
        ordered = sorted(self._resources.items(), key=lambda item: "{" in item[0])
        return [*(Route(path, resource) for path, resource in ordered), Mount("/v1", nowhere)]

    @property
    def busy(self) -> int:
        """Requests under way, event streams aside."""
        return len(self._underway.tasks)

    def refuse(self) -> None:
        """What comes from now on is told to ask again; what is under way goes on."""
        self._underway.refusing = True

    def end(self) -> None:
        """Break off what is still under way, with an answer that says so, and end the streams."""
        self._underway.end()
        self._feed.close()


def routes(kurir: Kurir, *, allowance: Allowance | None = None) -> list[BaseRoute]:
    """The routes of a `Rest`, for who does not need to end its streams."""
    return Rest(kurir, allowance=allowance).routes
