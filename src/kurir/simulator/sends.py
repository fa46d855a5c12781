"""Methods that bring messages into being (class A)."""

from __future__ import annotations

from typing import Any

from . import params as read
from .entities import EMPTY, check_caption, check_text, formatted
from .errors import ApiError, bad_request
from .journal import Verb
from .keyboards import reply_markup
from .model import Chat, Json, Message
from .query import Query
from .shapes import Shape, item_json

ALBUM_KINDS = ("photo", "video", "audio", "document")
ALONE = ("document", "audio")  # kinds that share an album with their own kind only
MOST_FORWARDED = 100


def send(query: Query, shape: Shape) -> Json:
    """The single sends."""
    words = EMPTY
    if shape.kind == "text":
        words = formatted(query.params, "text", "entities")
        if not query.params.get("text"):
            raise bad_request("message text is empty")
    elif shape.captioned:
        words = formatted(query.params, "caption", "caption_entities")
    markup = reply_markup(query.params) if "reply_markup" in query.params else None
    chat = query.find_chat(write=True)
    query.check_rights(chat, shape.rights)
    content = shape.build(query)
    if shape.kind == "text":
        check_text(words)
        content["text"] = words.text
        if words.entities:
            content["entities"] = words.entities
    elif words.text:
        check_caption(words)
        content["caption"] = words.text
        if words.entities:
            content["caption_entities"] = words.entities
    extra = _surroundings(query, chat)
    query.charge(chat)
    return _put(query, chat, shape.kind, content, markup, extra).json


def album(query: Query) -> list[Json]:
    """sendMediaGroup."""
    read.required(query.params, "media")
    given = read.document(query.params, "media", "can't parse media JSON object")
    if not isinstance(given, list):
        raise bad_request("expected an Array of InputMedia")
    captions = [formatted(item, "caption", "caption_entities") if isinstance(item, dict) else EMPTY for item in given]
    chat = query.find_chat(write=True)
    query.check_rights(chat, "media messages")
    items = [item_json(query, item, ALBUM_KINDS) for item in given]
    _check_album([kind for kind, _ in items])
    extra = _surroundings(query, chat)
    if len(items) > 1:
        extra["media_group_id"] = str(query.world.rng.getrandbits(62) | 1)
    for (_, content), caption in zip(items, captions, strict=True):
        check_caption(caption)
        if caption.text:
            content["caption"] = caption.text
        if caption.entities:
            content["caption_entities"] = caption.entities
    query.charge(chat, query.world.limits.album_cost)
    _check_fault(query, len(items))
    messages = [
        _put(query, chat, kind, content, None, dict(extra))
        for number, (kind, content) in enumerate(items, 1)
        if number != query.fail_item
    ]
    _fail(query, len(items))
    return [message.json for message in messages]


def _check_album(kinds: list[str]) -> None:
    if not kinds:
        raise bad_request("there are no messages to send")
    if len(kinds) > 10:
        raise bad_request("too many messages to send as an album")
    for kind in ALONE:
        if kind in kinds and any(other != kind for other in kinds):
            raise bad_request(f"{kind} can't be mixed with other media types")


def _check_fault(query: Query, count: int) -> None:
    """A fault beyond the album's end is none."""
    if query.fail_item is not None and not 1 <= query.fail_item <= count:
        query.fail_item = None


def _fail(query: Query, count: int) -> None:
    """One failed item fails the whole call although the others are sent (`Client.cpp`
    on_message_send_failed)."""
    if query.fail_item is None:
        return
    query.verb = Verb.PARTIAL if count > 1 else None
    words = f'failed to send message #{query.fail_item} with the error message "{query.fail_words}"'
    raise bad_request(words if count > 1 else query.fail_words)


def forward(query: Query) -> Json:
    """forwardMessage."""
    chat, source = query.find_chat(write=True), query.find_chat("from_chat_id")
    message = query.find_message(source, read.number(query.params, "message_id"), "message to forward")
    return _forwarded(query, chat, [message])[0].json


def copy(query: Query) -> Json:
    """copyMessage."""
    caption = formatted(query.params, "caption", "caption_entities")
    markup = reply_markup(query.params)
    chat, source = query.find_chat(write=True), query.find_chat("from_chat_id")
    message = query.find_message(source, read.number(query.params, "message_id"), "message to copy")
    content = dict(message.content)
    if "caption" in query.params and message.kind != "text":
        check_caption(caption)
        content["caption"] = caption.text
        content["caption_entities"] = caption.entities
    extra = _surroundings(query, chat)
    query.check_rights(chat, "messages")
    query.charge(chat)
    return {"message_id": _put(query, chat, message.kind, content, markup, extra).id}


