"""`kurir spool`: what this machine keeps for a store that is away."""

from __future__ import annotations

import time
from typing import Any

import click

from kurir.core.errors import InvalidSetting
from kurir.records import record_json, rfc3339
from kurir.services.spooling import Spooling
from kurir.stores.journal import Contents, Journal

from .asking import confirm
from .context import App, json_option, pass_app
from .listing import records_table
from .loop import run
from .opening import open_kurir
from .terminal import console
from .times import short


@click.command()
@click.option("--forward", is_flag=True, help="Bring it to the store now, what the store refused too.")
@click.option("--drop", "drop", metavar="ID", multiple=True, help="Give this message up: it is never sent. Repeatable.")
@click.option("--yes", "-y", is_flag=True, help="Do not ask.")
@click.option("--limit", type=click.IntRange(0), default=20, show_default=True, help="Messages shown.")
@json_option
@pass_app
def spool(app: App, /, forward: bool, drop: tuple[str, ...], yes: bool, limit: int) -> None:
    """What this machine keeps for a store that is away (KURIR_SPOOL), the next to go first.

    Any `kurir serve`, `kurir worker` or program with the same KURIR_SPOOL forwards it as soon as the store is back; where
    none runs, `kurir spool --forward` does (for cron). It fails while anything is left. `kurir spool --drop ID` is for a
    message that the store can never take.
    """
    if forward and drop:
        raise click.UsageError("--forward and --drop are two things: do one after the other.")
    if app.settings.spool is None:
        raise InvalidSetting("KURIR_SPOOL", "is not set", "Name a file: export KURIR_SPOOL=/var/lib/kurir/spool.db.")
    if drop:
        which = f"message {drop[0]}" if len(drop) == 1 else f"{len(drop):,} messages"
        confirm(app, f"remove {which} from the spool, never to be sent", yes=yes)
        run(_drop(app, drop))
        return
    left = run(_forward(app, limit) if forward else _show(app, limit))
    if forward and left:
        click.get_current_context().exit(1)


async def _show(app: App, limit: int) -> int:
    spooling = _spooling(open_kurir(app, spool=True).spooling)
    await spooling.open()
    try:
        return await _print(app, spooling.journal, limit)
    finally:
        await spooling.journal.close()


async def _drop(app: App, ids: tuple[str, ...]) -> None:
    spooling = _spooling(open_kurir(app, spool=True).spooling)
    await spooling.open()
    try:
        await spooling.drop(ids)
    finally:
        await spooling.journal.close()
    if app.json:
        app.emit({"dropped": ids})
    else:
        app.say(f"{len(ids):,} dropped")


async def _forward(app: App, limit: int) -> int:
    async with open_kurir(app, spool=True) as kurir:
        spooling = _spooling(kurir.spooling)
        before = (await spooling.journal.contents()).messages
        if kurir.away is not None:
            raise kurir.away
        await spooling.forward()
        left = await _print(app, spooling.journal, limit)
        app.say(f"{before - left:,} messages went to the store")
        return left


def _spooling(spooling: Spooling | None) -> Spooling:
    assert spooling is not None  # the setting is there
    return spooling


async def _print(app: App, journal: Journal, limit: int) -> int:
    """Answers how many there are."""
    contents, entries = await journal.contents(), await journal.page(limit)
    records = [entry.record for entry in entries]
    if app.json:
        app.emit({**_json(journal, contents), "items": [record_json(record) for record in records]})
    elif not app.quiet:
        app.say(_words(journal, contents))
        if records:
            console().print(records_table(records, time.time()))
            if len(records) < contents.messages:
                app.say(f"the first {len(records):,}")
    return contents.messages


def _json(journal: Journal, contents: Contents) -> dict[str, Any]:
    return {
        "path": str(journal.path),
        "messages": contents.messages,
        "stuck": contents.stuck,
        "oldest_at": rfc3339(contents.oldest_at),
        "bytes": contents.bytes,
        "limit": contents.limit,
    }


def _words(journal: Journal, contents: Contents) -> str:
    if not contents.messages:
        return f"the spool {journal.path} is empty"
    age = short(max(0.0, time.time() - (contents.oldest_at or 0.0)))
    size = f"{contents.bytes / 1e6:,.1f} of {contents.limit / 1e6:,.0f} MB"
    words = f"{contents.messages:,} messages wait in {journal.path} ({size}) for the store, the oldest for {age}"
    return f"{words}; it refuses {contents.stuck:,} of them" if contents.stuck else words
