"""The verb `settle`: settlements of several calls as the arguments of one statement, and its answers."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any

import orjson

from kurir.core.message import Attempt, State
from kurir.ports import Settlement

from .states import CODE_OF, LATER
from .submit import as_json

REMEMBERED = 10_000  # settlements of which it is in doubt whether they were carried out


@dataclass(frozen=True, slots=True)
class Call:
    """One call of the verb. `repeated`: it may have been carried out before, under the same number."""

    settlements: Sequence[Settlement]
    now: float | None
    number: int
    repeated: bool


class Doubts:
    """Calls that may or may not have been carried out, so that the very same settlements get the same number when the caller
    comes with them again."""

    def __init__(self) -> None:
        self._numbers: OrderedDict[tuple[int, ...], tuple[int, Sequence[Settlement]]] = OrderedDict()

    def number_of(self, settlements: Sequence[Settlement]) -> int | None:
        known = self._numbers.get(tuple(map(id, settlements)))
        return known[0] if known else None

    def add(self, calls: Sequence[Call]) -> None:
        for call in calls:
            key = tuple(map(id, call.settlements))
            self._numbers[key] = (call.number, tuple(call.settlements))  # kept, so that an id() stays theirs
        while len(self._numbers) > REMEMBERED:
            self._numbers.popitem(last=False)

    def settled(self, calls: Sequence[Call]) -> None:
        for call in calls:
            self._numbers.pop(tuple(map(id, call.settlements)), None)


TYPES = (
    "float8", "int8[]", "bool", "int4[]", "int8[]", "int8[]", "int8[]", "int8[]", "int2[]", "text[]", "float8[]", "float8[]",
    "int4[]", "int4[]", "int4[]", "int4[]", "text[]", "float8[]", "text[]", "text[]",
)  # fmt: skip


def statement(schema: str) -> str:
    """The one statement, with numbered parameters for `arguments`."""
    values = ", ".join(f"${n}::{type}" for n, type in enumerate(TYPES, 1))
    return f'SELECT "{schema}".settle({values})'


def arguments(calls: Sequence[Call], *, repeated: bool) -> tuple[Any, ...]:
    """What the function `settle` takes. `repeated`: all of them may have been carried out before."""
    rows = [(place, s) for place, call in enumerate(calls, 1) for s in call.settlements]
    columns = list(zip(*(_row(place, s) for place, s in rows), strict=True)) or [()] * 17
    numbers = [call.number for call in calls]
    return (
        calls[-1].now,
        numbers,
        repeated or any(call.repeated for call in calls),
        *(list(column) for column in columns),
    )


def _row(place: int, s: Settlement) -> tuple[Any, ...]:
    claim, attempt = s.claim, s.attempt
    state = CODE_OF[s.state]
    if s.state is State.WAITING and s.later:
        state = LATER
    kept = attempt is None and s.state is State.WAITING  # handed back
    tries, doubts, crashes = s.tries, s.doubts, s.crashes
    if kept:
        tries, doubts, crashes = tries or claim.tries, doubts or claim.doubts, crashes or claim.crashes
    made = [a for a in (s.before, attempt) if a is not None]
    return (
        place,
        claim.bot,
        claim.lane,
        claim.token,
        claim.seq,
        state,
        s.reason,
        s.due_at,
        s.chat_at,
        tries,
        claim.attempts + (attempt is not None),
        doubts,
        crashes,
        ",".join(map(_attempt, made)) or None,
        made[-1].started_at if made else None,
        s.result.decode() if s.result is not None and s.state.final else None,
        _extra(s),
    )


def _attempt(a: Attempt) -> str:
    return orjson.dumps([a.number, a.started_at, a.duration, a.outcome, a.status, a.error]).decode()


def _extra(s: Settlement) -> str | None:
    if not (s.moved_to is not None or s.suppress is not None or s.file_ids or s.follow_ups):
        return None
    fields = {
        "moved_to": s.moved_to,
        "suppress": s.suppress,
        "file_ids": s.file_ids or None,
        "follow_ups": as_json(s.follow_ups) if s.follow_ups else None,
    }
    return orjson.dumps({name: value for name, value in fields.items() if value is not None}).decode()


def answers(calls: Sequence[Call], valid: Sequence[bool]) -> list[list[bool]]:
    """By call."""
    left = iter(valid)
    return [list(islice(left, len(call.settlements))) for call in calls]
