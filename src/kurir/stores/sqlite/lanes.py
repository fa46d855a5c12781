"""What several verbs do to a lane: find it behind its alias, count it, look for its head again, suppress it, move it."""

from __future__ import annotations

from dataclasses import dataclass

from .transaction import Code, Q, Transaction


@dataclass(frozen=True, slots=True)
class LaneRow:
    id: int
    chat: str
    waiting: int
    chat_at: float
    in_flight: bool
    suppressed: str | None
    chat_why: str | None


def find_lane(tx: Transaction, bot: int, chat: str) -> LaneRow | None:
    """The lane that messages to `chat` belong to today."""
    while row := tx.db.execute(Q["lane_by_chat"], (bot, chat)).fetchone():
        if row[4] is None:
            return LaneRow(row[0], chat, row[1], row[2], row[3] is not None, row[5], row[6])
        chat = row[4]
    return None


def find_or_add_lane(tx: Transaction, bot: int, chat: str) -> int:
    lane = find_lane(tx, bot, chat)
    if lane:
        return lane.id
    while row := tx.db.execute(Q["lane_by_chat"], (bot, chat)).fetchone():
        chat = row[4]
    added: int = tx.db.execute(Q["add_lane"], (bot, chat)).fetchone()[0]
    return added


def refresh(tx: Transaction, lane: int, since: float) -> None:
    """Look for the head again; `since` is when a new one came to its turn."""
    tx.db.execute(Q["refresh_lane"], {"lane": lane, "since": since})


def count(tx: Transaction, bot: int, lane: int, n: int) -> None:
    """`n` messages more (or fewer) wait in the lane."""
    if n == 0:
        return
    waiting = tx.db.execute(Q["add_waiting"], {"lane": lane, "n": n}).fetchone()[0]
    tx.waiting(bot, n)
    if waiting == 0:
        tx.lanes(bot, -1)
    elif waiting == n:
        tx.lanes(bot, 1)


def suppress(tx: Transaction, bot: int, lane: int, why: str, now: float) -> None:
    """Nobody writes to this chat any more; what waits for it (and is not in flight) ends dead."""
    tx.db.execute(Q["set_suppressed"], (why, now, lane))
    killed = tx.db.execute(Q["kill_waiting"], {"lane": lane, "reason": f"suppressed: {why}", "now": now}).rowcount
    if killed:
        count(tx, bot, lane, -killed)
        tx.ended(bot, Code.DEAD, now, killed)
    refresh(tx, lane, now)


def move(tx: Transaction, bot: int, lane: int, old: str, new: str, now: float) -> int:
    """The lane's chat has another id now. An existing lane of that chat takes the messages in. Answers the lane
    they are in now."""
    if old == new:
        return lane
    db = tx.db
    target = find_lane(tx, bot, new)
    if target is not None and target.id == lane:  # back to a name it once had, which is our alias by now
        return lane
    db.execute(Q["redirect_aliases"], {"bot": bot, "old": old, "new": new})
    if target is None:
        db.execute(Q["rename_lane"], (new, lane))
        db.execute(Q["add_alias"], (bot, old, new))
        return lane
    source = find_lane(tx, bot, old)
    assert source is not None
    db.execute(Q["move_messages"], (target.id, lane))
    db.execute(Q["make_alias"], (new, lane))
    quiet = {"chat_at": source.chat_at, "chat_why": source.chat_why}
    db.execute(Q["absorb_lane"], {"lane": target.id, "waiting": source.waiting, **quiet})
    if source.waiting and target.waiting:
        tx.lanes(bot, -1)
    refresh(tx, target.id, now)
    return target.id
