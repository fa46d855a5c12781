"""The machine and the settings: versions, limits."""

from __future__ import annotations

import platform
import sqlite3
from collections.abc import Iterator

from kurir import __version__
from kurir.settings import Settings

from .finding import Finding, ok, problem, warning

try:
    import resource
except ImportError:  # pragma: no cover (Windows)
    resource = None  # type: ignore[assignment]

OLDEST_SQLITE = (3, 37, 0)  # STRICT tables (https://www.sqlite.org/stricttables.html)
SPARE_FILES = 64  # open files of a process besides its connections


def check(settings: Settings) -> Iterator[Finding]:
    yield ok("versions", f"kurir {__version__}, Python {platform.python_version()}")
    if sqlite3.sqlite_version_info >= OLDEST_SQLITE:
        yield ok("versions", f"SQLite {sqlite3.sqlite_version}")
    else:
        oldest = ".".join(map(str, OLDEST_SQLITE))
        yield problem("versions", f"SQLite {sqlite3.sqlite_version} is too old", f"Kurir needs {oldest} or newer.")
    yield from _settings(settings)
    yield from _pace(settings)
    yield from _open_files(settings)


def _settings(settings: Settings) -> Iterator[Finding]:
    for text in settings.warnings:
        yield warning("settings", text, "Correct or remove it; see kurir.example.toml.")
    if not settings.bots:
        yield problem("settings", "no bot is configured", "export KURIR_BOT_TOKEN=123456789:AA... (from @BotFather).")
    elif not settings.warnings:
        names = ", ".join(f"{bot.name} ({bot.id})" for bot in settings.bots)
        yield ok("settings", f"bots: {names}")
    if settings.store == "memory://":
        yield warning("settings", "memory:// forgets everything when the process ends", "Use sqlite:///kurir.db.")


def _pace(settings: Settings) -> Iterator[Finding]:
    for bot in settings.bots:
        limits = bot.limits
        if not limits.on:
            yield warning(
                "limits", f"pace is off for {bot.name}", "Set KURIR_PACE=on, unless Telegram is not the real one."
            )
        elif limits.bot.per_second > 30:
            words = f"{bot.name} may send {limits.bot}; Telegram allows 30/s"
            yield warning("limits", words, "Lower [pace] bot, unless Telegram granted you more.")
        else:
            yield ok("limits", f"pace of {bot.name}: {limits.bot} a bot, {limits.chat} a chat, {limits.group} a group")


def _open_files(settings: Settings) -> Iterator[Finding]:
    if resource is None:
        return
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    needed = settings.concurrency * max(1, len(settings.bots)) + SPARE_FILES
    if soft != resource.RLIM_INFINITY and soft < needed:
        words = f"{soft} open files are allowed; concurrency {settings.concurrency} may need {needed}"
        yield problem("limits", words, f"Run `ulimit -n {needed}` before the worker, or lower KURIR_CONCURRENCY.")
    else:
        yield ok("limits", f"open files: {'unlimited' if soft == resource.RLIM_INFINITY else soft}, needed {needed}")
