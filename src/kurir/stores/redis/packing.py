"""What goes to the scripts and comes back from them, as records and bytes."""

from __future__ import annotations

from typing import Any

from kurir.core.message import (
    Accepted,
    Attempt,
    Claim,
    Draft,
    FileRef,
    Priority,
    Record,
    State,
)
from kurir.ports import Lane, Settlement
from kurir.stores.codec import dump_metadata, dump_options, load_metadata, load_options

from .msgpack import pack, unpack, unpack_exactly

SENDING = 1
CODES = {
    State.WAITING: 0,
    State.SENDING: SENDING,
    State.DELIVERED: 2,
    State.DEAD: 3,
    State.CANCELLED: 4,
    State.EXPIRED: 5,
}
STATES = tuple(CODES)
_PRIORITIES = tuple(Priority)
_COALESCE, _FORCE = 1, 2
_KEPT = 15  # values that `dump_draft` packs
_STANDING = 14  # values that say how a message stands


def dump_draft(draft: Draft, now: float) -> bytes:
    """The message as it is kept. A `due_at` that has passed is none."""
    flags = draft.coalesce * _COALESCE | draft.force * _FORCE
    return pack(
        draft.id,
        draft.chat,
        draft.method,
        int(draft.priority),
        draft.accepted_at,
        draft.due_at if draft.due_at > now else None,
        draft.expires_at,
        draft.key,
        draft.digest,
        draft.target,
        flags or None,
        [[f.field, f.sha256, f.size, f.name, f.mime, f.kind] for f in draft.files] or None,
        dump_options(draft.options),
        dump_metadata(draft.metadata),
        draft.params,
    )


def accepted_of(draft: Draft, answer: Any) -> Accepted:
    """What the script answered for a draft: its number alone where there is nothing else to tell."""
    if isinstance(answer, int):
        return Accepted(draft.id, State.WAITING, False, answer)
    id, code, duplicate, seq, *replaced = answer
    return Accepted(id.decode(), STATES[code], bool(duplicate), seq, replaced[0].decode() if replaced else None)


def dump_settlement(s: Settlement, mark: int) -> bytes:
    """The settlement for the script, its follow-ups apart. `mark` tells it from every other."""
    attempts = [attempt for attempt in (s.before, s.attempt) if attempt is not None]
    log = b"".join(pack(a.started_at, a.duration, a.outcome, a.status, a.error) for a in attempts)
    return pack(
        s.claim.seq,
        s.claim.token,
        mark,
        CODES[s.state],
        s.due_at or None,
        s.later,
        s.chat_at,
        s.tries,
        s.doubts,
        s.crashes,
        s.reason,
        s.result,
        log or None,
        [a.started_at for a in attempts],
        s.attempt is not None,
        s.suppress,
        s.moved_to,
        s.file_ids,
    )


def _text(value: bytes | None) -> str | None:
    return None if value is None else value.decode()


def _files(rows: Any) -> tuple[FileRef, ...]:
    return tuple(
        FileRef(field.decode(), sha256.decode(), size, name.decode(), mime.decode(), kind.decode())
        for field, sha256, size, name, mime, kind in rows or ()
    )


_UNTOUCHED: list[Any] = [0, None, None, None, None, 0, 0, 0, 0, None, None, None, None, None]


def standing_of(raw: bytes) -> list[Any]:
    """How a message stands. What is not there is told as false, which is never a value."""
    return [None if value is False else value for value in unpack_exactly(_STANDING, raw)]


def claim_of(bot: int, token: int, row: list[Any]) -> Claim:
    """A claim as `claim` and `adopt` answer it."""
    seq, lane, chat, suppressed, raw, raw_standing, file_ids = row
    id, _, method, prio, accepted_at, due_at, expires_at, _, _, _, _, files, options, _, params = unpack_exactly(
        _KEPT, raw
    )
    standing = standing_of(raw_standing) if raw_standing is not None else _UNTOUCHED
    _, _, _, _, _, tries, doubts, crashes, calls, _, requeued_at, *_ = standing
    known = {
        (sha256.decode(), kind.decode()): file_id.decode()
        for sha256, packed in zip(file_ids[::2], file_ids[1::2], strict=True)
        for kind, file_id in unpack(packed)[0].items()
    }
    return Claim(
        seq=seq,
        token=token,
        lane=lane,
        id=id.decode(),
        bot=bot,
        chat=chat.decode(),
        method=method.decode(),
        params=params,
        priority=_PRIORITIES[prio],
        accepted_at=float(accepted_at),
        files=_files(files),
        expires_at=None if requeued_at is not None else expires_at,
        options=load_options(options),
        tries=tries,
        attempts=calls,
        doubts=doubts,
        crashes=crashes,
        suppressed=_text(suppressed),
        file_ids=known,
        asked_at=due_at,
        requeued_at=requeued_at,
    )


def record_of(bot: int, row: list[Any], with_attempts: bool) -> Record:
    """A record as `walk` answers it."""
    seq, chat, flying, raw, raw_standing = row
    id, _, method, prio, accepted_at, due_at, expires_at, key, _, _, _, files, options, metadata, params = (
        unpack_exactly(_KEPT, raw)
    )
    if raw_standing is None:
        standing = [*_UNTOUCHED[:2], due_at, *_UNTOUCHED[3:]]
    else:
        standing = standing_of(raw_standing)
    state, _, due, ended, reason, tries, doubts, crashes, _, by, requeued, result, log, _ = standing
    return Record(
        id=id.decode(),
        seq=seq,
        bot=bot,
        chat=chat.decode(),
        method=method.decode(),
        params=params,
        state=State.SENDING if flying else STATES[state],
        priority=_PRIORITIES[prio],
        accepted_at=accepted_at,
        due_at=due or 0.0,
        ended_at=ended,
        expires_at=None if requeued is not None else expires_at,
        reason=_text(reason),
        result=result,
        key=_text(key),
        metadata=load_metadata(metadata),
        files=_files(files),
        options=load_options(options),
        tries=tries,
        doubts=doubts,
        crashes=crashes,
        superseded_by=_text(by),
        attempts=_attempts(log) if with_attempts else (),
    )


def id_of(raw: bytes) -> bytes:
    """The id of a message as it is kept."""
    id: bytes = unpack(raw)[0]
    return id


def _attempts(log: bytes | None) -> tuple[Attempt, ...]:
    values = unpack(log or b"")
    rows = zip(*(values[n::5] for n in range(5)), strict=True)
    return tuple(
        Attempt(number, started_at, duration, outcome.decode(), status, _text(error))
        for number, (started_at, duration, outcome, status, error) in enumerate(rows, 1)
    )


def lane_of(bot: int, row: list[Any]) -> Lane:
    """A lane as `lane` and `lanes_from` answer it."""
    _, chat, waiting, sending, next_at, chat_at, head, suppressed, since, why = row
    return Lane(
        bot=bot,
        chat=chat.decode(),
        waiting=waiting,
        sending=bool(sending),
        next_at=float(next_at) if next_at else None,
        chat_at=float(chat_at),
        head=_text(head),
        suppressed=_text(suppressed),
        suppressed_at=float(since) if since else None,
        chat_why=_text(why),
    )
