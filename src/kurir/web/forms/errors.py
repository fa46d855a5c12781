"""Why a request never becomes a call.

BadRequest    it is answered with `code` and `description`
ClientLeft    nobody is there to answer
"""

from __future__ import annotations


class BadRequest(Exception):
    """The request is refused: HTTP status and `error_code`, and the envelope's `description`, in the words of
    the official server where it has some."""

    def __init__(self, code: int, description: str, retry_after: int | None = None) -> None:
        self.code = code
        self.retry_after = retry_after  # seconds
        self.description = description
        super().__init__(f"{code} {description}")


class ClientLeft(Exception):
    """The client closed the connection before its request was complete."""


def not_utf8() -> BadRequest:
    return BadRequest(400, "Bad Request: strings must be encoded in UTF-8")


def too_many_parameters() -> BadRequest:
    return BadRequest(413, "Request Entity Too Large: too much parameters")
