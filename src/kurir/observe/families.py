"""The metric families of `/metrics`: every name, its help and its labels are written here, once."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from prometheus_client import Metric
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily

from kurir.core.message import Priority
from kurir.core.methods import Kind
from kurir.ports import BotStats, Stats

from .buckets import Buckets
from .counts import CLASSES, DEAD, OUTCOMES, BotCounts

ALTERED = ("waiting", "cancelled", "dead", "purged")  # waiting: set waiting again


@dataclass(frozen=True, slots=True)
class Live:
    """What a courier at work in this process says of itself. Rates in messages/s."""

    bot: int
    allowed: float  # now
    ceiling: float  # as configured
    in_flight: int  # claimed, and not settled yet
    out: bool  # Telegram is out of reach


@dataclass(frozen=True, slots=True)
class Local:
    """What this machine knows of its store, whether that is there or not. None: there is no such thing here."""

    spooled: int | None = None  # messages in the spool
    stuck: int = 0  # of them, refused by the store
    spool_bytes: int = 0
    open: bool | None = None  # the circuit breaker is: the store is taken to be away


NOTHING = Local()


@dataclass(slots=True)
class Totals:
    """All that was counted in this process."""

    names: Mapping[int, str]
    bots: dict[int, BotCounts]
    version: str
    python: str
    direct: dict[tuple[int, Kind, str], int] = field(default_factory=dict)
    repeats: dict[int, int] = field(default_factory=dict)
    requests: dict[tuple[str, int], int] = field(default_factory=dict)
    request_seconds: dict[str, Buckets] = field(default_factory=dict)
    altered: dict[str, int] = field(default_factory=lambda: dict.fromkeys(ALTERED, 0))
    crashes: dict[str, int] = field(default_factory=lambda: {"courier": 0, "delivery": 0})
    store_troubles: int = 0

    def label(self, bot: int) -> str:
        return self.names.get(bot, str(bot))


def families(
    totals: Totals, stats: Stats | None, live: tuple[Live, ...], now: float, local: Local = NOTHING
) -> Iterator[Metric]:
    """`stats` None: the store is away, so nothing is known of it. `now` in Unix seconds."""
    yield _gauge(
        "kurir_build_info",
        "Always 1; what runs.",
        ("version", "python", "store"),
        [((totals.version, totals.python, str(stats.store.get("engine", "")) if stats else ""), 1)],
    )
    yield _gauge("kurir_store_up", "1: the store answers and takes what is written.", (), [((), stats is not None)])
    yield _counter("kurir_store_troubles", "Times the store began to refuse steps.", (), [((), totals.store_troubles)])
    yield _counter(
        "kurir_crashes", "Loops that ended by an error of Kurir's own and were started anew.", ("loop",),
        [((loop,), n) for loop, n in totals.crashes.items()],
    )  # fmt: skip
    yield from _flow(totals)
    yield from _calls(totals)
    yield from _doors(totals)
    yield from _couriers(totals, live, now)
    yield from _local(local)
    if stats is not None:
        yield from _backlog(totals, stats, now)
        yield from _store(stats.store)


# ---------------------------------------------------------------- counted here


def _flow(t: Totals) -> Iterator[Metric]:
    bots = [(t.label(bot), counts) for bot, counts in t.bots.items()]
    yield _counter(
        "kurir_submitted", "Messages accepted by this process.", ("bot", "priority"),
        [((bot, p.name.lower()), c.submitted[p]) for bot, c in bots for p in Priority],
    )  # fmt: skip
    yield _counter(
        "kurir_dead", "Times messages ended dead in this process, by what the reason comes down to.", ("bot", "reason"),
        [((bot, reason), c.dead[reason]) for bot, c in bots for reason in DEAD],
    )  # fmt: skip
    yield _counter(
        "kurir_altered", "Messages changed by hand, by what they became.", ("to",),
        [((to,), n) for to, n in t.altered.items()],
    )  # fmt: skip
    for name, help, attribute in (
        ("kurir_spooled", "Messages accepted into the spool of this machine.", "spooled"),
        ("kurir_forwarded", "Spooled messages that this process brought to the store.", "forwarded"),
        ("kurir_duplicates", "Messages handed over again under a known idempotency key.", "duplicates"),
        ("kurir_superseded", "Waiting edits that gave way to a newer one.", "superseded"),
        ("kurir_delivered", "Messages delivered by this process.", "delivered"),
        ("kurir_expired", "Messages whose time was over before they could be sent.", "expired"),
        ("kurir_cancelled", "Messages that a newer one made needless while they were being sent.", "cancelled"),
        ("kurir_fenced", "Results told too late: another process held the bot by then.", "fenced"),
        ("kurir_recovered", "Messages taken over that were in flight when a courier died.", "recovered"),
        ("kurir_outages", "Times Telegram went out of reach.", "outages"),
        ("kurir_throttled", "Answers 429, Too Many Requests.", "throttled"),
    ):
        yield _counter(name, help, ("bot",), [((bot,), getattr(c, attribute)) for bot, c in bots])
    yield _histogram(
        "kurir_delivery_seconds", "From accepted (or due, or retried by hand) to delivered.", ("bot",),
        [((bot,), c.delays) for bot, c in bots],
    )  # fmt: skip


def _calls(t: Totals) -> Iterator[Metric]:
    bots = [(t.label(bot), counts) for bot, counts in t.bots.items()]
    yield _counter(
        "kurir_attempts", "HTTP calls for stored messages, by outcome.", ("bot", "outcome"),
        [((bot, outcome), c.attempts[outcome]) for bot, c in bots for outcome in OUTCOMES],
    )  # fmt: skip
    yield _histogram(
        "kurir_api_call_seconds", "HTTP calls for stored messages, from start to answer.", ("bot", "class"),
        [((bot, CLASSES[kind]), buckets) for bot, c in bots for kind, buckets in c.calls.items() if any(buckets.counts)],
    )  # fmt: skip
    yield _counter(
        "kurir_direct_calls", "Calls that are not stored, by outcome.", ("bot", "class", "outcome"),
        [((t.label(bot), CLASSES[kind], outcome), n) for (bot, kind, outcome), n in t.direct.items()],
    )  # fmt: skip
    yield _counter(
        "kurir_direct_repeats", "Further tries of calls that are not stored.", ("bot",),
        [((t.label(bot),), t.repeats.get(bot, 0)) for bot in t.bots],
    )  # fmt: skip


def _doors(t: Totals) -> Iterator[Metric]:
    yield _counter(
        "kurir_requests", "HTTP requests answered, by door and status.", ("door", "status"),
        [((door, str(status)), n) for (door, status), n in t.requests.items()],
    )  # fmt: skip
    yield _histogram(
        "kurir_request_seconds", "HTTP requests, from read to answered; a gateway request may wait on purpose.", ("door",),
        [((door,), taken) for door, taken in t.request_seconds.items()],
    )  # fmt: skip


def _couriers(t: Totals, live: tuple[Live, ...], now: float) -> Iterator[Metric]:
    here = {one.bot for one in live}
    yield _gauge(
        "kurir_courier", "1: this process sends for the bot.", ("bot",),
        [((t.label(bot),), bot in here) for bot in {**t.bots, **dict.fromkeys(here)}],
    )  # fmt: skip
    yield _gauge(
        "kurir_pace_used", "Calls/s for stored messages over the last 10 s.", ("bot",),
        [((t.label(bot),), c.recent.rate(now)) for bot, c in t.bots.items()],
    )  # fmt: skip
    for name, help, attribute in (
        ("kurir_pace_allowed", "Messages/s the bot may send now, as learned from 429s.", "allowed"),
        ("kurir_pace_ceiling", "Messages/s the bot may send at most, as configured.", "ceiling"),
        ("kurir_in_flight", "Messages claimed and not settled yet.", "in_flight"),
        ("kurir_outage", "1: Telegram is out of reach.", "out"),
    ):
        yield _gauge(name, help, ("bot",), [((t.label(one.bot),), getattr(one, attribute)) for one in live])


def _local(local: Local) -> Iterator[Metric]:
    if local.open is not None:
        yield _gauge(
            "kurir_store_circuit_open", "1: the store is taken to be away; a probe goes out now and then.", (),
            [((), local.open)],
        )  # fmt: skip
    if local.spooled is not None:
        yield _gauge(
            "kurir_spool_messages", "Messages that wait on this machine for the store.", (), [((), local.spooled)]
        )
        yield _gauge("kurir_spool_stuck", "Spooled messages that the store refuses.", (), [((), local.stuck)])
        yield _gauge("kurir_spool_bytes", "The spool's size.", (), [((), local.spool_bytes)])


# ---------------------------------------------------------------- told by the store


def _backlog(t: Totals, stats: Stats, now: float) -> Iterator[Metric]:
    known = {bot.bot: bot for bot in stats.bots}
    bots = [
        (name, known.get(bot, BotStats(bot))) for bot, name in t.names.items()
    ]  # no bot of former times: it has no name
    yield _gauge(
        "kurir_waiting", "Messages waiting, those in flight included.", ("bot",), [((b,), s.waiting) for b, s in bots]
    )
    yield _gauge("kurir_sending", "Messages in flight.", ("bot",), [((b,), s.sending) for b, s in bots])
    yield _gauge("kurir_lanes", "Chats with something waiting.", ("bot",), [((b,), s.lanes) for b, s in bots])
    yield _gauge(
        "kurir_messages", "Ended messages in the store, by how they ended.", ("bot", "state"),
        [((b, state), getattr(s, state)) for b, s in bots for state in ("delivered", "dead", "cancelled", "expired")],
    )  # fmt: skip
    yield _gauge(
        "kurir_oldest_past_due_seconds", "How long the message that could leave longest has been waiting for it.", ("bot",),
        [((b,), 0.0 if s.oldest_due is None else max(0.0, now - s.oldest_due)) for b, s in bots],
    )  # fmt: skip
    yield _gauge(
        "kurir_paused", "1: the bot sends nothing now.", ("bot",), [((b,), s.paused_until > now) for b, s in bots]
    )
    yield _gauge(
        "kurir_refused", "1: Telegram refused the bot's token, or froze the bot.", ("bot",),
        [((b,), s.paused_until > now and (s.paused_why or "").startswith("refused: ")) for b, s in bots],
    )  # fmt: skip
    yield _gauge(
        "kurir_leased", "1: some process sends for the bot.", ("bot",),
        [((b,), s.holder is not None and (s.lease_until or 0.0) > now) for b, s in bots],
    )  # fmt: skip


def _store(store: Mapping[str, Any]) -> Iterator[Metric]:
    if "bytes" in store:
        yield _gauge("kurir_store_bytes", "The store's size.", (), [((), store["bytes"])])
    if "commit_buckets" in store:
        family = HistogramMetricFamily("kurir_store_commit_seconds", "Commits of this process's writer.")
        rows = [(str(bound), float(count)) for bound, count in store["commit_buckets"] if math.isfinite(bound)]
        family.add_metric((), [*rows, ("+Inf", float(store["commits"]))], store["commit_seconds"])
        yield family


# ---------------------------------------------------------------- shapes

_Rows = Iterable[tuple[tuple[str, ...], float]]


def _counter(name: str, help: str, labels: tuple[str, ...], rows: _Rows) -> Metric:
    family = CounterMetricFamily(name, help, labels=labels)
    for values, value in rows:
        family.add_metric(values, value)
    return family


def _gauge(name: str, help: str, labels: tuple[str, ...], rows: _Rows) -> Metric:
    family = GaugeMetricFamily(name, help, labels=labels)
    for values, value in rows:
        family.add_metric(values, float(value))
    return family


def _histogram(
    name: str, help: str, labels: tuple[str, ...], rows: Iterable[tuple[tuple[str, ...], Buckets]]
) -> Metric:
    family = HistogramMetricFamily(name, help, labels=labels)
    for values, buckets in rows:
        family.add_metric(values, buckets.cumulative(), buckets.sum)
    return family
