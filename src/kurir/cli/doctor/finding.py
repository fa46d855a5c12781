"""What a check finds."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class Level(StrEnum):
    OK = "ok"
    WARNING = "warning"
    PROBLEM = "problem"


@dataclass(frozen=True, slots=True)
class Finding:
    """`fix`: what to do, unless it is well."""

    area: str
    level: Level
    what: str
    fix: str = ""


def ok(area: str, what: str) -> Finding:
    return Finding(area, Level.OK, what)


def warning(area: str, what: str, fix: str) -> Finding:
    return Finding(area, Level.WARNING, what, fix)


def problem(area: str, what: str, fix: str) -> Finding:
    return Finding(area, Level.PROBLEM, what, fix)
