"""A simulated Telegram in a thread of its own, for tests of any kind: sync, async, or in another process."""

from __future__ import annotations

import asyncio
import random
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any, TypeVar

from kurir.ports import SystemClock

from .faults import Faults, Kind, Rule
from .journal import Entry, Expected, Report
from .limits import Limits
from .model import ChatState, Json, Message
from .server import SimulatorServer
from .world import World

T = TypeVar("T")

TOKEN = "123456:simulated-telegram-bot-token-000000"  # noqa: S105 - of nobody
START = 10.0  # seconds within which the server must be up, or down


class Telegram:
    """What the `telegram` fixture gives. Every method may be called from any thread.

    A bot (`token`), open doors (any chat id can be written to) and no limits, unless told otherwise.
    """

    def __init__(self, token: str = TOKEN, limits: Limits | None = None, seed: int = 0) -> None:
        self.token = token
        self.world = World(SystemClock(), seed=seed, limits=limits or Limits.none(), open_doors=True)
        self.world.add_bot(token)
        self._server = SimulatorServer(self.world)
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._run, name="simulated-telegram", daemon=True)

    # ------------------------------------------------------------ life

    def start(self) -> Telegram:
        """Serve. Raises OSError where it cannot."""
        self._thread.start()
        asyncio.run_coroutine_threadsafe(self._server.start(), self._loop).result(START)
        return self

    def stop(self) -> None:
        """Stop serving and forget everything."""
        asyncio.run_coroutine_threadsafe(self._server.stop(), self._loop).result(START)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(START)
        self.world.close()

    def __enter__(self) -> Telegram:
        return self.start()

    def __exit__(self, *_: object) -> None:
        self.stop()

    def _run(self) -> None:
        asyncio.set_event_loop(self._loop)
        try:
            self._loop.run_forever()
        finally:
            self._loop.run_until_complete(self._loop.shutdown_asyncgens())
            self._loop.close()

    @property
    def url(self) -> str:
        """To be used in place of https://api.telegram.org."""
        return self._server.url

    def do(self, change: Callable[[World], T]) -> T:
        """Run `change` on the world in the server's thread, and give back what it gives."""

        async def run() -> T:
            return change(self.world)

        return asyncio.run_coroutine_threadsafe(run(), self._loop).result(START)

    # ------------------------------------------------------------ what the bot did

    def sent(self, chat: int | None = None) -> list[Message]:
        """The bot's messages as they are now (edited, not deleted), oldest first; `chat` None: of all chats."""
        return self.do(lambda world: [replace(one) for one in world.messages(chat) if one.own])

    def texts(self, chat: int | None = None) -> list[str]:
        """Text or caption of each of `sent`."""
        return [message.text for message in self.sent(chat)]

    def calls(self, method: str | None = None) -> list[Entry]:
        """Everything the bot did and was refused, in order (get... methods aside)."""
        wanted = method.lower() if method else None
        return self.do(
            lambda world: [one for one in world.journal.entries if wanted is None or one.method.lower() == wanted]
        )

    def wait_for(self, count: int, chat: int | None = None, timeout: float = 5.0) -> list[Message]:
        """Wait (seconds) until the bot has `count` messages in the chat. Raises AssertionError with what there is."""
        until = time.monotonic() + timeout
        while True:
            found = self.sent(chat)
            if len(found) >= count:
                return found
            if time.monotonic() > until:
                texts = [message.text for message in found]
                raise AssertionError(f"{len(found)} of {count} messages after {timeout} s: {texts}")
            time.sleep(0.01)

    def report(self, expected: Expected) -> Report:
        """Lost, doubled, reordered: see `Journal.report`."""
        return self.do(lambda world: world.journal.report(expected))

    # ------------------------------------------------------------ what users do

    def say(self, chat: int, text: str, user: int | None = None) -> Json:
        """A user writes to the bot; returns the update."""
        return self.do(lambda world: world.say(chat, text, world.bots[self.token], user))

    def press(self, chat: int, message_id: int, data: str) -> Json:
        """A user presses an inline button; returns the update."""
        return self.do(lambda world: world.press(chat, message_id, data, world.bots[self.token]))

    def inject(self, update: Mapping[str, Any]) -> Json:
        """Any update; its update_id is set."""
        return self.do(lambda world: world.inject(update, world.bots[self.token]))

    def close_chat(self, chat: int, state: ChatState | str = ChatState.BLOCKED) -> None:
        """Blocked, kicked, deactivated, ...; ChatState.OPEN opens it again."""
        self.do(lambda world: world.set_state(chat, ChatState(state)))

    def migrate(self, chat: int, to: int) -> None:
        """The group becomes a supergroup with id `to`."""
        self.do(lambda world: world.migrate(chat, to))

    # ------------------------------------------------------------ what goes wrong

    def fail(self, kind: Kind | str, **conditions: Any) -> None:
        """Add a fault; `conditions` are the fields of `Rule`: method=, chat=, times=, probability=, ..."""
        self.do(lambda world: world.faults.add(Rule(Kind(kind), **conditions)))

    def lose(self, share: float = 0.4, seed: int = 0) -> None:
        """From now on lose this share of all calls, half of them after Telegram acted."""
        self.do(lambda world: setattr(world, "faults", Faults.lossy(share, rng=random.Random(seed))))

    def heal(self) -> None:
        """No faults, no outages any more."""
        self.do(lambda world: world.faults.clear())

    def outage(self, seconds: float, kind: Kind | str = Kind.REFUSED) -> None:
        """From now on, for so many seconds, Telegram cannot be reached."""
        self.do(lambda world: world.faults.outage(world.clock.now(), world.clock.now() + seconds, Kind(kind)))

    def limit(self, limits: Limits | None = None) -> None:
        """Enforce limits from now on; Telegram's own where none are given."""
        self.do(lambda world: setattr(world, "limits", limits or Limits()))

    def chats(self, *chats: int | Sequence[Any]) -> None:
        """Only these chats exist from now on (others: "chat not found"): ids, or (id, type) pairs."""

        def close_doors(world: World) -> None:
            world.open_doors = False
            for chat in chats:
                if isinstance(chat, int):
                    world.add_chat(chat)
                else:
                    world.add_chat(*chat)

        self.do(close_doors)
