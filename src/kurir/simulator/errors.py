"""How the simulated server says no."""

from __future__ import annotations

from typing import Any


class ApiError(Exception):
    """An answer with `ok: false`. `description` is the whole text as a client sees it."""

    def __init__(self, code: int, description: str, parameters: dict[str, Any] | None = None) -> None:
        super().__init__(description)
        self.code = code
        self.description = description
        self.parameters = parameters


def bad_request(words: str) -> ApiError:
    """400. As in `fail_query_with_error`: the first letter is lowered unless the text is a CODE."""
    if len(words) > 1 and not (words[1] == "_" or words[1].isupper()):
        words = words[0].lower() + words[1:]
    return ApiError(400, f"Bad Request: {words}")


def forbidden(words: str) -> ApiError:
    """403."""
    return ApiError(403, f"Forbidden: {words}")


def too_many(retry_after: int) -> ApiError:
    """429; `retry_after` in seconds."""
    return ApiError(429, f"Too Many Requests: retry after {retry_after}", {"retry_after": retry_after})
