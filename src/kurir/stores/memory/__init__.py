"""The memory store: the oracle of the contract, `memory://`, and the simulation's disk."""

from .store import MemoryStore

__all__ = ["MemoryStore"]
