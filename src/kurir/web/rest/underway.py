"""Requests under way, event streams aside: counted for a stop, refused once it began, broken off at its end."""

from __future__ import annotations

import asyncio
from typing import Any


class Underway:
    """Shared by all resources of one door. `refusing`: what comes now is told to ask again."""

    __slots__ = ("refusing", "tasks")

    def __init__(self) -> None:
        self.tasks: set[asyncio.Task[Any]] = set()
        self.refusing = False

    def end(self) -> None:
        """Break off what is still under way; each is answered that this process stops."""
        self.refusing = True
        for task in self.tasks:
            task.cancel()
