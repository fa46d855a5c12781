"""What every verb needs to call a script: keys, the words that each script is told first, numbers, and doubt."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Collection, Hashable, Sequence
from typing import Any, TypeVar

from kurir.core.errors import StoreAway

from .days import day_of
from .keyspace import Keyspace
from .link import Link
from .lost import Lost

T = TypeVar("T")
AT_ONCE = 50  # bots that one call looks at, at most


class Calls:
    """`who`: this handle, on the channel where changes are told of.

    Outside a cluster, a script notes the bots that it sees and takes order numbers by itself. In a cluster these lie on
    another node than the bot, so they are seen to before: that is a round trip more for each call that takes numbers.
    """

    def __init__(self, link: Link, keys: Keyspace, who: str) -> None:
        self.link = link
        self.keys = keys
        self.lost = Lost()
        self.loud = (keys.channel, who)  # for scripts that tell others of what they changed
        self._noted: set[int] = set()  # bots that the cluster knows

    @property
    def cluster(self) -> bool:
        return self.link.cluster

    async def look(self, name: str, bot: int, *args: Any) -> Any:
        """A script that changes nothing, about one bot."""
        words = (self.keys.base, "", bot, *args)
        return await self.link.run(name, [self.keys.of_bot(bot, "b")], words, writes=False)

    async def look_at_all(self, name: str, bots: Sequence[int], *args: Any) -> list[Any]:
        """The same about several bots: an answer for each. Outside a cluster, many of them in one call."""
        many = 1 if self.cluster else AT_ONCE
        groups = [bots[start : start + many] for start in range(0, len(bots), many)]
        calls = (self._look_at(name, group, *args) for group in groups)
        return [answer for answers in await asyncio.gather(*calls) for answer in answers]

    async def _look_at(self, name: str, bots: Sequence[int], *args: Any) -> list[Any]:
        words = (self.keys.base, "", ",".join(map(str, bots)), *args)
        answers: list[Any] = await self.link.run(name, self._of(bots), words, writes=False)
        return answers

    async def run(self, name: str, bots: Collection[int], *args: Any, again: tuple[Any, ...] = ()) -> Any:
        """A script that changes something: in a cluster, of one bot. `again`: as in `Link.run`."""
        registry = await self._registry(bots)
        return await self._doubted(name, self._of(bots), (self.keys.base, registry, *args), again)

    async def numbered(self, name: str, bot: int, *args: Any, new: int = 1) -> Any:
        """A script that changes something of one bot and needs up to `new` order numbers; it is told the bot first."""
        return await self.numbered_many(name, [bot], new, bot, *args)

    async def numbered_many(self, name: str, bots: Collection[int], new: int, *args: Any) -> Any:
        """The same about several bots: outside a cluster."""
        registry, counter, first = await self._registry(bots), self.keys.counter, 0
        keys = self._of(bots)
        if not self.cluster:
            keys.append(counter)
        else:
            first = await self.take_numbers(new) if new else 0
            counter = ""
        return await self._doubted(name, keys, (self.keys.base, registry, counter, first, *self.loud, *args), ())

    async def take_numbers(self, n: int) -> int:
        """The first of `n` new order numbers, which nobody else gets."""
        last: int = await self.link.command("INCRBY", self.keys.counter, n)
        return last - n + 1

    async def _doubted(self, name: str, keys: list[str], args: tuple[Any, ...], again: tuple[Any, ...]) -> Any:
        try:
            return await self.link.run(name, keys, args, again=again)
        except StoreAway:
            self._noted.clear()  # who takes over may not have heard of them
            raise

    def _of(self, bots: Collection[int]) -> list[str]:
        return [self.keys.of_bot(bot, "b") for bot in bots]

    async def _registry(self, bots: Collection[int]) -> str:
        """The set in which the script is to note its bots; '' where it need not."""
        if not self.cluster:
            return self.keys.bots
        if new := set(bots) - self._noted:
            await self.link.command("SADD", self.keys.bots, *new)
            self._noted |= new
        return ""

    async def end_suppressed(self, bot: int, chat: str, now: float) -> None:
        """What waits for a suppressed chat ends, step by step, so that others get their turns in between."""
        while await self.run("end_suppressed", [bot], bot, chat, repr(now), day_of(now)):
            pass

    async def once(self, name: Hashable, call: Callable[[int], Awaitable[T]]) -> T:
        """A call that the script carries out once, by its number: that of the same call before, if its answer was lost."""
        known = self.lost.recall(name)
        number = self.lost.number() if known is None else known
        try:
            answer = await call(number)
        except StoreAway:
            self.lost.remember(name, number)
            raise
        self.lost.forget(name)
        return answer
