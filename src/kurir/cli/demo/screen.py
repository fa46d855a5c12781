"""What is seen of the demo while it happens: a live picture on a terminal, plain lines elsewhere, nothing with --json."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field
from types import TracebackType
from typing import Protocol, Self

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.panel import Panel
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

SPARKS = "▁▂▃▄▅▆▇█"
SECONDS = 60  # of history in the curve
PLAIN_EVERY = 5.0  # seconds between two plain lines


@dataclass
class Scene:
    """The state of things."""

    planned: int
    limit: float  # messages/s
    elapsed: float = 0.0
    network: str = "ok"
    worker: str = "not started"
    accepted: int = 0
    delivered: int = 0
    dead: int = 0
    other: int = 0  # superseded edits
    waiting: int = 0
    rate: float = 0.0  # calls/s that Telegram saw lately
    curve: deque[float] = field(default_factory=lambda: deque(maxlen=SECONDS))
    events: list[str] = field(default_factory=list)

    def tell(self, what: str) -> None:
        self.events.append(f"{self.elapsed:5.1f} s  {what}")


class Screen(Protocol):
    def __enter__(self) -> Self: ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...

    def show(self, scene: Scene) -> None: ...


class Silent:
    """--json, --quiet."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        return

    def show(self, scene: Scene) -> None:
        return


class Plain(Silent):
    """Lines: what happens, and how things stand now and then."""

    def __init__(self, out: Console) -> None:
        self._out = out
        self._told = 0
        self._next = 0.0

    def show(self, scene: Scene) -> None:
        for event in scene.events[self._told :]:
            self._out.print(event)
        self._told = len(scene.events)
        if scene.elapsed >= self._next:
            self._next = scene.elapsed + PLAIN_EVERY
            self._out.print(
                f"{scene.elapsed:5.1f} s  network {scene.network} · courier {scene.worker} · accepted {scene.accepted}, "
                f"delivered {scene.delivered}, dead {scene.dead}, waiting {scene.waiting} · {scene.rate:.1f} calls/s"
            )


class Picture(Silent):
    """A live picture."""

    def __init__(self, out: Console) -> None:
        self._live = Live(console=out, auto_refresh=False)

    def __enter__(self) -> Self:
        self._live.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._live.stop()

    def show(self, scene: Scene) -> None:
        self._live.update(picture(scene), refresh=True)


def picture(scene: Scene) -> RenderableType:
    facts = Table(box=None, show_header=False, pad_edge=False)
    facts.add_column(style="dim", no_wrap=True)
    facts.add_column()
    facts.add_row("network", Text(scene.network, _network_colour(scene.network)))
    facts.add_row("courier", Text(scene.worker, "green" if scene.worker.startswith("sends") else "bold red"))
    facts.add_row("rate", f"{scene.rate:4.1f} calls/s of {scene.limit:g} allowed")
    facts.add_row("", Text(sparks(scene.curve, scene.limit), "cyan"))
    counts = Table(box=None, show_header=False, pad_edge=False)
    counts.add_column(style="dim", no_wrap=True)
    counts.add_column(justify="right", min_width=6)
    counts.add_column()
    total = max(1, scene.planned, scene.accepted)
    for name, count, colour in (
        ("accepted", scene.accepted, "blue"),
        ("delivered", scene.delivered, "green"),
        ("dead", scene.dead, "red"),
        ("waiting", scene.waiting, "yellow"),
    ):
        bar = ProgressBar(total=total, completed=count, width=50, complete_style=colour, finished_style=colour)
        counts.add_row(name, f"{count:,}", bar)
    events = Text("\n".join(scene.events[-6:]) or "...", "dim")
    title = f"kurir demo · {scene.elapsed:.0f} s"
    return Panel(Group(facts, "", counts, "", events), title=title, title_align="left", width=90)


def _network_colour(network: str) -> str:
    if network.startswith("out"):
        return "bold red"
    return "yellow" if "lose" in network or "losing" in network else "green"


def sparks(curve: deque[float], most: float) -> str:
    """A bar a second."""
    return "".join(SPARKS[min(len(SPARKS) - 1, int(value / most * (len(SPARKS) - 1) + 0.5))] for value in curve)


def screen_for(out: Console, *, silent: bool) -> Screen:
    if silent:
        return Silent()
    return Picture(out) if out.is_terminal else Plain(out)
