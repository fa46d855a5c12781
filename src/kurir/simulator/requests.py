"""Reading an HTTP request as the official server does: query string and body merged; JSON, form, multipart."""

from __future__ import annotations

from typing import Any
from urllib.parse import parse_qsl, unquote

import orjson
from aiohttp import BodyPartReader, web

from .errors import ApiError, bad_request
from .files import LOCAL_LIMIT, UPLOAD_LIMIT, Files, Upload

Parsed = tuple[dict[str, Any], dict[str, Upload]]

CHUNK = 1 << 18  # bytes


def split_path(raw: str) -> tuple[str, str, str] | None:
    """("bot" | "file", token, method or file path) of a raw request path without its query; None for any other."""
    path = unquote(raw) if "%" in raw else raw
    if path.startswith("/bot"):
        token, _, method = path[4:].partition("/")
        method = method.removeprefix("test/").strip("/")
        return "bot", token, method
    if path.startswith("/file/bot"):
        token, _, rest = path[9:].partition("/")
        return "file", token, rest.removeprefix("test/")
    return None


async def parse(request: web.BaseRequest, query: str, files: Files, local: bool) -> Parsed:
    """Parameters and files. Raises ApiError."""
    params: dict[str, Any] = {}
    uploads: dict[str, Upload] = {}
    if query:
        params.update(parse_qsl(query))
    if not request.can_read_body:
        return params, uploads
    kind = request.content_type
    if kind == "multipart/form-data":
        await _multipart(request, params, uploads, files, local)
        return params, uploads
    try:
        body = await request.read()
    except web.HTTPRequestEntityTooLarge:
        raise ApiError(413, "Request Entity Too Large") from None
    if not body:
        return params, uploads
    if kind == "application/json":
        params.update(_json(body))
    elif kind == "application/x-www-form-urlencoded":
        params.update(parse_qsl(body.decode("utf-8", "replace")))
    return params, uploads


def _json(body: bytes) -> dict[str, Any]:
    try:
        given = orjson.loads(body)
    except orjson.JSONDecodeError:
        raise bad_request("can't parse request body as a JSON object") from None
    if not isinstance(given, dict):
        raise bad_request("can't parse request body as a JSON object")
    return given


async def _multipart(
    request: web.BaseRequest, params: dict[str, Any], uploads: dict[str, Upload], files: Files, local: bool
) -> None:
    limit = LOCAL_LIMIT if local else UPLOAD_LIMIT
    reader = await request.multipart()
    async for part in reader:
        if not isinstance(part, BodyPartReader) or not part.name:
            continue
        if part.filename is None:
            params[part.name] = (await part.read(decode=True)).decode("utf-8", "replace")
            continue
        writer = files.writer(part.filename, part.headers.get("Content-Type", ""))
        while chunk := await part.read_chunk(CHUNK):
            if writer.size <= limit:
                writer.write(chunk)
            else:  # too large: read on, so that the sender hears why, but keep nothing more
                writer.size += len(chunk)
        uploads[part.name] = writer.done()
