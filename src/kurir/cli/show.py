"""`kurir show ID`: everything about one message."""

from __future__ import annotations

import time
from collections.abc import Iterator

import click
import orjson
from rich.console import Console, Group, RenderableType
from rich.json import JSON
from rich.table import Table
from rich.text import Text

from kurir.core.message import Record, State
from kurir.records import loads, record_json
from kurir.settings import Settings

from .context import App, json_option, pass_app
from .loop import run
from .opening import open_kurir
from .terminal import console, outcome, state, table
from .times import ago, local, short


@click.command()
@click.argument("id")
@json_option
@pass_app
def show(app: App, /, id: str) -> None:
    """Everything about one message: its timeline, parameters and result."""
    record = run(_get(app, id))
    if app.json:
        app.emit(record_json(record))
        return
    print_record(console(), record, app.settings, time.time())


async def _get(app: App, id: str) -> Record:
    async with open_kurir(app, spool=True) as kurir:
        return await kurir.get(id)


def print_record(out: Console, record: Record, settings: Settings, now: float) -> None:
    """The whole of it, for a person."""
    head = Text.assemble((record.id, "bold"), "  ", state(record.state))
    if record.reason:
        head.append(f"  {record.reason}")
    out.print(head)
    facts = Table(box=None, show_header=False, pad_edge=False)
    facts.add_column(style="dim", no_wrap=True)
    facts.add_column(overflow="fold")
    names = {bot.id: bot.name for bot in settings.bots}
    for name, value in _facts(record, names, now):
        facts.add_row(name, value)
    out.print(facts)
    out.print(Group("", *_timeline(record, now)))
    for name, body in (("params", record.params), ("result", record.result)):
        if body:
            out.print(Group("", Text(name, "bold"), JSON(orjson.dumps(loads(body)).decode(), indent=2)))


def _facts(record: Record, names: dict[int, str], now: float) -> Iterator[tuple[str, RenderableType]]:
    yield "bot", f"{names[record.bot]} ({record.bot})" if record.bot in names else str(record.bot)
    yield "chat", record.chat or "none"
    yield "method", record.method
    yield "priority", record.priority.name.lower()
    if record.key:
        yield "idempotency key", record.key
    if record.metadata:
        yield "metadata", ", ".join(f"{key}={value}" for key, value in record.metadata.items())
    for file in record.files:
        yield f"file {file.field}", f"{file.name}, {file.size:,} bytes, {file.mime}"
    options = record.options
    said = {
        "ordering": options.ordering.value if options.ordering.value != "fifo" else None,
        "on unknown": options.on_unknown.value if options.on_unknown else None,
        "max attempts": str(options.max_attempts) if options.max_attempts else None,
        "delete after": short(options.delete_after) if options.delete_after is not None else None,
        "superseded by": record.superseded_by,
    }
    yield from ((name, value) for name, value in said.items() if value)
    if record.expires_at and not record.state.final:
        yield "expires", f"{local(record.expires_at)} ({ago(record.expires_at, now)})"
    if record.tries or record.doubts or record.crashes:
        yield "counted", f"{record.tries} tries, {record.doubts} lost answers, {record.crashes} crashes"


def _timeline(record: Record, now: float) -> Iterator[RenderableType]:
    """accepted -> attempts -> end, or what comes next."""
    line = table("when", "what", "took", "", right=("took",), title="timeline")
    line.add_row(local(record.accepted_at), Text("accepted"), "", ago(record.accepted_at, now))
    for attempt in record.attempts:
        status = f"HTTP {attempt.status}" if attempt.status else ""
        words = " · ".join(part for part in (status, attempt.error or "") if part)
        what = Text.assemble(f"attempt {attempt.number}: ", outcome(attempt.outcome))
        line.add_row(local(attempt.started_at), what, _took(attempt.duration), words)
    if record.ended_at is not None:
        after = f"after {short(record.ended_at - record.accepted_at)}"
        line.add_row(local(record.ended_at), state(record.state), "", after)
    elif record.state is State.SENDING:
        line.add_row("now", state(record.state), "", "")
    elif record.due_at > now:
        line.add_row(local(record.due_at), Text("due", "yellow"), "", ago(record.due_at, now))
    else:
        line.add_row("now", Text("waits for its turn", "yellow"), "", "")
    yield line


def _took(seconds: float) -> str:
    return f"{seconds * 1000:.0f} ms" if seconds < 10 else short(seconds)
