"""Names of keys, and what every script is told first."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Keyspace:
    """All keys begin with `prefix`. Those of a bot have its id as hash tag, the few of the whole store the prefix itself, so
    that a cluster keeps each of these together."""

    prefix: str

    def of_bot(self, bot: int, name: str) -> str:
        return f"{self.prefix}:{{{bot}}}:{name}"

    def of_store(self, name: str) -> str:
        return f"{self.prefix}:{{{self.prefix}}}:{name}"

    @property
    def base(self) -> str:
        """What the scripts make a bot's keys of."""
        return f"{self.prefix}:"

    @property
    def bots(self) -> str:
        """Set of all bots."""
        return self.of_store("bots")

    @property
    def counter(self) -> str:
        """The last order number given out."""
        return self.of_store("seq")

    @property
    def channel(self) -> str:
        """Where changes are told of."""
        return self.of_store("changed")
