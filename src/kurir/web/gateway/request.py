"""A call that is going to be stored, in the form in which it is compared and handed over."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from kurir.drafting import TEXTS
from kurir.telegram.files import Attachment, InputFile, detach

from .reading import Asked


@dataclass(frozen=True, slots=True)
class Request:
    """`given` and `parts` are the client's; `params` have `attach://...` for each file, as they are going to be stored, and
    `files` are (field, SHA-256)."""

    method: str
    given: Mapping[str, Any]
    parts: Mapping[str, InputFile] | None
    params: Mapping[str, Any]
    files: tuple[tuple[str, str], ...] = ()


async def prepared(method: str, asked: Asked, params: Mapping[str, Any]) -> Request:
    """`params` are the call's. Where the Bot API wants text, a number becomes text, as on the official server."""
    given = {name: _text(value) if name in TEXTS else value for name, value in params.items()}
    if not asked.parts:
        return Request(method, given, None, given)
    detached, attachments = detach(method, given, asked.parts)
    files = [(file.field, await asyncio.to_thread(_sha256, file)) for file in attachments]
    return Request(method, given, asked.parts, detached, tuple(files))


def _text(value: Any) -> Any:
    if isinstance(value, bool):
        return "true" if value else "false"
    return str(value) if isinstance(value, int | float) else value


def _sha256(file: Attachment) -> str:
    assert isinstance(file.source, Path)
    with file.source.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()
