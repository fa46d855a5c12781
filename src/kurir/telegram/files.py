"""The files of a call: out of a caller's parameters, into the request, and back as a `file_id`.

In stored parameters a file is `attach://<field>`, as in the Bot API's own multipart requests; a `FileRef`
says which blob of the spool it is. Strings are left alone: they are a file_id or a URL.
"""

from __future__ import annotations

import mimetypes
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, Final, Protocol, cast

import orjson

from kurir.core.errors import InvalidMessage
from kurir.core.message import Claim, FileRef
from kurir.core.methods import UPLOAD_ONLY, file_kind, lane_of
from kurir.ports import Part

ATTACH: Final = "attach://"

CLOUD_LIMIT: Final = 50 * 1024 * 1024
"""Bytes of an upload to api.telegram.org (core.telegram.org/bots/api, "Sending files"); of a photo,
PHOTO_LIMIT."""
PHOTO_LIMIT: Final = 10 * 1024 * 1024
LOCAL_LIMIT: Final = 2000 * 1024 * 1024
"""Bytes of an upload to a local Bot API server (core.telegram.org/bots/api, "Using a Local Bot API
Server")."""

Source = bytes | bytearray | memoryview | Path | BinaryIO

_DEEPEST: Final = 100  # levels of nested values, as the official server takes (tdlib/td, `JsonParser`)

_DEFAULT_NAMES: Final = {
    "photo": "photo.jpg",
    "live_photo": "video.mp4",
    "live_photo_still": "photo.jpg",
    "video": "video.mp4",
    "animation": "animation.mp4",
    "video_note": "video.mp4",
    "audio": "audio.mp3",
    "voice": "voice.ogg",
    "sticker": "sticker.webp",
    "thumbnail": "thumbnail.jpg",
    "cover": "cover.jpg",
}


class Blobs(Protocol):
    """What is needed of the spool here."""

    def path(self, sha256: str) -> Path: ...


@dataclass(frozen=True, slots=True)
class InputFile:
    """A file to send, with the name and type Telegram shall show."""

    source: Source
    name: str | None = None
    mime: str | None = None


@dataclass(frozen=True, slots=True)
class Attachment:
    """A file found in a caller's parameters, to be spooled."""

    field: str  # unique in the message: `params` say `attach://<field>`
    where: str  # for errors: "params.media[0].media"
    kind: str  # see `methods.file_kind`
    source: Source
    name: str
    mime: str

    def limit(self, local: bool) -> int:
        """Bytes at most that Telegram takes of it."""
        if local:
            return LOCAL_LIMIT
        return PHOTO_LIMIT if self.kind == "photo" else CLOUD_LIMIT

    def ref(self, sha256: str, size: int) -> FileRef:
        """It, once spooled."""
        return FileRef(self.field, sha256, size, self.name, self.mime, self.kind)


# ---------------------------------------------------------------- out of the parameters


def detach(
    method: str, params: Mapping[str, Any], parts: Mapping[str, InputFile] | None = None
) -> tuple[dict[str, Any], tuple[Attachment, ...]]:
    """Take the files out: the parameters with `attach://<field>` in their place, and the files.

    A file is bytes, a Path, an open binary file or an InputFile, at any depth. `parts` are those of a
    multipart request: `attach://<name>` refers to them, and a part named as a parameter is that parameter
    unless it has a value; parts nobody refers to are dropped, as Telegram does. `method` in the Bot API's spelling.
    """
    finder = _Finder(method, parts or {})
    found = {name: finder.walk(value, name, None, f"params.{name}") for name, value in params.items()}
    for name, part in (parts or {}).items():
        if found.get(name, "") == "" and name not in finder.used and file_kind(method, name) != "upload":
            found[name] = finder.take(part, name, None, f"params.{name}")
    return found, tuple(finder.attachments)


