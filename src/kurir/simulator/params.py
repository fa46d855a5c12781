"""Reading parameters. They come as JSON values (JSON body) or as strings (form, query string, multipart)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import orjson

from .errors import bad_request

Params = Mapping[str, Any]

TRUE = frozenset({"true", "yes", "1"})


def text(params: Params, name: str) -> str:
    """The parameter as text; empty where absent."""
    value = params.get(name)
    if value is None:
        return ""
    if isinstance(value, str):
        return value
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, (dict, list)):
        return orjson.dumps(value).decode()
    return str(value)


def required(params: Params, name: str) -> str:
    """The parameter as text. Raises Telegram's word for a missing one."""
    value = text(params, name)
    if not value:
        raise bad_request(f'Parameter "{name}" is required')
    return value


def number(params: Params, name: str, default: int = 0) -> int:
    """The parameter as an integer; like the server, a wrong one is read as 0, not refused."""
    value = params.get(name)
    if value is None or value == "":
        return default
    try:
        return int(value)
    except (TypeError, ValueError, OverflowError):
        return 0


def decimal(params: Params, name: str) -> float | None:
    """The parameter as a float; None where absent; 0 where it is none."""
    value = params.get(name)
    if value is None or value == "":
        return None
    try:
        return float(value)
    except (TypeError, ValueError):
        return 0.0


def flag(params: Params, name: str) -> bool:
    """The parameter as a truth value: `true`, `yes` or `1` in any case."""
    value = params.get(name)
    if value is None or isinstance(value, bool):
        return bool(value)
    return str(value).strip().lower() in TRUE


def document(params: Params, name: str, refusal: str) -> Any:
    """The parameter as JSON (given as a JSON value or as a string of JSON); None where absent."""
    value = params.get(name)
    if value is None or value == "":
        return None
    if not isinstance(value, str):
        return value
    try:
        return orjson.loads(value)
    except orjson.JSONDecodeError:
        raise bad_request(refusal) from None
