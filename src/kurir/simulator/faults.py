"""What goes wrong: faults by rule (this call, with this probability) and by time (outages)."""

from __future__ import annotations

import random
from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum


class Kind(StrEnum):
    """A fault. `lost` ones end without an answer."""

    RESET_BEFORE = "reset_before"  # the connection is reset; Telegram did nothing
    RESET_AFTER = "reset_after"  # Telegram did it, then the connection was reset
    HANG = "hang"  # no answer ever; done or not as `handled` says
    STATUS_JSON = "status_json"  # `status` with the Bot API's JSON envelope
    STATUS_HTML = "status_html"  # `status` with a page of HTML, as a proxy in front answers
    SLOW = "slow"  # the true answer, `seconds` late
    REFUSED = "refused"
    DNS = "dns"
    UNREACHABLE = "unreachable"
    CONNECT_TIMEOUT = "connect_timeout"
    ALBUM = "album"  # item number `item` of an album (or multi-forward) fails, the others are sent


UNREACHED = frozenset({Kind.REFUSED, Kind.DNS, Kind.UNREACHABLE, Kind.CONNECT_TIMEOUT})


@dataclass(frozen=True, slots=True)
class Rule:
    """A fault and the calls it strikes. All conditions given must hold."""

    kind: Kind
    probability: float = 1.0
    method: str | None = None  # any case
    chat: int | str | None = None
    bot: int | None = None  # the bot's id
    mark: str | None = None  # the message's mark (see journal)
    times: int | None = None  # strike at most so often; None: always
    after: int = 0  # let so many matching calls pass first
    handled: bool = False  # HANG, STATUS_*: was the call done before its answer went missing?
    status: int = 502  # STATUS_*
    description: str = ""  # STATUS_JSON; ALBUM: the failed item's error
    retry_after: int | None = None  # STATUS_JSON: `parameters.retry_after`, and the header
    seconds: float = 0.0  # SLOW
    item: int = 2  # ALBUM

    @property
    def done(self) -> bool:
        """Does Telegram act on the call?"""
        return self.handled or self.kind in (Kind.RESET_AFTER, Kind.SLOW, Kind.ALBUM)


@dataclass(frozen=True, slots=True)
class Outage:
    """From `start` until before `end` (Unix seconds) every call ends as `kind` says. While the kind is one of
    REFUSED, DNS, UNREACHABLE or CONNECT_TIMEOUT nothing connects; calls under way at `start` are reset."""

    start: float
    end: float
    kind: Kind = Kind.REFUSED


@dataclass(slots=True)
class _Count:
    matched: int = 0
    struck: int = 0


class Faults:
    """Rules are asked in order; the first that strikes wins."""

    def __init__(self, *rules: Rule, outages: Iterable[Outage] = (), rng: random.Random | None = None) -> None:
        self.rng = rng or random.Random(0)
        self.outages: list[Outage] = list(outages)
        self._rules: list[tuple[Rule, _Count]] = [(rule, _Count()) for rule in rules]

    @classmethod
    def lossy(cls, share: float = 0.4, *, rng: random.Random | None = None) -> Faults:
        """A network that loses `share` of all calls: half before Telegram took them, half after."""
        half = share / 2
        before = Rule(Kind.RESET_BEFORE, probability=half)
        after = Rule(Kind.RESET_AFTER, probability=half / (1 - half))
        return cls(before, after, rng=rng)

    @property
    def rules(self) -> tuple[Rule, ...]:
        return tuple(rule for rule, _ in self._rules)

    def add(self, *rules: Rule) -> None:
        self._rules += [(rule, _Count()) for rule in rules]

    def clear(self) -> None:
        """No rule and no outage is left."""
        self._rules.clear()
        self.outages.clear()

    def outage(self, start: float, end: float, kind: Kind = Kind.REFUSED) -> None:
        """Plan an outage; Unix seconds."""
        self.outages.append(Outage(start, end, kind))

    def outage_at(self, now: float) -> Outage | None:
        for outage in self.outages:
            if outage.start <= now < outage.end:
                return outage
        return None

    def draw(self, bot: int, chat: object, method: str, mark: str | None = None) -> Rule | None:
        """The fault that strikes this call, if any."""
        if not self._rules:
            return None
        for rule, count in self._rules:
            if not _matches(rule, bot, chat, method, mark):
                continue
            count.matched += 1
            spent = rule.times is not None and count.struck >= rule.times
            if count.matched <= rule.after or spent:
                continue
            if rule.probability >= 1.0 or self.rng.random() < rule.probability:
                count.struck += 1
                return rule
        return None


def _matches(rule: Rule, bot: int, chat: object, method: str, mark: str | None) -> bool:
    return (
        (rule.method is None or rule.method.lower() == method.lower())
        and (rule.chat is None or str(rule.chat) == str(chat))
        and (rule.bot is None or rule.bot == bot)
        and (rule.mark is None or rule.mark == mark)
    )
