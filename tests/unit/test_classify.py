"""Promises of `core.classify`: what each answer of Telegram, of a proxy, or of nobody means."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kurir.core.classify import classify, normalised, suppresses
from kurir.core.outcome import (
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


def error(code: int, description: str, **parameters: Any) -> Reply:
    """An error as the official server writes it."""
    payload: dict[str, Any] = {"ok": False, "error_code": code, "description": description}
    if parameters:
        payload["parameters"] = parameters
    return Reply(code, payload)


def meaning(code: int, description: str, method: str = "sendMessage") -> str:
    """The outcome in a word: a refusal's scope, or the outcome's name."""
    outcome = classify(method, error(code, description))
    return outcome.scope.value if isinstance(outcome, Refused) else type(outcome).__name__.lower()


RECIPIENT = """
403 Forbidden: bot was blocked by the user
403 Forbidden: user is deactivated
403 Forbidden: bot can't initiate conversation with a user
403 Forbidden: bot can't send messages to bots
403 Forbidden: bot can't send messages to the bot
403 Forbidden: bot was kicked from the group chat
403 Forbidden: bot was kicked from the supergroup chat
403 Forbidden: bot was kicked from the channel chat
403 Forbidden: bot is not a member of the supergroup chat
403 Forbidden: bot is not a member of the channel chat
403 Forbidden: the group chat was deleted
400 Bad Request: chat not found
400 Bad Request: private chat not found
400 Bad Request: user not found
400 Bad Request: PEER_ID_INVALID
400 Bad Request: group is deactivated
401 Unauthorized: bot was kicked from the group chat
401 Unauthorized: bot can't initiate conversation with a user
403 Bot was blocked by the user
"""
RIGHTS = """
400 Bad Request: have no rights to send a message
400 Bad Request: not enough rights to send text messages to the chat
400 Bad Request: not enough rights to send photos to the chat
400 Bad Request: have no write access to the chat
400 Bad Request: need administrator rights in the channel chat
400 Bad Request: CHAT_WRITE_FORBIDDEN
400 Bad Request: CHAT_RESTRICTED
400 Bad Request: TOPIC_CLOSED
400 Bad Request: CHAT_SEND_PHOTOS_FORBIDDEN
400 Bad Request: VOICE_MESSAGES_FORBIDDEN
403 Forbidden: some new words
"""
MESSAGE = """
400 Bad Request: message thread not found
400 Bad Request: message to be replied not found
400 Bad Request: reply message not found
400 Bad Request: can't parse entities: Unsupported start tag "x" at byte offset 0
400 Bad Request: message text is empty
400 Bad Request: text must be non-empty
400 Bad Request: message is too long
400 Bad Request: MESSAGE_TOO_LONG
400 Bad Request: message caption is too long
400 Bad Request: reply markup is too long
400 Bad Request: BUTTON_DATA_INVALID
400 Bad Request: BUTTON_URL_INVALID
400 Bad Request: wrong file identifier/HTTP URL specified
400 Bad Request: wrong remote file identifier specified: Wrong string length
400 Bad Request: wrong HTTP URL specified
400 Bad Request: wrong type of the web page content
400 Bad Request: IMAGE_PROCESS_FAILED
400 Bad Request: PHOTO_INVALID_DIMENSIONS
400 Bad Request: can't use the media of the specified type in the album
400 Bad Request: file is too big
400 Bad Request: message to copy not found
400 Bad Request: message to forward not found
400 Bad Request: message to edit not found
400 Bad Request: message has protected content and can't be forwarded
400 Bad Request: message can't be edited
400 Bad Request: message can't be deleted
400 Bad Request: poll must have at least 2 option
400 Bad Request: chat_id is empty
400 Bad Request: words nobody has seen before
413 Request Entity Too Large
404 Not Found: method not found
"""
BENIGN = """
400 Bad Request: message is not modified: specified new message content and reply markup are exactly the same
400 Bad Request: chat description is not modified
400 Bad Request: message to delete not found
400 Bad Request: query is too old and response timeout expired or query ID is invalid
400 Bad Request: poll has already been closed
"""
BOT = """
401 Unauthorized
401 Unauthorized: invalid token specified
404 Not Found
409 Conflict: terminated by other getUpdates request; make sure that only one bot instance is running
421 Misdirected Request
400 Bad Request: FROZEN_METHOD_INVALID
400 Logged out
"""
FAILED = """
400 Bad Request: failed to get HTTP URL content
400 Bad Request: can't upload file by URL
400 Bad Request: group send failed
400 Bad Request: WORKER_BUSY_TOO_LONG_RETRY
500 Internal Server Error: WORKER_BUSY_TOO_LONG_RETRY
"""
UNKNOWN = """
500 Internal Server Error: sent message was immediately deleted and can't be returned
400 Bad Request: failed to send message #3 with the error message "WEBPAGE_CURL_FAILED"
500 Internal Server Error
500 Internal Server Error: restart
502 Bad Gateway
504 Gateway Timeout
"""


def rows(table: str) -> list[tuple[int, str]]:
    return [(int(line[:3]), line[4:]) for line in table.splitlines() if line]


@pytest.mark.parametrize(("code", "words"), rows(RECIPIENT))
def test_a_recipient_out_of_reach_is_refused_for_good(code: int, words: str) -> None:
    assert meaning(code, words) == "recipient"


@pytest.mark.parametrize(("code", "words"), rows(RIGHTS))
def test_missing_rights_are_refused_without_suppressing(code: int, words: str) -> None:
    assert meaning(code, words) == "rights"


@pytest.mark.parametrize(("code", "words"), rows(MESSAGE))
def test_a_bad_message_is_refused_at_once(code: int, words: str) -> None:
    assert meaning(code, words) == "message"


@pytest.mark.parametrize(("code", "words"), rows(BENIGN))
def test_nothing_left_to_do_is_delivered_and_says_so(code: int, words: str) -> None:
    assert classify("editMessageText", error(code, words)) == Delivered(result=True, benign=words)


@pytest.mark.parametrize(("code", "words"), rows(BOT))
def test_what_is_wrong_with_the_bot_stops_the_bot(code: int, words: str) -> None:
    assert meaning(code, words) == "bot"


@pytest.mark.parametrize(("code", "words"), rows(FAILED))
def test_a_passing_trouble_is_safe_to_repeat(code: int, words: str) -> None:
    assert meaning(code, words) == "failed"


@pytest.mark.parametrize(("code", "words"), rows(UNKNOWN))
def test_an_ambiguous_answer_to_a_send_is_a_doubt(code: int, words: str) -> None:
    assert meaning(code, words) == "unknown"


@pytest.mark.parametrize("method", ["editMessageText", "getMe", "sendChatAction"])
@pytest.mark.parametrize("code", [500, 502, 503, 504])
def test_a_server_error_on_what_sends_nothing_is_safe_to_repeat(code: int, method: str) -> None:
    assert meaning(code, "Internal Server Error", method) == "failed"


def test_the_reason_keeps_telegrams_own_words() -> None:
    words = "Forbidden: bot was blocked by the user"
    assert classify("sendMessage", error(403, words)) == Refused(Scope.RECIPIENT, words, 403)


def test_an_ok_answer_delivers_its_result() -> None:
    assert classify("sendMessage", Reply(200, {"ok": True, "result": {"message_id": 7}})) == Delivered(
        {"message_id": 7}
    )


def test_a_falsy_result_is_kept() -> None:
    assert classify("copyMessages", Reply(200, {"ok": True, "result": []})) == Delivered([])


def test_a_migration_moves_the_chat_before_anything_else_is_read() -> None:
    answer = error(400, "Bad Request: chat not found", migrate_to_chat_id=-1001234567890)
    assert classify("sendMessage", answer) == Moved("-1001234567890")


def test_a_flood_wait_is_as_long_as_told() -> None:
    words = "Too Many Requests: retry after 37"
    assert classify("sendMessage", error(429, words, retry_after=37)) == Throttled(37, words)


def test_a_flood_wait_without_parameters_is_read_from_the_words() -> None:
    assert classify("sendMessage", error(429, "Too Many Requests: retry after 12")) == Throttled(
        12, "Too Many Requests: retry after 12"
    )


def test_a_flood_wait_told_by_the_header_alone_is_as_long_as_that() -> None:
    assert classify("sendMessage", Reply(429, None, "<html>", retry_after=9)) == Throttled(9, "HTTP 429: <html>")


def test_a_flood_wait_that_tells_no_time_is_five_seconds() -> None:
    assert classify("sendMessage", error(429, "Too Many Requests")) == Throttled(5, "Too Many Requests")


@pytest.mark.parametrize("seconds", [None, -3, 0, "soon", True, float("nan"), float("inf"), [], 10**400])
def test_a_senseless_retry_after_is_not_believed(seconds: object) -> None:
    answer = error(429, "Too Many Requests", retry_after=seconds)
    assert classify("sendMessage", answer) == Throttled(5, "Too Many Requests")


@pytest.mark.parametrize("chat", [None, True, "abc", "@name", [], ""])
def test_a_senseless_migration_moves_nothing(chat: object) -> None:
    outcome = classify("sendMessage", error(400, "Bad Request: odd", migrate_to_chat_id=chat))
    assert isinstance(outcome, Refused)


@pytest.mark.parametrize("method", ["banChatMember", "promoteChatMember", "approveChatJoinRequest"])
def test_an_unknown_member_does_not_suppress_the_chat(method: str) -> None:
    assert meaning(400, "Bad Request: user not found", method) == "message"


@pytest.mark.parametrize("method", ["forwardMessage", "copyMessage", "copyMessages"])
def test_a_forward_from_a_lost_chat_does_not_suppress_its_recipient(method: str) -> None:
    assert meaning(400, "Bad Request: chat not found", method) == "message"


def test_a_forward_to_a_user_who_blocked_the_bot_suppresses_the_user() -> None:
    assert meaning(403, "Forbidden: bot was blocked by the user", "forwardMessage") == "recipient"


def test_an_album_to_a_user_who_blocked_the_bot_is_no_doubt() -> None:
    words = 'Bad Request: failed to send message #1 with the error message "USER_IS_BLOCKED"'
    assert meaning(400, words, "sendMediaGroup") == "recipient"


def test_a_404_on_an_unknown_method_is_the_messages_fault() -> None:
    assert meaning(404, "Not Found", "sendHologram") == "message"


def test_a_conflict_of_getupdates_does_not_stop_the_bot() -> None:
    assert meaning(409, "Conflict: terminated by other getUpdates request", "getUpdates") == "message"


@pytest.mark.parametrize("status", [200, 500, 502, 503, 504])
def test_html_that_may_hide_a_delivery_is_a_doubt(status: int) -> None:
    assert classify("sendMessage", Reply(status, None, "<html>")) == Unknown(f"HTTP {status}: <html>")


@pytest.mark.parametrize("status", [301, 302, 400, 401, 403, 404, 407, 408])
def test_html_of_a_proxy_in_between_is_safe_to_repeat(status: int) -> None:
    assert classify("sendMessage", Reply(status, None, "<html>")) == Failed(f"HTTP {status}: <html>")


def test_html_saying_too_large_refuses_the_message() -> None:
    assert isinstance(outcome := classify("sendPhoto", Reply(413, None, "<html>")), Refused)
    assert outcome.scope is Scope.MESSAGE


@pytest.mark.parametrize("payload", [{}, {"ok": False}, {"ok": "yes"}, {"result": 1}])
def test_json_that_is_no_answer_is_a_doubt(payload: dict[str, object]) -> None:
    assert isinstance(classify("sendMessage", Reply(200, payload)), Unknown)


def test_an_error_wrapped_in_200_is_read_by_its_own_code() -> None:
    payload = {"ok": False, "error_code": 403, "description": "Forbidden: bot was blocked by the user"}
    assert suppresses(classify("sendMessage", Reply(200, payload)))


NETWORK = [kind for kind in Break if kind is not Break.FILE]


@pytest.mark.parametrize("kind", NETWORK)
def test_a_send_of_which_nothing_left_is_safe_to_repeat(kind: Break) -> None:
    assert classify("sendMessage", NoReply(kind, sent=False, detail="x")) == Failed(f"{kind}: x", link=True)


@pytest.mark.parametrize("kind", NETWORK)
def test_a_send_of_which_something_left_is_a_doubt(kind: Break) -> None:
    assert classify("sendMessage", NoReply(kind, sent=True)) == Unknown(str(kind), link=True)


@pytest.mark.parametrize("kind", NETWORK)
def test_a_lost_answer_to_what_can_be_repeated_is_no_doubt(kind: Break) -> None:
    assert classify("editMessageText", NoReply(kind, sent=True)) == Failed(str(kind), link=True)


def test_an_unreadable_file_refuses_the_message() -> None:
    outcome = classify("sendPhoto", NoReply(Break.FILE, sent=False, detail="photo"))
    assert outcome == Refused(Scope.MESSAGE, "file unreadable: photo")


def test_only_a_recipient_refused_for_good_is_suppressed() -> None:
    assert [suppresses(Refused(scope, "x")) for scope in Scope] == [s is Scope.RECIPIENT for s in Scope]


@given(st.sampled_from(rows(RECIPIENT + RIGHTS + MESSAGE + BENIGN + BOT + FAILED + UNKNOWN)), st.data())
def test_the_case_of_a_description_does_not_matter(row: tuple[int, str], data: st.DataObject) -> None:
    code, words = row
    flips = data.draw(st.lists(st.booleans(), min_size=len(words), max_size=len(words)))
    other = "".join(c.swapcase() if flip else c for c, flip in zip(words, flips, strict=True))
    assert meaning(code, other) == meaning(code, words)


@given(st.text(max_size=60))
def test_normalising_twice_changes_nothing(words: str) -> None:
    assert normalised(normalised(words)) == normalised(words)


@given(st.text(max_size=40))
def test_the_prefix_of_a_description_does_not_matter(words: str) -> None:
    assert normalised(f"Bad Request: {words}") == normalised(words)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=6,
)


@given(
    st.sampled_from(["sendMessage", "editMessageText", "getMe", "sendChatAction", "copyMessage", "fooBar"]),
    st.integers(100, 599),
    st.fixed_dictionaries(
        {}, optional={"ok": JSON, "error_code": JSON, "description": JSON, "parameters": JSON, "result": JSON}
    ),
)
def test_whatever_is_answered_has_a_meaning(method: str, status: int, payload: dict[str, object]) -> None:
    assert isinstance(classify(method, Reply(status, payload)), Outcome)


def test_what_was_said_can_be_kept_in_every_store() -> None:
    told = classify("sendMessage", error(400, "Bad Request: odd \0 words"))
    assert isinstance(told, Refused)
    assert told.reason == "Bad Request: odd \ufffd words"
    broken = classify("sendMessage", NoReply(Break.RESET, False, "reset \0 by peer"))
    assert isinstance(broken, Failed)
    assert "\0" not in broken.reason