def forward_many(query: Query) -> list[Json]:
    """forwardMessages: what cannot be found is skipped."""
    chat, messages = _found(query, "forward")
    return [{"message_id": message.id} for message in _forwarded(query, chat, messages)]


def copy_many(query: Query) -> list[Json]:
    """copyMessages: what cannot be found is skipped."""
    chat, messages = _found(query, "copy")
    query.charge(chat, query.world.limits.album_cost)
    _check_fault(query, len(messages))
    copies = [
        _put(query, chat, message.kind, dict(message.content), None, {})
        for number, message in enumerate(messages, 1)
        if number != query.fail_item
    ]
    _fail(query, len(messages))
    return [{"message_id": message.id} for message in copies]


def _found(query: Query, verb: str) -> tuple[Chat, list[Message]]:
    given = read.document(query.params, "message_ids", "can't parse message identifiers JSON object")
    if not isinstance(given, list) or not given:
        raise bad_request("message identifiers are not specified")
    if len(given) > MOST_FORWARDED:
        raise bad_request("too many message identifiers specified")
    chat, source = query.find_chat(write=True), query.find_chat("from_chat_id")
    query.check_rights(chat, "messages")
    ids = [read.number({"id": one}, "id") for one in given]
    found = [query.world.message(query.bot, source, one) for one in ids]
    messages = [message for message in found if message is not None]
    if not messages:
        raise bad_request(f"there are no messages to {verb}")
    return chat, messages


def _forwarded(query: Query, chat: Chat, messages: list[Message]) -> list[Message]:
    query.check_rights(chat, "messages")
    thread = query.thread(chat)
    query.charge(chat, query.world.limits.album_cost if len(messages) > 1 else 1)
    _check_fault(query, len(messages))
    forwarded = []
    for number, message in enumerate(messages, 1):
        if number == query.fail_item:
            continue
        sender = message.sender or query.bot.json
        origin = {"type": "user", "sender_user": sender, "date": message.date}
        extra = {**thread, "forward_origin": origin}
        forwarded.append(_put(query, chat, message.kind, dict(message.content), None, extra))
    _fail(query, len(messages))
    return forwarded


def gift(query: Query) -> bool:
    """Methods that spend Stars: the recipient is a user or a chat, the answer is true."""
    if query.method == "sendGift":
        read.required(query.params, "gift_id")
    if query.params.get("user_id") and not query.params.get("chat_id"):
        query.params = {**query.params, "chat_id": query.params["user_id"]}
    chat = query.find_chat(write=True) if query.params.get("chat_id") else None
    query.charge(chat)
    return True


def topic(query: Query) -> Json:
    """createForumTopic: costs as a send (td#3034)."""
    name = read.required(query.params, "name")
    chat = query.find_chat(write=True)
    if not chat.forum:
        raise bad_request("the chat is not a forum")
    query.charge(chat)
    thread = _put(query, chat, "forum_topic_created", {"forum_topic_created": {"name": name}}, None, {}).id
    chat.topics[thread] = True
    return {"message_thread_id": thread, "name": name, "icon_color": 7322096}


def story(query: Query) -> Json:
    """postStory, repostStory: only the envelope of the answer."""
    raise ApiError(400, "Bad Request: BUSINESS_CONNECTION_INVALID")


def _surroundings(query: Query, chat: Chat) -> Json:
    """Topic, reply and protection."""
    params = query.params
    extra: Json = query.thread(chat) if "message_thread_id" in params else {}
    if "reply_parameters" in params or "reply_to_message_id" in params:
        extra.update(query.reply(chat))
    if "protect_content" in params and read.flag(params, "protect_content"):
        extra["has_protected_content"] = True
    return extra


def _put(query: Query, chat: Chat, kind: str, content: Json, markup: Json | None, extra: Any) -> Message:
    message = query.world.put(
        query.bot,
        chat,
        kind,
        content,
        mark=query.mark,
        markup=markup,
        extra=extra or None,
        at=query.takes_effect,
    )
    query.message_ids.append(message.id)
    return message
