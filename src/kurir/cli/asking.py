"""Asking before something big."""

from __future__ import annotations

import click

from .context import App
from .terminal import is_terminal


def confirm(app: App, what: str, *, yes: bool) -> None:
    """Ask a person; without one, `--yes` must have been given. Ends the command when the answer is no."""
    if yes:
        return
    if app.json or not is_terminal():
        raise click.UsageError(f"This would {what}: add --yes.")
    click.confirm(f"{what[0].upper()}{what[1:]}?", abort=True)
