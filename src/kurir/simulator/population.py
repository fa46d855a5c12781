"""Who and what there is in the simulated Telegram: bots, chats, messages, updates, and what users do."""

from __future__ import annotations

import random
from collections import OrderedDict
from collections.abc import Mapping
from typing import Any, Protocol

from .files import Files
from .journal import Journal
from .limits import Meter
from .model import Bot, Chat, ChatState, Json, Message, user_json

TYPES = ("private", "group", "supergroup", "channel")


class Clock(Protocol):
    """Wall time in Unix seconds."""

    def now(self) -> float: ...


class Population:
    """The facts of a world, and how tests and users change them."""

    def __init__(self, clock: Clock, seed: int, open_doors: bool, history: int) -> None:
        self.clock = clock
        self.rng = random.Random(seed)
        self.open_doors = open_doors
        self.journal = Journal()
        self.meter = Meter()
        self.files = Files()
        self.bots: dict[str, Bot] = {}
        self._chats: dict[int, Chat] = {}
        self._names: dict[str, Chat] = {}
        self._messages: OrderedDict[tuple[int, int, int], Message] = OrderedDict()
        self._history = history

    # ------------------------------------------------------------ what there is

    def add_bot(self, token: str, name: str = "", username: str = "") -> Bot:
        """A bot; its id is the token's part before the colon. Adding it again gives the same one."""
        if token in self.bots:
            return self.bots[token]
        number = token.partition(":")[0]
        if not number.isdigit() or ":" not in token:
            raise ValueError(f'a bot token looks like "123456:ABC...", not {token[:3]!r}...')
        bot = Bot(int(number), token, username or f"kurir_{number}_bot", name or f"Bot {number}", self.clock.now())
        self.bots[token] = bot
        return bot

    def add_chat(self, chat_id: int, type: str = "private", title: str = "", *, username: str | None = None,
                 forum: bool = False) -> Chat:  # fmt: skip
        """A chat, open to every bot."""
        if type not in TYPES:
            raise ValueError(f"a chat is one of {', '.join(TYPES)}, not {type!r}")
        chat = Chat(chat_id, type, title or f"{type.title()} {abs(chat_id)}", username, forum=forum)
        self._chats[chat_id] = chat
        if username:
            self._names[username.lower()] = chat
        return chat

    def set_state(self, chat_id: int, state: ChatState, bot: int | None = None) -> None:
        """Close a chat to a bot (None: to all), or open it again. The bot learns by a my_chat_member update
        where Telegram would tell."""
        chat = self._known(chat_id)
        before = chat.state(bot or 0)
        if state is ChatState.OPEN:
            chat.states.pop(bot, None)
        else:
            chat.states[bot] = state
        told = (ChatState.BLOCKED, ChatState.KICKED, ChatState.OPEN)
        if state in told and before is not state:
            for one in self.bots.values():
                if bot is None or one.id == bot:
                    self._tell_member(one, chat, before, state)

    def migrate(self, chat_id: int, to: int) -> Chat:
        """A group becomes a supergroup with id `to`."""
        old = self._known(chat_id)
        new = self._chats.get(to) or self.add_chat(to, "supergroup", old.title)
        old.moved_to = to
        self.journal.aliases[chat_id] = to
        return new

    def add_topic(self, chat_id: int, thread: int, *, open: bool = True) -> None:
        """A forum topic; called again it opens or closes it."""
        chat = self._known(chat_id)
        chat.forum = True
        chat.topics[thread] = open
        chat.forget_json()

    def chat(self, name: object) -> Chat | None:
        """By id (number or digits) or @username; opens the door where doors are open."""
        if isinstance(name, str):
            if name.startswith("@"):
                return self._names.get(name[1:].lower())
            try:
                name = int(name)
            except ValueError:
                return None
        if not isinstance(name, int):
            return None
        chat = self._chats.get(name)
        if chat is None and self.open_doors and name:
            chat = self.add_chat(name, _type_of(name))
        return chat

    def message(self, bot: Bot, chat: Chat, message_id: int) -> Message | None:
        return self._messages.get((0 if chat.shared else bot.id, chat.id, message_id))

    def messages(self, chat_id: int | None = None) -> list[Message]:
        """What is to be read in a chat (None: in all), oldest first."""
        return [one for one in self._messages.values() if chat_id is None or one.chat.id == chat_id]

    # ------------------------------------------------------------ what users do

    def say(self, chat_id: int, text: str, bot: Bot | None = None, user: int | None = None) -> Json:
        """A user writes; the bot (the only one if none is named) gets the update, which is returned."""
        chat, bot = self._known(chat_id), bot or self._only_bot()
        sender = user_json(user if user is not None else max(chat_id, 1))
        message = self.put(bot, chat, "text", {"text": text}, sender=sender)
        if text.startswith("/"):
            length = len(text.split()[0])
            message.content["entities"] = [{"type": "bot_command", "offset": 0, "length": length}]
        return self.inject({"message": message.json}, bot)

    def press(self, chat_id: int, message_id: int, data: str, bot: Bot | None = None) -> Json:
        """A user presses an inline button; returns the callback_query update."""
        chat, bot = self._known(chat_id), bot or self._only_bot()
        message = self.message(bot, chat, message_id)
        if message is None:
            raise ValueError(f"there is no message {message_id} in chat {chat_id}")
        query = {
            "id": str(self.rng.getrandbits(60)),
            "from": user_json(max(chat_id, 1)),
            "message": message.json,
        }
        return self.inject({"callback_query": {**query, "chat_instance": "1", "data": data}}, bot)

    def inject(self, update: Mapping[str, Any], bot: Bot | None = None) -> Json:
        """Any update, put into the bot's queue with the next update_id (whatever it says itself)."""
        bot = bot or self._only_bot()
        full = {**update, "update_id": bot.next_update}
        bot.next_update += 1
        for name, value in update.items():
            if name.endswith("_query") and isinstance(value, dict) and "id" in value:
                bot.queries.add(str(value["id"]))
        allowed = bot.webhook.allowed if bot.webhook else bot.allowed
        if not allowed or any(name in allowed for name in update):
            bot.updates.append(full)
            bot.wake()
        return full

    def put(self, bot: Bot, chat: Chat, kind: str, content: Json, *, mark: str | None = None,
            sender: Json | None = None, markup: Json | None = None, extra: Json | None = None,
            at: float | None = None) -> Message:  # fmt: skip
        """A new message."""
        counter: Bot | Chat = chat if chat.shared else bot
        number = counter.next_message
        counter.next_message = number + 1
        date = int(self.clock.now() if at is None else at)
        message = Message(number, chat, bot, date, kind, content, mark, sender, markup, extra)
        self._messages[(0 if chat.shared else bot.id, chat.id, number)] = message
        if len(self._messages) > self._history:
            self._messages.popitem(last=False)
        return message

    def remove(self, message: Message) -> None:
        owner = 0 if message.chat.shared else message.bot.id
        self._messages.pop((owner, message.chat.id, message.id), None)

    # ------------------------------------------------------------ within

    def _tell_member(self, bot: Bot, chat: Chat, before: ChatState, after: ChatState) -> None:
        now = int(self.clock.now())
        who = user_json(max(chat.id, 1))
        change = {"chat": chat.json, "from": who, "date": now}
        old, new = _member(bot, before), _member(bot, after)
        self.inject({"my_chat_member": {**change, "old_chat_member": old, "new_chat_member": new}}, bot)

    def _known(self, chat_id: int) -> Chat:
        chat = self.chat(chat_id)
        if chat is None:
            raise ValueError(f"there is no chat {chat_id}: add_chat({chat_id}) first")
        return chat

    def _only_bot(self) -> Bot:
        if len(self.bots) != 1:
            raise ValueError(f"name the bot: there are {len(self.bots)}")
        return next(iter(self.bots.values()))


def _member(bot: Bot, state: ChatState) -> Json:
    if state is ChatState.OPEN:
        return {"user": bot.json, "status": "member"}
    return {"user": bot.json, "status": "kicked", "until_date": 0}


def _type_of(chat_id: int) -> str:
    if chat_id > 0:
        return "private"
    return "supergroup" if chat_id <= -1_000_000_000_000 else "group"
