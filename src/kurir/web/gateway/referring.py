"""Calls that use a placeholder: which message is meant, and in which chat it is."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from kurir.core.methods import chat_name, reads_elsewhere
from kurir.core.placeholders import meant, mentioned, unquoted
from kurir.ports import Query, Store
from kurir.services.references import may_go_alone
from kurir.web.forms.errors import BadRequest

from .reading import Asked

_FIELDS: Final = frozenset({"message_id", "message_ids", "reply_to_message_id", "reply_parameters"})
_NO_CHAT: Final = "0"  # the id of a public chat in a stand-in: see `standins`
_WORDS: Final = (
    ("edit", "message to edit not found"),
    ("delete", "message to delete not found"),
    ("forward", "message to forward not found"),
    ("copy", "message to copy not found"),
    ("pin", "message to pin not found"),
    ("send", "message to be replied not found"),
)


class Referring:
    """Looks placeholders up at the door; that the call then waits for the message is the courier's business."""

    def __init__(self, store: Store) -> None:
        self._store = store

    async def settled(self, bot: int, method: str, asked: Asked) -> Mapping[str, Any]:
        """The parameters, in the chat that the messages meant are in: a client that wrote to @channel knows no other id than
        the placeholder's. Raises BadRequest in Telegram's words for a placeholder that was never given."""
        params = asked.params
        if _FIELDS.isdisjoint(params) or not (names := mentioned(params)):
            return params
        seqs = {name: pair[0] for name in names if (pair := meant(name))}
        page = await self._store.find(Query(seqs=tuple(set(seqs.values())), bot=bot, limit=1000))
        chats = {record.seq: record.chat for record in page.items}
        own = mentioned({name: params[name] for name in ("message_id", "message_ids") if name in params})
        lost = {name for name, seq in seqs.items() if seq not in chats}
        if lost & own or (lost and not may_go_alone(params)):
            raise BadRequest(400, f"Bad Request: {_missing(method)}")
        which = "from_chat_id" if reads_elsewhere(method) else "chat_id"
        found = _in_chat(params, which, {chats[seqs[name]] for name in own})
        return _replying(found, {chats[seqs[name]] for name in names - own - lost})


def _in_chat(params: Mapping[str, Any], which: str, chats: set[str]) -> Mapping[str, Any]:
    """The parameters with the chat of the messages that the call is about."""
    if len(chats) != 1:
        return params
    (chat,) = chats
    return params if chat_name(params.get(which)) == chat else {**params, which: chat}


def _replying(params: Mapping[str, Any], chats: set[str]) -> Mapping[str, Any]:
    """The parameters with the chat of the message that is replied to, where the client knows none."""
    if len(chats) != 1:
        return params
    (chat,) = chats
    changed = dict(params)
    if chat_name(params.get("chat_id")) == _NO_CHAT:
        changed["chat_id"] = chat
    reply = unquoted(params.get("reply_parameters"))
    if isinstance(reply, Mapping) and chat_name(reply.get("chat_id")) == _NO_CHAT:
        changed["reply_parameters"] = {**reply, "chat_id": chat}
    return changed


def _missing(method: str) -> str:
    return next((words for start, words in _WORDS if method.startswith(start)), "message not found")
