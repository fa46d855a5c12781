"""The verb `submit`: keep all drafts or none."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import islice

from kurir.core.errors import KeyConflict
from kurir.core.message import DEFAULT_OPTIONS, Accepted, Draft, State
from kurir.stores.codec import dump_files, dump_metadata, dump_options

from . import lanes
from .transaction import STATE_OF, Code, Q, Transaction


class Submit:
    """The verb as a step of the writer. Neighbours that are `simple` are carried out together: see `submit_together`.

    `again`: some of the drafts are in the store. The table's unique ids tell: nobody looks before they object.
    """

    __slots__ = ("again", "drafts", "now", "simple")

    def __init__(self, drafts: Sequence[Draft], now: float, *, again: bool = False) -> None:
        self.drafts = drafts
        self.now = now
        self.again = again
        self.simple = not again and _all_simple(drafts)

    def __call__(self, tx: Transaction) -> list[Accepted]:
        return (submit_again if self.again else submit)(tx, self.drafts, self.now)


def submit_together(tx: Transaction, steps: Sequence[Submit]) -> list[list[Accepted]]:
    """What each of the steps answers: simple drafts cannot refuse one another, so several batches are one."""
    accepted = iter(_enter(tx, [draft for step in steps for draft in step.drafts], steps[-1].now))
    return [list(islice(accepted, len(step.drafts))) for step in steps]


def submit(tx: Transaction, drafts: Sequence[Draft], now: float) -> list[Accepted]:
    """See `ports.Store.submit`. Raises KeyConflict before anything is written; sqlite3.IntegrityError when a draft's id is
    in the store already: after a rollback `submit_again` answers it."""
    if _all_simple(drafts):
        return _enter(tx, drafts, now)
    known = check_keys(tx, drafts)
    answers = [known.get(index) for index in range(len(drafts))]
    fresh = [(index, draft) for index, draft in enumerate(drafts) if answers[index] is None]
    for run in _runs(fresh):
        for (index, _), accepted in zip(run, _enter(tx, [draft for _, draft in run], now), strict=True):
            answers[index] = accepted
    new = {a.id: a for a in answers if a is not None and not a.duplicate}
    return [
        Accepted(a.id, new[a.id].state, True, new[a.id].seq) if a.duplicate and a.id in new else a
        for a in answers
        if a is not None
    ]


def submit_again(tx: Transaction, drafts: Sequence[Draft], now: float) -> list[Accepted]:
    """The same for drafts whose ids may be known: those are answered as they stand. Raises KeyConflict before anything is
    written."""
    ids: set[str] = set()
    fresh: list[Draft] = []
    for draft in drafts:
        if draft.id not in ids and _by_id(tx, draft) is None:
            fresh.append(draft)
        ids.add(draft.id)
    check_keys(tx, fresh)
    return [_by_id(tx, draft) or submit(tx, [draft], now)[0] for draft in drafts]


def _by_id(tx: Transaction, draft: Draft) -> Accepted | None:
    """The message that has the draft's id, as it stands."""
    row = tx.db.execute(Q["message_by_id"], (draft.id,)).fetchone()
    return Accepted(draft.id, State.SENDING if row[1] else STATE_OF[row[0]], False, row[2]) if row else None


def _all_simple(drafts: Sequence[Draft]) -> bool:
    """None of them looks at what is stored already, but for its lane."""
    return not any(draft.key is not None or draft.coalesce or draft.force for draft in drafts)


def check_keys(tx: Transaction, drafts: Sequence[Draft]) -> dict[int, Accepted]:
    """The drafts whose key was seen before, in the store or earlier in the batch; one that was kept under its own key is no
    duplicate. Raises KeyConflict."""
    known: dict[int, Accepted] = {}
    in_batch: dict[tuple[int, str], Draft] = {}
    for index, draft in enumerate(drafts):
        if draft.key is None:
            continue
        row = tx.db.execute(Q["message_by_key"], (draft.bot, draft.key)).fetchone()
        if row:
            if row[1] != draft.digest:
                raise KeyConflict(draft.key, row[0])
            state = State.SENDING if row[3] else STATE_OF[row[2]]
            known[index] = Accepted(row[0], state, row[0] != draft.id, row[4])
            continue
        first = in_batch.setdefault((draft.bot, draft.key), draft)
        if first.id != draft.id:
            if first.digest != draft.digest:
                raise KeyConflict(draft.key, first.id)
            known[index] = Accepted(first.id, State.WAITING, True)
    return known


_Indexed = tuple[int, Draft]
_Numbered = tuple[int, Draft]  # by seq


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


def _enter(tx: Transaction, run: Sequence[Draft], now: float) -> list[Accepted]:
    by_lane: dict[tuple[int, str], list[_Numbered]] = {}
    first = tx.take_seqs(len(run))
    for seq, draft in enumerate(run, first):
        by_lane.setdefault((draft.bot, draft.chat), []).append((seq, draft))
    if run and run[0].force:
        _lift(tx, run[0])
    rows = _Rows()
    dead: set[int] = set()
    for (bot, chat), items in by_lane.items():
        lane_id, suppressed = _enter_lane(tx, bot, chat, items, now, rows)
        if suppressed is None:
            for seq, draft in items:
                rows.add(seq, lane_id, draft, now)
        else:
            for seq, draft in items:
                rows.add_dead(seq, lane_id, draft, f"suppressed: {suppressed}", now)
                dead.add(seq)
            tx.ended(bot, Code.DEAD, now, len(items))
        for seq, draft in items:
            if draft.metadata or draft.files:
                _side_rows(tx, seq, draft)
    rows.write_lanes(tx)
    replaced = None
    if run and run[0].coalesce and not dead:
        replaced = _coalesce(tx, lane_id, first, run[0], rows, now)
    rows.write_messages(tx)
    return [
        Accepted(draft.id, State.DEAD if dead and seq in dead else State.WAITING, False, seq, replaced)
        for seq, draft in enumerate(run, first)
    ]


