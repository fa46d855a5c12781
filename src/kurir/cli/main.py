"""`kurir`: global options, the table of commands, and how errors leave."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import NoReturn

import click

from kurir import __version__
from kurir.core.errors import KurirError
from kurir.telegram.redact import redact

from .context import App
from .lazy import LazyGroup

COMMANDS = {
    "serve": ("serve:serve", "Open the doors (gateway, REST) and send."),
    "worker": ("worker:worker", "Send what waits, until stopped."),
    "send": ("send:send", "Hand over a message, or thousands from a file."),
    "status": ("status:status", "What waits, what was delivered, who sends."),
    "list": ("listing:list_", "Messages, newest first."),
    "show": ("show:show", "Everything about one message."),
    "retry": ("change:retry", "Send dead, cancelled or expired messages again."),
    "cancel": ("change:cancel", "Cancel waiting messages."),
    "dead": ("dead:dead", "Dead letters: list, retry, purge."),
    "keys": ("keys:keys", "Who may use the REST door: add, list, revoke."),
    "prune": ("prune:prune", "Remove the history of what has ended."),
    "move": ("move:move", "Carry everything over to another store."),
    "spool": ("spool:spool", "What this machine keeps for a store that is away."),
    "pause": ("pausing:pause", "Let a bot, or one chat, send nothing for a while."),
    "resume": ("pausing:resume", "End a pause."),
    "doctor": ("doctor:doctor", "What is wrong, and what to do about it."),
    "simulator": ("simulator:simulator", "A Bot API look-alike to try things on."),
    "demo": ("demo:demo", "A bad network, an outage, a crash: nothing lost."),
}

USAGE = 2
FAILED = 1
INTERRUPTED = 130


@click.group(
    cls=LazyGroup,
    table=COMMANDS,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
)
@click.option("--config", type=click.Path(path_type=Path), help="Settings file instead of ./kurir.toml.")
@click.option(
    "--store", metavar="URL", help="Store instead of KURIR_STORE: sqlite:///file.db, postgresql://..., redis://..."
)
@click.option("--quiet", "-q", is_flag=True, help="Only errors and what was asked for.")
@click.version_option(__version__, prog_name="kurir", message="%(prog)s %(version)s")
@click.pass_context
def cli(ctx: click.Context, config: Path | None, store: str | None, quiet: bool) -> None:
    """Kurir makes a Telegram bot's messages arrive.

    \b
    export KURIR_BOT_TOKEN=123456789:AA...
    kurir worker &
    kurir send 42 "Your order is on its way"
    """
    ctx.obj = App(config=config, store=store, quiet=quiet)


def main(args: Sequence[str] | None = None) -> NoReturn:
    """Run a command line and end the process: 0 done, 1 failed, 2 wrong usage, 130 interrupted. Never a traceback,
    never a token."""
    words = list(sys.argv[1:] if args is None else args)
    as_json = "--json" in words
    try:
        code = cli.main(words, prog_name="kurir", standalone_mode=False)
        sys.stdout.flush()
    except click.UsageError as error:
        hint = f"See `{error.ctx.command_path} --help`." if error.ctx else "See `kurir --help`."
        code = _complain(error.format_message(), hint, as_json, USAGE)
    except click.ClickException as error:
        code = _complain(error.format_message(), "", as_json, FAILED)
    except (KeyboardInterrupt, click.Abort):
        code = INTERRUPTED
    except KurirError as error:
        code = _complain(error.what, error.remedy, as_json, FAILED)
    except BrokenPipeError:  # `kurir list | head`
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        code = 0
    except OSError as error:
        code = _complain(str(error), "Check the path and its rights.", as_json, FAILED)
    except Exception as error:
        what = f"internal error: {type(error).__name__}: {error}"
        code = _complain(what, "Please report it with the command you ran.", as_json, FAILED)
    sys.exit(code if isinstance(code, int) else 0)


def _complain(what: str, remedy: str, as_json: bool, code: int) -> int:
    what, remedy = redact(what), redact(remedy)
    if as_json:
        click.echo(json.dumps({"error": what, "fix": remedy or None}, ensure_ascii=False), err=True)
    else:
        head = click.style("error:", fg="red", bold=True)
        click.echo(f"{head} {what}", err=True)
        if remedy:
            click.echo(f"  fix: {remedy}", err=True)
    return code
