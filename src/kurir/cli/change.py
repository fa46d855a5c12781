"""`kurir retry` and `kurir cancel`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import click

from kurir.core.events import Altered, Event
from kurir.core.message import State
from kurir.ports import Cancel, Change, Query, Requeue, SystemClock
from kurir.services.matching import change_matching

from .asking import confirm
from .context import App, json_option, pass_app
from .filters import filter_options, given_any, query
from .loop import run
from .opening import open_kurir

ENDED = (State.DEAD, State.CANCELLED, State.EXPIRED)


@click.command()
@click.argument("ids", metavar="ID...", nargs=-1)
@click.option("--all", "all_", is_flag=True, help="All that match; the dead ones unless --state says otherwise.")
@click.option("--yes", "-y", is_flag=True, help="Do not ask.")
@filter_options
@json_option
@pass_app
def retry(app: App, /, ids: tuple[str, ...], all_: bool, yes: bool, **options: Any) -> None:
    """Send dead, cancelled or expired messages again, at the end of their chat's queue."""
    _check(ids, all_, options)
    if ids:
        run(_change_ids(app, ids, Requeue(), "retried"))
    else:
        matching = query(app, options, (State.DEAD,))
        run(change_all(app, matching, Requeue(), ("retry", "retried"), yes=yes))


@click.command()
@click.argument("ids", metavar="ID...", nargs=-1)
@click.option("--all", "all_", is_flag=True, help="All waiting messages that match.")
@click.option("--yes", "-y", is_flag=True, help="Do not ask.")
@filter_options
@json_option
@pass_app
def cancel(app: App, /, ids: tuple[str, ...], all_: bool, yes: bool, **options: Any) -> None:
    """Cancel waiting messages; what is being sent at the moment is not stopped."""
    _check(ids, all_, options)
    if ids:
        run(_change_ids(app, ids, Cancel(), "cancelled"))
    else:
        matching = query(app, options, (State.WAITING,))
        run(change_all(app, matching, Cancel(), ("cancel", "cancelled"), yes=yes))


def _check(ids: Sequence[str], all_: bool, options: dict[str, Any]) -> None:
    if ids and (all_ or given_any(options)):
        raise click.UsageError("Give IDs, or --all with filters; not both.")
    if not ids and not all_:
        raise click.UsageError("Give IDs, or --all (with filters such as --chat, --since).")


async def _change_ids(app: App, ids: Sequence[str], change: Change, done: str) -> None:
    """One by one. Raises NotFound, WrongState at the first that cannot be changed; the others before it are."""
    changed: list[str] = []
    async with open_kurir(app) as kurir:
        for id in ids:
            await (kurir.retry(id) if isinstance(change, Requeue) else kurir.cancel(id))
            changed.append(id)
            app.say(f"{done} {id}")
    if app.json:
        app.emit({done: len(changed), "ids": changed})


async def change_all(app: App, matching: Query, change: Change, words: tuple[str, str], *, yes: bool) -> None:
    """Change all that match, after asking. `words`: the verb, and its past."""
    verb, done = words
    what = f"{verb} all messages that are {' or '.join(matching.states) or 'in any state'}"
    confirm(app, f"{what} and match" if _narrowed(matching) else what, yes=yes)
    async with open_kurir(app) as kurir:
        ids: list[str] = []
        await change_matching(kurir.store, SystemClock(), matching, change, lambda event: _collect(ids, event))
    if app.json:
        app.emit({done: len(ids), "ids": ids})
    else:
        app.say(f"{done} {len(ids):,} messages")


def _collect(ids: list[str], event: Event) -> None:
    if isinstance(event, Altered):
        ids.extend(event.ids)


def _narrowed(matching: Query) -> bool:
    given = (matching.bot, matching.chat, matching.method, matching.priority, matching.since, matching.until)
    return any(value is not None for value in (*given, matching.key, matching.reason)) or bool(matching.metadata)