class _Finder:
    """Walks parameters and collects the files in them."""

    def __init__(self, method: str, parts: Mapping[str, InputFile]) -> None:
        self._method = method
        self._parts = parts
        self._fields: dict[tuple[str, str], str] = {}  # (part, kind) -> field
        self.used: set[str] = set()
        self.attachments: list[Attachment] = []

    def walk(self, value: Any, key: str, media_type: object, where: str) -> Any:
        """The value with its files replaced. `key`, `media_type`: the member it is of an object of that
        `type`."""
        if isinstance(value, str):
            return self._text(value, key, media_type, where)
        if value is None or isinstance(value, int | float):
            return value
        if where.count(".") + where.count("[") > _DEEPEST:
            raise InvalidMessage(f"params.{key}", "is nested too deeply", "Bot API objects are a few levels deep.")
        if isinstance(value, Mapping):
            kind = value.get("type")
            return {k: self.walk(v, str(k), kind, f"{where}.{k}") for k, v in value.items()}
        if isinstance(value, list | tuple):
            return [self.walk(v, key, media_type, f"{where}[{i}]") for i, v in enumerate(value)]
        if isinstance(value, InputFile):
            return self.take(value, key, media_type, where)
        if isinstance(value, bytes | bytearray | memoryview | Path) or hasattr(value, "read"):
            return self.take(InputFile(value), key, media_type, where)
        return value

    def take(self, file: InputFile, key: str, media_type: object, where: str) -> str:
        """Note the file as an attachment; answers what stands in its place."""
        kind = file_kind(self._method, key, media_type)
        field = self._unique(key if where == f"params.{key}" else f"{key}{len(self.attachments) + 1}")
        name = _name(file, kind)
        mime = file.mime or mimetypes.guess_type(name)[0] or "application/octet-stream"
        self.attachments.append(Attachment(field, where, kind, _checked(file.source, where), name, mime))
        return ATTACH + field

    def _text(self, text: str, key: str, media_type: object, where: str) -> Any:
        if not self._parts:
            return text
        if text.startswith(ATTACH) and text[len(ATTACH) :] in self._parts:
            return self._refer(text[len(ATTACH) :], key, media_type, where)
        if ATTACH in text and text.lstrip()[:1] in ("[", "{"):
            try:
                return self.walk(orjson.loads(text), key, media_type, where)
            except orjson.JSONDecodeError:
                return text
        return text

    def _refer(self, part: str, key: str, media_type: object, where: str) -> str:
        """A part of a multipart request, of which each use as another kind is a file of its own."""
        self.used.add(part)
        kind = file_kind(self._method, key, media_type)
        if (part, kind) not in self._fields:
            self._fields[part, kind] = self.take(self._parts[part], key, media_type, where)
        return self._fields[part, kind]

    def _unique(self, field: str) -> str:
        taken = {a.field for a in self.attachments}
        while field in taken:
            field += "_"
        return field


def _name(file: InputFile, kind: str) -> str:
    """The name Telegram shows: as given, as the file is called, or one that fits its kind."""
    name = file.name
    if not name:
        own = file.source if isinstance(file.source, Path) else getattr(file.source, "name", None)
        name = Path(own).name if isinstance(own, str | Path) else ""
    return name or _DEFAULT_NAMES.get(kind, "file")


def _checked(source: object, where: str) -> Source:
    if isinstance(source, bytes | bytearray | memoryview | Path) or callable(getattr(source, "read", None)):
        return cast("Source", source)
    raise InvalidMessage(where, f"is a file from {type(source).__name__}", "Give bytes, a Path or an open binary file.")


# ---------------------------------------------------------------- into the request


def prepare(claim: Claim, spool: Blobs | None) -> tuple[bytes, tuple[Part, ...]]:
    """The parameters as they go out, and the files to upload with them. Parses nothing when nothing is to
    change.

    A file the bot has sent before goes by its file_id; a message whose lane moved goes to the lane's chat of
    today. `spool` may be None for claims without files.
    """
    moved = _may_have_moved(claim)
    if not claim.files and not moved:
        return claim.params, ()
    ids: dict[str, str] = {}
    parts: list[Part] = []
    for file in claim.files:
        file_id = claim.file_ids.get((file.sha256, file.kind))
        if file_id and file.kind not in UPLOAD_ONLY:
            ids[ATTACH + file.field] = file_id
        elif spool is not None:
            parts.append(Part(file.field, spool.path(file.sha256), file.name, file.mime, file.size))
    if not ids and not moved:
        return claim.params, tuple(parts)
    params = orjson.loads(claim.params)
    if ids:
        params = _mapped(params, lambda text: ids.get(text, text))
    if moved and "chat_id" in params and lane_of(claim.method, params) != claim.chat:
        params["chat_id"] = int(claim.chat)
    return orjson.dumps(params), tuple(parts)


