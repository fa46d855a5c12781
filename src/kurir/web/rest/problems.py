"""Errors as `application/problem+json` (RFC 9457): what happened, to which field, and what to do now."""

from __future__ import annotations

import difflib
import math
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass
from typing import Any

import orjson
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response

from kurir.core.errors import (
    InvalidMessage,
    KeyConflict,
    KeyHeld,
    KurirError,
    NotFound,
    StoreError,
    StoreFull,
    TooLarge,
    WrongState,
)
from kurir.telegram.redact import redact
from kurir.web.auth import NoKey, NotAllowed, TooMany

from .answers import Reply
from .asked import Malformed, Unsupported

TYPES = "/v1/docs#"  # and the kind: where it is explained
FULL_RETRY = 60  # seconds until a full disk may have room again
AWAY_RETRY = 5
STOP_RETRY = 1  # the next process, or another one, is soon there
PROBLEM = b"application/problem+json"

Handler = Callable[[Request, Exception], Awaitable[Response]]


class NoRoute(KurirError):
    """Nothing is at that path."""


class NotThatWay(KurirError):
    """The path does not know that HTTP method. `allowed`: those it knows."""

    def __init__(self, verb: str, allowed: Iterable[str]) -> None:
        self.allowed = ", ".join(sorted(allowed))
        super().__init__(f"{verb[:20]} is not for this path", f"Use {self.allowed}.")


class TooMuchAtOnce(KurirError):
    """This process has no room for one more of these for now. `retry_after`: seconds."""

    def __init__(self, what: str, remedy: str, retry_after: float) -> None:
        self.retry_after = retry_after
        super().__init__(what, remedy)


class Stopping(KurirError):
    """This process stops. What was asked may have been done, or not."""

    def __init__(self) -> None:
        super().__init__("this Kurir stops", "Ask again in a second; to hand over messages, with an idempotency key.")


@dataclass(frozen=True, slots=True)
class Kind:
    """One kind of problem."""

    name: str
    status: int
    title: str


KINDS = (
    (Malformed, Kind("malformed", 400, "The request cannot be read")),
    (NoKey, Kind("no-key", 401, "No key, or one that opens nothing")),
    (NotAllowed, Kind("not-allowed", 403, "The key's role does not allow that")),
    (NoRoute, Kind("no-route", 404, "There is nothing at this path")),
    (NotFound, Kind("not-found", 404, "There is no such thing")),
    (NotThatWay, Kind("method-not-allowed", 405, "This path does not know that HTTP method")),
    (KeyConflict, Kind("key-conflict", 409, "The idempotency key belongs to another body")),
    (KeyHeld, Kind("key-held", 409, "An open transaction is about to have the idempotency key")),
    (WrongState, Kind("wrong-state", 409, "The message's state does not allow that")),
    (TooLarge, Kind("too-large", 413, "Too large")),
    (Unsupported, Kind("unsupported-media", 415, "The body's type is not understood")),
    (InvalidMessage, Kind("invalid-field", 422, "A field is wrong")),
    (TooMany, Kind("too-many", 429, "Too many requests")),
    (TooMuchAtOnce, Kind("busy", 503, "No room for one more at the moment")),
    (Stopping, Kind("stopping", 503, "This process stops")),
    (StoreFull, Kind("store-full", 503, "The store has no room")),
    (StoreError, Kind("store-away", 503, "The store is away")),
)
INTERNAL = Kind("internal", 500, "An error of Kurir's own")


def kind_of(error: Exception) -> Kind:
    """The first kind that fits: the children stand before their parents."""
    return next((kind for cls, kind in KINDS if isinstance(error, cls)), INTERNAL)


def problem(error: Exception) -> Reply:
    """An error as an answer."""
    kind = kind_of(error)
    body: dict[str, Any] = {"type": TYPES + kind.name, "title": kind.title, "status": kind.status}
    if kind is INTERNAL or not isinstance(error, KurirError):
        body["detail"] = "it is written down in Kurir's log"
        body["remedy"] = "Try again; report it if it stays."
        return Reply(kind.status, orjson.dumps(body), PROBLEM)
    field = getattr(error, "field", None)
    body["detail"] = redact(error.what)
    if field:
        body["field"] = field
    body["remedy"] = redact(error.remedy)
    return Reply(kind.status, orjson.dumps(body), PROBLEM, _headers(error))


def _headers(error: KurirError) -> tuple[tuple[bytes, bytes], ...]:
    if isinstance(error, NoKey):
        return ((b"www-authenticate", b'Bearer realm="kurir"'),)
    if isinstance(error, NotThatWay):
        return ((b"allow", error.allowed.encode()),)
    if isinstance(error, KeyHeld):
        return ((b"retry-after", b"%d" % AWAY_RETRY),)
    if isinstance(error, TooMany | TooMuchAtOnce):
        return ((b"retry-after", b"%d" % max(1, math.ceil(error.retry_after))),)
    if isinstance(error, StoreError):
        return ((b"retry-after", b"%d" % (FULL_RETRY if isinstance(error, StoreFull) else AWAY_RETRY)),)
    if isinstance(error, Stopping):
        return ((b"retry-after", b"%d" % STOP_RETRY), (b"connection", b"close"))
    if isinstance(error, TooLarge):
        return ((b"connection", b"close"),)  # its body is not read
    return ()


# ---------------------------------------------------------------- paths that are not ours


def handlers() -> dict[int | type[Exception], Handler]:
    """For a Starlette application: no route, no such HTTP method and errors nobody expected, as problems."""
    return {404: _no_route, 405: _not_that_way, 500: _internal}


async def _no_route(request: Request, _: Exception) -> Response:
    return _response(nothing_at(request.url.path))


async def _not_that_way(request: Request, error: Exception) -> Response:
    headers = error.headers if isinstance(error, HTTPException) else None
    allowed = (headers or {}).get("Allow", "GET")
    return _response(NotThatWay(request.method, allowed.split(", ")))


async def _internal(_: Request, error: Exception) -> Response:
    return _response(error)


def _response(error: Exception) -> Response:
    reply = problem(error)
    headers = {name.decode(): value.decode() for name, value in reply.headers}
    return Response(reply.body, reply.status, headers, PROBLEM.decode())


def nothing_at(path: str) -> NoRoute:
    return NoRoute(f"there is nothing at {path[:200]}", "See /v1/docs for what there is.")


def unknown_field(name: str, known: Iterable[str], where: str = "") -> InvalidMessage:
    """A field that means nothing, with the nearest that does."""
    known = sorted(known)
    near = difflib.get_close_matches(name, known, 1)
    remedy = f"Did you mean {near[0]}?" if near else f"Known: {', '.join(known)}."
    return InvalidMessage(f"{where}{name[:64]}", "is unknown", remedy)
