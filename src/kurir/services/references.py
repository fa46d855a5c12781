"""Messages that name other messages by a placeholder: they wait for those, and then name them by their real ids."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import orjson

from kurir.core.message import Claim, Ordering, Record, State
from kurir.core.placeholders import may_mention, meant, mentioned, replaced, unquoted, wanted_items
from kurir.delivery import Delivery, message_ids
from kurir.ports import Clock, Query, Settlement, Store

from .insistence import Insistence

SOONEST, LATEST = 0.25, 30.0  # seconds until one looks again whether what it waits for has gone ...
FARTHEST = 600.0  # ... or, when that is not due before, so long
PATIENCE = 2.0  # seconds from which on the rest of the chat goes on meanwhile
AT_ONCE = 500  # messages asked of the store in one step
REMEMBERED = 10_000  # waits kept in mind
DELETIONS = ("deleteMessage", "deleteMessages")


@dataclass(frozen=True, slots=True)
class _Wait:
    """`behind`: for a message of its own chat, in whose way it must not stand although it may be more urgent."""

    until: float  # Unix seconds
    id: str
    behind: bool


class References:
    """Of one courier. Those of a chat that wait for the same message wait for the same moment, and then leave in the order
    of their acceptance."""

    def __init__(self, store: Store, clock: Clock, delivery: Delivery, insist: Insistence) -> None:
        self._store = store
        self._clock = clock
        self._delivery = delivery
        self._insist = insist
        self._waits: dict[tuple[int, int], _Wait] = {}  # by lane and order number of the message waited for

    async def resolve(self, claim: Claim) -> Claim | Settlement:
        """The claim as it can be sent; or what becomes of it, where what it refers to is not there (yet)."""
        if not may_mention(claim.params):
            return claim
        params = orjson.loads(claim.params)
        which = {name: pair for name in mentioned(params) if (pair := meant(name)) is not None}
        if not which:
            return claim
        now = self._clock.now()
        for seq, _ in which.values():
            wait = self._waits.get((claim.lane, seq))
            if wait is not None and wait.until > now:
                return self._back(claim, wait)
        records = await self._records(claim, {seq for seq, _ in which.values()})
        real: dict[int, int | None] = {}
        for name, (seq, item) in which.items():
            record = records.get(seq)
            if record is not None and not record.state.final:
                return self._wait(claim, record)
            real[name] = _real_id(record, item)
        if all(id is not None for id in real.values()):
            return replace(claim, params=orjson.dumps(replaced(params, real)))
        return self._without(claim, params, real, records)

    async def _records(self, claim: Claim, seqs: set[int]) -> dict[int, Record]:
        """The messages meant. What is not older than the claim is none: a placeholder is given before it is used."""
        asked = sorted(seq for seq in seqs if seq < claim.seq)
        found: dict[int, Record] = {}
        for start in range(0, len(asked), AT_ONCE):
            query = Query(seqs=tuple(asked[start : start + AT_ONCE]), bot=claim.bot, limit=AT_ONCE)
            page = await self._insist("find", lambda: self._store.find(query))  # noqa: B023 - awaited here
            found |= {record.seq: record for record in page.items}
        return found

    def _wait(self, claim: Claim, record: Record) -> Settlement:
        """It comes back when the other one may be gone: soon, if that is young."""
        now = self._clock.now()
        soon = min(LATEST, max(SOONEST, (now - record.accepted_at) / 4))
        until = now + max(soon, min(FARTHEST, record.due_at - now))
        if len(self._waits) >= REMEMBERED:
            self._waits = {key: wait for key, wait in self._waits.items() if wait.until > now}
        wait = self._waits[claim.lane, record.seq] = _Wait(until, record.id, record.chat == claim.chat)
        return self._back(claim, wait)

    def _back(self, claim: Claim, wait: _Wait) -> Settlement:
        patient = wait.until - self._clock.now() <= PATIENCE or claim.options.ordering is Ordering.STRICT
        later = wait.behind or not patient
        reason = f"waits for message {wait.id}"
        return replace(self._delivery.hand_back(claim), due_at=wait.until, later=later, reason=reason)

    def _without(
        self, claim: Claim, params: dict[str, Any], real: Mapping[int, int | None], records: Mapping[int, Record]
    ) -> Claim | Settlement:
        """Something it refers to will never be there."""
        missing = max(name for name, id in real.items() if id is None)
        seq, _ = meant(missing) or (0, 0)
        record = records.get(seq)
        what = f"message {record.id}, which is {record.state}" if record is not None else "a message nobody knows"
        if record is not None and record.state is State.DELIVERED:
            what = f"an item of message {record.id} that was not sent"
        reason = f"refers to {what}"
        changed = replaced(params, real)
        if claim.method in DELETIONS and not changed.get("message_ids"):
            nothing = f"{reason}: nothing to delete"
            return replace(self._delivery.hand_back(claim), state=State.DELIVERED, reason=nothing)
        stands = "message_id" not in changed or meant(changed["message_id"]) is None
        if stands and (may_go_alone(params) or changed.get("message_ids")):
            return replace(claim, params=orjson.dumps(changed))
        return replace(self._delivery.hand_back(claim), state=State.DEAD, reason=reason)


def _real_id(record: Record | None, item: int) -> int | None:
    """What Telegram calls item `item` of the message; None where it was not sent, or the item is none. Of messages copied
    together Telegram leaves out what it could not copy, and does not say which."""
    if record is None or record.state is not State.DELIVERED or record.result is None:
        return None
    ids = message_ids(orjson.loads(record.result))
    wanted = wanted_items(record.method, orjson.loads(record.params))
    if wanted is not None and wanted != len(ids):
        return None
    return ids[item] if item < len(ids) else None


def may_go_alone(params: Mapping[str, Any]) -> bool:
    """Does the sender want a reply to arrive even without what it replies to?"""
    reply = unquoted(params.get("reply_parameters"))
    wanted = reply.get("allow_sending_without_reply") if isinstance(reply, dict) else None
    return str(wanted or params.get("allow_sending_without_reply")).lower() == "true"
