"""`kurir keys`: who may use the REST door."""

from __future__ import annotations

import time
from typing import Any, cast

import click

from kurir.core.errors import InvalidMessage, NotFound
from kurir.ports import ApiKey, KeyStore
from kurir.records import rfc3339
from kurir.web.auth import ROLES, make_key

from .context import App, json_option, pass_app
from .loop import run
from .opening import open_kurir
from .terminal import console, table
from .times import local

MOST_NAME = 100  # characters


@click.group()
def keys() -> None:
    """API keys: add, list, revoke."""


@keys.command("add")
@click.argument("name")
@click.option(
    "--role",
    type=click.Choice(ROLES),
    default="send",
    show_default=True,
    help="admin: everything; send: hand over and look at messages; read: look at everything.",
)
@json_option
@pass_app
def add(app: App, /, name: str, role: str) -> None:
    """Make a key. Its secret is shown this once and kept nowhere."""
    if not name.strip() or len(name) > MOST_NAME or not name.isprintable():
        raise InvalidMessage("name", f"is no text of 1 to {MOST_NAME} characters", "Say who will use it: shop-backend.")
    key, secret = make_key(name.strip(), role, time.time())
    run(_add(app, key))
    if app.json:
        app.emit({**_json(key), "key": secret})
    else:
        click.echo(secret)
        if not app.quiet:
            click.echo(f"key {key.id} for {key.name} ({role}); it is shown this once", err=True)


async def _add(app: App, key: ApiKey) -> None:
    async with open_kurir(app) as kurir:
        await cast("KeyStore", kurir.store).add_key(key)


@keys.command("list")
@json_option
@pass_app
def list_(app: App, /) -> None:
    """The keys, the revoked ones too; never their secrets."""
    found = run(_keys(app))
    if app.json:
        for key in found:
            app.emit(_json(key))
        return
    if not found:
        app.say("no keys: kurir keys add NAME --role send")
        return
    shown = table("id", "name", "role", "made", "revoked")
    for key in found:
        revoked = local(key.revoked_at) if key.revoked_at is not None else ""
        shown.add_row(key.id, key.name, key.role, local(key.created_at), revoked)
    console().print(shown)


async def _keys(app: App) -> list[ApiKey]:
    async with open_kurir(app) as kurir:
        return await cast("KeyStore", kurir.store).keys()


@keys.command("revoke")
@click.argument("id")
@json_option
@pass_app
def revoke(app: App, /, id: str) -> None:
    """End a key (its id, as `kurir keys list` shows it). It opens nothing after 5 seconds."""
    run(_revoke(app, id))
    if app.json:
        app.emit({"id": id, "revoked": True})
    else:
        app.say(f"revoked {id}")


async def _revoke(app: App, id: str) -> None:
    async with open_kurir(app) as kurir:
        if not await cast("KeyStore", kurir.store).revoke_key(id, time.time()):
            raise NotFound(f"no key {id!r} is in use", "See `kurir keys list`.")


def _json(key: ApiKey) -> dict[str, Any]:
    return {
        "id": key.id,
        "name": key.name,
        "role": key.role,
        "created_at": rfc3339(key.created_at),
        "revoked_at": rfc3339(key.revoked_at),
    }
