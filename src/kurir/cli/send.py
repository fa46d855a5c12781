"""`kurir send`: hand over one message, or many from JSON lines."""

from __future__ import annotations

import math
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import click

from kurir.app import Kurir
from kurir.core.errors import StoreAway
from kurir.core.message import OnUnknown, Ordering, Priority, Record, State
from kurir.delivery import message_ids
from kurir.observe.console import set_up
from kurir.records import is_held, loads, record_json
from kurir.services.receipts import Receipt
from kurir.telegram.redact import redact

from .compose import MEDIA, Parcel, pairs, parameter, source
from .context import App, json_option, pass_app
from .feed import Fed, feed, progress
from .loop import run
from .opening import nobody_sends, open_kurir
from .times import DUE, DURATION, short
from .words import Words

SPOOLED = "  the store is away: it is spooled on this machine and goes there when it is back (see `kurir spool`)"
PRIORITIES = [p.name.lower() for p in Priority]


class Coordinates(click.ParamType[tuple[float, float]]):
    """`55.75,37.62`: degrees."""

    name = "lat,lon"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> tuple[float, float]:
        try:
            latitude, longitude = (float(part) for part in str(value).removeprefix("\N{WORD JOINER}").split(","))
        except ValueError:
            self.fail(f"{value!r} is no place: write 55.75,37.62.", param, ctx)
        return latitude, longitude


def _media(command: Any) -> Any:
    for kind in reversed(MEDIA):
        again = " Several make an album." if kind in ("photo", "video", "document", "audio") else ""
        command = click.option(
            f"--{kind}", multiple=True, metavar="FILE", help=f"Send a {kind}: a file or a URL.{again}"
        )(command)
    return command


@click.command(cls=Words)
@click.argument("chat", required=False)
@click.argument("text", required=False)
@_media
@click.option("--location", type=Coordinates(), metavar="LAT,LON", help="Send a place.")
@click.option("--method", metavar="NAME", help="Any method of the Bot API.")
@click.option("--param", "params", multiple=True, metavar="KEY=VALUE", help="A parameter; JSON where it parses.")
@click.option("--file", "files", multiple=True, metavar="KEY=FILE", help="A parameter that is a file.")
@click.option("--parse-mode", type=click.Choice(["HTML", "MarkdownV2", "Markdown"], case_sensitive=False))
@click.option("--silent", is_flag=True, help="No notification sound.")
@click.option("--bot", metavar="NAME|ID", help="Which bot; needed when there are several.")
@click.option("--priority", type=click.Choice(PRIORITIES, case_sensitive=False))
@click.option("--key", metavar="KEY", help="Idempotency key: the same key and body again is the same message.")
@click.option("--due", type=DUE, metavar="TIME", help="Not before: RFC 3339, or +10m.")
@click.option("--expires", type=DUE, metavar="TIME", help="Not after: RFC 3339, or +10m.")
@click.option("--delete-after", type=DURATION, metavar="TIME", help="Delete it from the chat so long after.")
@click.option("--meta", multiple=True, metavar="KEY=VALUE", help="Find it again by this.")
@click.option("--on-unknown", type=click.Choice([v.value for v in OnUnknown]), help="When an answer is lost.")
@click.option("--ordering", type=click.Choice([v.value for v in Ordering]))
@click.option("--max-attempts", type=click.IntRange(1, 1000))
@click.option("--force", is_flag=True, help="Lift a suppression of the chat.")
@click.option(
    "--wait", type=DURATION, is_flag=False, flag_value=math.inf, metavar="[SECONDS]", help="Wait for the delivery."
)
@click.option("--from", "lines", metavar="FILE|-", help="JSON lines instead of CHAT and TEXT.")
@json_option
@pass_app
def send(app: App, /, **given: Any) -> None:
    """Hand over a message; a worker sends it.

    \b
    kurir send 42 "Hello"                      a text; TEXT "-" reads it from stdin
    kurir send -100123 "Look" --photo a.jpg --photo b.jpg      an album
    kurir send 42 --method sendDice --param emoji=🎯           anything else
    kurir send --from messages.jsonl           {"chat_id": 42, "text": "Hello"} a line
    """
    app.need_bots()
    set_up("error", redact=redact, json=app.json)
    treatment, params = _treatment(given), _params(given)
    if given["lines"] is not None:
        _send_lines(app, given, treatment, params)
    else:
        _send_one(app, given, treatment, params)


def _treatment(given: Mapping[str, Any]) -> dict[str, Any]:
    """How to treat the message: what was said, and nothing else."""
    names = {
        "bot": "bot", "priority": "priority", "key": "idempotency_key", "due": "due_at", "expires": "expires_at",
        "delete_after": "delete_after", "on_unknown": "on_unknown", "ordering": "ordering",
        "max_attempts": "max_attempts",
    }  # fmt: skip
    treatment = {name: given[option] for option, name in names.items() if given[option] is not None}
    if given["meta"]:
        treatment["metadata"] = pairs("--meta", given["meta"])
    if given["force"]:
        treatment["force"] = True
    return treatment


def _params(given: Mapping[str, Any]) -> dict[str, Any]:
    params = dict(parameter(text) for text in given["params"])
    for name, path in pairs("--file", given["files"]).items():
        params[name] = source(name, path)
    if given["parse_mode"]:
        params["parse_mode"] = given["parse_mode"]
    if given["silent"]:
        params["disable_notification"] = True
    return params


# ---------------------------------------------------------------- one


