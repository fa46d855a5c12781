"""What became of it all, by the simulator's journal, and whether a promise broke."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field
from itertools import pairwise
from typing import Any

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from kurir.core.message import Record
from kurir.ports import Stats

from .cast import Plan
from .play import Course
from .stage import Telegram

FEW = 5  # 429s that pass: Telegram counts by the time of arrival, a courier by that of departure
KILL_WINDOW = (0.3, 0.05)  # seconds before and after a SIGKILL in which a call it cut off reached Telegram


@dataclass
class Verdict:
    """Figures, and the promises that broke."""

    accepted: int = 0
    delivered: int = 0
    superseded: int = 0
    waiting: int = 0
    dead: dict[str, int] = field(default_factory=dict)  # by reason
    wrongly_dead: list[str] = field(default_factory=list)
    arrived: int = 0
    expected: int = 0
    lost: list[str] = field(default_factory=list)
    doubled: int = 0
    doubled_lost_answer: int = 0
    doubled_by_kill: int = 0
    doubled_unexplained: list[str] = field(default_factory=list)
    out_of_order: list[str] = field(default_factory=list)
    floods: int = 0
    lost_answers: int = 0
    resets: int = 0
    share: float | None = None
    busy_seconds: float = 0.0
    back_after: dict[str, float] = field(default_factory=dict)  # seconds
    seconds: float = 0.0
    broken: list[str] = field(default_factory=list)

    def json(self) -> dict[str, Any]:
        return {**asdict(self), "kept": not self.broken}


async def judge(
    plan: Plan, course: Course, telegram: Telegram, stats: Stats, dead: list[Record], limit: float
) -> Verdict:
    """Ask the simulator, and compare."""
    report = await telegram.sure("POST", "report", {"expected": plan.expected()})
    entries = (await telegram.sure("GET", "journal"))["entries"]
    verdict = Verdict(
        accepted=course.accepted,
        delivered=sum(bot.delivered for bot in stats.bots),
        superseded=sum(bot.cancelled for bot in stats.bots),
        waiting=sum(bot.waiting for bot in stats.bots),
        arrived=report["arrived"],
        expected=report["expected"],
        lost=[f"{mark!r} to {chat}" for chat, mark in report["lost"]],
        doubled=len(report["doubled"]),
        out_of_order=[f"{mark!r} to {chat}" for chat, mark in report["reordered"]],
        floods=report["throttled"],
        lost_answers=report["lost_answers"],
        resets=report["faults"].get("reset_before", 0),
        share=round(course.busy_calls / course.busy / limit, 4) if course.busy else None,
        busy_seconds=round(course.busy, 1),
        back_after=course.back,
        seconds=round(course.seconds, 1),
    )
    verdict.doubled_lost_answer, verdict.doubled_by_kill, verdict.doubled_unexplained = excuses(entries, course.kills)
    verdict.lost += [text async for text in _unfinished(plan, course, telegram)]
    _judge_dead(verdict, course, dead)
    verdict.broken = list(_broken(verdict))
    return verdict


def excuses(entries: Iterable[Mapping[str, Any]], kills: list[float]) -> tuple[int, int, list[str]]:
    """Of the extra copies: how many a kill explains (one a lane and kill), how many a lost answer to the copy before
    them, and the rest. The first number is of the lost answers."""
    copies: dict[tuple[Any, Any], list[Mapping[str, Any]]] = {}
    for entry in entries:
        if entry["verb"] in ("sent", "partial"):
            copies.setdefault((entry["chat"], entry["mark"]), []).append(entry)
    by_kill: set[tuple[Any, float]] = set()
    by_answer, rest = 0, []
    early, late = KILL_WINDOW
    for (chat, mark), same in copies.items():
        for before, _ in pairwise(same):
            kill = next((k for k in kills if k - early <= before["arrived"] <= k + late), None)
            if kill is not None and (chat, kill) not in by_kill:
                by_kill.add((chat, kill))
            elif before["answer_lost"]:
                by_answer += 1
            else:
                rest.append(f"{mark!r} to {chat}")
    return by_answer, len(by_kill), rest


async def _unfinished(plan: Plan, course: Course, telegram: Telegram) -> Any:
    """Edits and deletions that are not to be seen in the chat."""
    for number, story in enumerate(plan.stories):
        message_id = course.stories.get(number)
        if message_id is None:
            yield f"changes of {story.line.mark!r}: it was never delivered"
            continue
        shown = await telegram.sure("GET", f"messages?chat={story.line.chat}")
        text = next((m.get("text") for m in shown if m["message_id"] == message_id), None)
        wanted = story.edits[-1] if story.edits else None
        if text != wanted:
            yield f"{'an edit' if wanted else 'the deletion'} of {story.line.mark!r}: it reads {text!r}"


def _judge_dead(verdict: Verdict, course: Course, dead: list[Record]) -> None:
    reasons = Counter((record.reason or "no reason").removeprefix("suppressed: ") for record in dead)
    verdict.dead = dict(reasons.most_common())
    for record in dead:
        line = course.lines.get(record.id)
        if line is None or not line.dies:
            verdict.wrongly_dead.append(f"{record.method} to {record.chat}: {record.reason}")


def _broken(verdict: Verdict) -> Iterable[str]:
    ended = verdict.delivered + sum(verdict.dead.values()) + verdict.superseded
    if verdict.waiting:
        yield f"{verdict.waiting} messages still wait"
    elif ended != verdict.accepted:
        yield f"{verdict.accepted} were accepted, {ended} ended"
    if verdict.lost:
        yield f"{len(verdict.lost)} lost: {'; '.join(verdict.lost[:3])}"
    if verdict.doubled_unexplained:
        yield f"{len(verdict.doubled_unexplained)} doubled without a reason: {verdict.doubled_unexplained[0]}"
    if verdict.out_of_order:
        yield f"{len(verdict.out_of_order)} out of order: {verdict.out_of_order[0]}"
    if verdict.wrongly_dead:
        yield f"{len(verdict.wrongly_dead)} dead that should not be: {verdict.wrongly_dead[0]}"
    if verdict.floods > FEW:
        yield f"{verdict.floods} flood errors (429)"


# ---------------------------------------------------------------- for people


def table(verdict: Verdict) -> RenderableType:
    rows = Table(box=None, show_header=False, pad_edge=False)
    rows.add_column(style="dim", no_wrap=True)
    rows.add_column(justify="right", no_wrap=True)
    rows.add_column()
    for name, value, note, bad in _rows(verdict):
        rows.add_row(name, Text(value, "bold red" if bad else "bold"), Text(note, "dim"))
    last = (
        Text("every promise was kept", "bold green")
        if not verdict.broken
        else Text("\n".join(f"broken: {text}" for text in verdict.broken), "bold red")
    )
    return Group("", rows, "", last)


def _rows(v: Verdict) -> Iterable[tuple[str, str, str, bool]]:
    yield "accepted", f"{v.accepted:,}", "on disk before the answer", False
    yield (
        "delivered",
        f"{v.delivered:,}",
        f"{v.arrived} of {v.expected} expected sends are in Telegram's journal",
        False,
    )
    yield "superseded", f"{v.superseded:,}", "edits that a newer one replaced while they waited", False
    yield "dead", f"{sum(v.dead.values()):,}", "each refused by Telegram for good", bool(v.wrongly_dead)
    for reason, count in v.dead.items():
        yield "", f"{count:,}", f"  {reason}", False
    yield (
        "lost",
        f"{len(v.lost):,}",
        f"{v.resets} calls died on the way there, {v.lost_answers} on the way back",
        bool(v.lost),
    )
    why = f"{v.doubled_lost_answer} answers lost, {v.doubled_by_kill} by the SIGKILL, "
    why += f"{len(v.doubled_unexplained)} without a reason"
    yield "doubled", f"{v.doubled:,}", why, bool(v.doubled_unexplained)
    yield "out of order", f"{len(v.out_of_order):,}", "within a chat and priority", bool(v.out_of_order)
    yield "flood errors", f"{v.floods:,}", "429 answers", v.floods > FEW
    share = "-" if v.share is None else f"{v.share:.1%}"
    yield "pace", share, f"of the allowed rate, over {v.busy_seconds:g} s in which there was something to send", False
    back = ", ".join(f"{seconds:.1f} s after the {name}" for name, seconds in v.back_after.items())
    yield "back", "", f"first call {back}", False
    yield "time", f"{v.seconds:.0f} s", "", False
