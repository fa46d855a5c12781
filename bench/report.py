"""Figures: what was measured, what ran beside it, what was hoped for; as a table and as JSON."""

from __future__ import annotations

import os
import platform
import sqlite3
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal

import orjson
from rich.table import Table

RESULTS = Path(__file__).parent / "results"


@dataclass(frozen=True, slots=True)
class Target:
    """What a figure is hoped to be. `of`: its own value, or its ratio to what ran beside it."""

    of: Literal["value", "ratio"]
    bound: float
    most: bool = False  # True: at most `bound`; False: at least
    about: str = ""  # an orientation for this machine, not judged

    def met(self, figure: Figure) -> bool | None:
        """None: there was nothing to compare with."""
        measured = figure.value if self.of == "value" else figure.ratio
        if measured is None:
            return None
        return measured <= self.bound if self.most else measured >= self.bound

    def __str__(self) -> str:
        sign, number = ("≤" if self.most else "≥"), plain(self.bound)
        return f"{sign} {number}{' ×' if self.of == 'ratio' else ''}{f' ({self.about})' if self.about else ''}"


@dataclass(frozen=True, slots=True)
class Figure:
    """One measurement: medians over the rounds. `ratio`: the median of what each round's `value / beside_value` was."""

    name: str
    value: float
    unit: str
    beside: str = ""  # what ran beside it
    beside_value: float | None = None
    ratio: float | None = None
    target: Target | None = None
    note: str = ""
    rounds: tuple[float, ...] = ()

    @property
    def met(self) -> bool | None:
        return None if self.target is None else self.target.met(self)


def plain(number: float) -> str:
    """A number with about three digits that matter."""
    if abs(number) >= 100:
        return f"{number:,.0f}"
    return f"{number:.1f}" if abs(number) >= 10 else f"{number:.2f}"


# ---------------------------------------------------------------- on the screen


def table(results: Mapping[str, Sequence[Figure]]) -> Table:
    """All figures, a section for each case."""
    shown = Table(title="Kurir, measured", title_justify="left", show_lines=False)
    for heading, justify in (("", "left"), ("Kurir", "right"), ("beside it", "left"), ("", "right")):
        shown.add_column(heading, justify=justify)  # type: ignore[arg-type]
    for heading in ("ratio", "target", ""):
        shown.add_column(heading, justify="right", no_wrap=True)
    for figures in results.values():
        for figure in figures:
            shown.add_row(*_row(figure))
        shown.add_section()
    return shown


def _row(f: Figure) -> tuple[str, ...]:
    *cells, verdict = _cells(f, "\n  [dim]", "[/dim]")
    colour = {"pass": "green", "miss": "red"}.get(verdict, "default")
    return *cells, f"[{colour}]{verdict}[/{colour}]"


def _cells(f: Figure, before_note: str, after_note: str) -> tuple[str, ...]:
    return (
        f.name + (f"{before_note}{f.note}{after_note}" if f.note else ""),
        f"{plain(f.value)} {f.unit}",
        f.beside,
        "" if f.beside_value is None else plain(f.beside_value),
        "" if f.ratio is None else f"{f.ratio:.2f}",
        "" if f.target is None else str(f.target),
        {None: "", True: "pass", False: "miss"}[f.met],
    )


# ---------------------------------------------------------------- on disk


def write(results: Mapping[str, Sequence[Figure]], started: datetime, about: Mapping[str, Any]) -> Path:
    """bench/results/<date>.json, and the same as a table for docs/benchmarks.md in <date>.md; answers where."""
    RESULTS.mkdir(parents=True, exist_ok=True)
    path = RESULTS / f"{started:%Y-%m-%dT%H%M%S}.json"
    cases = {case: [{**asdict(f), "met": f.met} for f in figures] for case, figures in results.items()}
    body = {"started": started, "ended": datetime.now(UTC), **about, "cases": cases}
    path.write_bytes(orjson.dumps(body, option=orjson.OPT_INDENT_2))
    path.with_suffix(".md").write_text(_markdown(results), "utf8")
    return path


def _markdown(results: Mapping[str, Sequence[Figure]]) -> str:
    lines = ["| | Kurir | beside it | | ratio | target | |", "|---|---:|---|---:|---:|---:|---|"]
    for figures in results.values():
        lines += [f"| {' | '.join(_cells(figure, '<br>', ''))} |" for figure in figures]
    return "\n".join(lines) + "\n"


def machine() -> dict[str, Any]:
    """What the figures hold for."""
    return {
        "cpu": _cpu(),
        "cores": os.cpu_count(),
        "kernel": platform.release(),
        "python": platform.python_version(),
        "sqlite": sqlite3.sqlite_version,
        "commit": _commit(),
        "load": os.getloadavg(),
    }


def _cpu() -> str:
    info = Path("/proc/cpuinfo")
    if info.exists():
        for line in info.read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor()


def _commit() -> str:
    try:
        done = subprocess.run(
            ("git", "describe", "--always", "--dirty"), cwd=RESULTS.parent, capture_output=True, text=True, check=True
        )
    except (OSError, subprocess.CalledProcessError):
        return "unknown"
    return done.stdout.strip()
