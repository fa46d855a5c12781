"""`kurir list`: messages in a table."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import click
from rich.table import Table

from kurir.core.message import Record, State
from kurir.ports import Query
from kurir.records import record_json

from .context import App, json_option, pass_app
from .filters import filter_options, query, records
from .loop import run
from .opening import open_kurir
from .records import excerpt
from .terminal import console, state, table
from .times import ago, short


@click.command("list")
@filter_options
@click.option("--limit", type=click.IntRange(1), default=50, show_default=True)
@click.option("--all", "all_", is_flag=True, help="All that match, not only the first.")
@click.option("--oldest-first", is_flag=True)
@json_option
@pass_app
def list_(app: App, /, limit: int, all_: bool, oldest_first: bool, **options: Any) -> None:
    """Messages, newest first; with --json one a line."""
    wanted = replace(query(app, options), oldest_first=oldest_first, with_attempts=True)
    run(print_records(app, wanted, None if all_ else limit))


async def print_records(app: App, wanted: Query, most: int | None) -> None:
    """Print what matches: as JSON lines, or as a table."""
    async with open_kurir(app) as kurir:
        found: list[Record] = []
        more = False
        async for record in records(kurir, wanted, None if most is None else most + 1):
            if most is not None and len(found) >= most:
                more = True
            elif app.json:
                app.emit(record_json(record))
                found.append(record) if most is not None else None
            else:
                found.append(record)
    if app.json:
        return
    if not found:
        app.say("nothing matches")
        return
    console().print(records_table(found, time.time()))
    if more:
        app.say(f"the first {most:,}; --all shows the rest")


def records_table(found: Sequence[Record], now: float) -> Table:
    shown = table(
        "id", "state", "chat", "method", "text", "priority", "age", "attempts", "reason / next",
        right=("age", "attempts"),
    )  # fmt: skip
    shown.columns[0].no_wrap = shown.columns[1].no_wrap = True
    for record in found:
        shown.add_row(
            record.id,
            state(record.state),
            record.chat,
            record.method,
            excerpt(record),
            record.priority.name.lower(),
            short(now - record.accepted_at),
            str(len(record.attempts)),
            note(record, now),
        )
    return shown


def note(record: Record, now: float) -> str:
    """Why it is as it is, and when it goes on."""
    parts = [record.reason or ""]
    if record.state is State.WAITING and record.due_at > now:
        parts.insert(0, ago(record.due_at, now))
    return ": ".join(part for part in parts if part)
