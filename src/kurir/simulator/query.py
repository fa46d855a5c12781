"""One call on its way through the methods: what it asks, and what it did."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from . import params as read
from .errors import ApiError, bad_request, forbidden, too_many
from .files import Stored, Upload
from .journal import Verb
from .limits import Budget, Toll
from .model import Bot, Chat, ChatState, Json, Message

if TYPE_CHECKING:
    from .world import World

WRITE_REFUSALS = {
    ChatState.BLOCKED: forbidden("bot was blocked by the user"),
    ChatState.DEACTIVATED: forbidden("user is deactivated"),
    ChatState.NEVER_STARTED: forbidden("bot can't initiate conversation with a user"),
    ChatState.IS_BOT: forbidden("bot can't send messages to bots"),
}


@dataclass(slots=True)
class Query:
    """A call. Handlers read `params`, ask for the chat, then `charge`, then change the world. Nothing is
    changed before `charge` has returned."""

    world: World
    bot: Bot
    method: str  # the Bot API's spelling
    params: read.Params
    files: dict[str, Upload]
    at: float  # arrival, Unix seconds
    mark: str | None = None
    fail_item: int | None = None  # a fault: this item of an album fails
    fail_words: str = ""
    hold: float = 0.0
    cost: int = 0
    chat: Chat | None = None
    chat_name: int | str | None = None  # as asked for, where there is no such chat
    target: int | None = None
    verb: Verb | None = None  # what came of it, where it is not the method's usual
    message_ids: list[int] = field(default_factory=list)
    poll: float = 0.0

    # ------------------------------------------------------------ the chat

    def find_chat(self, name: str = "chat_id", *, write: bool = False) -> Chat:
        """The chat named by a parameter. Raises ApiError where it is missing or closed to the bot."""
        value = self.params.get(name)
        if value is None or value == "":
            raise bad_request("chat_id is empty")
        self.chat_name = value if isinstance(value, (int, str)) else None
        chat = self.world.chat(value)
        if chat is None:
            raise bad_request("chat not found")
        if name == "chat_id":
            self.chat = chat
        if chat.states or chat.moved_to is not None:
            self._check_access(chat, write)
        return chat

    def _check_access(self, chat: Chat, write: bool) -> None:
        if chat.moved_to is not None:
            words = "Bad Request: group chat was upgraded to a supergroup chat"
            raise ApiError(400, words, {"migrate_to_chat_id": chat.moved_to})
        state = chat.state(self.bot.id)
        if write and state in WRITE_REFUSALS:
            raise _copy(WRITE_REFUSALS[state])
        kind = chat.type
        if state is ChatState.KICKED:
            raise forbidden(f"bot was kicked from the {kind} chat")
        if state is ChatState.LEFT:
            raise forbidden(f"bot is not a member of the {kind} chat")
        if state is ChatState.DELETED:
            raise forbidden("the group chat was deleted")

    def check_rights(self, chat: Chat, what: str) -> None:
        """May the bot send this kind of message here? `what`: "text messages", "photos", ..."""
        if chat.states and chat.state(self.bot.id) is ChatState.NO_RIGHTS:
            if chat.type == "channel":
                raise bad_request("need administrator rights in the channel chat")
            raise bad_request(f"not enough rights to send {what} to the chat")

    def thread(self, chat: Chat) -> Json:
        """The topic of the message, checked; empty where none was named."""
        thread = read.number(self.params, "message_thread_id")
        if not thread:
            return {}
        if thread not in chat.topics:
            raise bad_request("message thread not found")
        if not chat.topics[thread]:
            raise bad_request("TOPIC_CLOSED")
        return {"message_thread_id": thread, "is_topic_message": True}

    # ------------------------------------------------------------ messages

    def find_message(self, chat: Chat, message_id: int, what: str) -> Message:
        """Raises "Bad Request: <what> not found"."""
        message = self.world.message(self.bot, chat, message_id)
        if message is None:
            raise bad_request(f"{what} not found")
        return message

    def reply(self, chat: Chat) -> Json:
        """What the message replies to, checked; empty where it replies to nothing."""
        given = read.document(self.params, "reply_parameters", "can't parse reply parameters JSON object")
        if isinstance(given, dict):
            wanted, lenient = (
                read.number(given, "message_id"),
                read.flag(given, "allow_sending_without_reply"),
            )
            elsewhere = given.get("chat_id")
        else:
            wanted = read.number(self.params, "reply_to_message_id")
            lenient, elsewhere = read.flag(self.params, "allow_sending_without_reply"), None
        if not wanted:
            return {}
        where = self.world.chat(elsewhere) if elsewhere else chat
        message = self.world.message(self.bot, where, wanted) if where else None
        if message is not None:
            shown = {key: value for key, value in message.json.items() if key != "reply_to_message"}
            return {"reply_to_message": shown}
        if lenient:
            return {}
        raise bad_request("message to be replied not found")

    def file(self, kind: str, field_name: str, value: Any) -> Stored | None:
        """The file a parameter names: an upload (by its own name or attach://), a file_id or a URL."""
        name = field_name
        if isinstance(value, str) and value:
            if not value.startswith("attach://"):
                return self.world.files.by_reference(self.bot.id, kind, value)
            name = value[len("attach://") :]
        upload = self.files.get(name)
        return self.world.files.store(self.bot.id, kind, upload) if upload else None

    # ------------------------------------------------------------ what it costs

    def charge(self, chat: Chat | None, cost: int = 1) -> None:
        """Spend from the bot's and the chat's budget. Raises ApiError (429); may ask for a hold."""
        limits, bot = self.world.limits, self.bot.id
        if read.flag(self.params, "allow_paid_broadcast"):
            budgets = [Budget((bot, "paid"), limits.paid, queue=False)]
        else:
            budgets = [Budget(bot, limits.bot, queue=False)]
        if chat is not None:
            budgets.append(Budget((bot, chat.id), limits.of_chat(chat.type), queue=True))
        if limits.uploads and self.files:
            size = sum(upload.size for upload in self.files.values())
            self._bear(self.world.meter.charge_upload(bot, size, self.at))
        self._bear(self.world.meter.charge(limits, self.at, budgets, cost))
        self.cost = cost

    def _bear(self, toll: Toll) -> None:
        if toll.retry_after:
            raise too_many(toll.retry_after)
        self.hold += toll.hold

    @property
    def takes_effect(self) -> float:
        """Unix seconds."""
        return self.at + self.hold


def _copy(error: ApiError) -> ApiError:
    return ApiError(error.code, error.description, error.parameters)
