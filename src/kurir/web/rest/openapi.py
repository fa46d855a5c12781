"""The OpenAPI 3.1 document, made of the operations that are served."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from .describe import Json, Operation, ref
from .problems import KINDS
from .schemas import schemas

ABOUT = """Hand messages to Telegram bots over HTTP. What is accepted is on disk; it is delivered in order, at the pace
Telegram allows, or ends in a state that can be seen, with the reason.

**Keys**: `Authorization: Bearer KEY`, made by `kurir keys add NAME --role admin|send|read`, or `KURIR_API_KEY`.
**Times**: RFC 3339 with a zone, or Unix seconds; answers are in UTC.
**Lists**: `{"items": [...], "next": ...}`; pass `next` on as `cursor`.
**Errors**: `application/problem+json` with the field that is wrong and what to do now."""
TAGS = (
    ("Messages", "Hand over, look, retry, cancel, purge."),
    ("Files", "Upload once, send often."),
    ("Dead letters", "What nobody will try again unless asked."),
    ("Bots", "Who sends, how fast, how it is."),
    ("Chats", "What waits for whom, and why nothing goes."),
    ("Suppressions", "Who is not to be written to."),
    ("Statistics", "By day and by month."),
    ("Events", "What happens, as it happens."),
    ("This document", "No key is needed."),
)
ALWAYS = (401, 403, 429, 503)  # what every operation with a key may answer
_HEADERS: dict[int, Json] = {
    401: {"WWW-Authenticate": {"schema": {"type": "string"}}},
    429: {"Retry-After": {"schema": {"type": "string"}, "description": "Seconds."}},
    503: {"Retry-After": {"schema": {"type": "string"}, "description": "Seconds."}},
}


def document(operations: Sequence[Operation], version: str) -> Json:
    """All of it."""
    paths: dict[str, Json] = {}
    for operation in operations:
        paths.setdefault(operation.path, {})[operation.verb.lower()] = _described(operation)
    return {
        "openapi": "3.1.0",
        "info": {"title": "Kurir", "version": version, "description": ABOUT, "license": {"name": "Apache-2.0"}},
        "servers": [{"url": "/"}],
        "security": [{"key": []}],
        "tags": [{"name": name, "description": words} for name, words in TAGS],
        "paths": paths,
        "components": {
            "schemas": schemas(),
            "responses": _problems(),
            "securitySchemes": {"key": {"type": "http", "scheme": "bearer", "description": "An API key."}},
        },
    }


def _described(operation: Operation) -> Json:
    described: Json = {"operationId": _id(operation), **operation.doc}
    if not operation.roles:
        return {**described, "security": []}
    responses = dict(described["responses"])
    responses |= {str(status): {"$ref": f"#/components/responses/{status}"} for status in ALWAYS}
    roles = ", ".join(sorted(operation.roles))
    words = f"{described['description']}\n\nRoles: {roles}."
    return {
        **described,
        "description": words,
        "responses": dict(sorted(responses.items())),
        "x-roles": sorted(operation.roles),
    }


def _id(operation: Operation) -> str:
    """`POST /v1/messages/{id}/retry` -> `post_messages_id_retry`."""
    words = operation.path.removeprefix("/v1/").replace("{", "").replace("}", "").replace("-", "_").replace(".", "_")
    return f"{operation.verb.lower()}_{words.replace('/', '_')}"


def _problems() -> Json:
    """One response a status."""
    found: dict[str, Json] = {}
    by_status: dict[int, list[Any]] = {}
    for _, kind in KINDS:
        by_status.setdefault(kind.status, []).append(kind)
    for status, kinds in by_status.items():
        example = {
            "type": f"/v1/docs#{kinds[0].name}",
            "title": kinds[0].title,
            "status": status,
            "detail": "What happened.",
            "remedy": "What to do now.",
        }
        response: Json = {
            "description": "; or: ".join(f"{kind.title} (`{kind.name}`)" for kind in kinds) + ".",
            "content": {"application/problem+json": {"schema": ref("Problem"), "example": example}},
        }
        if status in _HEADERS:
            response["headers"] = _HEADERS[status]
        found[str(status)] = response
    return found
