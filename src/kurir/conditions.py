"""Conditions on messages as people give them (`states="dead"`, `since="1h"`, `metadata={"order": 42}`), as a `Query`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from .core.errors import InvalidMessage
from .core.message import State
from .core.methods import chat_name
from .core.times import unix
from .drafting import metadata_text
from .drafting import priority as as_priority
from .outbox import Bots
from .ports import Query


def _checked(conditions: dict[str, Any], bots: Bots, now: float) -> None:
    """Bots by name, priorities by name, times in any spelling; what is no limit or no text is refused."""
    if isinstance(conditions.get("bot"), str):
        conditions["bot"] = bots.resolve(conditions["bot"])
    if conditions.get("priority") is not None:
        conditions["priority"] = as_priority(conditions["priority"])
    for name in ("since", "until", "expired_by"):
        if conditions.get(name) is not None:
            conditions[name] = unix(name, conditions[name], now)
    limit = conditions.get("limit", 1)
    if isinstance(limit, bool) or not isinstance(limit, int) or not 0 <= limit <= 1000:
        raise InvalidMessage("limit", f"{limit!r} is no number from 0 to 1,000", "Page on with `cursor`.")


def query(conditions: dict[str, Any], bots: Bots, now: float) -> Query:
    """The `Query` that conditions mean. Raises InvalidMessage, which names the condition."""
    conditions = dict(conditions)
    _checked(conditions, bots, now)
    if isinstance(conditions.get("metadata"), Mapping):
        conditions["metadata"] = tuple((k, metadata_text(v)) for k, v in conditions["metadata"].items())
    if conditions.get("chat") is not None:
        conditions["chat"] = chat_name(conditions["chat"]) or str(conditions["chat"])
    given = conditions.get("states", ())
    try:
        conditions["states"] = tuple(State(s) for s in ([given] if isinstance(given, str) else given))
    except (TypeError, ValueError):
        raise InvalidMessage("states", f"{given!r} names no state", f"Known: {', '.join(State)}.") from None
    unknown = set(conditions) - set(Query.__slots__)
    if unknown:
        raise InvalidMessage(sorted(unknown)[0], "is no condition", f"Known: {', '.join(Query.__slots__)}.")
    return Query(**conditions)
