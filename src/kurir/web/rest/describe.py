"""An operation: where it is, who may, what it does, and how it is described. The OpenAPI document is made of these."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from .answers import Answer
from .asked import Asked

Json = dict[str, Any]

EVERYBODY: frozenset[str] = frozenset()  # no key is needed
READ = frozenset({"admin", "read"})
SEND = frozenset({"admin", "send"})
LOOK = frozenset({"admin", "send", "read"})
ADMIN = frozenset({"admin"})


@dataclass(frozen=True, slots=True)
class Operation:
    """One HTTP method of one path."""

    verb: str
    path: str
    roles: frozenset[str]
    act: Callable[[Asked], Awaitable[Answer]]
    doc: Json


def ref(schema: str) -> Json:
    return {"$ref": f"#/components/schemas/{schema}"}


def answer(words: str, schema: Json | None = None, example: Any = None, media: str = "application/json") -> Json:
    """An OpenAPI response object."""
    if schema is None:
        return {"description": words}
    content: Json = {"schema": schema}
    if example is not None:
        content["example"] = example
    return {"description": words, "content": {media: content}}


def body(schema: Json, examples: Mapping[str, Any]) -> Json:
    """The content of a JSON request body. `examples`: by a few words about each."""
    named = {f"e{number}": {"summary": words, "value": value} for number, (words, value) in enumerate(examples.items())}
    return {"application/json": {"schema": schema, "examples": named}}


def parameter(name: str, words: str, schema: Json, place: str = "query", example: Any = None) -> Json:
    """An OpenAPI parameter object; those in the path are required."""
    described: Json = {"name": name, "in": place, "description": words, "schema": schema}
    if place == "path":
        described["required"] = True
    if example is not None:
        described["example"] = example
    return described


def describe(
    summary: str,
    words: str,
    *,
    tag: str,
    answers: Mapping[int, Json],
    errors: Sequence[int] = (),
    parameters: Sequence[Json] = (),
    body: Json | None = None,
    optional: bool = False,
) -> Json:
    """An OpenAPI operation object; `errors` are those beside 401, 403, 429 and 503, which all that need a key have."""
    described: Json = {"tags": [tag], "summary": summary, "description": words}
    if parameters:
        described["parameters"] = list(parameters)
    if body is not None:
        described["requestBody"] = {"required": not optional, "content": body}
    described["responses"] = {str(status): one for status, one in answers.items()}
    for status in errors:
        described["responses"][str(status)] = {"$ref": f"#/components/responses/{status}"}
    return described


TEXT: Json = {"type": "string"}
INTEGER: Json = {"type": "integer"}
BOOLEAN: Json = {"type": "boolean"}
TIME: Json = {
    "description": "RFC 3339 with a zone, or Unix seconds.",
    "anyOf": [
        {"type": "string", "format": "date-time"},
        {"type": "number", "minimum": 0, "exclusiveMaximum": 32503680000},
    ],
}


def maybe(schema: Json) -> Json:
    """It, or null."""
    if isinstance(schema.get("type"), str) and "enum" not in schema:
        return {**schema, "type": [schema["type"], "null"]}
    return {"anyOf": [schema, {"type": "null"}]}


def page_of(schema: str) -> Json:
    """A page of a list."""
    return {
        "type": "object",
        "required": ["items", "next"],
        "properties": {
            "items": {"type": "array", "items": ref(schema)},
            "next": {"type": ["string", "null"], "description": "Pass it on as `cursor`; null: that was all."},
        },
        "additionalProperties": False,
    }


LIMIT = parameter("limit", "Items in a page.", {"type": "integer", "minimum": 1, "maximum": 1000, "default": 100})
CURSOR = parameter("cursor", "The `next` of the page before.", {"type": "string"})
BOT = parameter("bot", "The bot's name in the settings, or its id; not needed when there is one.", TEXT)
ID = parameter("id", "The message's id.", TEXT, "path", "06h060tokkq2870ueg2gff83")
COUNT: Json = {
    "type": "object",
    "required": ["count"],
    "properties": {"count": {"type": "integer", "minimum": 0}},
    "additionalProperties": False,
}
