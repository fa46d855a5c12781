"""Messages that name other messages by a placeholder: they wait for those, and then name them by their real ids."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import orjson

from kurir.core.message import Claim, Record, State
from kurir.core.placeholders import may_mention, meant, mentioned, replaced, unquoted
from kurir.delivery import Delivery, message_ids
from kurir.ports import Clock, Query, Settlement, Store

from .insistence import Insistence

SOONEST, LATEST = 0.25, 30.0  # seconds until a message looks again whether the one it waits for has gone
PATIENCE = 2.0  # seconds from which on the rest of the chat goes on meanwhile
DELETIONS = ("deleteMessage", "deleteMessages")


class References:
    """Of one courier."""

    def __init__(
        self,
        store: Store,
        clock: Clock,
        delivery: Delivery,
        insist: Insistence,
    ) -> None:
        self._store = store
        self._clock = clock
        self._delivery = delivery
        self._insist = insist

    async def resolve(self, claim: Claim) -> Claim | Settlement:
        """The claim as it can be sent; or what becomes of it, where what it refers to is not there (yet)."""
        if not may_mention(claim.params):
            return claim
        params = orjson.loads(claim.params)
        names = mentioned(params)
        if not names:
            return claim
        seqs = {name: meant(name) or (0, 0) for name in names}
        query = Query(seqs=tuple({seq for seq, _ in seqs.values()}), bot=claim.bot, limit=1000)
        page = await self._insist("find", lambda: self._store.find(query))
        records: dict[int, Record] = {record.seq: record for record in page.items}
        real: dict[int, int | None] = {}
        for name, (seq, item) in seqs.items():
            record = records.get(seq)
            if record is not None and not record.state.final:
                return self._wait(claim, record)
            real[name] = _real_id(record, item)
        if all(id is not None for id in real.values()):
            return replace(claim, params=orjson.dumps(replaced(params, real)))
        return self._without(claim, params, real, records)

    def _wait(self, claim: Claim, record: Record) -> Settlement:
        """It comes back when the other one may be gone."""
        now = self._clock.now()
        wait = min(LATEST, max(SOONEST, (now - claim.accepted_at) / 4, record.due_at - now))
        behind = record.chat == claim.chat  # it is more urgent than what it waits for, and must not stand in its way
        settlement = self._delivery.hand_back(claim)
        return replace(
            settlement, due_at=now + wait, later=behind or wait > PATIENCE, reason=f"waits for message {record.id}"
        )

    def _without(
        self, claim: Claim, params: dict[str, object], real: dict[int, int | None], records: dict[int, Record]
    ) -> Claim | Settlement:
        """Something it refers to will never be there."""
        missing = min((name for name, id in real.items() if id is None), key=abs)
        seq, _ = meant(missing) or (0, 0)
        record = records.get(seq)
        what = f"message {record.id}, which is {record.state}" if record else "a message nobody knows"
        reason = f"refers to {what}"
        changed = replaced(params, real)
        if claim.method in DELETIONS and not changed.get("message_ids"):
            return replace(
                self._delivery.hand_back(claim), state=State.DELIVERED, reason=f"{reason}: nothing to delete"
            )
        optional = "message_id" not in changed or meant(changed["message_id"]) is None
        alone = may_go_alone(params)
        if optional and (alone or changed.get("message_ids")):
            return replace(claim, params=orjson.dumps(changed))
        return replace(self._delivery.hand_back(claim), state=State.DEAD, reason=reason)


def _real_id(record: Record | None, item: int) -> int | None:
    """What Telegram calls item `item` of the message; None where it was not sent, or the item is none."""
    if record is None or record.state is not State.DELIVERED or record.result is None:
        return None
    ids = message_ids(orjson.loads(record.result))
    return ids[item] if item < len(ids) else None


def may_go_alone(params: Mapping[str, object]) -> bool:
    """Does the sender want a reply to arrive even without what it replies to?"""
    reply = unquoted(params.get("reply_parameters"))
    wanted = reply.get("allow_sending_without_reply") if isinstance(reply, dict) else None
    return str(wanted or params.get("allow_sending_without_reply")).lower() == "true"
