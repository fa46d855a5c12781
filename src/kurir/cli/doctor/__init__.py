"""`kurir doctor`: what is wrong, and what to do about it."""

from __future__ import annotations

import click
from rich.text import Text

from kurir.cli.context import App, json_option, pass_app
from kurir.cli.loop import run
from kurir.cli.terminal import console
from kurir.telegram.redact import redact

from . import machine, network, spool, store
from .finding import Finding, Level

SIGNS = {Level.OK: ("ok     ", "green"), Level.WARNING: ("warning", "yellow"), Level.PROBLEM: ("problem", "bold red")}


@click.command()
@json_option
@pass_app
def doctor(app: App, /) -> None:
    """Check settings, tokens, network, clock, store and disk. Exits 1 if there is a problem."""
    app.quiet, loud = True, not app.quiet  # the settings' warnings are among the findings
    _ = app.settings
    app.quiet = not loud
    findings = run(_examine(app))
    problems = sum(finding.level is Level.PROBLEM for finding in findings)
    warnings = sum(finding.level is Level.WARNING for finding in findings)
    if app.json:
        app.emit({
            "ok": not problems,
            "findings": [{"area": f.area, "level": f.level.value, "what": f.what, "fix": f.fix or None} for f in findings],
        })  # fmt: skip
    elif problems or warnings:
        app.say(f"\n{problems} problems, {warnings} warnings")
    else:
        app.say("\nall is well")
    if problems:
        click.get_current_context().exit(1)


async def _examine(app: App) -> list[Finding]:
    """Everything, shown as it is found."""
    findings: list[Finding] = []

    def note(finding: Finding) -> None:
        clean = Finding(finding.area, finding.level, redact(finding.what), redact(finding.fix))
        findings.append(clean)
        if not app.json and (not app.quiet or clean.level is not Level.OK):
            _print(clean)

    for finding in machine.check(app.settings):
        note(finding)
    async for finding in network.check(app.settings):
        note(finding)
    async for finding in store.check(app.settings):
        note(finding)
    async for finding in spool.check(app.settings):
        note(finding)
    return findings


def _print(finding: Finding) -> None:
    sign, colour = SIGNS[finding.level]
    line = Text.assemble((sign, colour), f" {finding.area:<9} {finding.what}")
    out = console()
    out.print(line, soft_wrap=True)
    if finding.fix:
        out.print(Text(f"        {'':<9} fix: {finding.fix}", "dim"), soft_wrap=True)
