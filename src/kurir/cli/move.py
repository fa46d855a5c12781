"""`kurir move`: everything from one store to another."""

from __future__ import annotations

import contextlib
from dataclasses import asdict
from typing import Any, cast

import click
from rich.progress import Progress, TaskID

from kurir.core.errors import InvalidSetting
from kurir.core.rows import Section
from kurir.services.moving import FILES, Movable, Move, Moved, Plan, Side, Step
from kurir.stores.memory import MemoryStore
from kurir.stores.urls import open_store, sqlite_path

from .carrying import End, carry, progress, shelf
from .context import App, json_option, pass_app
from .loop import run
from .terminal import console, table
from .times import DURATION

DOING = {"copy": "copying", "compare": "comparing"}


@click.command()
@click.option("--from", "origin", metavar="URL", help="Store to move from; by default the one of the settings.")
@click.option("--to", "goal", metavar="URL", help="Store to move to: an empty one.")
@click.option("--files-from", metavar="PLACE", help="Where the files are: a folder or s3://...; by default as set.")
@click.option(
    "--files-to", metavar="PLACE", help="Where they are to be: KURIR_FILES from then on. Without --to: only they."
)
@click.option("--check", is_flag=True, help="Only say what would be done.")
@click.option("--wait", type=DURATION, default=0.0, metavar="TIME", help="Wait so long for those who send to stop.")
@click.option("--leave-source", is_flag=True, help="Do not pause the source's bots in the end: you see to it yourself.")
@json_option
@click.pass_context
@pass_app
def move(
    app: App,
    ctx: click.Context,
    /,
    origin: str | None,
    goal: str | None,
    files_from: str | None,
    files_to: str | None,
    check: bool,
    wait: float,
    leave_source: bool,
) -> None:
    """Carry everything over to another store: messages, history, chats, keys, files. Stop all that uses either store first.

    \b
    What was broken off goes on where it was: run it again. Both are compared in the end, and nobody can send from the new
    store before they are alike. Then the source's bots are paused, so that nothing goes out from it a second time; nothing
    else in it changes.
    """
    there = End("--from", "--files-from", app.settings.store if origin is None else origin, files_from)
    if goal is None:
        if files_to is None:
            raise click.UsageError("Where to? Give --to, --files-to, or both.")
        ctx.exit(run(carry(app, there, files_to, check)))
    here = End("--to", "--files-to", goal, files_to)
    ctx.exit(run(_check(app, there, here) if check else _move(app, there, here, wait, not leave_source)))


async def _check(app: App, origin: End, goal: End) -> int:
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


async def _move(app: App, origin: End, goal: End, wait: float, pause_source: bool) -> int:
    async with contextlib.AsyncExitStack() as opened:
        source, target = await _sides(app, origin, goal, opened)
        with progress(app) as bars:
            shown = _Bars(bars, await Move(source, target).plan())
            moved = await Move(source, target, shown.step).run(wait, pause_source=pause_source)
            shown.finish()
    if app.json:
        app.emit({"from": source.name, "to": target.name, **_json(moved)})
    else:
        _say(app, source, target, moved)
        if moved.same and goal.place is not None:
            app.say(f"Set KURIR_FILES to {goal.place}, too.")
    return 0 if moved.same else 1


# ---------------------------------------------------------------- the two stores


async def _sides(
    app: App, origin: End, goal: End, opened: contextlib.AsyncExitStack, *, look: bool = False
) -> tuple[Side, Side]:
    """Both sides, open. `look`: a file to move to is not made; an empty store stands for it. Raises InvalidSetting,
    StoreError."""
    origin.check()
    sides = []
    for end in (origin, goal):
        end.check_shared()
        missing = look and (file := sqlite_path(end.url)) is not None and not file.exists()
        sides.append((end.name, cast("Movable", MemoryStore() if missing else open_store(end.url)), end))
    if sides[0][0] == sides[1][0]:
        raise InvalidSetting("--to", "is the store to move from", "Name another one.")
    for _, store, _ in sides:
        opened.push_async_callback(store.close)
        await store.open()
    stay = (place := origin.files(app.settings)) is not None and place == goal.files(app.settings)
    shelves = [None if stay else shelf(end, app.settings, store, opened) for _, store, end in sides]
    (there, source, _), (here, target, _) = sides
    return Side(there, source, shelves[0]), Side(here, target, shelves[1])


# ---------------------------------------------------------------- for people


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
