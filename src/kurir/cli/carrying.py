"""Of `kurir move`: the two ends of it, and files that move alone."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from kurir.core.errors import InvalidSetting
from kurir.ports import BlobStore, SystemClock
from kurir.services.shelves import FolderShelf, Shelf, StoreShelf, carry_files
from kurir.settings import Settings, place
from kurir.stores.urls import MEMORY, SQLITE, open_files, open_store, sqlite_path
from kurir.telegram.redact import redact
from kurir.telegram.spool import Spool

from .context import App
from .terminal import console

SETTING = "KURIR_FILES"


@dataclass(frozen=True, slots=True)
class End:
    """A store's URL and where its files are (None: as the settings say), and the options that said so."""

    option: str
    files_option: str
    url: str
    place: str | None

    @property
    def name(self) -> str:
        """What the store is known by: its URL without secrets, and a file by its full path."""
        path = sqlite_path(self.url)
        return redact(self.url if path is None else f"{SQLITE}{path.resolve()}")

    def check_shared(self) -> None:
        """Raises InvalidSetting for a store that no other process can open."""
        if self.url == MEMORY:
            what, remedy = "memory:// lives in one process alone", "Name a store that others can open."
            raise InvalidSetting(self.option, what, remedy)

    def check(self) -> None:
        """Of the end to move from. Raises InvalidSetting, also for a file that is not there."""
        self.check_shared()
        path = sqlite_path(self.url)
        if path is not None and not path.is_file():
            raise InvalidSetting(self.option, f"there is no file {path}", "Name the store that is to be moved.")

    def files(self, settings: Settings) -> Path | str | None:
        """A folder or a bucket; None: with the store. Raises InvalidSetting."""
        return settings.files if self.place is None else place(self.files_option, self.place)


def shelf(end: End, settings: Settings, store: Any, opened: contextlib.AsyncExitStack) -> Shelf:
    """The files of a store. Raises InvalidSetting."""
    where = end.files(settings)
    if isinstance(where, str):
        return _bucket(end.files_option if end.place is not None else SETTING, where, opened)
    path = sqlite_path(end.url)
    if where is None and path is not None:
        where = Path(f"{path}.files")
    if where is not None:
        return FolderShelf(Spool(where))
    return StoreShelf(cast("BlobStore", store), getattr(store, "clock", SystemClock()))


async def carry(app: App, origin: End, files_to: str, check: bool) -> int:
    """The files alone, or with `check` a word on how many there are; the code to end with."""
    origin.check()
    goal = place("--files-to", files_to)
    if goal == origin.files(app.settings):
        raise InvalidSetting("--files-to", "is where the files are", "Name another place.")
    async with contextlib.AsyncExitStack() as opened:
        store = open_store(origin.url)
        opened.push_async_callback(store.close)
        await store.open()
        source = shelf(origin, app.settings, store, opened)
        target = _bucket("--files-to", goal, opened) if isinstance(goal, str) else FolderShelf(Spool(goal))
        files = len(await source.names())
        if check:
            app.emit({"files": files}) if app.json else app.say(f"{files:,} files to carry to {goal}")
            return 0
        with progress(app) as bars:
            bar = bars.add_task("copying files", total=files)
            there, missing = await carry_files(source, target, lambda: bars.advance(bar))
    _say(app, str(goal), there, missing)
    return 1 if missing else 0


def _bucket(option: str, url: str, opened: contextlib.AsyncExitStack) -> Shelf:
    """Raises InvalidSetting, which names the option."""
    try:
        bucket = open_files(url)
    except InvalidSetting as error:
        if error.field != SETTING:
            raise
        raise InvalidSetting(option, error.what.removeprefix(f"{SETTING}: "), error.remedy) from None
    opened.push_async_callback(bucket.close)
    return StoreShelf(bucket, SystemClock())


def _say(app: App, goal: str, there: int, missing: tuple[str, ...]) -> None:
    if app.json:
        app.emit({"files": there, "missing_files": missing})
        return
    for sha256 in missing:
        app.say(f"file {sha256}: only in the source; were files handed over meanwhile? Run it again.")
    if not missing:
        app.say(
            f"{there:,} files are in {goal}. Next: set KURIR_FILES to it for all that uses the store, and start again."
        )


@contextlib.contextmanager
def progress(app: App) -> Iterator[Progress]:
    """Bars on stderr, where somebody looks at them."""
    screen = console(err=True)
    columns = (TextColumn("{task.description:<22}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, console=screen, disable=app.json or app.quiet or not screen.is_terminal) as bars:
        yield bars
