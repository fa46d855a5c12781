"""The verb `submit`: keep all drafts or none."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import orjson

from kurir.core.errors import KeyConflict
from kurir.core.message import Accepted, Draft, State
from kurir.stores.codec import dump_files, dump_metadata, dump_options

from . import lanes
from .transaction import STATE_OF, Code, Q, Transaction


def submit(tx: Transaction, drafts: Sequence[Draft], now: float) -> list[Accepted]:
    """See `ports.Store.submit`. Raises KeyConflict before anything is written."""
    known = check_keys(tx, drafts)
    answers = [known.get(index) for index in range(len(drafts))]
    fresh = [(index, draft) for index, draft in enumerate(drafts) if answers[index] is None]
    for run in _runs(fresh):
        for index, accepted in _enter(tx, run, now):
            answers[index] = accepted
    ids = {a.id: a for a in answers if a is not None and not a.duplicate}
    return [replace(a, state=ids[a.id].state) if a.duplicate and a.id in ids else a for a in answers if a is not None]


def check_keys(tx: Transaction, drafts: Sequence[Draft]) -> dict[int, Accepted]:
    """The drafts whose key was seen before, in the store or earlier in the batch. Raises KeyConflict."""
    known: dict[int, Accepted] = {}
    in_batch: dict[tuple[int, str], Draft] = {}
    for index, draft in enumerate(drafts):
        if draft.key is None:
            continue
        row = tx.db.execute(Q["message_by_key"], (draft.bot, draft.key)).fetchone()
        if row:
            if row[1] != draft.digest:
                raise KeyConflict(draft.key, row[0])
            known[index] = Accepted(row[0], State.SENDING if row[3] else STATE_OF[row[2]], True)
            continue
        first = in_batch.setdefault((draft.bot, draft.key), draft)
        if first is not draft:
            if first.digest != draft.digest:
                raise KeyConflict(draft.key, first.id)
            known[index] = Accepted(first.id, State.WAITING, True)
    return known


_Indexed = tuple[int, Draft]


def _runs(drafts: list[_Indexed]) -> list[list[_Indexed]]:
    """Drafts that may be entered together. One that replaces or forces stands alone: it looks at what is stored."""
    runs: list[list[_Indexed]] = []
    together: list[_Indexed] = []
    for item in drafts:
        if item[1].coalesce or item[1].force:
            if together:
                runs.append(together)
                together = []
            runs.append([item])
        else:
            together.append(item)
    if together:
        runs.append(together)
    return runs


def _enter(tx: Transaction, run: list[_Indexed], now: float) -> list[tuple[int, Accepted]]:
    by_lane: dict[tuple[int, str], list[_Indexed]] = {}
    seqs: dict[int, int] = {}
    for item in run:
        seqs[item[0]] = tx.next_seq()
        by_lane.setdefault((item[1].bot, item[1].chat), []).append(item)
    if run[0][1].force:
        lane = lanes.find_lane(tx, run[0][1].bot, run[0][1].chat)
        if lane and lane.suppressed:
            tx.db.execute(Q["lift_suppression"], (lane.id,))
    rows: list[tuple[object, ...]] = []
    answers: list[tuple[int, Accepted]] = []
    entered = _enter_lanes(tx, {lane: [(seqs[i], d) for i, d in items] for lane, items in by_lane.items()}, now)
    for (bot, chat), items in by_lane.items():
        lane_id, suppressed = entered[bot, chat]
        reason = f"suppressed: {suppressed}" if suppressed is not None else None
        for index, draft in items:
            rows.append(_row(seqs[index], lane_id, draft, reason, now))
            answers.append((index, Accepted(draft.id, State.DEAD if reason else State.WAITING)))
            if draft.metadata or draft.files:
                _side_rows(tx, seqs[index], draft)
        if reason:
            tx.ended(bot, Code.DEAD, now, len(items))
        elif items[0][1].coalesce:
            _coalesce(tx, lane_id, seqs[items[0][0]], items[0][1], rows, now)
    if len(by_lane) > 1:
        rows.sort(key=_seq_of)
    tx.db.executemany(Q["insert_message"], rows)
    return answers


def _seq_of(row: tuple[object, ...]) -> int:
    return row[0]  # type: ignore[return-value]


_Lane = tuple[int, str]  # bot, chat
_Entry = tuple[int, str, int, int | None, int | None, float | None]  # bot, chat, n, head, prio, at: see `enter_lane`
FEW = 4  # lanes that are faster entered one by one


def _enter_lanes(
    tx: Transaction, drafts: dict[_Lane, list[tuple[int, Draft]]], now: float
) -> dict[_Lane, tuple[int, str | None]]:
    """Each lane's id, and why it is suppressed (then it is left as it was)."""
    entries = [_entry(lane, members, now) for lane, members in drafts.items()]
    if len(entries) <= FEW:
        return {(e[0], e[1]): _settle_in(tx, e, tx.db.execute(Q["enter_lane"], e).fetchone(), now) for e in entries}
    tx.db.executemany(Q["enter_lanes"], entries)
    found: dict[_Lane, tuple[int, int, str | None, str | None]] = {}
    for bot in {e[0] for e in entries}:
        chats = orjson.dumps([e[1] for e in entries if e[0] == bot]).decode()
        for chat, *row in tx.db.execute(Q["entered_lanes"], (bot, chats)):
            found[bot, chat] = tuple(row)
    return {(e[0], e[1]): _settle_in(tx, e, found[e[0], e[1]], now) for e in entries}


