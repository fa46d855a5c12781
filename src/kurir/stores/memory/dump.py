"""All that the memory store holds, as rows: `ports.Portable`."""

from __future__ import annotations

import heapq
import math
from collections.abc import Sequence
from dataclasses import replace
from itertools import islice
from typing import assert_never

from kurir.core.rows import AliasRow, BotRow, FileIdRow, LaneRow, MessageRow, Section, SequenceRow
from kurir.ports import ApiKey, Chunk, Day, Row

from .book import Book
from .keys import Keys
from .lanes import Lanes
from .model import Bot, Lane, Message

ALL_DAYS = 1_000_000
FileIds = dict[tuple[int, str], dict[str, str]]  # (bot, sha256) -> kind -> file_id


class Cargo:
    """The parts of a memory store, told and filled as rows. Cursors are positions; among messages, order numbers."""

    def __init__(self, book: Book, lanes: Lanes, keys: Keys, file_ids: FileIds) -> None:
        self._book = book
        self._lanes = lanes
        self._keys = keys
        self._file_ids = file_ids
        self.mark: str | None = None

    # ------------------------------------------------------------ out

    def dump(self, section: Section, cursor: str | None, limit: int) -> Chunk:
        """See `ports.Portable.dump`."""
        first = int(cursor or 0)
        if section is Section.MESSAGES:
            found = list(islice((m for m in self._book.messages.values() if m.seq > first), limit + 1))
            rows: list[Row] = [self._message_row(message) for message in found[:limit]]
            return Chunk(tuple(rows), str(found[limit - 1].seq) if len(found) > limit else None)
        rows = self._rows(section)
        end = first + limit
        return Chunk(tuple(rows[first:end]), str(end) if end < len(rows) else None)

    def _rows(self, section: Section) -> list[Row]:
        match section:
            case Section.SEQUENCE:
                return [SequenceRow(self._book.last_seq)] if self._book.last_seq else []
            case Section.BOTS:
                return [_bot_row(bot) for _, bot in sorted(self._lanes.bots.items()) if _is_known(bot)]
            case Section.LANES:
                return [_lane_row(lane) for lane in self._lanes.all()]
            case Section.ALIASES:
                return [AliasRow(*alias) for alias in self._lanes.aliases()]
            case Section.FILE_IDS:
                found = sorted((key, kind, id) for key, ids in self._file_ids.items() for kind, id in ids.items())
                return [FileIdRow(bot, sha256, kind, id) for (bot, sha256), kind, id in found]
            case Section.DAYS:
                return list(self._book.days(None, ALL_DAYS))
            case Section.KEYS:
                return list(self._keys.all())
            case Section.MESSAGES:
                raise AssertionError
            case _:
                assert_never(section)

    def _message_row(self, message: Message) -> MessageRow:
        draft = message.draft
        return MessageRow(
            seq=message.seq,
            id=draft.id,
            bot=draft.bot,
            chat=self._lanes.today(draft.bot, draft.chat),
            method=draft.method,
            params=draft.params,
            state=message.state,
            priority=draft.priority,
            pos=float(message.pos),
            accepted_at=float(draft.accepted_at),
            token=message.token,
            later=not message.state.final and message.seq in self._lanes.of(message).later,
            due_at=float(message.due_at),
            ended_at=_float(message.ended_at),
            expires_at=_float(message.expires_at),
            asked_at=_float(message.asked_at),
            requeued_at=_float(message.requeued_at),
            reason=message.reason,
            result=message.result,
            key=draft.key,
            digest=draft.digest,
            target=draft.target,
            files=draft.files,
            metadata=draft.metadata or None,
            options=draft.options,
            tries=message.tries,
            doubts=message.doubts,
            crashes=message.crashes,
            superseded_by=message.superseded_by,
            attempts=tuple(
                replace(a, started_at=float(a.started_at), duration=float(a.duration)) for a in message.attempts
            ),
        )

    # ------------------------------------------------------------ in

    def load(self, rows: Sequence[Row]) -> None:
        """See `ports.Portable.load`."""
        for row in rows:
            self._load(row)

    def _load(self, row: Row) -> None:
        match row:
            case SequenceRow(last):
                self._book.last_seq = max(self._book.last_seq, last)
            case BotRow():
                bot = self._lanes.bot(row.bot)
                bot.token, bot.fenced = max(bot.token, row.token), row.fenced
                bot.paused_until, bot.paused_why = row.paused_until, row.paused_why
            case LaneRow():
                self._load_lane(row)
            case AliasRow(bot_id, chat, moved_to):
                self._lanes.restore_alias(bot_id, chat, moved_to)
            case MessageRow():
                self._load_message(row)
            case FileIdRow(bot_id, sha256, kind, file_id):
                self._file_ids.setdefault((bot_id, sha256), {})[kind] = file_id
            case Day():
                self._book.restore_day(row)
            case ApiKey():
                self._keys.restore(row)
            case _:
                assert_never(row)

    def _load_lane(self, row: LaneRow) -> None:
        lane = self._lanes.lane(row.bot, row.chat)
        lane.chat_at, lane.chat_why = row.chat_at, row.chat_why
        lane.suppressed, lane.suppressed_at = row.suppressed, row.suppressed_at or 0.0
        lane.since = row.head_at or 0.0
        self._lanes.place(lane, lane.since)

    def _load_message(self, row: MessageRow) -> None:
        self._withdraw(row.seq)
        draft = row.draft(row.due_at)
        message = Message(draft, row.seq, row.pos, row.due_at, row.expires_at, row.state, row.token)
        message.asked_at, message.requeued_at, message.ended_at = row.asked_at, row.requeued_at, row.ended_at
        message.reason, message.result, message.superseded_by = row.reason, row.result, row.superseded_by
        message.tries, message.doubts, message.crashes = row.tries, row.doubts, row.crashes
        message.attempts = list(row.attempts)
        self._book.last_seq = max(self._book.last_seq, row.seq, math.ceil(row.pos))
        self._book.restore(message)
        bot = self._lanes.bot(row.bot)
        bot.counts[row.state] += 1
        self._lanes.of(message).messages += 1
        if not row.state.final:
            self._lanes.restore(message, row.later)
        for attempt in row.attempts:
            bot.calls += 1
            heapq.heappush(bot.recent, (attempt.started_at, bot.calls, row.seq))

    def _withdraw(self, seq: int) -> None:
        """An older copy of a message gives way."""
        message = self._book.messages.get(seq)
        if message is None:
            return
        lane = self._lanes.of(message)
        bot = self._lanes.bot(lane.bot)
        if not message.state.final:
            self._lanes.remove(message, lane.since)
        bot.counts[message.state] -= 1
        bot.recent = [call for call in bot.recent if call[2] != seq]
        heapq.heapify(bot.recent)
        lane.messages -= 1
        self._book.remove(message)


def _float(at: float | None) -> float | None:
    return None if at is None else float(at)


def _is_known(bot: Bot) -> bool:
    """Something about it does not follow from its messages."""
    return bool(bot.token or bot.paused_until or bot.fenced)


def _bot_row(bot: Bot) -> BotRow:
    return BotRow(bot.id, bot.token, float(bot.paused_until), bot.paused_why, bot.fenced)


def _lane_row(lane: Lane) -> LaneRow:
    head = None if lane.head is None else lane.waiting[lane.head]
    return LaneRow(
        bot=lane.bot,
        chat=lane.chat,
        chat_at=float(lane.chat_at),
        chat_why=lane.chat_why,
        head_at=None if head is None else float(max(lane.since, head.due_at)),
        suppressed=lane.suppressed,
        suppressed_at=None if lane.suppressed is None else float(lane.suppressed_at),
    )
