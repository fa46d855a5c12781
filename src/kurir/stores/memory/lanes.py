"""The order of things: which message is a lane's head, which lane may send, and since when.

Every change of a lane ends with `place`, which brings its head and the bot's agendas up to date. That a message's time
came is noticed by the next claim: then it holds its place again, and counts as having done so since it was due.
"""

from __future__ import annotations

from collections.abc import Iterator

from kurir import ports
from kurir.core.message import Priority

from .model import Bot, Lane, Message, lane_of


class Lanes:
    """Bots, their lanes, and the names chats had before they moved."""

    def __init__(self) -> None:
        self.bots: dict[int, Bot] = {}
        self._by_chat: dict[tuple[int, str], Lane] = {}
        self._by_id: dict[int, Lane] = {}
        self._aliases: dict[tuple[int, str], str] = {}
        self._last_id = 0

    def bot(self, id: int) -> Bot:
        """The bot, known from now on."""
        bot = self.bots.get(id)
        if bot is None:
            bot = self.bots[id] = Bot(id)
        return bot

    def held(self, now: float) -> list[Bot]:
        """Bots with a lease that holds."""
        return [bot for _, bot in sorted(self.bots.items()) if bot.holder is not None and bot.until > now]

    def today(self, bot: int, chat: str) -> str:
        """What the chat is called today."""
        return self._aliases.get((bot, chat), chat)

    def find(self, bot: int, chat: str) -> Lane | None:
        """The chat's lane, if there is one."""
        return self._by_chat.get((bot, self.today(bot, chat)))

    def lane(self, bot: int, chat: str) -> Lane:
        """The chat's lane, created if need be."""
        lane = self.find(bot, chat)
        if lane is None:
            self.bot(bot)
            self._last_id += 1
            lane = Lane(self._last_id, bot, self.today(bot, chat))
            self._by_chat[bot, lane.chat] = self._by_id[lane.id] = lane
        return lane

    def of(self, message: Message) -> Lane:
        """The lane of a message."""
        return self.lane(message.draft.bot, message.draft.chat)

    def all(self) -> list[Lane]:
        """Every lane, in the order in which they came into being."""
        return list(self._by_id.values())

    def aliases(self) -> list[tuple[int, str, str]]:
        """(bot, name it had, name today) of the chats that moved."""
        return sorted((bot, old, new) for (bot, old), new in self._aliases.items())

    # ------------------------------------------------------------ from elsewhere

    def restore(self, message: Message, later: bool) -> None:
        """A waiting message takes the place it had elsewhere; in flight if it has a token."""
        lane = self.of(message)
        self._join(lane, message)
        if message.token is not None:
            lane.flying = self.bot(lane.bot).flying[message.seq] = message
        else:
            self._queue(lane, message, later)
        self.place(lane, lane.since or message.draft.accepted_at)

    def restore_alias(self, bot: int, chat: str, moved_to: str) -> None:
        """A chat moved; a lane it still has here goes with it."""
        lane = self._by_chat.get((bot, chat))
        if lane is None:
            self._aliases[bot, chat] = moved_to
            return
        if lane.flying is not None:
            self.stand_back(lane.flying, lane.since, later=False)
        self.move(lane, moved_to, lane.since)

    # ------------------------------------------------------------ for people

    def select(self, query: ports.LaneQuery, after: int) -> Iterator[tuple[int, ports.Lane]]:
        """What matches, each with its number, in the order of these, beyond `after`."""
        for number, lane in self._named(query) if query.chat is not None else self._all():
            if (
                number > after
                and query.bot in (None, lane.bot)
                and (lane.waiting or not query.waiting)
                and (lane.suppressed is not None or not query.suppressed)
            ):
                yield number, lane

    def _all(self) -> Iterator[tuple[int, ports.Lane]]:
        return ((id, lane_of(lane)) for id, lane in self._by_id.items())

    def _named(self, query: ports.LaneQuery) -> Iterator[tuple[int, ports.Lane]]:
        """The lanes of that name, or what became of them, numbered by their bots."""
        for bot in sorted(self.bots):
            name = (bot, query.chat or "")
            if name in self._aliases:
                yield bot, ports.Lane(*name, moved_to=self._aliases[name])
            elif name in self._by_chat:
                yield bot, lane_of(self._by_chat[name])

    # ------------------------------------------------------------ what waits

    def add(self, message: Message, now: float) -> None:
        """A message starts to wait: in its place, or `later` if it is not due yet."""
        lane = self.of(message)
        self._join(lane, message)
        self._queue(lane, message, message.due_at > now)
        self.place(lane, now)

    def remove(self, message: Message, now: float) -> None:
        """A message waits no more."""
        lane = self.of(message)
        self._land(lane, message)
        self._leave(lane, message)
        self.place(lane, now)

    def stand_back(self, message: Message, now: float, later: bool) -> None:
        """A message in flight waits again."""
        lane = self.of(message)
        self._land(lane, message)
        self._queue(lane, message, later and message.due_at > now)
        self.place(lane, now)

    def hold(self, lane: Lane, until: float, why: str | None) -> None:
        """The lane sends nothing before `until`; 0: it is held no more."""
        lane.chat_at, lane.chat_why = until, why if until else None
        self.place(lane, lane.since)

    def move(self, lane: Lane, chat: str, now: float) -> None:
        """The lane's chat is called `chat` from now on; a lane that has that name takes this one in."""
        old, new = lane.chat, self.today(lane.bot, chat)
        if new == old:
            return
        for (bot, alias), target in self._aliases.items():
            if bot == lane.bot and target == old:
                self._aliases[bot, alias] = new
        self._aliases[lane.bot, old] = new
        del self._by_chat[lane.bot, old]
        other = self._by_chat.get((lane.bot, new))
        if other is None:
            lane.chat = new
            self._by_chat[lane.bot, new] = lane
        else:
            self._merge(lane, other, now)

    def _merge(self, lane: Lane, into: Lane, now: float) -> None:
        for message in list(lane.waiting.values()):
            later = message.seq in lane.later
            self._leave(lane, message)
            self._join(into, message)
            self._queue(into, message, later)
        into.quiet(lane.chat_at, lane.chat_why)
        into.messages += lane.messages
        self.place(lane, now)
        self.place(into, now)
        del self._by_id[lane.id]

    def _join(self, lane: Lane, message: Message) -> None:
        if not lane.waiting:
            self.bot(lane.bot).busy_lanes += 1
        lane.waiting[message.seq] = message
        if message.target_id is not None:
            lane.about.setdefault(message.target_id, {})[message.seq] = message

    def _queue(self, lane: Lane, message: Message, later: bool) -> None:
        bot = self.bot(lane.bot)
        if later:
            lane.later.put(message.seq, (message.due_at, message.pos))
            bot.later.put(message.seq, (message.due_at, message.pos))
        else:
            lane.later.drop(message.seq)
            bot.later.drop(message.seq)
            lane.order.put(message.seq, (message.draft.priority, message.pos))

    def _leave(self, lane: Lane, message: Message) -> None:
        lane.order.drop(message.seq)
        lane.later.drop(message.seq)
        self.bot(lane.bot).later.drop(message.seq)
        del lane.waiting[message.seq]
        if not lane.waiting:
            self.bot(lane.bot).busy_lanes -= 1
        if message.target_id is not None:
            about = lane.about[message.target_id]
            del about[message.seq]
            if not about:
                del lane.about[message.target_id]

    def _land(self, lane: Lane, message: Message) -> None:
        message.token = None
        self.bot(lane.bot).flying.pop(message.seq, None)
        if lane.flying is message:
            lane.flying = None

    # ------------------------------------------------------------ who is next

    def promote(self, message: Message) -> None:
        """A message whose time came holds its place again, as of that time."""
        lane = self.of(message)
        self._queue(lane, message, later=False)
        self.place(lane, message.due_at)

    def place(self, lane: Lane, now: float) -> None:
        """Bring the head and the bot's agendas up to date. A head new at this step is so since `now`."""
        bot = self.bot(lane.bot)
        for agenda in (*bot.ready.values(), bot.wakes):
            agenda.drop(lane.id)
        self._behead(lane, now)
        if lane.flying is not None:
            return
        if lane.head is not None and (ready_at := lane.ready_at()) is not None:
            bot.ready[lane.waiting[lane.head].draft.priority].put(lane.id, (ready_at, lane.id))
        if (promotion := lane.later.at()) is not None:
            bot.wakes.put(lane.id, (max(lane.chat_at, promotion), lane.id))

    def _behead(self, lane: Lane, now: float) -> None:
        head = None if lane.flying is not None else lane.order.first()
        if head != lane.head:
            lane.head, lane.since = head, now

    def take(self, bot: Bot, now: float, limit: int, low: int) -> list[tuple[Message, Lane]]:
        """Put up to `limit` heads of ready lanes in flight, most urgent first; `low` places are LOW's."""
        reserved = list(self._take(bot, Priority.LOW, now, min(low, limit)))
        taken: list[tuple[Message, Lane]] = []
        for priority in Priority:
            if priority is Priority.LOW:
                taken += reserved
            taken += self._take(bot, priority, now, limit - len(taken) - (len(reserved) * (priority < Priority.LOW)))
        return taken

    def _take(self, bot: Bot, priority: Priority, now: float, limit: int) -> Iterator[tuple[Message, Lane]]:
        agenda = bot.ready[priority]
        for _ in range(limit):
            if (lane_id := agenda.due(now)) is None:
                return
            lane = self._by_id[lane_id]
            assert lane.head is not None
            message = lane.waiting[lane.head]
            message.token, lane.flying = bot.token, message
            bot.flying[message.seq] = message
            lane.order.drop(message.seq)
            self.place(lane, now)
            yield message, lane

    def lift_old_suppressions(self, before: float) -> None:
        for lane in self._by_id.values():
            if lane.suppressed is not None and lane.suppressed_at < before:
                lane.suppressed = None

    def forget(self, lane: Lane) -> None:
        """Remove an empty lane."""
        del self._by_id[lane.id], self._by_chat[lane.bot, lane.chat]
