"""When to try again: schedules as data, and what differs for one message."""

from __future__ import annotations

from dataclasses import dataclass

from .message import Options

QUICK = (1.0, 2.0, 4.0, 8.0, 16.0)  # seconds
SLOW = tuple(60.0 * minutes for minutes in (5, 10, 20, 40, 60, 60, 60, 60, 60, 60))  # seconds
KEEPS_PLACE = 60.0  # seconds: a message that waits longer than this is overtaken


@dataclass(frozen=True, slots=True)
class Policy:
    """What holds for every message that does not say otherwise."""

    quick: tuple[float, ...] = QUICK  # seconds before the 2nd, 3rd, ... try; the lane waits for it
    slow: tuple[float, ...] = SLOW  # seconds before the tries after those; the lane goes on
    crash_limit: int = 3  # in flight at so many crashes: a poison message
    doubt_limit: int = 20  # doubts blamed on a bad network; further ones count as tries
    jitter: float = 0.1  # a delay is lengthened by up to this share


def delay_after(tries: int, policy: Policy, options: Options) -> float | None:
    """Seconds until the next try when `tries` (>= 1) have failed; None when there is none left."""
    schedule = options.backoff if options.backoff is not None else policy.quick + policy.slow
    most = options.max_attempts if options.max_attempts is not None else len(schedule) + 1
    if tries >= most:
        return None
    if not schedule:
        return 0.0
    return schedule[min(tries, len(schedule)) - 1]


def exponential(base: float = 1.0, tries: int = 5) -> tuple[float, ...]:
    """The delays `base * 1, 2, 4, ...` seconds between `tries` tries."""
    return tuple(base * 2.0**n for n in range(max(0, tries - 1)))


def fixed(delay: float, tries: int = 5) -> tuple[float, ...]:
    """The same delay, in seconds, between `tries` tries."""
    return (float(delay),) * max(0, tries - 1)