def localised(params: bytes, parts: Sequence[Part]) -> bytes:
    """The parameters with file:// paths for a Bot API server that reads this machine's disk (`--local`)."""
    uris = {ATTACH + part.field: part.path.absolute().as_uri() for part in parts}
    return orjson.dumps(_mapped(orjson.loads(params), lambda text: uris.get(text, text)))


def _may_have_moved(claim: Claim) -> bool:
    """False when the parameters surely name the lane's chat. Only groups move, and their one `"chat_id":` is
    looked for as text: inside a JSON string its quotes would be escaped."""
    chat = claim.chat
    if not chat.startswith("-"):
        return False
    params = claim.params
    named = b'"chat_id":%b' % chat.encode()
    return params.count(b'"chat_id":') != 1 or (named + b"," not in params and named + b"}" not in params)


def _mapped(value: Any, change: Callable[[str], str]) -> Any:
    """The JSON value with each string changed."""
    if isinstance(value, str):
        return change(value)
    if isinstance(value, dict):
        return {key: _mapped(item, change) for key, item in value.items()}
    if isinstance(value, list):
        return [_mapped(item, change) for item in value]
    return value


# ---------------------------------------------------------------- back as file_ids


def learn(claim: Claim, result: object) -> tuple[tuple[str, str, str], ...]:
    """The (sha256, kind, file_id) of what was uploaded, as Telegram's `result` tells. Thumbnails have
    none."""
    learned: dict[tuple[str, str], str] = {}
    positions: dict[str, int] | None = None
    for file in claim.files:
        name = (file.sha256, file.kind)
        if claim.file_ids.get(name) or name in learned or file.kind in UPLOAD_ONLY:
            continue
        if positions is None:
            positions = _positions(claim.params)
        message = _item(result, positions.get(ATTACH + file.field))
        file_id = _file_id(message, file.kind)
        if file_id is not None:
            learned[name] = file_id
    return tuple((sha256, kind, file_id) for (sha256, kind), file_id in learned.items())


def _positions(params: bytes) -> dict[str, int]:
    """Which item of `media` each file is in, or is."""
    media = orjson.loads(params).get("media")
    found: dict[str, int] = {}

    def note(item: Any, index: int) -> None:
        _mapped(item, lambda text: (found.setdefault(text, index), text)[1])

    for index, item in enumerate(media if isinstance(media, list) else ()):
        note(item, index)
    return found


def _item(result: object, position: int | None) -> Mapping[str, Any]:
    """The message, or the item of paid media, that holds the file; {} where the result does not say."""
    if isinstance(result, list):
        result = result[position] if position is not None and position < len(result) else None
    if not isinstance(result, dict):
        return {}
    paid = result.get("paid_media")
    items = paid.get("paid_media") if isinstance(paid, dict) else None
    if isinstance(items, list):
        item = items[position] if position is not None and position < len(items) else None
        return item if isinstance(item, dict) else {}
    return result


def _file_id(message: Mapping[str, Any], kind: str) -> str | None:
    """The file_id of the file of that kind in a message; of a photo, its largest size."""
    holder: object
    if kind == "live_photo_still":
        holder = _member(message.get("live_photo"), "photo")
    elif kind == "cover":
        holder = _member(message.get("video"), "cover")
    elif kind == "sticker_file":
        holder = message
    else:
        holder = message.get(kind)
    if isinstance(holder, list):
        sizes = [size for size in holder if isinstance(size, dict)]
        holder = max(sizes, key=lambda s: (s.get("width") or 0) * (s.get("height") or 0), default=None)
    file_id = _member(holder, "file_id")
    return file_id if isinstance(file_id, str) and file_id else None


def _member(value: object, name: str) -> object:
    return value.get(name) if isinstance(value, dict) else None
