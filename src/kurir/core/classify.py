"""What an answer means: `classify(method, answer)` turns one HTTP call's `Answer` into its `Outcome`.

Read in this order: the answer's `parameters`, then the table of known descriptions, then the status alone.
The words are the official server's, of today and before (tdlib/telegram-bot-api `Client.cpp`,
`fail_query_with_error`, `check_chat_access`; tdlib/td `MessagesManager.cpp`). Reasons keep them unchanged.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any, Final

from .methods import Kind, chat_name, is_chat, kind_of, known, reads_elsewhere
from .outcome import (
    Answer,
    Break,
    Delivered,
    Failed,
    Moved,
    NoReply,
    Outcome,
    Refused,
    Reply,
    Scope,
    Throttled,
    Unknown,
)

DEFAULT_RETRY_AFTER: Final = 5.0
"""Seconds to wait after a 429 that names none; what the server names when it shuts down (`Query.h`)."""

_PREFIX: Final = re.compile(
    r"^(?:bad request|unauthorized|forbidden|not found|conflict|request entity too large|misdirected request"
    r"|too many requests|internal server error|bad gateway|service unavailable|gateway timeout)\s*(?::\s*|$)"
)
_RETRY_AFTER: Final = re.compile(r"retry after (\d+)")


@dataclass(frozen=True, slots=True)
class _Error:
    """An error answer, ready to be matched."""

    method: str
    kind: Kind
    code: int
    words: str  # normalised description
    reason: str  # as Telegram said it


_Meaning = Callable[[_Error], Outcome]


def _recipient(error: _Error) -> Outcome:
    return Refused(Scope.RECIPIENT, error.reason, error.code)


def _user(error: _Error) -> Outcome:
    """Of a send this is its recipient; of the rest perhaps a third person, such as the member to ban."""
    return _recipient(error) if error.kind is Kind.SEND else _message(error)


def _chat(error: _Error) -> Outcome:
    """The chat, unless the method names two of them: a forward may mean the one it takes from."""
    return _message(error) if reads_elsewhere(error.method) else _recipient(error)


def _rights(error: _Error) -> Outcome:
    return Refused(Scope.RIGHTS, error.reason, error.code)


def _message(error: _Error) -> Outcome:
    return Refused(Scope.MESSAGE, error.reason, error.code)


def _bot(error: _Error) -> Outcome:
    return Refused(Scope.BOT, error.reason, error.code)


def _benign(error: _Error) -> Outcome:
    return Delivered(result=True, benign=error.reason)


def _failed(error: _Error) -> Outcome:
    return Failed(error.reason)


def _doubtful(error: _Error) -> Outcome:
    """It may have been done: a doubt where doing it twice would show, else safe to repeat."""
    return Unknown(error.reason) if error.kind is Kind.SEND else Failed(error.reason)


def _partly(error: _Error) -> Outcome:
    """One item of an album failed, others may have arrived; unless nothing can reach such a recipient."""
    _, _, inner = error.words.rpartition("with the error message")
    meaning = _by_rules(replace(error, words=normalised(inner.strip(' "'))))
    return meaning if suppresses(meaning) else _doubtful(error)


def _bot_if_known(error: _Error) -> Outcome:
    """404 "Not Found": a malformed token, if we know the method to exist."""
    return _bot(error) if known(error.method) else _message(error)


def _conflict(error: _Error) -> Outcome:
    """409: two consumers of updates; of no concern to what is sent unless a send itself is refused so."""
    return _message(error) if error.kind is Kind.ASK else _bot(error)


_RULES: Final[tuple[tuple[int | None, _Meaning, tuple[str, ...]], ...]] = (
    # status (None: any), meaning, what the normalised words contain (^: at its start); first match wins
    (None, _partly, ("^failed to send message #",)),
    (None, _doubtful, ("sent message was immediately deleted",)),
    (
        None,
        _benign,
        (
            "message is not modified",
            "message_not_modified",
            "chat description is not modified",
            "chat_not_modified",
            "topic_not_modified",
            "message to delete not found",
            "query is too old",
            "poll has already been closed",
            "charge_already_refunded",
            "user_already_participant",
        ),
    ),
    (
        None,
        _recipient,
        (
            "bot was blocked by the user",
            "user_is_blocked",
            "can't initiate conversation",
            "can't send messages to bots",
            "can't send messages to the bot",
            "private chat not found",
        ),
    ),
    (None, _user, ("user not found", "user is deactivated", "user_deactivated", "peer_id_invalid")),
    (
        None,
        _chat,
        (
            "bot was kicked",
            "bot is not a member",
            "group chat was deleted",
            "chat not found",
            "group is deactivated",
            "group chat was deactivated",
            "group chat was upgraded to a supergroup",
            "channel_private",
        ),
    ),
    (
        None,
        _rights,
        (
            "have no rights to send",
            "not enough rights",
            "have no write access to the chat",
            "no write access",
            "need administrator rights",
            "chat_write_forbidden",
            "chat_restricted",
            "chat_admin_required",
            "^chat_send_",
            "^chat_guest_send_",
            "topic_closed",
            "voice_messages_forbidden",
        ),
    ),
    (None, _bot, ("^frozen_", "logged out", "invalid token specified")),
    (
        None,
        _failed,
        (
            "failed to get http url content",
            "can't upload file by url",
            "group send failed",
            "worker_busy_too_long_retry",
        ),
    ),
    (404, _message, ("method not found",)),  # a local server older than the method; the bot is well
    (
        None,
        _message,
        (
            "message thread not found",
            "message to be replied not found",
            "reply message not found",
            "can't parse",
            "message text is empty",
            "text must be non-empty",
            "message is too long",
            "message_too_long",
            "message caption is too long",
            "reply markup is too long",
            "button_data_invalid",
            "button_url_invalid",
            "wrong file identifier/http url specified",
            "wrong remote file id",
            "wrong file id",
            "wrong http url specified",
            "wrong type of the web page content",
            "image_process_failed",
            "photo_invalid_dimensions",
            "can't use the media of the specified type in the album",
            "file is too big",
            "request entity too large",
            "message to copy not found",
            "message to forward not found",
            "message to edit not found",
            "protected content",
            "message can't be edited",
            "message can't be deleted",
            "chat_id is empty",
            "^poll ",
        ),
    ),
    (400, _message, ("",)),
    (401, _bot, ("",)),
    (403, _rights, ("",)),
    (404, _bot_if_known, ("",)),
    (409, _conflict, ("",)),
    (413, _message, ("",)),
    (421, _bot, ("",)),
)


def normalised(description: str) -> str:
    """A description to be matched: lower case, single spaces, without "Bad Request: " and the like."""
    words = " ".join(description.lower().split())
    while (rest := _PREFIX.sub("", words, count=1)) != words:
        words = rest
    return words


def classify(method: str, answer: Answer) -> Outcome:
    """What came of one call of `method`. Pure; never raises, whatever was answered."""
    kind = kind_of(method) if known(method) else Kind.SEND  # what we do not know may not be repeatable
    if isinstance(answer, NoReply):
        return _no_reply(kind, answer)
    if answer.payload is None:
        return _not_telegram(method, kind, answer)
    payload = answer.payload
    if payload.get("ok") is True and answer.status < 300:
        return Delivered(result=payload.get("result", True))
    return _by_parameters(answer, payload) or _by_description(method, kind, answer, payload)


def suppresses(outcome: Outcome) -> bool:
    """Is the recipient out of reach for good, so that nothing more shall be sent to it?"""
    return isinstance(outcome, Refused) and outcome.scope is Scope.RECIPIENT


# ---------------------------------------------------------------- steps


def _no_reply(kind: Kind, answer: NoReply) -> Outcome:
    reason = _storable(f"{answer.kind}: {answer.detail}") if answer.detail else str(answer.kind)
    if answer.kind is Break.FILE:
        return Refused(Scope.MESSAGE, reason)
    if answer.sent and kind is Kind.SEND:
        return Unknown(reason, link=True)
    return Failed(reason, link=True)


def _by_parameters(answer: Reply, payload: Mapping[str, Any]) -> Outcome | None:
    parameters = payload.get("parameters")
    if not isinstance(parameters, Mapping):
        return None
    moved = parameters.get("migrate_to_chat_id")
    chat = chat_name(moved)
    if is_chat(chat) and chat.startswith("-"):
        return Moved(chat)
    seconds = _seconds(parameters.get("retry_after"))
    return None if seconds is None else Throttled(seconds, _reason(answer, payload))


def _by_description(method: str, kind: Kind, answer: Reply, payload: Mapping[str, Any]) -> Outcome:
    code = payload.get("error_code")
    if not isinstance(code, int) or isinstance(code, bool) or not 300 <= code <= 599:
        code = answer.status
    description = payload.get("description")
    words = normalised(description) if isinstance(description, str) else ""
    error = _Error(method, kind, code, words, _reason(answer, payload))
    return _throttled(answer, error) if code in (420, 429) else _by_rules(error)


def _by_rules(error: _Error) -> Outcome:
    for status, meaning, phrases in _RULES:
        if status in (None, error.code) and any(_says(error.words, phrase) for phrase in phrases):
            return meaning(error)
    return _by_status(error)


def _by_status(error: _Error) -> Outcome:
    """A status no rule speaks of. Redirects and proxies' own 4xx mean that Telegram was not reached."""
    if error.code >= 500 or error.code < 300:
        return _doubtful(error)
    if error.code < 400 or error.code in (405, 407, 408, 425, 451):
        return _failed(error)
    return _message(error)


