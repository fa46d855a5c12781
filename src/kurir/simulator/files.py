"""Uploads and file_ids. Bytes live in a temporary folder, once per content; memory holds only what describes
them."""

from __future__ import annotations

import hashlib
import mimetypes
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

from .errors import ApiError, bad_request

PHOTO_LIMIT = 10 * 1024 * 1024  # bytes (td FileLoaderUtils)
UPLOAD_LIMIT = 50 * 1024 * 1024  # bytes (core.telegram.org/bots/api#sending-files)
LOCAL_LIMIT = 2000 * 1024 * 1024  # bytes, a local Bot API server
DOWNLOAD_LIMIT = 20 * 1024 * 1024  # bytes (core.telegram.org/bots/api#getfile)

NAMES = {"video_note": "VideoNote"}
FOLDERS = {"photo": "photos", "document": "documents", "video": "videos", "audio": "music", "voice": "voice",
           "video_note": "video_notes", "animation": "animations", "sticker": "stickers"}  # fmt: skip
MIMES = {"photo": "image/jpeg", "video": "video/mp4", "audio": "audio/mpeg", "voice": "audio/ogg",
         "video_note": "video/mp4", "animation": "video/mp4", "sticker": "image/webp"}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Upload:
    """One file of a request. `path`: where its bytes are."""

    name: str
    mime: str
    size: int  # bytes
    sha256: str
    path: Path


@dataclass(frozen=True, slots=True)
class Stored:
    """A file Telegram has, as one bot sees it."""

    number: int
    bot: int
    kind: str  # "photo", "document", ...
    name: str
    mime: str
    size: int
    sha256: str
    path: Path | None  # None: came by URL

    @property
    def file_id(self) -> str:
        return f"KU{self.kind.title().replace('_', '')}_{self.bot}_{self.number}_{self.sha256[:12]}"

    @property
    def unique_id(self) -> str:
        return f"U{self.sha256[:14]}"

    @property
    def file_path(self) -> str:
        suffix = Path(self.name).suffix or mimetypes.guess_extension(self.mime) or ""
        return f"{FOLDERS.get(self.kind, 'documents')}/file_{self.number}{suffix}"


class Writer:
    """Takes the bytes of one upload as they come."""

    def __init__(self, folder: Path, name: str, mime: str, number: int) -> None:
        self.size = 0
        self._name, self._mime = name, mime
        self._hash = hashlib.sha256()
        self._path = folder / f"part-{number}"
        self._file: BinaryIO = self._path.open("wb")

    def write(self, chunk: bytes) -> None:
        self._file.write(chunk)
        self._hash.update(chunk)
        self.size += len(chunk)

    def done(self) -> Upload:
        self._file.close()
        digest = self._hash.hexdigest()
        path = self._path.with_name(digest)
        self._path.replace(path)
        mime = self._mime or mimetypes.guess_type(self._name)[0] or "application/octet-stream"
        return Upload(self._name, mime, self.size, digest, path)


