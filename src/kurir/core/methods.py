"""What is known of each Bot API method, as tables: its class, its lane, its price, its files.

Source: core.telegram.org/bots/api, versions to 10.3 (2026-08-24). A method that is not listed passes through
untouched as `Kind.ASK`.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from enum import Enum
from typing import Any, Final


class Kind(Enum):
    """How a method may be treated."""

    SEND = "A"  # makes something new: not repeatable, queued
    NOW = "B"  # now or never: short life, never queued
    SET = "C"  # brings about a state: repeatable, queued behind what it refers to
    ASK = "D"  # asked and answered: passed through, never stored


_SENDS: Final = """
    sendMessage sendRichMessage sendPhoto sendLivePhoto sendAudio sendDocument sendVideo sendAnimation
    sendVoice sendVideoNote sendSticker sendPaidMedia sendLocation sendVenue sendContact sendPoll
    sendChecklist sendDice sendGame sendInvoice sendMediaGroup forwardMessage forwardMessages copyMessage
    copyMessages postStory repostStory sendGift giftPremiumSubscription transferGift upgradeGift
    convertGiftToStars transferBusinessAccountStars createForumTopic createChatInviteLink
    createChatSubscriptionInviteLink exportChatInviteLink createInvoiceLink createNewStickerSet
    addStickerToSet replaceStickerInSet uploadStickerFile savePreparedInlineMessage
    savePreparedKeyboardButton replaceManagedBotToken
"""

_NOW: Final = """
    sendChatAction sendMessageDraft sendRichMessageDraft sendChatJoinRequestWebApp answerCallbackQuery
    answerInlineQuery answerPreCheckoutQuery answerShippingQuery answerWebAppQuery answerGuestQuery
    answerChatJoinRequestQuery
"""

_EDITS: Final = """
    editMessageText editMessageCaption editMessageMedia editMessageReplyMarkup editMessageLiveLocation
    editMessageChecklist editEphemeralMessageText editEphemeralMessageCaption editEphemeralMessageMedia
    editEphemeralMessageReplyMarkup
"""

_SETS: Final = (
    _EDITS
    + """
    editStory editForumTopic editGeneralForumTopic editChatInviteLink editChatSubscriptionInviteLink
    editUserStarSubscription stopPoll stopMessageLiveLocation setMessageReaction setGameScore deleteMessage
    deleteMessages deleteEphemeralMessage deleteBusinessMessages deleteMessageReaction
    deleteAllMessageReactions deleteStory deleteForumTopic readBusinessMessage pinChatMessage
    unpinChatMessage unpinAllChatMessages unpinAllForumTopicMessages unpinAllGeneralForumTopicMessages
    closeForumTopic reopenForumTopic closeGeneralForumTopic reopenGeneralForumTopic hideGeneralForumTopic
    unhideGeneralForumTopic banChatMember kickChatMember unbanChatMember restrictChatMember
    promoteChatMember banChatSenderChat unbanChatSenderChat setChatAdministratorCustomTitle setChatMemberTag
    setChatPermissions setChatPhoto deleteChatPhoto setChatTitle setChatDescription setChatStickerSet
    deleteChatStickerSet setChatMenuButton leaveChat revokeChatInviteLink approveChatJoinRequest
    declineChatJoinRequest approveSuggestedPost declineSuggestedPost verifyUser verifyChat
    removeUserVerification removeChatVerification setMyCommands deleteMyCommands setMyName setMyDescription
    setMyShortDescription setMyProfilePhoto removeMyProfilePhoto setMyDefaultAdministratorRights
    setUserEmojiStatus setPassportDataErrors refundStarPayment setStickerPositionInSet deleteStickerFromSet
    setStickerEmojiList setStickerKeywords setStickerMaskPosition setStickerSetTitle setStickerSetThumbnail
    setStickerSetThumb setCustomEmojiStickerSetThumbnail deleteStickerSet setBusinessAccountName
    setBusinessAccountUsername setBusinessAccountBio setBusinessAccountProfilePhoto
    removeBusinessAccountProfilePhoto setBusinessAccountGiftSettings setManagedBotAccessSettings setWebhook
    deleteWebhook
"""
)

_ASKS: Final = """
    getAvailableGifts getBusinessAccountGifts getBusinessAccountStarBalance getBusinessConnection getChat
    getChatAdministrators getChatGifts getChatMember getChatMemberCount getChatMembersCount
    getChatMenuButton getCustomEmojiStickers getFile getForumTopicIconStickers getGameHighScores
    getManagedBotAccessSettings getManagedBotToken getMe getMyCommands getMyDefaultAdministratorRights
    getMyDescription getMyName getMyShortDescription getMyStarBalance getStarTransactions getStickerSet
    getUpdates getUserChatBoosts getUserGifts getUserPersonalChatMessages getUserProfileAudios
    getUserProfilePhotos getWebhookInfo logOut close