def _not_telegram(method: str, kind: Kind, answer: Reply) -> Outcome:
    """The body is no JSON object: a proxy, a load balancer or a captive portal speaks."""
    error = _Error(method, kind, answer.status, "", _reason(answer, {}))
    if answer.status == 429:
        return _throttled(answer, error)
    if answer.status == 413:
        return _message(error)
    return _doubtful(error) if answer.status < 300 or answer.status >= 500 else _failed(error)


def _throttled(answer: Reply, error: _Error) -> Outcome:
    told = _RETRY_AFTER.search(error.words) or _RETRY_AFTER.search(error.reason.lower())
    seconds = _seconds(told[1] if told else None) or _seconds(answer.retry_after) or DEFAULT_RETRY_AFTER
    return Throttled(seconds, error.reason)


def _seconds(value: object) -> float | None:
    """A positive, finite number of seconds, or None."""
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        return None
    try:
        seconds = float(value)
    except (ValueError, OverflowError):
        return None
    return seconds if math.isfinite(seconds) and seconds > 0 else None


def _reason(answer: Reply, payload: Mapping[str, Any]) -> str:
    description = payload.get("description")
    if isinstance(description, str) and description.strip():
        return _storable(description)
    excerpt = " ".join(answer.excerpt.split())
    return _storable(f"HTTP {answer.status}: {excerpt}") if excerpt else f"HTTP {answer.status}"


def _storable(text: str) -> str:
    """Without NUL, which not every store can keep in a text."""
    return text.replace("\0", "\ufffd")


def _says(words: str, phrase: str) -> bool:
    return words.startswith(phrase[1:]) if phrase.startswith("^") else phrase in words
