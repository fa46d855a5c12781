"""A real Prometheus: the machine's own, else one fetched for these tests alone."""

from __future__ import annotations

import fcntl
import os
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

import pytest

FOLDER = Path(__file__).parent / ".prometheus"  # ignores itself
REMEDY = "Install Prometheus 2.42 or newer (prometheus and promtool on PATH); on Debian: apt-get install prometheus."


@dataclass(frozen=True)
class Tools:
    prometheus: str
    promtool: str


@pytest.fixture(scope="session")
def tools() -> Tools:
    """`prometheus` and `promtool` on PATH, else from Debian's package, unpacked beside this file. Needs no root: nothing of
    the machine is changed. Fails with what to do where neither is to be had."""
    found = [shutil.which(name) for name in ("prometheus", "promtool")]
    if found[0] and found[1]:
        return Tools(found[0], found[1])
    folder = FOLDER / "root" / "usr" / "bin"
    FOLDER.mkdir(exist_ok=True)
    (FOLDER / ".gitignore").write_text("*\n")
    with (FOLDER / "lock").open("w") as lock:  # several test processes may want it
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not (folder / "promtool").exists():
            _fetch()
    return Tools(str(folder / "prometheus"), str(folder / "promtool"))


def _fetch() -> None:
    if not shutil.which("apt-get"):
        pytest.fail(f"Prometheus is missing, and there is no apt-get to fetch it with. {REMEDY}")
    for name in ("state/lists/partial", "cache/archives/partial"):
        (FOLDER / name).mkdir(parents=True, exist_ok=True)
    options = {
        "Dir::State": FOLDER / "state",
        "Dir::State::status": "/var/lib/dpkg/status",
        "Dir::Cache": FOLDER / "cache",
        "Debug::NoLocking": 1,
        "APT::Sandbox::User": "",
    }
    apt = ["apt-get", "-qq", *(part for name, value in options.items() for part in ("-o", f"{name}={value}"))]
    _run(*apt, "update")
    _run(*apt, "download", "prometheus")
    (package,) = FOLDER.glob("prometheus_*.deb")
    _run("dpkg-deb", "-x", str(package), "unpacked")
    os.replace(FOLDER / "unpacked", FOLDER / "root")
    package.unlink()
    for name in ("state", "cache"):
        shutil.rmtree(FOLDER / name)


def _run(*command: str) -> None:
    done = subprocess.run(command, cwd=FOLDER, capture_output=True, text=True, timeout=100, check=False)
    if done.returncode:
        pytest.fail(f"Prometheus is missing, and {' '.join(command[-2:])} failed: {done.stderr.strip()}. {REMEDY}")
