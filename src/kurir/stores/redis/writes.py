"""The verbs that hand messages over and take them back: `submit` and `settle`, for many callers in one call."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

from kurir.core.errors import InvalidMessage, KeyConflict, StoreAway
from kurir.core.message import Accepted, Draft
from kurir.ports import Settlement

from .calls import Calls
from .days import day_of
from .msgpack import pack
from .packing import accepted_of, dump_draft, dump_settlement


@dataclass(frozen=True, slots=True, eq=False)
class Submission:
    items: Sequence[Draft]
    now: float


@dataclass(frozen=True, slots=True, eq=False)
class Report:
    items: Sequence[Settlement]
    now: float


LEFT = 2  # a settlement is recorded, and more waits for the chat that it suppressed
J = TypeVar("J", Submission, Report)
Fate = list[Any] | Exception  # of a job: an answer for each item, or why nothing of it was done


class Writes:
    """Carries out what was gathered: in one call, or, in a cluster, in one call a bot."""

    def __init__(self, calls: Calls) -> None:
        self._calls = calls

    # ---------------------------------------------------------------- submit

    async def submit(self, jobs: Sequence[Submission]) -> list[Fate]:
        """For each job the list of `Accepted`."""
        if not self._calls.cluster:
            return await self._submit(jobs)
        numbers = await self._numbers(jobs)

        async def keep(parts: Sequence[Submission]) -> list[Fate]:
            return await self._submit(parts, numbers)

        whole = [job for job in jobs if len({draft.bot for draft in job.items}) == 1]
        fates = dict(zip(map(id, whole), await _by_bot(whole, _bot_of_draft, keep), strict=True))
        for job in jobs:
            if id(job) not in fates:
                fates[id(job)] = await self._conflict(job) or (await _by_bot([job], _bot_of_draft, keep))[0]
        return [fates[id(job)] for job in jobs]

    async def _numbers(self, jobs: Sequence[Submission]) -> dict[int, int]:
        """In a cluster: a number for each draft, in their order, by what Python knows the draft by."""
        drafts = [draft for job in jobs for draft in job.items]
        first = await self._calls.take_numbers(len(drafts))
        return {id(draft): first + place for place, draft in enumerate(drafts)}

    async def _submit(self, jobs: Sequence[Submission], numbers: Mapping[int, int] | None = None) -> list[Fate]:
        drafts = [draft for job in jobs for draft in job.items]
        words = [word for job in jobs for word in _told_of_submission(job, numbers)]
        answers = await self._calls.numbered_many("submit", {draft.bot for draft in drafts}, 0, *words)
        return [_conflict(answer) or _accepted(job, answer) for job, answer in zip(jobs, answers, strict=True)]

    async def _conflict(self, job: Submission) -> Exception | None:
        """In a cluster, a batch that concerns several bots is looked through before any of it is kept."""
        for bot in dict.fromkeys(draft.bot for draft in job.items):
            raws = [dump_draft(draft, job.now) for draft in job.items if draft.bot == bot]
            if conflict := _conflict(await self._calls.look("check", bot, *raws)):
                return conflict
        return None

    # ---------------------------------------------------------------- settle

    async def settle(self, jobs: Sequence[Report]) -> list[Fate]:
        """For each job a list of bools."""
        if not self._calls.cluster:
            return await self._settle(jobs)
        return await _by_bot(jobs, _bot_of_settlement, self._settle)

    async def _settle(self, jobs: Sequence[Report]) -> list[Fate]:
        lost = self._calls.lost
        marks: list[tuple[Settlement, int]] = []
        bots, new = set(), 0
        words: list[Any] = []
        for job in jobs:
            words += (repr(job.now), day_of(job.now), len(job.items))
            for s in job.items:
                marks.append((s, mark := self._mark(s)))
                bots |= {s.claim.bot, *(draft.bot for draft in s.follow_ups)}
                new += len(s.follow_ups)
                words += (s.claim.bot, dump_settlement(s, mark), len(s.follow_ups))
                for draft in s.follow_ups:
                    words += (draft.bot, dump_draft(draft, job.now))
        if self._calls.cluster and len(bots) > 1:
            raise InvalidMessage("follow_ups", "are another bot's", "In a cluster, they have to be the same bot's.")
        try:
            answers = await self._calls.numbered_many("settle", bots, new, *words)
            await self._end_suppressed(jobs, answers)
        except StoreAway:
            for s, mark in marks:
                lost.remember(_name(s), (s, mark))
            raise
        for s, _ in marks:
            lost.forget(_name(s))
        return [_conflict(answer) or [bool(done) for done in answer] for answer in answers]

    async def _end_suppressed(self, jobs: Sequence[Report], answers: list[Any]) -> None:
        """Where more waits for a chat that a settlement suppressed than one step ends."""
        for job, answer in zip(jobs, answers, strict=True):
            for s, done in zip(job.items, answer, strict=False):
                if done == LEFT:
                    await self._calls.end_suppressed(s.claim.bot, s.claim.chat, job.now)

    def _mark(self, s: Settlement) -> int:
        """The settlement's own number: that of the same one before, if its answer was lost."""
        known = self._calls.lost.recall(_name(s))
        mark: int = known[1] if known is not None and known[0] == s else self._calls.lost.number()
        return mark


