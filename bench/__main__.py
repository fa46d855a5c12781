"""`python -m bench`: run the cases, each in a process of its own, and show what came of them."""

from __future__ import annotations

import argparse
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Sequence
from datetime import UTC, datetime
from functools import partial

from rich.console import Console
from rich.progress import Progress, SpinnerColumn, TaskID, TextColumn, TimeElapsedColumn

from . import report
from .apart import apart
from .cases import CASES
from .queues import ALL, PEERS
from .report import Figure
from .world import Run, scratch

BUSY = 1.0  # load average from which the figures are not to be trusted


def main() -> int:
    options = _options()
    if options.install_peers:
        return _install_peers()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))  # what is on disk is cleared away
    console = Console(width=None if sys.stdout.isatty() else 140)
    started, about = datetime.now(UTC), report.machine()
    names = options.only or list(CASES)
    results, failed = _all(names, options.quick, tuple(options.engines), console)
    console.print(report.table(results))
    if about["load"][0] > BUSY:
        console.print(
            f"[yellow]The machine was busy when this began (load {about['load'][0]:.1f}): trust the ratios.[/yellow]"
        )
    path = report.write(results, started, {"quick": options.quick, "machine": about, "failed": failed})
    console.print(f"Written to {os.path.relpath(path)}")
    if failed:
        console.print(f"[red]These did not come to an end: {', '.join(failed)}[/red]")
    return 1 if failed else 0


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m bench", description="Measure Kurir beside floors and peers.")
    parser.add_argument("--only", nargs="+", choices=list(CASES), metavar="NAME", help=f"of {', '.join(CASES)}")
    parser.add_argument("--quick", action="store_true", help="small sizes: does it run, roughly how fast")
    parser.add_argument("--install-peers", action="store_true", help="make the environments of the peer libraries")
    parser.add_argument(
        "--engines", nargs="+", default=[], metavar="ENGINE", help="servers to use, such as valkey or postgres-16"
    )
    return parser.parse_args()


def _install_peers() -> int:
    venv = PEERS / ".venv"
    subprocess.run((sys.executable, "-m", "venv", str(venv)), check=True)
    pip = (str(venv / "bin" / "pip"), "install", "--quiet", "--disable-pip-version-check")
    codes = [subprocess.run((*pip, "-r", str(PEERS.parent / "requirements.txt")), check=False).returncode]
    codes += [peer.install() for peer in ALL.values()]
    return max(codes)


def _all(
    names: Sequence[str], quick: bool, engines: tuple[str, ...], console: Console
) -> tuple[dict[str, list[Figure]], list[str]]:
    results: dict[str, list[Figure]] = {}
    failed: list[str] = []
    columns = (
        SpinnerColumn(),
        TextColumn("{task.description:<8}"),
        TimeElapsedColumn(),
        TextColumn("{task.fields[at]}"),
    )
    tmp = scratch()
    try:
        with Progress(*columns, console=console) as progress:
            for name in names:
                task = progress.add_task(name, total=1, at="")
                figures = apart(name, Run(tmp, partial(_tell, progress, task), quick, engines))
                if figures is None:
                    failed.append(name)
                else:
                    results[name] = figures
                progress.update(task, completed=1, at="did not end" if figures is None else "")
    finally:
        shutil.rmtree(tmp, ignore_errors=True)
    return results, failed


def _tell(progress: Progress, task: TaskID, at: str) -> None:
    progress.update(task, at=at)


if __name__ == "__main__":
    sys.exit(main())
