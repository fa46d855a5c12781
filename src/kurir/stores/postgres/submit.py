"""The verb `submit`: drafts as the arguments of one statement, and its answer."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import orjson

from kurir.core.message import DEFAULT_OPTIONS, Accepted, Draft, State
from kurir.stores.codec import dump_files, dump_metadata, dump_options

from .states import STATE_OF


@dataclass(frozen=True, slots=True)
class Call:
    """One call of the verb; `now` as for `arguments`."""

    drafts: Sequence[Draft]
    now: float | None


TYPES = ("float8", "text[]", "int4[]", "text[]", "text[]", "int2[]", "float8[]", "text[]", "int8[]", "text[]")


def arguments(drafts: Sequence[Draft], now: float | None) -> tuple[Any, ...]:
    """What the function `submit` takes. `now` None: the server's time counts. No id may be there twice: see `unique`."""
    places: dict[tuple[int, str], int] = {}
    ids, where, methods, params, priorities, accepted, extras = [], [], [], [], [], [], []
    for d in drafts:
        ids.append(d.id)
        where.append(places.setdefault((d.bot, d.chat), len(places) + 1))
        methods.append(d.method)
        params.append(d.params.decode())
        priorities.append(int(d.priority))
        accepted.append(d.accepted_at)
        extras.append(None if is_plain(d) else _extra(d))
    bots, chats = [bot for bot, _ in places], [chat for _, chat in places]
    return now, ids, where, methods, params, priorities, accepted, extras, bots, chats


def unique(drafts: Sequence[Draft]) -> Sequence[Draft]:
    """Each id once: a second draft of the same id is the same submit once more."""
    first: dict[str, Draft] = {}
    for draft in drafts:
        first.setdefault(draft.id, draft)
    return drafts if len(first) == len(drafts) else list(first.values())


def is_plain(d: Draft) -> bool:
    """It wants nothing but to be sent."""
    return not (
        d.due_at
        or d.key is not None
        or d.expires_at is not None
        or d.target is not None
        or d.files
        or d.metadata
        or d.coalesce
        or d.force
        or d.options is not DEFAULT_OPTIONS
    )


def _extra(d: Draft) -> str:
    fields = {
        "due": d.due_at or None,
        "expires": d.expires_at,
        "key": d.key,
        "digest": d.digest.hex() if d.digest is not None else None,
        "target": d.target,
        "files": dump_files(d.files),
        "metadata": dump_metadata(d.metadata),
        "options": dump_options(d.options),
        "replaces": d.coalesce or None,
        "force": d.force or None,
    }
    return orjson.dumps({name: value for name, value in fields.items() if value is not None}).decode()


def statement(schema: str) -> str:
    """The one statement, with numbered parameters for `arguments`."""
    values = ", ".join(f"${n}::{type}" for n, type in enumerate(TYPES, 1))
    return f'SELECT seqs, rest FROM "{schema}".submit({values})'


def answers(drafts: Sequence[Draft], sent: Sequence[Draft], row: Sequence[Any]) -> list[Accepted]:
    """What to tell of `drafts`, of which `sent` went to the server; `row` is its answer: (seqs, rest)."""
    seqs, rest = row[0] or (), row[1]
    told = [Accepted(d.id, State.WAITING, False, seq or 0) for d, seq in zip(sent, seqs, strict=True)]
    for place, id, state, duplicate, seq, replaces in orjson.loads(rest or "[]"):
        told[place - 1] = Accepted(id, STATE_OF[state], duplicate, seq, replaces)
    if len(sent) == len(drafts):
        return told
    by_id: Mapping[str, Accepted] = {d.id: accepted for d, accepted in zip(sent, told, strict=True)}
    return [by_id[d.id] for d in drafts]


def as_json(drafts: Sequence[Draft]) -> list[Any]:
    """The arguments but for the time, as the function `follow_up` takes them."""
    return list(arguments(unique(drafts), None)[1:])