def _send_one(app: App, given: Mapping[str, Any], treatment: dict[str, Any], params: dict[str, Any]) -> None:
    media = tuple((kind, path) for kind in MEDIA for path in given[kind])
    if given["chat"] is None and given["method"] is None:
        raise click.UsageError("Say which CHAT: a number, or @channelname.")
    if given["text"] is None and not media and not given["method"] and not given["location"]:
        raise click.UsageError("Say something: TEXT, a file, a --location, or a --method.")
    text = sys.stdin.read().rstrip("\n") if given["text"] == "-" else given["text"]
    parcel = Parcel(given["chat"], text, given["method"], params, media, given["location"])
    code = run(_hand_over(app, parcel, treatment, given["wait"]))
    if code:
        click.get_current_context().exit(code)


async def _hand_over(app: App, parcel: Parcel, treatment: dict[str, Any], wait: float | None) -> int:
    message = parcel.message(treatment)
    bot = _bot(app, treatment.get("bot"))
    try:
        alone = bot is not None and await nobody_sends(app, bot)
    except StoreAway:
        if app.settings.spool is None:
            raise
        alone = True
    async with open_kurir(app, courier=wait is not None and alone, spool=True) as kurir:
        receipt = await kurir.submit(message)
        if wait is not None:
            await receipt.ended(None if math.isinf(wait) else wait)
            return _print_end(app, await kurir.get(receipt.id))
        record = await kurir.get(receipt.id)
        if record.state is State.DEAD and not receipt.duplicate:
            return _print_end(app, record)
        _print_accepted(app, record, receipt, alone)
        return 0


def _bot(app: App, name: str | None) -> int | None:
    """The bot meant; None where `submit` will refuse it with better words."""
    if name is not None:
        return app.bot(name)
    bots = app.settings.bots
    return bots[0].id if len(bots) == 1 else None


def _print_accepted(app: App, record: Record, receipt: Receipt, alone: bool) -> None:
    if app.json:
        told = {"spooled": True, "worker": None} if receipt.spooled else {"worker": not alone}
        app.emit({
            "id": record.id, "state": record.state.value, "duplicate": receipt.duplicate, "bot": record.bot,
            "chat": record.chat, "method": record.method, **told,
        })  # fmt: skip
        return
    if app.quiet:
        click.echo(record.id)
        return
    again = " (known already: same key, same body)" if receipt.duplicate else ""
    app.say(f"accepted {record.id}: {record.method} to {record.chat or 'no chat'}{again}")
    if receipt.spooled:
        app.say(SPOOLED)
    elif alone and not record.state.final:
        app.say("  no worker is running: start `kurir worker`")


def _print_end(app: App, record: Record) -> int:
    """What became of it; the exit code."""
    delivered = record.state is State.DELIVERED
    if app.json:
        app.emit(record_json(record))
    elif app.quiet:
        click.echo(record.id)
    else:
        took = short((record.ended_at or record.accepted_at) - record.accepted_at)
        ids = message_ids(loads(record.result))
        which = f", message {', '.join(map(str, ids))}" if ids else ""
        why = f": {record.reason}" if record.reason else ""
        app.say(f"{record.state.value} {record.id} after {took}{which}{why}")
    return 0 if delivered else 1


# ---------------------------------------------------------------- many


def _send_lines(app: App, given: Mapping[str, Any], treatment: dict[str, Any], params: dict[str, Any]) -> None:
    if any(given[name] for name in ("chat", "text", "location", *MEDIA)) or given["wait"] is not None:
        raise click.UsageError("--from takes messages from lines: leave out CHAT, TEXT, files and --wait.")
    if given["method"] or given["key"]:
        raise click.UsageError('With --from, method and idempotency_key stand in each line: {"method": ...}.')
    if given["lines"] == "-":
        run(_feed(app, sys.stdin.fileno(), treatment, params))
        return
    with Path(given["lines"]).open("rb") as file:
        run(_feed(app, file.fileno(), treatment, params))


async def _feed(app: App, fd: int, treatment: dict[str, Any], params: dict[str, Any]) -> None:
    async with open_kurir(app, spool=True) as kurir:
        with progress(app, fd) as tell:
            fed = await feed(kurir, fd, treatment, params, tell)
        alone = None if fed.spooled else not await _held(kurir) & set(app.names())
    _print_fed(app, fed, alone)


async def _held(kurir: Kurir) -> set[int]:
    """The bots for which somebody sends."""
    return {bot.bot for bot in (await kurir.stats()).bots if is_held(bot, kurir.clock.now())}


def _print_fed(app: App, fed: Fed, alone: bool | None) -> None:
    """`alone`: nobody sends; None: nobody knows, since the store is away."""
    if app.json:
        spooled = {"spooled": fed.spooled} if fed.spooled else {}
        app.emit({
            "accepted": fed.accepted, "duplicates": fed.duplicates, "dead": fed.dead, **spooled, "lines": fed.lines,
            "seconds": round(fed.seconds, 3), "worker": None if alone is None else not alone,
        })  # fmt: skip
        return
    rest = [f"{fed.duplicates:,} known already" if fed.duplicates else ""]
    rest.append(f"{fed.dead:,} dead at once: the chat is suppressed" if fed.dead else "")
    tail = "".join(f", {part}" for part in rest if part)
    app.say(f"accepted {fed.accepted:,} messages in {short(fed.seconds)}{tail}")
    if fed.spooled:
        app.say(SPOOLED)
    elif alone and fed.accepted:
        app.say("  no worker is running: start `kurir worker`")
