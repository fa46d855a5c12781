"""Methods that change what is there (class C), and those that are now or never (class B)."""

from __future__ import annotations

from typing import Any

from . import params as read
from .entities import EMPTY, check_caption, check_text, formatted
from .errors import bad_request
from .keyboards import reply_markup
from .model import Json, Message
from .query import Query
from .shapes import item_json, location

SAME = (
    "message is not modified: specified new message content and reply markup are exactly the same as a "
    "current content and reply markup of the message"
)
CAPTIONED = ("photo", "audio", "document", "video", "animation", "voice", "paid_media")
EDITABLE = (*CAPTIONED, "text")
OLD = 48 * 3600  # seconds after which a bot may not delete a message in a private chat or group
ACTIONS = frozenset((
    "cancel", "typing", "upload_photo", "record_video", "upload_video", "record_voice", "record_audio",
    "upload_voice", "upload_audio", "upload_document", "choose_sticker", "find_location", "pick_up_location",
    "record_video_note", "upload_video_note",
))  # fmt: skip
MOST_DELETED = 100


def edit_text(query: Query) -> Json | bool:
    words = formatted(query.params, "text", "entities")
    if not query.params.get("text"):
        raise bad_request("message text is empty")
    message = _target(query)
    if message is None:
        return True
    if message.kind != "text":
        raise bad_request("there is no text in the message to edit")
    check_text(words)
    content: Json = {"text": words.text}
    if words.entities:
        content["entities"] = words.entities
    return _change(query, message, content)


def edit_caption(query: Query) -> Json | bool:
    words = formatted(query.params, "caption", "caption_entities")
    message = _target(query)
    if message is None:
        return True
    if message.kind not in CAPTIONED:
        raise bad_request("there is no caption in the message to edit")
    check_caption(words)
    content = {key: value for key, value in message.content.items() if not key.startswith("caption")}
    if words.text:
        content["caption"] = words.text
    if words.entities:
        content["caption_entities"] = words.entities
    return _change(query, message, content)


def edit_media(query: Query) -> Json | bool:
    read.required(query.params, "media")
    given = read.document(query.params, "media", "can't parse input media JSON object")
    caption = formatted(given, "caption", "caption_entities") if isinstance(given, dict) else EMPTY
    message = _target(query)
    kind, content = item_json(query, given, ("photo", "video", "animation", "audio", "document"))
    if message is None:
        return True
    if message.kind not in EDITABLE:
        raise bad_request("message can't be edited")
    check_caption(caption)
    if caption.text:
        content["caption"] = caption.text
    if caption.entities:
        content["caption_entities"] = caption.entities
    return _change(query, message, content, kind=kind)


def edit_markup(query: Query) -> Json | bool:
    message = _target(query)
    return True if message is None else _change(query, message, message.content, dated=False)


def edit_location(query: Query) -> Json | bool:
    """editMessageLiveLocation, stopMessageLiveLocation."""
    message = _target(query)
    if message is None:
        return True
    place = message.content.get("location", {})
    if not place.get("live_period"):
        raise bad_request("message can't be edited")
    if query.method == "stopMessageLiveLocation":
        stopped = {key: value for key, value in place.items() if key != "live_period"}
        return _change(query, message, {"location": stopped})
    moved = {**place, **location(query)["location"]}
    return _change(query, message, {"location": moved})


def stop_poll(query: Query) -> Json:
    markup = reply_markup(query.params)
    chat = query.find_chat()
    query.target = read.number(query.params, "message_id")
    message = query.find_message(chat, query.target, "message with poll to stop")
    if message.kind != "poll":
        raise bad_request("message is not a poll")
    if not message.own:
        raise bad_request("poll can't be stopped")
    poll = message.content["poll"]
    if poll["is_closed"]:
        raise bad_request("poll has already been closed")
    query.charge(chat)
    message.content = {"poll": {**poll, "is_closed": True}}
    message.markup = markup
    closed: Json = message.content["poll"]
    return closed


def _target(query: Query) -> Message | None:
    """The message to edit; None for an inline message, which the simulator takes as there."""
    query.target = read.number(query.params, "message_id")
    if not query.params.get("chat_id") and not query.target:
        if not query.params.get("inline_message_id"):
            raise bad_request("message identifier is not specified")
        query.charge(None)
        return None
    chat = query.find_chat()
    message = query.find_message(chat, query.target, "message to edit")
    if not message.own:
        raise bad_request("message can't be edited")
    return message