def _name(s: Settlement) -> tuple[str, int, int, int]:
    return "settle", s.claim.bot, s.claim.seq, s.claim.token


def _bot_of_draft(draft: Draft) -> int:
    return draft.bot


def _bot_of_settlement(s: Settlement) -> int:
    return s.claim.bot


async def _by_bot(jobs: Sequence[J], bot_of: Callable[[Any], int], carry_out: Callable[[list[J]], Any]) -> list[Fate]:
    """Carry out the jobs' parts bot by bot, side by side, and put their answers together."""
    parts: dict[int, list[tuple[int, list[int]]]] = {}  # bot -> (job, which of its items)
    for index, job in enumerate(jobs):
        by_bot: dict[int, list[int]] = {}
        for place, item in enumerate(job.items):
            by_bot.setdefault(bot_of(item), []).append(place)
        for bot, its in by_bot.items():
            parts.setdefault(bot, []).append((index, its))
    calls = []
    for its_parts in parts.values():
        pieces = [
            type(jobs[index])([jobs[index].items[p] for p in places], jobs[index].now) for index, places in its_parts
        ]
        calls.append(carry_out(pieces))
    fates: list[Fate] = [[None] * len(job.items) for job in jobs]
    answered = await asyncio.gather(*calls, return_exceptions=True)
    for its_parts, answers in zip(parts.values(), answered, strict=True):
        for number, (index, places) in enumerate(its_parts):
            _join(fates, index, places, answers if isinstance(answers, BaseException) else answers[number])
    return fates


def _join(fates: list[Fate], index: int, places: list[int], answer: Any) -> None:
    """What became of some items of a job. One refusal is the whole job's answer."""
    fate = fates[index]
    if isinstance(answer, Exception):
        fates[index] = answer
    elif isinstance(fate, list):
        for place, one in zip(places, answer, strict=True):
            fate[place] = one


def _told_of_submission(job: Submission, numbers: Mapping[int, int] | None) -> list[Any]:
    told = pack([numbers[id(draft)] for draft in job.items]) if numbers is not None else b""
    words: list[Any] = [repr(job.now), day_of(job.now), told, len(job.items)]
    for draft in job.items:
        words += (draft.bot, dump_draft(draft, job.now))
    return words


def _conflict(answer: Any) -> KeyConflict | None:
    if answer and answer[0] == b"conflict":
        return KeyConflict(answer[1].decode(), answer[2].decode())
    return None


def _accepted(job: Submission, answer: list[Any]) -> list[Accepted]:
    return [accepted_of(draft, one) for draft, one in zip(job.items, answer, strict=True)]
