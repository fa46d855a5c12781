"""Consoles, colours and tables."""

from __future__ import annotations

import sys

from rich.console import Console
from rich.table import Table
from rich.text import Text

from kurir.core.message import State

WIDE = 200  # columns where there is no terminal to measure

COLOURS = {
    State.WAITING: "yellow",
    State.SENDING: "cyan",
    State.DELIVERED: "green",
    State.DEAD: "bold red",
    State.CANCELLED: "dim",
    State.EXPIRED: "magenta",
}
OUTCOMES = {
    "delivered": "green",
    "throttled": "yellow",
    "moved": "cyan",
    "refused": "bold red",
    "failed": "yellow",
    "unknown": "magenta",
}


def console(*, err: bool = False) -> Console:
    """A console on stdout or stderr; wide where it is no terminal, so that nothing is cut off."""
    terminal = (sys.stderr if err else sys.stdout).isatty()
    return Console(stderr=err, highlight=False, width=None if terminal else WIDE)


def table(*columns: str, right: tuple[str, ...] = (), title: str | None = None) -> Table:
    """A plain table; columns named in `right` are numbers."""
    made = Table(box=None, header_style="bold", title=title, title_justify="left", pad_edge=False)
    for name in columns:
        made.add_column(name, justify="right" if name in right else "left", no_wrap=name in right)
    return made


def state(value: State) -> Text:
    return Text(value.value, COLOURS[value])


def outcome(value: str) -> Text:
    return Text(value, OUTCOMES.get(value, ""))


def is_terminal() -> bool:
    """Is a person there to ask?"""
    return sys.stdin.isatty() and sys.stdout.isatty()
