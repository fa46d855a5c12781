"""The table of methods: name, what runs it, and what the journal calls a success of it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

from . import asks, edits, sends
from .asks import Described
from .journal import Verb
from .query import Query
from .shapes import SHAPES

__all__ = ["METHODS", "Described", "Method"]

Run = Callable[[Query], Any]


@dataclass(frozen=True, slots=True)
class Method:
    """`verb` None: the journal does not record it."""

    name: str
    run: Run
    verb: Verb | None


_SENT: dict[str, Run] = {
    **{name: partial(sends.send, shape=shape) for name, shape in SHAPES.items()},
    "sendMediaGroup": sends.album,
    "forwardMessage": sends.forward,
    "forwardMessages": sends.forward_many,
    "copyMessage": sends.copy,
    "copyMessages": sends.copy_many,
    "createForumTopic": sends.topic,
    "postStory": sends.story,
    "repostStory": sends.story,
    **dict.fromkeys(
        (
            "sendGift",
            "giftPremiumSubscription",
            "transferGift",
            "upgradeGift",
            "transferBusinessAccountStars",
        ),
        sends.gift,
    ),
}

_EDITED: dict[str, Run] = {
    "editMessageText": edits.edit_text,
    "editMessageCaption": edits.edit_caption,
    "editMessageMedia": edits.edit_media,
    "editMessageReplyMarkup": edits.edit_markup,
    "editMessageLiveLocation": edits.edit_location,
    "stopMessageLiveLocation": edits.edit_location,
    "stopPoll": edits.stop_poll,
}

_CHECKED = (
    "setMyName", "setMyDescription", "setMyShortDescription", "setMyDefaultAdministratorRights",
    "setChatMenuButton", "setChatTitle", "setChatDescription", "setChatPhoto", "deleteChatPhoto",
    "setChatPermissions", "setChatStickerSet", "deleteChatStickerSet", "setChatAdministratorCustomTitle",
    "banChatMember", "unbanChatMember", "restrictChatMember", "promoteChatMember", "banChatSenderChat",
    "unbanChatSenderChat", "approveChatJoinRequest", "declineChatJoinRequest", "leaveChat",
    "setUserEmojiStatus",
)  # fmt: skip

_DONE: dict[str, Run] = {
    "deleteMessage": edits.delete,
    "deleteMessages": edits.delete_many,
    "pinChatMessage": edits.pin,
    "unpinChatMessage": edits.unpin,
    "unpinAllChatMessages": edits.unpin,
    "setMessageReaction": edits.react,
    **dict.fromkeys(
        ("closeForumTopic", "reopenForumTopic", "deleteForumTopic", "editForumTopic"), edits.topic_state
    ),
    "sendChatAction": edits.action,
    "sendMessageDraft": edits.draft,
    **dict.fromkeys(
        ("answerCallbackQuery", "answerInlineQuery", "answerShippingQuery", "answerPreCheckoutQuery",
         "answerWebAppQuery"),
        edits.answer,
    ),
    "setMyCommands": asks.set_my_commands,
    "deleteMyCommands": asks.delete_my_commands,
    **dict.fromkeys(_CHECKED, edits.done),
}  # fmt: skip

_ASKED: dict[str, Run] = {
    "getMe": asks.get_me,
    "getChat": asks.get_chat,
    "getChatMember": asks.get_chat_member,
    "getChatMemberCount": asks.get_chat_member_count,
    "getFile": asks.get_file,
    "getUpdates": asks.get_updates,
    "setWebhook": asks.set_webhook,
    "deleteWebhook": asks.delete_webhook,
    "getWebhookInfo": asks.get_webhook_info,
    "getMyCommands": asks.get_my_commands,
    "logOut": asks.log_out,
    "close": asks.close,
}

# By lower-cased name: the server reads method names in any case.
METHODS: dict[str, Method] = {
    name.lower(): Method(name, run, verb)
    for verb, table in ((Verb.SENT, _SENT), (Verb.EDITED, _EDITED), (Verb.DONE, _DONE), (None, _ASKED))
    for name, run in table.items()
}