class Files:
    """All files of a world."""

    def __init__(self) -> None:
        self.broken_urls: dict[str, str] = {}  # URL -> the words of the refusal
        self._stored: dict[str, Stored] = {}  # by file_id
        self._paths: dict[tuple[int, str], Stored] = {}  # by (bot, file_path), once getFile gave it out
        self._known: dict[tuple[Path, int, int], Upload] = {}
        self._folder: tempfile.TemporaryDirectory[str] | None = None
        self._number = 0

    def writer(self, name: str, mime: str) -> Writer:
        """Where to put the bytes of an upload."""
        if self._folder is None:
            self._folder = tempfile.TemporaryDirectory(prefix="kurir-simulator-")
        self._number += 1
        return Writer(Path(self._folder.name), name, mime, self._number)

    def keep(self, data: bytes, name: str = "file.bin", mime: str = "") -> Upload:
        """An upload of these bytes."""
        writer = self.writer(name, mime)
        writer.write(data)
        return writer.done()

    def keep_path(self, path: Path, name: str, mime: str) -> Upload:
        """An upload of this file. Raises OSError."""
        stat = path.stat()
        known = self._known.get((path, stat.st_mtime_ns, stat.st_size))
        if known is not None:
            return Upload(name, mime or known.mime, known.size, known.sha256, known.path)
        with path.open("rb") as source:
            writer = self.writer(name, mime)
            while chunk := source.read(1 << 20):
                writer.write(chunk)
        upload = self._known[(path, stat.st_mtime_ns, stat.st_size)] = writer.done()
        return upload

    def store(self, bot: int, kind: str, upload: Upload) -> Stored:
        """The file of a message; from now on its `file_id` is good for this bot."""
        if not upload.size:
            raise bad_request("file must be non-empty")
        if kind == "photo" and upload.size > PHOTO_LIMIT:
            words = f"file of size {upload.size} bytes is too big for a photo"
            raise bad_request(f"{words}; the maximum size is {PHOTO_LIMIT} bytes")
        mime = MIMES.get(kind, upload.mime) if kind == "photo" else upload.mime
        return self._add(bot, kind, upload.name, mime, upload.size, upload.sha256, upload.path)

    def by_reference(self, bot: int, kind: str, value: str) -> Stored:
        """The file behind a `file_id` or an HTTP URL."""
        if value in self.broken_urls:
            raise bad_request(self.broken_urls[value])
        stored = self._stored.get(value)
        if stored is not None and stored.bot == bot:
            if ("photo" in (kind, stored.kind)) and kind != stored.kind:
                raise bad_request(f"can't use file of type {_type(stored.kind)} as {_type(kind)}")
            return stored
        if value.startswith(("http://", "https://")):
            digest = hashlib.sha256(value.encode()).hexdigest()
            name = value.split("?")[0].rsplit("/", 1)[-1] or "file"
            return self._add(bot, kind, name, MIMES.get(kind, "application/pdf"), 1000, digest, None)
        raise bad_request("wrong file identifier/HTTP URL specified")

    def describe(self, bot: int, file_id: str) -> dict[str, Any]:
        """What getFile answers."""
        stored = self._stored.get(file_id)
        if stored is None or stored.bot != bot:
            raise bad_request("invalid file_id")
        if stored.size > DOWNLOAD_LIMIT:
            raise bad_request("file is too big")
        self._paths[(bot, stored.file_path)] = stored
        return {**_head(stored), "file_path": stored.file_path}

    def download(self, bot: int, file_path: str) -> Path | None:
        """Where the bytes behind a `file_path` are; None where there are none."""
        stored = self._paths.get((bot, file_path))
        return stored.path if stored else None

    def close(self) -> None:
        if self._folder is not None:
            self._folder.cleanup()
            self._folder = None

    def _add(self, bot: int, kind: str, name: str, mime: str, size: int, sha256: str, path: Path | None) -> Stored:
        self._number += 1
        stored = Stored(self._number, bot, kind, name, mime, size, sha256, path)
        self._stored[stored.file_id] = stored
        if kind == "photo":
            self._stored[f"{stored.file_id}s"] = stored  # its small size
        return stored


def check_sizes(uploads: dict[str, Upload], local: bool) -> None:
    """What api.telegram.org does not even read."""
    limit = LOCAL_LIMIT if local else UPLOAD_LIMIT
    if any(upload.size > limit for upload in uploads.values()):
        raise ApiError(413, "Request Entity Too Large")


def media_json(stored: Stored, extra: dict[str, Any]) -> dict[str, Any]:
    """The fields a message has for this file."""
    head = _head(stored)
    if stored.kind == "photo":
        small = {
            **head,
            "file_id": f"{stored.file_id}s",
            "file_unique_id": f"{stored.unique_id}s",
            "file_size": 900,
        }
        return {"photo": [{**small, "width": 90, "height": 67}, {**head, "width": 800, "height": 600}]}
    named = {**head, "file_name": stored.name, "mime_type": stored.mime}
    if stored.kind == "document":
        return {"document": named}
    if stored.kind == "sticker":
        look = {"type": "regular", "width": 512, "height": 512, "is_animated": False, "is_video": False}
        return {"sticker": {**head, **look}}
    if stored.kind == "video_note":
        return {
            "video_note": {
                **head,
                "length": extra.get("length") or 240,
                "duration": extra.get("duration") or 1,
            }
        }
    if stored.kind in ("audio", "voice"):
        timed = {**named, "duration": extra.get("duration") or 1}
        if stored.kind == "voice":
            timed.pop("file_name")
        timed.update({key: extra[key] for key in ("title", "performer") if extra.get(key)})
        return {stored.kind: timed}
    size = {"width": extra.get("width") or 640, "height": extra.get("height") or 480}
    moving = {**named, **size, "duration": extra.get("duration") or 1}
    return {"animation": moving, "document": named} if stored.kind == "animation" else {"video": moving}


def _head(stored: Stored) -> dict[str, Any]:
    return {"file_id": stored.file_id, "file_unique_id": stored.unique_id, "file_size": stored.size}


def _type(kind: str) -> str:
    return NAMES.get(kind, kind.title())
