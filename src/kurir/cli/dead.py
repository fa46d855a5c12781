"""`kurir dead`: what nobody will try again unless asked."""

from __future__ import annotations

import time
from dataclasses import replace
from functools import partial
from typing import Any

import click

from kurir.core.message import State
from kurir.ports import Purge, Requeue

from .change import change_all
from .context import App, json_option, pass_app
from .filters import filter_options, query
from .listing import print_records
from .loop import run
from .times import DURATION

filters = partial(filter_options, state=False)
older_than = click.option("--older-than", type=DURATION, metavar="TIME", help="Only those accepted longer ago: 30d.")
DEAD = (State.DEAD,)


@click.group()
def dead() -> None:
    """Dead letters: messages that were refused for good, or given up."""


def _until(options: dict[str, Any]) -> dict[str, Any]:
    """--older-than as --until."""
    age = options.pop("older_than")
    return options if age is None else {**options, "until": time.time() - age}


@dead.command("list")
@filters
@older_than
@click.option("--limit", type=click.IntRange(1), default=50, show_default=True)
@click.option("--all", "all_", is_flag=True, help="All of them.")
@json_option
@pass_app
def list_(app: App, /, limit: int, all_: bool, **options: Any) -> None:
    """The dead letters, newest first."""
    wanted = replace(query(app, _until(options), DEAD), with_attempts=True)
    run(print_records(app, wanted, None if all_ else limit))


@dead.command("retry")
@filters
@older_than
@click.option("--yes", "-y", is_flag=True, help="Do not ask.")
@json_option
@pass_app
def retry(app: App, /, yes: bool, **options: Any) -> None:
    """Send all that match again."""
    run(change_all(app, query(app, _until(options), DEAD), Requeue(), ("retry", "retried"), yes=yes))


@dead.command("purge")
@filters
@older_than
@click.option("--yes", "-y", is_flag=True, help="Do not ask.")
@json_option
@pass_app
def purge(app: App, /, yes: bool, **options: Any) -> None:
    """Remove all that match, with their attempts, for good."""
    run(change_all(app, query(app, _until(options), DEAD), Purge(), ("purge", "purged"), yes=yes))