"""

METHODS: Final[Mapping[str, Kind]] = {
    name: kind
    for names, kind in ((_SENDS, Kind.SEND), (_NOW, Kind.NOW), (_SETS, Kind.SET), (_ASKS, Kind.ASK))
    for name in names.split()
}
"""Every known method in the Bot API's spelling."""

_SPELLING: Final = {name.lower(): name for name in METHODS}
_COSTLY: Final = frozenset(_SENDS.split()) | frozenset(_EDITS.split())
_COALESCING: Final = frozenset(_EDITS.split()) | {"setMessageReaction"}
_MONEY: Final = frozenset(
    {
        "sendGift",
        "giftPremiumSubscription",
        "transferGift",
        "upgradeGift",
        "convertGiftToStars",
        "transferBusinessAccountStars",
    }
)
_TO_USER: Final = frozenset({"sendGift", "giftPremiumSubscription"})
_FROM_ELSEWHERE: Final = frozenset({"forwardMessage", "forwardMessages", "copyMessage", "copyMessages", "repostStory"})

# ---------------------------------------------------------------- files

UPLOAD_ONLY: Final = frozenset({"thumbnail", "upload"})
"""Kinds whose file_id can never be sent again: "can't be reused and can be only uploaded as a new file"."""

FILE_FIELDS: Final[Mapping[str, Mapping[str, str]]] = {
    "sendPhoto": {"photo": "photo"},
    "sendLivePhoto": {"live_photo": "live_photo", "photo": "live_photo_still"},
    "sendAudio": {"audio": "audio", "thumbnail": "thumbnail"},
    "sendDocument": {"document": "document", "thumbnail": "thumbnail"},
    "sendVideo": {"video": "video", "thumbnail": "thumbnail", "cover": "cover"},
    "sendAnimation": {"animation": "animation", "thumbnail": "thumbnail"},
    "sendVoice": {"voice": "voice"},
    "sendVideoNote": {"video_note": "video_note", "thumbnail": "thumbnail"},
    "sendSticker": {"sticker": "sticker"},
    "setChatPhoto": {"photo": "upload"},
    "setWebhook": {"certificate": "upload"},
    "uploadStickerFile": {"sticker": "sticker_file"},
    "createNewStickerSet": {"sticker": "sticker_file"},
    "addStickerToSet": {"sticker": "sticker_file"},
    "replaceStickerInSet": {"sticker": "sticker_file"},
    "setStickerSetThumbnail": {"thumbnail": "upload"},
    "setMyProfilePhoto": {"photo": "upload", "animation": "upload"},
    "setBusinessAccountProfilePhoto": {"photo": "upload", "animation": "upload"},
    "postStory": {"photo": "upload", "video": "upload"},
    "editStory": {"photo": "upload", "video": "upload"},
}
"""Per method, the parameters (at whatever depth: `stickers[].sticker`, `content.photo`) that hold a file, and
its kind: what a later `file_id` may be used as. The `media` of an InputMedia object has the kind of its
`type`, wherever such an object stands: see `file_kind`."""

_MEDIA_KINDS: Final[Mapping[str, str]] = {
    "photo": "photo",
    "video": "video",
    "animation": "animation",
    "audio": "audio",
    "document": "document",
    "sticker": "sticker",
    "live_photo": "live_photo",
    "voice_note": "voice",
}
_BESIDE_MEDIA: Final[Mapping[str, str]] = {
    "thumbnail": "thumbnail",
    "thumb": "thumbnail",
    "cover": "cover",
    "photo": "live_photo_still",
}


def file_kind(method: str, field: str, media_type: object = None) -> str:
    """The kind of a file given as `field` of `method`, in an object of type `media_type` if in any."""
    if isinstance(media_type, str) and media_type in _MEDIA_KINDS and method not in FILE_FIELDS:
        return _MEDIA_KINDS[media_type] if field == "media" else _BESIDE_MEDIA.get(field, "upload")
    return FILE_FIELDS.get(method, {}).get(field, "upload")


# ---------------------------------------------------------------- what a method is


def known(method: str) -> bool:
    """Is it a method of the Bot API up to 10.3, however spelled?"""
    return method in METHODS or method.lower() in _SPELLING


def canonical(method: str) -> str:
    """The Bot API's spelling (the server ignores case); unknown methods unchanged."""
    return method if method in METHODS else _SPELLING.get(method.lower(), method)


def kind_of(method: str) -> Kind:
    """The method's class; unknown methods are ASK."""
    return METHODS.get(canonical(method), Kind.ASK)


