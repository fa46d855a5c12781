"""Who sends for which bot: every worker works the same plan out of the same roll, and does its own part of it."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

from kurir.ports import Roll


@dataclass(frozen=True, slots=True)
class Plan:
    """A worker's own part."""

    take: tuple[int, ...]  # free bots that fall to it
    release: tuple[int, ...]  # bots it holds that fall to others


def plan(roll: Roll, me: str, leaving: Collection[int] = ()) -> Plan:
    """What `me` is to do. `leaving`: bots it is about to give up, which are no more its own, and not free yet.

    A free bot goes to the worker that has the fewest of those that could send for it, scarce ones first. A bot moves only
    where that brings two workers nearer to each other: from one that has at least two more than the other. So a plan
    that was carried out is followed by one in which nobody does anything.
    """
    able = {worker.holder: set(worker.bots) for worker in roll.workers}
    held: dict[str, set[int]] = {holder: set() for holder in able}
    for bot, holder in roll.holders.items():
        if holder in held and bot not in leaving:
            held[holder].add(bot)
    mine = frozenset(held.get(me, ()))
    _hand_out(able, held, {bot for bot in roll.holders if bot not in leaving})
    took = held.get(me, set()) - mine - set(leaving)
    _even_out(able, held)
    mine_now = held.get(me, set())
    return Plan(tuple(sorted(took & mine_now)), tuple(sorted(mine - mine_now)))


def _hand_out(able: dict[str, set[int]], held: dict[str, set[int]], taken: set[int]) -> None:
    """Free bots to those that have the fewest."""
    takers: dict[int, list[str]] = {}
    for holder in sorted(able):
        for bot in able[holder]:
            if bot not in taken:
                takers.setdefault(bot, []).append(holder)
    for bot in sorted(takers, key=lambda bot: (len(takers[bot]), bot)):
        least = min(takers[bot], key=lambda holder: (len(held[holder]), holder))
        held[least].add(bot)


def _even_out(able: dict[str, set[int]], held: dict[str, set[int]]) -> None:
    """Move one bot after the other, from whoever has most to whoever has least. Ends: each move lessens the sum of the
    squares of what they have."""
    while (move := _next_move(able, held)) is not None:
        giver, taker, bot = move
        held[giver].remove(bot)
        held[taker].add(bot)


def _next_move(able: dict[str, set[int]], held: dict[str, set[int]]) -> tuple[str, str, int] | None:
    by_load = sorted(held, key=lambda holder: (len(held[holder]), holder))
    for giver in reversed(by_load):
        for taker in by_load:
            if len(held[giver]) - len(held[taker]) < 2:
                break
            if movable := held[giver] & able[taker]:
                return giver, taker, max(movable)
    return None
