"""`/v1/openapi.json` and `/v1/docs`: what this API says of itself, to everybody."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import orjson

from .answers import Reply
from .asked import Asked
from .describe import EVERYBODY, Json, Operation, answer, describe
from .openapi import document
from .page import page

TAG = "This document"
CSP = b"default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; frame-ancestors 'none'"


@dataclass(frozen=True, slots=True)
class About:
    """The two answers, ready made."""

    openapi: Reply
    docs: Reply

    async def get_openapi(self, _: Asked) -> Reply:
        """GET /v1/openapi.json."""
        return self.openapi

    async def get_docs(self, _: Asked) -> Reply:
        """GET /v1/docs."""
        return self.docs


def with_about(operations: Sequence[Operation], version: str) -> list[Operation]:
    """The operations, and the two that describe them all."""
    blank = Reply(500, b"")
    described = document([*operations, *_operations(About(blank, blank))], version)
    headers = ((b"content-security-policy", CSP), (b"x-content-type-options", b"nosniff"))
    html = Reply(200, page(described), b"text/html; charset=utf-8", headers)
    return [*operations, *_operations(About(Reply(200, orjson.dumps(described)), html))]


def _operations(about: About) -> list[Operation]:
    schema: Json = {"type": "object"}
    openapi = describe("OpenAPI 3.1", "This document.", tag=TAG, answers={200: answer("The document.", schema)})
    docs = describe(
        "The page for people",
        "Made of the document; works without a network.",
        tag=TAG,
        answers={200: answer("The page.", {"type": "string"}, media="text/html")},
    )
    return [
        Operation("GET", "/v1/openapi.json", EVERYBODY, about.get_openapi, openapi),
        Operation("GET", "/v1/docs", EVERYBODY, about.get_docs, docs),
    ]