def repeatable(method: str) -> bool:
    """May it be sent again without doing its work twice?"""
    return known(method) and kind_of(method) in (Kind.SET, Kind.ASK)


def cost(method: str) -> int:
    """What it takes of the chat's and the bot's pace; sends and edits share one budget (tdlib/td#2592)."""
    return 1 if canonical(method) in _COSTLY or (method.startswith("send") and not known(method)) else 0


def coalesces(method: str) -> bool:
    """Does a newer one of the same target make an older one needless? If each sets the whole state anew."""
    return canonical(method) in _COALESCING


def costs_money(method: str, params: Mapping[str, Any]) -> bool:
    """Does it spend Stars? Gifts, transfers, and sends with `allow_paid_broadcast`."""
    name = canonical(method)
    if name in _MONEY:
        return True
    paid = params.get("allow_paid_broadcast", False)
    return paid is not False and kind_of(name) is Kind.SEND and str(paid).strip().lower() in ("true", "yes", "1")


def reads_elsewhere(method: str) -> bool:
    """Does it take from a second chat (`from_chat_id`)? Then "chat not found" may mean that one."""
    return canonical(method) in _FROM_ELSEWHERE


# ---------------------------------------------------------------- whom a call concerns

_INTEGER: Final = re.compile(r"[+-]?[0-9]{1,20}")
_ALBUM: Final = "sendMediaGroup"


def chat_name(value: object) -> str:
    """One spelling per chat: `-100` and `" -100 "` are "-100"; "@Name" is "@name"; nothing is ""."""
    if type(value) is int:
        return str(value)
    if value is None or isinstance(value, bool):
        return ""
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    text = str(value).strip()
    if _INTEGER.fullmatch(text):
        return str(int(text))
    return text.lower() if text.startswith("@") else text


def lane_of(method: str, params: Mapping[str, Any]) -> str:
    """The lane a call belongs to.

    A chat's name; `inline:<id>` for an inline message; for calls that concern no chat, so that they neither
    wait for nor are suppressed with one, `user:<id>`, `business:<id>`, `stickers`, or else "". A gift to a
    user is in the lane of the user's chat.
    """
    if chat := chat_name(params.get("chat_id")):
        return chat
    if inline := params.get("inline_message_id"):
        return f"inline:{inline}"
    name = canonical(method)
    if owner := chat_name(params.get("new_owner_chat_id")):
        return owner
    if "Sticker" in name:
        return "stickers"
    if user := chat_name(params.get("user_id")):
        return user if name in _TO_USER else f"user:{user}"
    business = params.get("business_connection_id")
    return f"business:{business}" if business else ""


def is_chat(lane: str) -> bool:
    """Does the lane name a chat, which can move or be suppressed?"""
    return lane.startswith("@") or bool(_INTEGER.fullmatch(lane))


def is_group(chat: str) -> bool:
    """A group, supergroup or channel: a negative id or an @name."""
    return chat.startswith(("-", "@"))


def is_basic_group(chat: str) -> bool:
    """A group that can become a supergroup: ids of supergroups and channels are below -1,000,000,000,000."""
    return is_chat(chat) and not chat.startswith("@") and -1_000_000_000_000 < int(chat) < 0


def message_id_of(method: str, params: Mapping[str, Any]) -> str | None:
    """The id of the one message that a class C call changes; None where there is none, or several."""
    if kind_of(method) is not Kind.SET:
        return None
    for field in ("message_id", "ephemeral_message_id", "inline_message_id"):
        value = params.get(field)
        if value is not None and not isinstance(value, bool) and str(value).strip():
            return str(value).strip()
    return None


def target_of(method: str, params: Mapping[str, Any]) -> str | None:
    """`<message id>:<method>` of a class C call that changes one message.

    Ids of ephemeral messages count per user, those of a business account per connection: the id carries that.
    """
    message = message_id_of(method, params)
    if message is None:
        return None
    name = canonical(method)
    if "Ephemeral" in name:
        message = f"e{params.get('receiver_user_id', '')}.{message}"
    if business := params.get("business_connection_id"):
        message = f"b{business}.{message}"
    return f"{message.replace(':', '.')}:{name}"


def album_items(method: str, params: Mapping[str, Any]) -> int | None:
    """How many items an album has (Telegram takes 2 to 10); None if it is none, 0 if `media` is no list."""
    if canonical(method) != _ALBUM:
        return None
    media = params.get("media")
    if isinstance(media, str | bytes):
        try:
            media = json.loads(media)
        except (ValueError, RecursionError):
            return 0
    return len(media) if isinstance(media, list | tuple) else 0
