"""Which messages: the options that `list`, `retry`, `cancel` and `dead` share."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import replace
from typing import Any, TypeVar

import click

from kurir.app import Kurir
from kurir.core.message import Priority, Record, State
from kurir.core.methods import canonical, chat_name
from kurir.ports import Query

from .compose import pairs
from .context import App
from .times import SINCE

F = TypeVar("F")

PAGE = 500  # messages in one step
NAMES = ("bot", "state", "chat", "method", "priority", "since", "until", "meta", "key", "reason")

_OPTIONS = (
    click.option("--bot", metavar="NAME|ID", help="Only of this bot."),
    click.option("--chat", metavar="ID|@NAME", help="Only to this chat."),
    click.option("--method", metavar="NAME", help="Only this method."),
    click.option("--priority", type=click.Choice([p.name.lower() for p in Priority], case_sensitive=False)),
    click.option("--since", type=SINCE, metavar="TIME", help="Accepted since: 1h (ago), or RFC 3339."),
    click.option("--until", type=SINCE, metavar="TIME", help="Accepted before: 1h (ago), or RFC 3339."),
    click.option("--meta", multiple=True, metavar="KEY=VALUE", help="With this metadata."),
    click.option("--key", metavar="KEY", help="With this idempotency key."),
    click.option("--reason", metavar="TEXT", help="Whose reason begins so."),
)
_STATE = click.option(
    "--state",
    multiple=True,
    type=click.Choice([s.value for s in State], case_sensitive=False),
    help="In this state; may be given again.",
)


def filter_options(command: Any, *, state: bool = True) -> Any:
    """The options; they arrive as the keywords of `NAMES`."""
    for option in reversed((_STATE, *_OPTIONS) if state else _OPTIONS):
        command = option(command)
    return command


def given_any(options: Mapping[str, Any]) -> bool:
    """Was any filter given?"""
    return any(options.get(name) for name in NAMES)


def query(app: App, options: Mapping[str, Any], states: Sequence[State] = ()) -> Query:
    """The filters as a query; `states` where no --state was given. Raises InvalidSetting for an unknown bot."""
    chosen = tuple(State(state) for state in options.get("state") or ()) or tuple(states)
    priority = options["priority"]
    return Query(
        bot=None if options["bot"] is None else app.bot(options["bot"]),
        states=chosen,
        chat=None if options["chat"] is None else chat_name(options["chat"]),
        method=None if options["method"] is None else canonical(options["method"]),
        priority=None if priority is None else Priority[priority.upper()],
        since=options["since"],
        until=options["until"],
        key=options["key"],
        metadata=tuple(pairs("--meta", options["meta"]).items()),
        reason=options["reason"],
        limit=PAGE,
    )


async def records(kurir: Kurir, query: Query, most: int | None = None) -> AsyncIterator[Record]:
    """All that match, page by page; at most `most`."""
    left = most
    while left is None or left > 0:
        page = await kurir.store.find(replace(query, limit=PAGE if left is None else min(PAGE, left)))
        for record in page.items:
            yield record
        if page.next is None:
            return
        left = None if left is None else left - len(page.items)
        query = replace(query, cursor=page.next)