def _change(query: Query, message: Message, content: Json, *, kind: str = "", dated: bool = True) -> Json:
    markup = reply_markup(query.params)
    if content == message.content and markup == message.markup:
        raise bad_request(SAME)
    query.charge(message.chat)
    message.content, message.markup, message.kind = content, markup, kind or message.kind
    if dated:
        message.edit_date = int(query.takes_effect)
    return message.json


# ---------------------------------------------------------------- delete, pin, react


def delete(query: Query) -> bool:
    chat = query.find_chat()
    query.target = read.number(query.params, "message_id")
    message = query.find_message(chat, query.target, "message to delete")
    if not chat.shared and query.at - message.date > OLD:
        raise bad_request("message can't be deleted for everyone")
    query.world.remove(message)
    return True


def delete_many(query: Query) -> bool:
    given = read.document(query.params, "message_ids", "can't parse message identifiers JSON object")
    if not isinstance(given, list) or not given:
        raise bad_request("message identifiers are not specified")
    if len(given) > MOST_DELETED:
        raise bad_request("too many message identifiers specified")
    ids = [read.number({"id": one}, "id") for one in given]
    if any(one <= 0 for one in ids):
        raise bad_request("invalid message identifier specified")
    chat = query.find_chat()
    for one in ids:
        message = query.world.message(query.bot, chat, one)
        if message is not None:
            query.world.remove(message)
    return True


def pin(query: Query) -> bool:
    chat = query.find_chat(write=True)
    query.target = read.number(query.params, "message_id")
    message = query.find_message(chat, query.target, "message to pin")
    if message.id not in chat.pinned:
        chat.pinned.append(message.id)
    return True


def unpin(query: Query) -> bool:
    """unpinChatMessage, unpinAllChatMessages."""
    chat = query.find_chat(write=True)
    query.target = read.number(query.params, "message_id") or None
    if query.method == "unpinAllChatMessages":
        chat.pinned.clear()
    elif query.target is None:
        if not chat.pinned:
            raise bad_request("message to unpin not found")
        chat.pinned.pop()
    else:
        message = query.find_message(chat, query.target, "message to unpin")
        if message.id in chat.pinned:
            chat.pinned.remove(message.id)
    return True


def react(query: Query) -> bool:
    given = read.document(query.params, "reaction", "can't parse reaction JSON object") or []
    if not isinstance(given, list) or not all(isinstance(one, dict) and one.get("type") for one in given):
        raise bad_request("can't parse ReactionType: expected an Object")
    chat = query.find_chat(write=True)
    query.target = read.number(query.params, "message_id")
    query.find_message(chat, query.target, "message to react")
    if len(given) > 1:
        raise bad_request("REACTIONS_TOO_MANY")
    return True


def topic_state(query: Query) -> bool:
    """closeForumTopic, reopenForumTopic, deleteForumTopic, editForumTopic."""
    chat = query.find_chat(write=True)
    thread = read.number(query.params, "message_thread_id")
    if thread not in chat.topics:
        raise bad_request("message thread not found")
    if query.method == "deleteForumTopic":
        del chat.topics[thread]
    elif query.method == "closeForumTopic":
        chat.topics[thread] = False
    elif query.method == "reopenForumTopic":
        chat.topics[thread] = True
    return True


# ---------------------------------------------------------------- now or never


def action(query: Query) -> bool:
    """sendChatAction: costs nothing here (disputed; see docs/simulator.md)."""
    if read.text(query.params, "action").lower() not in ACTIONS:
        raise bad_request("wrong parameter action in request")
    query.find_chat(write=True)
    return True


def draft(query: Query) -> bool:
    """sendMessageDraft."""
    formatted(query.params, "text", "entities")
    query.find_chat(write=True)
    return True


def answer(query: Query) -> bool:
    """answerCallbackQuery and its kin: each query once."""
    name = next((name for name in query.params if name.endswith("query_id")), "")
    identifier: Any = read.text(query.params, name) if name else ""
    if identifier not in query.bot.queries:
        raise bad_request("query is too old and response timeout expired or query ID is invalid")
    query.bot.queries.discard(identifier)
    return True


def done(query: Query) -> bool:
    """Methods of which the simulator only checks the chat."""
    if query.params.get("chat_id"):
        query.find_chat()
    return True
