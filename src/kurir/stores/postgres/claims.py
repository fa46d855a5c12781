"""The verbs `lease`, `claim` and `adopt`: what a store handle remembers of the leases it works under, and rows as claims."""

from __future__ import annotations

import math
import time
from collections.abc import Iterator, Sequence
from typing import Any

import orjson

from kurir.core.message import DEFAULT_OPTIONS, Claim, Priority
from kurir.ports import Claimed, Lease
from kurir.stores.codec import load_files, load_options

RECENT = 60.0  # seconds of attempts that a new holder's pace is rebuilt from
SLACK = 2.0  # seconds within which a transaction usually commits what it dated by its beginning
LOOK_EVERY = 2.0  # seconds between two looks from the beginning, if they are cheap ...
LOOK_SHARE = 50  # ... and else so many times as long as one takes
DOUBTFUL = 90.0  # seconds after which a claim whose answer was lost cannot be carried out any more (see GOOD_FOR)
GOOD_FOR = 30.0  # seconds after which the server does not begin with a claim any more

FROM_START = -1  # in the place of `looks_seen`

SQL = {
    "lease": "SELECT told, changed, clock FROM kurir.lease($1::float8, $2, $3::int8[], $4::float8, $5::int8, $6::float8)",
    "claim": "SELECT * FROM kurir.claim($1::float8, $2::int8, $3, $4::int8, $5::int4, $6::int4, $7::int8, $8::int8[],"
    " $9::float8, $10::int8, $11::float8[], $12::int8[], $13::float8, $14::bool)",
    "adopt": "SELECT * FROM kurir.adopt($1::float8, $2::int8, $3, $4::int8, $5::int4, $6::bool, $7::int8, $8::int8[],"
    " $9::float8)",
}
_PRIORITIES = tuple(Priority)


class Standpoint:
    """Where the claims under one lease enter the index of ready lanes (see `functions/4_claim.sql`), and which of them
    nobody heard the answer of. `exact`: they look from the beginning every time."""

    def __init__(self, token: int, *, exact: bool) -> None:
        self.token = token
        self._exact = exact
        self._looks = FROM_START
        self._ats: list[float] = []
        self._ids: list[int] = []
        self._later = -math.inf
        self._look_at = 0.0  # monotonic
        self._joined = 0
        self._doubtful: dict[int, float] = {}  # number -> until when it may be carried out (monotonic)

    def doubt(self, number: int) -> None:
        """The answer to that claim was lost."""
        self._doubtful[number] = time.monotonic() + DOUBTFUL

    def doubtful(self) -> list[int]:
        return list(self._doubtful)

    def resolved(self, asked_at: float) -> None:
        """A claim that named all of them, asked for at `asked_at` (monotonic), was answered: what they took was told. Those
        that may yet be carried out stay in doubt, however long the store is away."""
        self._doubtful = {number: until for number, until in self._doubtful.items() if until > asked_at}

    def entry(self, joined: int) -> tuple[Any, ...]:
        """looks_seen, fronts_at, fronts_id, later_from, arrivals. `joined` is another number when somebody else's
        transaction with messages in it has committed since."""
        if self._exact or time.monotonic() >= self._look_at:
            self._joined = joined
            return FROM_START, None, None, -math.inf, True
        arrivals = joined != self._joined
        self._joined = joined
        return self._looks, self._ats, self._ids, self._later, arrivals

    def learn(self, row: Any, now: float, entry: tuple[Any, ...], took: float) -> None:
        """What the first row of an answer tells; `now` is the server's time, `took` is in seconds."""
        self._looks = row["bot_looks"]
        if row["next_ats"] is None:  # paused: nothing was looked at
            return
        safe = now - SLACK
        self._ats = [min(at, safe) for at in row["next_ats"]]
        self._ids = [id if at <= safe else 0 for at, id in zip(row["next_ats"], row["next_ids"], strict=True)]
        self._later = min(safe, math.inf if row["next_due"] is None else row["next_due"])
        if entry[0] == FROM_START:
            self._look_at = time.monotonic() + max(LOOK_EVERY, LOOK_SHARE * took)


def leases(told: str, holder: str) -> list[Lease]:
    """The answer of the function `lease`."""
    return [_lease(holder, *row) for row in orjson.loads(told)]


def _lease(
    holder: str,
    bot: int,
    token: int,
    until: float,
    paused_until: float | str,
    why: str | None,
    orphans: bool,
    lone: str | None,
    tried: list[Any] | None,
    since: float,
) -> Lease:
    recent = tuple(_recent(tried or [], since))
    return Lease(bot, holder, token, float(until), float(paused_until), why, orphans, lone, recent)


def _recent(tried: list[Any], since: float) -> Iterator[tuple[str, float]]:
    found = [
        (attempt[1], chat)
        for chat, attempts in tried
        for attempt in orjson.loads(f"[{attempts}]")
        if attempt[1] > since
    ]
    for at, chat in sorted(found):
        yield chat, at


def in_order(held: Sequence[Lease], bots: Sequence[int]) -> list[Lease]:
    """In the order in which the bots were asked for."""
    by_bot = {lease.bot: lease for lease in held}
    return [by_bot[bot] for bot in dict.fromkeys(bots) if bot in by_bot]


def claimed(rows: Sequence[Any], lease: Lease) -> Claimed:
    """The answer of the function `claim`."""
    if not rows:
        return Claimed((), None)
    return Claimed(tuple(claim(row, lease) for row in rows[1:]), rows[0]["next_time"])


def claim(row: Any, lease: Lease) -> Claim:
    """A row of the functions `claim` and `adopt`."""
    files, options, known = row["files"], row["options"], row["known_files"]
    return Claim(
        row["seq"],
        lease.token,
        row["lane"],
        row["id"],
        lease.bot,
        row["chat"],
        row["method"],
        row["params"].encode(),
        _PRIORITIES[row["prio"]],
        row["accepted_at"],
        load_files(files) if files else (),
        row["expires_at"],
        load_options(options) if options else DEFAULT_OPTIONS,
        row["tries"],
        row["attempts"],
        row["doubts"],
        row["crashes"],
        row["suppressed"],
        {(sha256, kind): file_id for sha256, kind, file_id in orjson.loads(known)} if known else {},
        row["asked_at"],
        row["requeued_at"],
    )
