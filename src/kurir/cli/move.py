"""`kurir move`: everything from one store to another."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any, cast

import click
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeElapsedColumn

from kurir.core.errors import InvalidSetting
from kurir.core.rows import Section
from kurir.ports import BlobStore, SystemClock
from kurir.services.moving import FILES, Movable, Move, Moved, Plan, Side, Step
from kurir.services.shelves import FolderShelf, Shelf, StoreShelf
from kurir.stores.memory import MemoryStore
from kurir.stores.urls import MEMORY, SQLITE, open_store, sqlite_path
from kurir.telegram.redact import redact
from kurir.telegram.spool import Spool

from .context import App, json_option, pass_app
from .loop import run
from .terminal import console, table
from .times import DURATION

DOING = {"copy": "copying", "compare": "comparing"}


@click.command()
@click.option("--from", "origin", metavar="URL", help="Store to move from; by default the one of the settings.")
@click.option("--to", "goal", metavar="URL", required=True, help="Store to move to: an empty one.")
@click.option("--check", is_flag=True, help="Only say what would be done.")
@click.option("--wait", type=DURATION, default=0.0, metavar="TIME", help="Wait so long for those who send to stop.")
@click.option("--leave-source", is_flag=True, help="Do not pause the source's bots in the end: you see to it yourself.")
@json_option
@click.pass_context
@pass_app
def move(
    app: App, ctx: click.Context, /, origin: str | None, goal: str, check: bool, wait: float, leave_source: bool
) -> None:
    """Carry everything over to another store: messages, history, chats, keys, files. Stop all that uses either store first.

    \b
    What was broken off goes on where it was: run it again. Both are compared in the end, and nobody can send from the new
    store before they are alike. Then the source's bots are paused, so that nothing goes out from it a second time; nothing
    else in it changes.
    """
    there = app.settings.store if origin is None else origin
    ctx.exit(run(_check(app, there, goal) if check else _move(app, there, goal, wait, not leave_source)))


async def _check(app: App, origin: str, goal: str) -> int:
    """Both are opened; the code to end with."""
    async with contextlib.AsyncExitStack() as opened:
        source, target = await _sides(app, origin, goal, opened, look=True)
        plan = await Move(source, target).plan()
    ready = not plan.busy and plan.standing != "in use"
    if app.json:
        app.emit({"from": source.name, "to": target.name, "ready": ready, **asdict(plan)})
    else:
        _say_plan(app, source, target, plan)
    return 0 if ready else 1


async def _move(app: App, origin: str, goal: str, wait: float, pause_source: bool) -> int:
    async with contextlib.AsyncExitStack() as opened:
        source, target = await _sides(app, origin, goal, opened)
        with _progress(app) as progress:
            bars = _Bars(progress, await Move(source, target).plan())
            moved = await Move(source, target, bars.step).run(wait, pause_source=pause_source)
            bars.finish()
    if app.json:
        app.emit({"from": source.name, "to": target.name, **_json(moved)})
    else:
        _say(app, source, target, moved)
    return 0 if moved.same else 1


# ---------------------------------------------------------------- the two stores


async def _sides(
    app: App, origin: str, goal: str, opened: contextlib.AsyncExitStack, *, look: bool = False
) -> tuple[Side, Side]:
    """Both sides, open. `look`: a file to move to is not made; an empty store stands for it. Raises InvalidSetting,
    StoreError."""
    path = sqlite_path(origin)
    if path is not None and not path.is_file():
        raise InvalidSetting("--from", f"there is no file {path}", "Name the store that is to be moved.")
    sides = []
    for option, url in (("--from", origin), ("--to", goal)):
        if url == MEMORY:
            raise InvalidSetting(option, "memory:// lives in one process alone", "Name a store that others can open.")
        missing = look and (file := sqlite_path(url)) is not None and not file.exists()
        sides.append((_name(url), cast("Movable", MemoryStore() if missing else open_store(url)), url))
    if sides[0][0] == sides[1][0]:
        raise InvalidSetting("--to", "is the store to move from", "Name another one.")
    for _, store, _ in sides:
        opened.push_async_callback(store.close)
        await store.open()
    (there, source, _), (here, target, _) = sides
    return Side(there, source, _shelf(app, origin, source)), Side(here, target, _shelf(app, goal, target))


def _name(url: str) -> str:
    """What the store is known by: its URL without secrets, and a file by its full path."""
    path = sqlite_path(url)
    return redact(url if path is None else f"{SQLITE}{path.resolve()}")


def _shelf(app: App, url: str, store: Any) -> Shelf | None:
    """Its files; None where KURIR_FILES says that files are elsewhere: there they stay."""
    if app.settings.files is not None:
        return None
    path = sqlite_path(url)
    if path is not None:
        return FolderShelf(Spool(Path(f"{path}.files")))
    return StoreShelf(cast("BlobStore", store), getattr(store, "clock", SystemClock()))


# ---------------------------------------------------------------- for people


@contextlib.contextmanager
def _progress(app: App) -> Iterator[Progress]:
    """Bars on stderr, where somebody looks at them."""
    screen = console(err=True)
    columns = (TextColumn("{task.description:<22}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, console=screen, disable=app.json or app.quiet or not screen.is_terminal) as progress:
        yield progress


class _Bars:
    """A bar for each thing done; how long it is to be is known of messages and files."""

    def __init__(self, progress: Progress, plan: Plan) -> None:
        self._progress = progress
        self._totals = {Section.MESSAGES.value: plan.messages, FILES: plan.files}
        self._bars: dict[tuple[str, str], TaskID] = {}

    def step(self, step: Step) -> None:
        if not step.rows:
            return
        bar = self._bars.get((step.doing, step.what))
        if bar is None:
            self.finish()
            name = f"{DOING[step.doing]} {step.what.replace('_', ' ')}"
            bar = self._bars[step.doing, step.what] = self._progress.add_task(name, total=self._totals.get(step.what))
        self._progress.advance(bar, step.rows)

    def finish(self) -> None:
        """What was begun so far is done: it was as much as it was."""
        for task in self._progress.tasks:
            self._progress.update(task.id, total=task.completed)


def _say_plan(app: App, source: Side, target: Side, plan: Plan) -> None:
    app.say(f"from {source.name}: {plan.messages:,} messages of {plan.bots:,} bots, {plan.files:,} files")
    standings = {
        "empty": "is empty",
        "begun": "holds a part of it already: the move would go on where it was",
        "in use": "is not empty: move to an empty store",
    }
    app.say(f"to {target.name}, which {standings[plan.standing]}")
    for who in plan.busy:
        app.say(f"stop first: {who}")


def _say(app: App, source: Side, target: Side, moved: Moved) -> None:
    shown = table("", "from", "to", "checksum", right=("from", "to"))
    for c in moved.compared:
        alike = c.source_sum[:12] if c.same else f"{c.source_sum[:12]} is not {c.target_sum[:12]}"
        shown.add_row(c.section.replace("_", " "), f"{c.source:,}", f"{c.target:,}", alike)
    console().print(shown)
    for c in moved.compared:
        for difference in c.differing:
            app.say(f"  {difference}")
    for sha256 in moved.missing:
        app.say(f"  file {sha256}: only in the source")
    if moved.same:
        _say_done(app, source, target, moved)
    elif moved.let_go:
        app.say(
            "The stores are not alike. They were when an earlier run let the bots of the new store send and was then"
        )
        app.say(
            "broken off. Is the new store in use since? Then that is the difference and everything has moved: pause the"
        )
        app.say(f"bots of {source.name}, and never send from it again. If not, move to an empty store.")
    else:
        app.say("The stores are not alike; was the source written to meanwhile? Stop all that uses it, and move again:")
        app.say("what changed is copied anew. What is in the target alone stays there: then move to an empty store.")
        app.say("Until then no bot sends from the new store.")


def _say_done(app: App, source: Side, target: Side, moved: Moved) -> None:
    files = f" {moved.files:,} files are there too." if moved.files else ""
    secret = " (with its password)" if "<user>" in target.name else ""
    app.say(f"Everything has moved, counts and checksums agree.{files}")
    if moved.source_paused:
        app.say(f"The bots of {source.name} are paused: nothing goes out from it a second time.")
    else:
        app.say(f"{source.name} is as it was: what waits there goes out a second time if anybody sends from it.")
    app.say(f"Next: set KURIR_STORE to {target.name}{secret}, then start `kurir serve` or `kurir worker`.")


def _json(moved: Moved) -> dict[str, Any]:
    compared = [{**asdict(c), "same": c.same} for c in moved.compared]
    return {
        "same": moved.same,
        "source_paused": moved.source_paused,
        "sections": compared,
        "files": moved.files,
        "missing_files": moved.missing,
    }