def _entry(lane: _Lane, drafts: list[tuple[int, Draft]], now: float) -> _Entry:
    head: tuple[int, int] | None = None  # (priority, seq)
    for seq, draft in drafts:
        if draft.due_at <= now and (head is None or draft.priority < head[0]):
            head = (int(draft.priority), seq)
    if head is None:
        return (*lane, len(drafts), None, None, None)
    return (*lane, len(drafts), head[1], head[0], now)


def _settle_in(
    tx: Transaction, entry: _Entry, row: tuple[int, int, str | None, str | None], now: float
) -> tuple[int, str | None]:
    """What entering a lane leads to where it is an alias, or suppressed."""
    bot, _, n, *head = entry
    while True:
        lane, waiting, moved_to, suppressed = row
        if moved_to is not None:
            tx.db.execute(Q["empty_lane"], (lane,))
            row = tx.db.execute(Q["enter_lane"], (bot, moved_to, n, *head)).fetchone()
        elif suppressed is not None:
            tx.db.execute(Q["add_waiting"], {"lane": lane, "n": -n}).fetchone()
            lanes.refresh(tx, lane, now)
            return lane, suppressed
        else:
            tx.waiting(bot, n)
            if waiting == n:
                tx.lanes(bot, 1)
            return lane, None


def _row(seq: int, lane: int, draft: Draft, dead: str | None, now: float) -> tuple[object, ...]:
    later = draft.due_at > now
    return (
        seq,
        draft.id,
        lane,
        draft.bot,
        (3 if dead else 1 if later else 0),
        int(draft.priority),
        seq,
        draft.due_at if later else 0,
        draft.accepted_at,
        now if dead else None,
        draft.expires_at,
        draft.method,
        draft.params.decode(),
        dead,
        draft.key,
        draft.digest,
        draft.target,
        dump_files(draft.files) if draft.files else None,
        dump_metadata(draft.metadata) if draft.metadata else None,
        dump_options(draft.options),
    )


def _side_rows(tx: Transaction, seq: int, draft: Draft) -> None:
    for key, value in (draft.metadata or {}).items():
        tx.db.execute(Q["insert_metadata"], (key, value, seq))
    for file in draft.files:
        tx.db.execute(Q["insert_message_file"], (file.sha256, seq))


_POS = 6  # the column `pos` of an inserted row


def _coalesce(tx: Transaction, lane: int, seq: int, draft: Draft, rows: list[tuple[object, ...]], now: float) -> None:
    """An older message of the same target gives way; the new one takes its place if nothing in between would notice."""
    if draft.target is None:
        return
    values = {"lane": lane, "target": draft.target, "prio": int(draft.priority)}
    old = tx.db.execute(Q["superseded"], values).fetchone()
    if old is None:
        return
    old_seq, old_pos = old
    subject = draft.target.rsplit(":", 1)[0]
    between = tx.db.execute(
        Q["place_is_taken"],
        {"lane": lane, "subject": f"{subject}:", "subject_end": f"{subject};", "pos": old_pos},
    ).fetchone()
    tx.db.execute(Q["supersede"], {"now": now, "id": draft.id, "seq": old_seq})
    tx.ended(draft.bot, Code.CANCELLED, now)
    if not between:
        row = rows[-1]
        rows[-1] = (*row[:_POS], old_pos, *row[_POS + 1 :])
        if draft.due_at <= now:
            tx.db.execute(Q["inherit_place"], {"lane": lane, "seq": seq, "old": old_seq, "now": now})
    lanes.count(tx, draft.bot, lane, -1)
    tx.db.executemany(Q["insert_message"], rows)
    rows.clear()
    lanes.refresh(tx, lane, now)
