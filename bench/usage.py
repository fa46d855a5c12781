"""What a machine was busy with for a while, as /proc tells it: CPU, the disk, and the processes in question."""

from __future__ import annotations

import os
import time
from dataclasses import dataclass
from pathlib import Path

_TICK = os.sysconf("SC_CLK_TCK")
BUSY = 0.9  # a share from which we call something the limit
OTHERS = 0.3  # cores that others took from which they are mentioned; the kernel itself takes some


@dataclass(frozen=True, slots=True)
class Sample:
    """Seconds so far, since whenever."""

    at: float
    idle: float  # of all cores, waiting for the disk included
    disk: float  # that the disk was at work
    flushes: int
    flushing: float  # that flushes took
    server: float  # CPU of the server's processes


@dataclass(frozen=True, slots=True)
class Usage:
    """Between two samples. Shares: of one core or, of the disk, of the time."""

    cores: int
    busy: float  # cores at work, ours and everybody's
    server: float  # cores that the server took
    clients: float  # cores that its clients took
    disk: float  # share of the time that the disk was at work
    flushes: float  # a second
    flush: float  # seconds of one

    def limit(self, single: bool) -> str:
        """What there was no more of. `single`: the server does its work in one thread."""
        if self.busy >= BUSY * self.cores:
            others = self.busy - self.server - self.clients
            return f"the {self.cores} cores" + (f", {others:.2f} of them busy for others" if others > OTHERS else "")
        if single and self.server >= BUSY:
            return "the server's one thread"
        if self.disk >= BUSY:
            return "the disk"
        return "waiting for each other"

    def told(self, single: bool) -> str:
        return (
            f"{self.busy:.2f} of {self.cores} cores at work, {self.server:.2f} for the server, {self.clients:.2f} for its "
            f"clients; disk {self.disk:.0%}, {self.flushes:,.0f} flushes/s of {self.flush * 1e3:.2f} ms; "
            f"limit: {self.limit(single)}"
        )


def sample(server: float, folder: Path) -> Sample:
    """Now. `server`: the CPU seconds of the server; `folder`: on the disk in question."""
    fields = Path("/proc/stat").read_text().splitlines()[0].split()[1:]
    io_ms, flushes, flush_ms = _disk(folder)
    idle = (int(fields[3]) + int(fields[4])) / _TICK
    return Sample(time.monotonic(), idle, io_ms / 1e3, flushes, flush_ms / 1e3, server)


def between(one: Sample, two: Sample, clients: float) -> Usage:
    """`clients`: the CPU seconds of the server's clients in between."""
    wall = two.at - one.at
    cores = os.cpu_count() or 1
    flushes = two.flushes - one.flushes
    return Usage(
        cores=cores,
        busy=max(0.0, cores - (two.idle - one.idle) / wall),
        server=(two.server - one.server) / wall,
        clients=clients / wall,
        disk=min(1.0, (two.disk - one.disk) / wall),
        flushes=flushes / wall,
        flush=(two.flushing - one.flushing) / max(1, flushes),
    )


def _disk(folder: Path) -> tuple[int, int, int]:
    """Milliseconds at work, flushes, milliseconds of flushing; zeros where the kernel does not tell."""
    device = folder.stat().st_dev
    wanted = [str(os.major(device)), str(os.minor(device))]
    for line in Path("/proc/diskstats").read_text().splitlines():
        fields = line.split()
        if fields[:2] == wanted:
            return int(fields[12]), *((int(fields[18]), int(fields[19])) if len(fields) > 19 else (0, 0))
    return 0, 0, 0


def cpu_of_family(pid: int) -> float:
    """Seconds of CPU, user's and system's, of a process, its children, and those of them that have ended."""
    total = 0
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                fields = (entry / "stat").read_text().rpartition(")")[2].split()
            except OSError:  # it ended meanwhile
                continue
            if int(entry.name) == pid:
                total += sum(map(int, fields[11:15]))
            elif int(fields[1]) == pid:
                total += sum(map(int, fields[11:13]))
    return total / _TICK