def _lift(tx: Transaction, draft: Draft) -> None:
    lane = lanes.find_lane(tx, draft.bot, draft.chat)
    if lane and lane.suppressed:
        tx.db.execute(Q["lift_suppression"], (lane.id,))


class _Rows:
    """What a run writes, statement by statement."""

    __slots__ = ("counts", "full", "heads", "plain", "soon")

    def __init__(self) -> None:
        self.plain: list[tuple[object, ...]] = []  # of messages that want nothing special
        self.full: list[tuple[object, ...]] = []
        self.heads: list[tuple[object, ...]] = []  # of lanes that got a head
        self.counts: list[tuple[int, int]] = []  # of lanes that only got longer
        self.soon = False

    def add(self, seq: int, lane: int, d: Draft, now: float) -> None:
        if (
            d.due_at > now
            or d.key is not None
            or d.expires_at is not None
            or d.target is not None
            or d.files
            or d.metadata
            or d.options is not DEFAULT_OPTIONS
        ):
            self.full.append(_row(seq, lane, d, None, now))
        else:
            self.plain.append(
                (seq, d.id, lane, d.bot, 0, d.priority, seq, 0, d.accepted_at, d.method, d.params.decode())
            )

    def add_dead(self, seq: int, lane: int, draft: Draft, reason: str, now: float) -> None:
        self.full.append(_row(seq, lane, draft, reason, now))

    def write_lanes(self, tx: Transaction) -> None:
        if self.counts:
            tx.db.executemany(Q["lengthen_lane"], self.counts)
            self.counts.clear()
        if self.heads:
            tx.db.executemany(Q["head_lane"], self.heads)
            self.heads.clear()

    def write_messages(self, tx: Transaction) -> None:
        if self.plain:
            if len(self.plain) > 1:
                self.plain.sort(key=_seq_of)
            tx.db.executemany(Q["insert_plain_message"], self.plain)
        if self.full:
            tx.db.executemany(Q["insert_message"], self.full)


def _seq_of(row: tuple[object, ...]) -> int:
    return row[0]  # type: ignore[return-value]


def _enter_lane(
    tx: Transaction, bot: int, chat: str, items: list[_Numbered], now: float, rows: _Rows
) -> tuple[int, str | None]:
    """The lane's id, and why it is suppressed (then it is left as it was)."""
    prio: int | None = None
    head = 0
    for seq, draft in items:
        if draft.due_at <= now and (prio is None or draft.priority < prio):
            prio, head = draft.priority, seq
    n = len(items)
    while True:
        row = tx.db.execute(Q["lane_to_enter"], (bot, chat)).fetchone()
        if row is None:
            values = (
                (bot, chat, n, head, prio, now, now) if prio is not None else (bot, chat, n, None, None, None, None)
            )
            lane = tx.db.execute(Q["enter_new_lane"], values).lastrowid
            assert lane is not None
            break
        lane, waiting, its_prio, token, chat_at, moved_to, suppressed = row
        if moved_to is not None:
            rows.write_lanes(tx)  # its lane may be in the run under its own name too
            rows.soon = True
            chat = moved_to
            continue
        if suppressed is not None:
            return lane, suppressed
        if prio is not None and token is None and (its_prio is None or prio < its_prio):
            rows.heads.append((n, head, prio, now, max(now, chat_at), lane))
        else:
            rows.counts.append((n, lane))
        if rows.soon:
            rows.write_lanes(tx)
            rows.soon = False
        if waiting:
            tx.waiting(bot, n)
            return lane, None
        break
    tx.waiting(bot, n)
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
        draft.due_at if later else None,
    )


def _side_rows(tx: Transaction, seq: int, draft: Draft) -> None:
    for key, value in (draft.metadata or {}).items():
        tx.db.execute(Q["insert_metadata"], (key, value, seq))
    for file in draft.files:
        tx.db.execute(Q["insert_message_file"], (file.sha256, seq))


_POS = 6  # the column `pos` of an inserted row


def _coalesce(tx: Transaction, lane: int, seq: int, draft: Draft, rows: _Rows, now: float) -> str | None:
    """An older message of the same target gives way; the new one takes its place if nothing in between would notice.
    Answers the id of the older one."""
    if draft.target is None:
        return None
    values = {"lane": lane, "target": draft.target, "prio": int(draft.priority)}
    old = tx.db.execute(Q["superseded"], values).fetchone()
    if old is None:
        return None
    old_seq, old_pos, old_id = old
    subject = draft.target.rsplit(":", 1)[0]
    between = tx.db.execute(
        Q["place_is_taken"],
        {"lane": lane, "subject": f"{subject}:", "subject_end": f"{subject};", "pos": old_pos},
    ).fetchone()
    tx.db.execute(Q["supersede"], {"now": now, "id": draft.id, "seq": old_seq})
    tx.ended(draft.bot, Code.CANCELLED, now)
    if not between:
        row = rows.full[-1]
        rows.full[-1] = (*row[:_POS], old_pos, *row[_POS + 1 :])
        if draft.due_at <= now:
            tx.db.execute(Q["inherit_place"], {"lane": lane, "seq": seq, "old": old_seq, "now": now})
    lanes.count(tx, draft.bot, lane, -1)
    tx.db.executemany(Q["insert_message"], rows.full)
    rows.full.clear()
    lanes.refresh(tx, lane, now)
    replaced: str = old_id
    return replaced
