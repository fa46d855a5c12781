"""What the gateway answers: always the Bot API's JSON envelope, with the HTTP status it names."""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

import orjson

from kurir.core.errors import InvalidMessage, KeyConflict, KeyHeld, KurirError, StoreError
from kurir.core.message import State
from kurir.core.outcome import Answer as Reply
from kurir.core.outcome import Break, NoReply
from kurir.services.receipts import End
from kurir.web.forms.errors import BadRequest

Send = Callable[[dict[str, Any]], Awaitable[None]]
Header = tuple[bytes, bytes]

MESSAGE: Final = b"kurir-message"  # header: the id of the message a call became
STORE_AWAY: Final = 5  # seconds after which a client may try again

_JSON: Final[Header] = (b"content-type", b"application/json")
_TITLES: Final[Mapping[int, str]] = {
    400: "Bad Request",
    401: "Unauthorized",
    403: "Forbidden",
    404: "Not Found",
    409: "Conflict",
    413: "Request Entity Too Large",
    429: "Too Many Requests",
    500: "Internal Server Error",
    502: "Bad Gateway",
    503: "Service Unavailable",
    504: "Gateway Timeout",
}
_MOVED: Final = re.compile(r"a chat it refers to moved to (-?\d+)")
_CODES: Final = {title.lower(): code for code, title in _TITLES.items()}
_IN_TELEGRAMS_WORDS: Final[Mapping[tuple[str, str], str]] = {
    ("params.chat_id", "is missing"): "chat_id is empty",
    ("params.text", "is empty"): "message text is empty",
}


@dataclass(frozen=True, slots=True)
class Answer:
    """An HTTP answer."""

    status: int
    body: bytes
    headers: tuple[Header, ...] = ()

    async def send(self, send: Send) -> None:
        length = (b"content-length", str(len(self.body)).encode())
        headers = [_JSON, length, *self.headers]
        await send({"type": "http.response.start", "status": self.status, "headers": headers})
        await send({"type": "http.response.body", "body": self.body})


def done(result: bytes | None, headers: tuple[Header, ...] = ()) -> Answer:
    """`result` is JSON; None: `true`."""
    return Answer(200, b'{"ok":true,"result":%b}' % (result or b"true"), headers)


def refused(code: int, description: str, headers: tuple[Header, ...] = (), retry_after: int | None = None) -> Answer:
    """`description` in Telegram's words, or in words like Telegram's. `retry_after`: seconds."""
    envelope: dict[str, Any] = {"ok": False, "error_code": code, "description": description}
    if retry_after is not None:
        headers = (*headers, (b"retry-after", str(retry_after).encode()))
        if code == 429:
            envelope["parameters"] = {"retry_after": retry_after}
    return Answer(code, orjson.dumps(envelope), headers)


def worded(code: int, what: str) -> str:
    """`Bad Request: what`, as Telegram begins its descriptions."""
    return f"{_TITLES[code]}: {what}"


# ---------------------------------------------------------------- of a stored message


def of_end(end: End, headers: tuple[Header, ...]) -> Answer:
    """What became of the message: Telegram's own answer, if it gave one."""
    if end.state is State.DELIVERED:
        if end.reason and end.status is not None and end.status >= 400 and end.calls <= 1:
            return refused(end.status, end.reason, headers)  # nothing was left to do, and not because we had done it
        return done(end.result, headers)
    if end.state in (State.CANCELLED, State.EXPIRED):
        words = "was cancelled" if end.state is State.CANCELLED else "expired before it could be delivered"
        return refused(400, worded(400, f"message {end.id} {words}"), headers)
    reason = (end.reason or "no reason is known").removeprefix("suppressed: ")
    if reason.startswith("unknown: "):
        lost = f"Telegram's answer was lost ({reason.removeprefix('unknown: ')}); message {end.id} may have arrived"
        return refused(502, worded(502, f"{lost} and is held"), headers)
    if moved := _MOVED.fullmatch(reason):
        body = {"ok": False, "error_code": 400, "description": worded(400, reason)}
        body["parameters"] = {"migrate_to_chat_id": int(moved[1])}
        return Answer(400, orjson.dumps(body), headers)
    if reason.startswith("refers to "):
        return refused(400, worded(400, f"message {end.id} {reason}"), headers)
    code = end.status if end.status is not None and end.status >= 400 else code_of(reason)
    if code is None:
        return refused(502, worded(502, f"message {end.id} is dead: {reason}"), headers)
    return refused(code, reason, headers)


def code_of(words: str) -> int | None:
    """The error code that belongs to a description of Telegram's; None where it is not one."""
    return _CODES.get(words.partition(":")[0].strip().lower())


def later(id: str, seconds: float, headers: tuple[Header, ...]) -> Answer:
    """It was not delivered in time, and lives on."""
    waited = f"is not delivered after {seconds:g} s; it is" if seconds else "is"
    what = f"message {id} {waited} stored and will still be delivered"
    return refused(504, worded(504, what), headers)


def stopping(id: str | None = None) -> Answer:
    """Kurir is being stopped: try elsewhere, or again."""
    what = "Kurir is being restarted"
    if id is not None:
        what += f"; message {id} is stored and will still be delivered"
    return refused(503, worded(503, what), ((MESSAGE, id.encode()),) if id else (), 1)


# ---------------------------------------------------------------- of errors


def of_error(error: KurirError | BadRequest) -> Answer:
    """Why a call was not accepted. Nothing of it was kept."""
    if isinstance(error, BadRequest):
        return refused(error.code, error.description, (), error.retry_after)
    if isinstance(error, InvalidMessage):
        what = error.what.removeprefix(f"{error.field}: ")
        if what.startswith("is larger than "):
            return refused(413, worded(413, f"{error.field} {what}"))
        known = _IN_TELEGRAMS_WORDS.get((error.field, what))
        return refused(400, worded(400, known or f"{error.field} {what}"))
    if isinstance(error, KeyConflict | KeyHeld):
        return refused(409, worded(409, str(error)))
    if isinstance(error, StoreError):
        return refused(503, worded(503, str(error)), (), STORE_AWAY)
    return refused(500, worded(500, str(error)))


# ---------------------------------------------------------------- of a call that was not stored


def of_reply(reply: Reply) -> Answer:
    """Telegram's answer as it came; where none came, why."""
    if isinstance(reply, NoReply):
        if reply.kind is Break.TIMEOUT:
            return refused(504, worded(504, "Telegram did not answer in time"))
        return refused(502, worded(502, f"Telegram is out of reach: {reply.kind}"))
    if reply.payload is None:
        return refused(502, worded(502, f"what answered was not Telegram (HTTP {reply.status}): {reply.excerpt}"))
    headers: tuple[Header, ...] = ()
    parameters = reply.payload.get("parameters")
    wait = parameters.get("retry_after") if isinstance(parameters, dict) else reply.retry_after
    if isinstance(wait, int | float) and reply.status >= 400:
        headers = ((b"retry-after", str(int(wait)).encode()),)
    return Answer(reply.status, orjson.dumps(reply.payload), headers)
