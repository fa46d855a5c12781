"""What every command is given: the settings, and how to print."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any, TypeVar

import click
import orjson

from kurir.core.errors import InvalidSetting
from kurir.settings import Bot, Settings, load

F = TypeVar("F", bound=Callable[..., Any])


@dataclass
class App:
    """The global options, and the settings behind them (read when first asked for)."""

    config: Path | None = None
    store: str | None = None
    quiet: bool = False
    json: bool = False
    overrides: dict[str, Any] = field(default_factory=dict)

    @cached_property
    def settings(self) -> Settings:
        """Raises InvalidSetting. Prints what is doubtful about them to stderr."""
        settings = load(file=self.config)
        if self.store is not None:
            settings = replace(settings, store=self.store)
        if not self.quiet:
            for warning in settings.warnings:
                self.warn(warning)
        return settings

    def bot(self, name: str) -> int:
        """The id of a bot given by name or id; one without a token may still be in the store."""
        for bot in self.settings.bots:
            if name in (bot.name, str(bot.id)):
                return bot.id
        if name.isdigit():
            return int(name)
        known = ", ".join(bot.name for bot in self.settings.bots) or "none"
        raise InvalidSetting(
            "bot",
            f"{name.split(':')[0]!r} is not configured (known: {known})",
            "Use a known name, or the bot's numeric id.",
        )

    def names(self) -> Mapping[int, str]:
        """Names by id."""
        return {bot.id: bot.name for bot in self.settings.bots}

    def need_bots(self) -> tuple[Bot, ...]:
        """The bots. Raises InvalidSetting when there are none."""
        if not self.settings.bots:
            raise InvalidSetting(
                "KURIR_BOT_TOKEN", "is not set", "export KURIR_BOT_TOKEN=123456789:AA... (from @BotFather)."
            )
        return self.settings.bots

    # ---------------------------------------------------------------- printing

    def say(self, text: str) -> None:
        """A line for a person: not with --json, not with --quiet."""
        if not self.json and not self.quiet:
            click.echo(text)

    def warn(self, text: str) -> None:
        """A line on stderr."""
        click.echo(f"{click.style('warning:', fg='yellow')} {text}", err=True)

    def emit(self, value: Any) -> None:
        """One JSON document on a line."""
        click.echo(orjson.dumps(value, option=orjson.OPT_NON_STR_KEYS).decode())


pass_app = click.make_pass_decorator(App)


def json_option(command: F) -> F:
    """`--json`: it ends up in `App.json`."""

    def keep(ctx: click.Context, _: click.Parameter, value: bool) -> None:
        app = ctx.find_object(App)
        if app is not None and value:
            app.json = True

    return click.option("--json", is_flag=True, expose_value=False, is_eager=True, callback=keep, help="Print JSON.")(
        command
    )
