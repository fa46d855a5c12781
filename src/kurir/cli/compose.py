"""From the options of `kurir send`, or a line of JSON, to a `Message`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

import click
import orjson

from kurir.core.errors import InvalidMessage
from kurir.message import Message

from .times import DUE, DURATION

MEDIA = ("photo", "video", "document", "audio", "animation", "voice")
METHODS = {kind: f"send{kind.title()}" for kind in MEDIA}
ALBUMS = ({"photo", "video"}, {"document"}, {"audio"})  # kinds that go together (Bot API, sendMediaGroup)
TEXTUAL = frozenset({"text", "caption", "title", "question", "description", "address", "parse_mode", "name"})
TREATMENT = frozenset(f.name for f in fields(Message)) - {"method", "params"}
MOST_ALBUM = 10


@dataclass(frozen=True, slots=True)
class Parcel:
    """What the command line says of a message, before it is one."""

    chat: str | None = None
    text: str | None = None
    method: str | None = None
    params: Mapping[str, Any] = field(default_factory=dict)
    media: tuple[tuple[str, str], ...] = ()  # (kind, path or URL)
    location: tuple[float, float] | None = None

    def message(self, treatment: Mapping[str, Any]) -> Message:
        """Raises InvalidMessage."""
        method, params = self._call()
        return Message(method, {**params, **self.params}, **treatment)

    def _call(self) -> tuple[str, dict[str, Any]]:
        params: dict[str, Any] = {} if self.chat is None else {"chat_id": chat_id(self.chat)}
        if self.method is not None:
            if self.text is not None:
                params["text" if self.method.lower() in ("sendmessage", "editmessagetext") else "caption"] = self.text
            return self.method, {**params, **{kind: source(kind, path) for kind, path in self.media}}
        if self.location is not None:
            latitude, longitude = self.location
            return "sendLocation", {**params, "latitude": latitude, "longitude": longitude}
        if not self.media:
            return "sendMessage", {**params, "text": self.text or ""}
        if len(self.media) > 1:
            return "sendMediaGroup", {**params, "media": self._album()}
        ((kind, path),) = self.media
        caption = {"caption": self.text} if self.text else {}
        return METHODS[kind], {**params, kind: source(kind, path), **caption}

    def _album(self) -> list[dict[str, Any]]:
        kinds = {kind for kind, _ in self.media}
        if not any(kinds <= together for together in ALBUMS):
            what = f"{', '.join(sorted(kinds))} do not go into one album"
            raise InvalidMessage("media", what, "Photos and videos go together; documents or audio by themselves.")
        items: list[dict[str, Any]] = [{"type": kind, "media": source(kind, path)} for kind, path in self.media]
        if self.text:
            items[0]["caption"] = self.text
        if mode := self.params.get("parse_mode"):
            items[0]["parse_mode"] = mode
        return items


def chat_id(text: str) -> int | str:
    """A number where it is one, else `@channelname` as it stands."""
    try:
        return int(text)
    except ValueError:
        return text


def source(field: str, path: str) -> Path | str:
    """What a parameter holds for a file: a path, or a URL as it stands. Raises InvalidMessage."""
    if path.startswith(("http://", "https://")):
        return path
    file = Path(path).expanduser()
    if not file.is_file():
        raise InvalidMessage(field, f"there is no file {path!r}", "Give a file, or a URL; a file_id goes into --param.")
    return file


def pair(option: str, text: str) -> tuple[str, str]:
    """`key=value`."""
    key, equals, value = text.partition("=")
    if not equals or not key:
        raise click.UsageError(f"{option} {text!r} is no key=value.")
    return key, value


def parameter(text: str) -> tuple[str, Any]:
    """`key=value`, where the value is JSON if it parses as such; words of a message stay words."""
    key, value = pair("--param", text)
    if key in TEXTUAL:
        return key, value
    try:
        return key, orjson.loads(value)
    except orjson.JSONDecodeError:
        return key, value


def pairs(option: str, texts: Sequence[str]) -> dict[str, str]:
    return dict(pair(option, text) for text in texts)


# ---------------------------------------------------------------- lines of JSON


def from_line(line: bytes, base: Mapping[str, Any], params: Mapping[str, Any]) -> Message:
    """A message of one line; `base` and `params` hold where the line does not say otherwise.

    The body of REST's POST (`method`, `params`, `idempotency_key`, ...; `files`: parameter -> path), or in short
    `{"chat_id": 42, "text": "..."}` with the parameters beside the rest. Raises InvalidMessage.
    """
    try:
        body = orjson.loads(line)
    except orjson.JSONDecodeError as error:
        raise InvalidMessage("line", f"is no JSON: {error}", 'As {"chat_id": 42, "text": "Hello"}.') from None
    if not isinstance(body, dict):
        raise InvalidMessage("line", "is no JSON object", 'As {"chat_id": 42, "text": "Hello"}.')
    method = body.pop("method", "sendMessage")
    files = body.pop("files", {})
    treatment = {**base, **{name: body.pop(name) for name in TREATMENT & body.keys()}}
    if "params" in body:
        given = body.pop("params")
        if not isinstance(given, dict):
            raise InvalidMessage("params", f"is a {type(given).__name__}", "Give an object of parameters.")
        if body:
            what = "is neither a parameter nor a way to treat the message"
            raise InvalidMessage(sorted(body)[0], what, "With `params`, all parameters go into it.")
        body = given
    if not isinstance(files, dict):
        raise InvalidMessage("files", "is no object", 'As {"photo": "cat.jpg"}.')
    for name, path in files.items():
        body[name] = source(f"files.{name}", str(path))
    for name in ("due_at", "expires_at"):
        treatment[name] = _moment(name, treatment.get(name))
    if isinstance(after := treatment.get("delete_after"), str):
        treatment["delete_after"] = DURATION.convert(after, None, None)
    return Message(method, {**params, **body}, **treatment)


def _moment(name: str, value: Any) -> Any:
    """Lines know `+10m` too."""
    if not isinstance(value, str) or not value.startswith("+"):
        return value
    try:
        return DUE.convert(value, None, None)
    except click.BadParameter as error:
        raise InvalidMessage(name, f"{value!r} is no time", error.message) from None
