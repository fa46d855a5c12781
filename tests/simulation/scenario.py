"""A scenario: everything that will happen, drawn from a seed before anything happens.

Times are seconds from the start. Until `quiet_at` things go wrong; then faults end, whoever is down comes back, and all
that was accepted has to reach its end.
"""

from __future__ import annotations

import random
from dataclasses import dataclass, field, replace
from typing import Any

from kurir.simulator.faults import Kind, Outage, Rule
from kurir.simulator.limits import Limits

TOKEN = "123456:SIMULATION"
BOT = 123456
HANDLED = (Kind.HANG, Kind.STATUS_JSON, Kind.STATUS_HTML)  # may strike after Telegram did its work
UNREACHED = (Kind.REFUSED, Kind.DNS, Kind.UNREACHABLE, Kind.CONNECT_TIMEOUT)


@dataclass(frozen=True, slots=True)
class ChatPlan:
    """A chat and what is wrong with it. `trouble` begins at `at`."""

    id: int
    type: str
    trouble: str = ""  # blocked, deactivated, kicked, no_rights, never_started, migrates, broken
    at: float = 0.0
    to: int = 0  # the id it migrates to
    back_at: float | None = None  # the trouble ends, dead letters are retried


@dataclass(frozen=True, slots=True)
class Plan:
    """One message an application hands over, and what it does about it later."""

    mark: str
    chat: int
    at: float
    kind: str = "text"  # text, gift, paid, album, too_long, bad_markup
    group: int = 0  # messages of one group are submitted as one batch
    client: int = 0
    priority: str = "normal"
    key: str | None = None
    again: tuple[float, ...] = ()  # handed over again, with the same key, so many seconds later
    due_in: float | None = None
    expires_in: float | None = None
    hold: bool = False
    strict: bool = False
    max_attempts: int | None = None
    delete_after: float | None = None
    cancel_after: float | None = None
    edits: tuple[float, ...] = ()  # once delivered, edited so many seconds after one another
    delete: bool = False  # ... and deleted after the last edit
    edit_after_delete: bool = False

    @property
    def costs(self) -> bool:
        """Does it cost money?"""
        return self.kind in ("gift", "paid")

    @property
    def held(self) -> bool:
        """Must it never be sent twice?"""
        return self.hold or self.costs


@dataclass(frozen=True, slots=True)
class Kill:
    """A process dies: at a time, or at a step of its own (the `nth` call of `verb`, after its first half or its end)."""

    who: str  # "courier0", "client1", ...
    at: float
    verb: str | None = None
    nth: int = 1
    late: bool = False
    back_after: float = 1.0
    clean: bool = False  # a clean stop


@dataclass(frozen=True, slots=True)
class Trouble:
    """The store refuses one process's steps (StoreFull, StoreAway), or is slow for it."""

    who: str
    start: float
    end: float
    kind: str  # full, away, slow


@dataclass(frozen=True, slots=True)
class Scenario:
    seed: int
    store: str = "memory"
    pace: str = "on"  # on, off, stricter
    latency: tuple[float, float] = (0.05, 0.05)
    store_latency: tuple[float, float] = (0.0005, 0.002)
    concurrency: int = 100
    couriers: int = 1
    clients: int = 1
    quiet_at: float = 60.0
    chats: tuple[ChatPlan, ...] = ()
    plans: tuple[Plan, ...] = ()
    rules: tuple[Rule, ...] = ()
    outages: tuple[Outage, ...] = ()  # times from the start
    kills: tuple[Kill, ...] = ()
    troubles: tuple[Trouble, ...] = ()
    limits: Limits = field(default_factory=Limits)

    @property
    def lossy(self) -> bool:
        return bool(self.rules or self.outages)

    @property
    def steady(self) -> bool:
        """Messages arrive about as far apart as they left: within the headroom that the pace keeps."""
        return self.latency[1] - self.latency[0] <= 0.009

    def describe(self) -> str:
        return (
            f"{len(self.plans)} messages to {len(self.chats)} chats, {self.couriers} courier(s), {self.clients} client(s), "
            f"{self.store}, pace {self.pace}, latency {self.latency[0]:.3f}-{self.latency[1]:.3f} s, "
            f"{len(self.rules)} fault rules, {len(self.outages)} outages, {len(self.kills)} kills, "
            f"{len(self.troubles)} store troubles, quiet at {self.quiet_at:.0f} s"
        )


def draw(seed: int, store: str | None = None) -> Scenario:
    """The scenario of a seed; on another `store` than the dice say, if it is named."""
    scenario = _Drawing(random.Random(f"kurir-{seed}")).scenario(seed)
    return replace(scenario, store=store) if store else scenario


class _Drawing:
    """The dice."""

    def __init__(self, rng: random.Random) -> None:
        self.rng = rng
        self.horizon = rng.choice((10.0, 30.0, 60.0))  # seconds within which applications submit

    def chance(self, share: float) -> bool:
        return self.rng.random() < share

    def scenario(self, seed: int) -> Scenario:
        rng = self.rng
        pace = rng.choices(("on", "off", "stricter"), (5, 4, 2))[0]
        couriers = 2 if self.chance(0.35) else 1
        clients = rng.choice((1, 1, 2, 3))
        chats = self.chats()
        plans = self.plans(chats, clients)
        outages = self.outages()
        quiet_at = max([self.horizon + 20.0, *(o.end for o in outages)])
        names = [f"courier{i}" for i in range(couriers)] + [f"client{i}" for i in range(clients)]
        return self.themed(Scenario(
            seed=seed,
            store="sqlite" if self.chance(0.4) else "memory",
            pace=pace,
            latency=self.latency(),
            store_latency=rng.choice(((0.0, 0.0), (0.0003, 0.002), (0.001, 0.05))),
            concurrency=rng.choice((3, 10, 30, 100, 100)),
            couriers=couriers,
            clients=clients,
            quiet_at=quiet_at,
            chats=chats,
            plans=plans,
            rules=self.rules(chats),
            outages=outages,
            kills=self.kills(names, plans),
            troubles=self.troubles(names, quiet_at),
            limits=self.limits(pace),
        ))  # fmt: skip

    def themed(self, s: Scenario) -> Scenario:
        """Now and then a coincidence that plain dice seldom throw."""
        theme = self.rng.choices(("", "restart", "cut off"), (8, 1, 1))[0]
        if theme == "restart":  # at full pace, with Telegram counting exactly
            chats = tuple(c for c in s.chats if not c.trouble) or (ChatPlan(-1_001_000_000_777, "supergroup"),)
            chats += tuple(ChatPlan(5000 + n, "private") for n in range(self.rng.choice((0, 40))))
            at = self.rng.uniform(0, 5)
            plans = tuple(
                Plan(f"m{n}", self.rng.choice(chats).id, at + (n % 7) * 0.1, group=n, priority="normal")
                for n in range(self.rng.choice((60, 200)))
            )
            kills = tuple(
                Kill("courier0", at + self.rng.uniform(0.5, 8), back_after=0.0, clean=self.chance(0.7))
                for _ in range(self.rng.choice((1, 3)))
            )
            return replace(
                s, pace="on", latency=(0.02, 0.02), limits=Limits(), couriers=2, chats=chats, plans=plans, rules=(),
                outages=(), kills=kills, troubles=(), concurrency=100, quiet_at=30.0,
            )  # fmt: skip
        if theme == "cut off":  # the holder of the lease loses the store while calls are out
            start, who = self.rng.uniform(1, self.horizon), self.rng.choice(("courier0", "courier1"))
            end = start + self.rng.uniform(11, 20)
            return replace(
                s, couriers=2, outages=(), kills=(), concurrency=30, quiet_at=max(s.quiet_at, end + 5),
                rules=(Rule(Kind.SLOW, 0.5, seconds=self.rng.choice((12.0, 20.0))),),
                troubles=tuple(Trouble(w, start, end, "away") for w in (who,)),
            )  # fmt: skip
        return s

    def latency(self) -> tuple[float, float]:
        least = self.rng.choice((0.0, 0.02, 0.05, 0.2))
        spread = self.rng.choice((0.0, 0.0, 0.008, 0.1, 1.0))
        return least, least + spread

    def limits(self, pace: str) -> Limits:
        if pace == "off":
            return Limits.none()
        if pace == "stricter":
            share = self.rng.choice((0.8, 0.5))
            return Limits(
                bot=((int(30 * share), 1.0),),
                private=((max(1, int(3 * share)), 1.0), (int(60 * share), 60.0)),
                group=((int(20 * share), 60.0),),
            )
        return Limits()

    # ------------------------------------------------------------ chats

    def chats(self) -> tuple[ChatPlan, ...]:
        rng = self.rng
        count = rng.choice((2, 5, 12, 40))
        troubled = rng.choice((0.0, 0.15, 0.4))
        return tuple(self.chat(n, troubled) for n in range(count))

    def chat(self, n: int, troubled: float) -> ChatPlan:
        rng = self.rng
        type = rng.choices(("private", "group", "supergroup"), (6, 2, 1))[0]
        id = {"private": 1000 + n, "group": -500 - n, "supergroup": -1_001_000_000_000 - n}[type]
        if not self.chance(troubled):
            return ChatPlan(id, type)
        at = rng.choice((0.0, rng.uniform(0, self.horizon)))
        if type == "group" and self.chance(0.7):
            return ChatPlan(id, type, "migrates", max(at, 0.5), -1_002_000_000_000 - n)
        kinds = ("blocked", "deactivated", "never_started") if type == "private" else ("kicked", "no_rights")
        trouble = rng.choice((*kinds, "blocked" if type == "private" else "kicked", "broken"))
        back = at + rng.uniform(5, 30) if trouble in ("blocked", "kicked") and self.chance(0.4) else None
        return ChatPlan(id, type, trouble, at, back_at=back)

    # ------------------------------------------------------------ messages

    def plans(self, chats: tuple[ChatPlan, ...], clients: int) -> tuple[Plan, ...]:
        rng = self.rng
        count = rng.choice((30, 60, 120, 120, 300))
        favourite = rng.choice(chats)
        spice = rng.choice((0.0, 0.1, 0.35))  # share of messages that are not plain
        plans: list[Plan] = []
        group = 0
        while len(plans) < count:
            group += 1
            load = rng.choice(("burst", "trickle", "batch", "broadcast", "stream"))
            at, client = rng.uniform(0, self.horizon), rng.randrange(clients)
            size = min(rng.choice((1, 5, 20, 60)), count - len(plans))
            for i in range(size):
                chat = favourite if load == "burst" or (load == "stream" and i) else rng.choice(chats)
                if load == "trickle":
                    at = rng.uniform(0, self.horizon)
                    group += 1
                common: dict[str, Any] = {"at": at, "client": client, "group": group}
                if load == "broadcast":
                    common["priority"] = "low"
                elif load == "burst" and i:
                    group += 1
                    common["group"] = group
                plans.append(self.plan(f"m{len(plans)}", chat, spice, common))
        return tuple(plans)

    def plan(self, mark: str, chat: ChatPlan, spice: float, common: dict[str, Any]) -> Plan:
        rng = self.rng
        more: dict[str, Any] = {}
        if self.chance(0.1):
            more["priority"] = rng.choice(("critical", "high", "low"))
        if self.chance(spice):
            more.update(self.special(chat))
        if self.chance(0.15):
            more["key"] = f"key-{mark}"
            if self.chance(0.6):
                more["again"] = tuple(rng.uniform(0, 20) for _ in range(rng.choice((1, 2))))
        return Plan(mark, chat.id, **{**common, **more})

    def special(self, chat: ChatPlan) -> dict[str, Any]:
        rng = self.rng
        kind = rng.choice(
            (
                "due",
                "due",
                "expires",
                "hold",
                "gift",
                "paid",
                "strict",
                "too_long",
                "bad_markup",
                "attempts",
                "album",
                "delete_after",
                "cancel",
                "edits",
                "edits",
                "edits",
            )
        )
        match kind:
            case "due":
                return {"due_in": rng.uniform(0, 40)}
            case "expires":
                return {"expires_in": rng.choice((0.3, 2.0, 10.0, 60.0))}
            case "hold" | "strict":
                return {kind: True}
            case "gift" | "paid" | "too_long" | "bad_markup" | "album":
                return {"kind": kind}
            case "attempts":
                return {"max_attempts": rng.choice((1, 3, 8))}
            case "delete_after":
                return {"delete_after": rng.choice((0.0, 1.0, 20.0))}
            case "cancel":
                return {"due_in": rng.choice((0.0, 10.0)), "cancel_after": rng.choice((0.0, 0.1, 5.0))}
        if chat.trouble == "migrates":
            return {}
        pauses = rng.choice(((0.0, 0.01), (0.0, 0.05, 0.3, 2.0)))
        edits = tuple(rng.choice(pauses) for _ in range(rng.choice((1, 3, 8))))
        delete = self.chance(0.4)
        return {"edits": edits, "delete": delete, "edit_after_delete": delete and self.chance(0.7)}

    # ------------------------------------------------------------ what goes wrong

    def rules(self, chats: tuple[ChatPlan, ...]) -> tuple[Rule, ...]:
        rng = self.rng
        rules: list[Rule] = []
        for chat in chats:
            if chat.trouble == "broken":
                kind = rng.choice((Kind.STATUS_JSON, Kind.STATUS_HTML, Kind.RESET_BEFORE))
                status = rng.choice((500, 502, 504))
                rules += [Rule(kind, chat=chat.id, status=status, description="Internal Server Error")]
        if self.chance(0.45):
            return tuple(rules)
        share = rng.choice((0.02, 0.1, 0.4))
        for _ in range(rng.choice((1, 2, 4))):
            kind = rng.choice(
                (
                    Kind.RESET_BEFORE,
                    Kind.RESET_AFTER,
                    Kind.RESET_AFTER,
                    Kind.HANG,
                    Kind.STATUS_JSON,
                    Kind.STATUS_HTML,
                    Kind.SLOW,
                    Kind.REFUSED,
                    Kind.DNS,
                    Kind.ALBUM,
                )
            )
            probability = min(share, 0.05) if kind is Kind.HANG else share
            if kind is Kind.ALBUM:
                rules.append(Rule(kind, probability, method="sendMediaGroup"))
                continue
            rules.append(
                Rule(
                    kind,
                    probability,
                    handled=kind in HANDLED and self.chance(0.5),
                    status=rng.choice((500, 502, 504)),
                    seconds=rng.choice((1.0, 20.0, 80.0)),
                )
            )
        return tuple(rules)

    def outages(self) -> tuple[Outage, ...]:
        rng = self.rng
        found = []
        for _ in range(rng.choices((0, 1, 2), (6, 3, 1))[0]):
            start = rng.uniform(0, self.horizon)
            length = rng.choices((1.0, 15.0, 60.0, 600.0), (3, 4, 2, 0.5))[0]
            kind = rng.choice((*UNREACHED, Kind.RESET_BEFORE, Kind.HANG, Kind.STATUS_HTML, Kind.STATUS_JSON))
            found.append(Outage(start, start + length, kind))
        return tuple(found)

    def kills(self, names: list[str], plans: tuple[Plan, ...]) -> tuple[Kill, ...]:
        rng = self.rng
        found = []
        for _ in range(rng.choices((0, 1, 2, 5), (4, 3, 2, 2))[0]):
            who = rng.choice([*names, "courier0"])
            verb = None
            if self.chance(0.5):
                verbs = ("claim", "settle", "lease", "call", "call") if who.startswith("courier") else ("submit",)
                verb = rng.choice(verbs)
            busy = rng.choice(plans).at + rng.choice((0.0, 0.05, 1.0, 12.0)) * rng.random()
            found.append(
                Kill(
                    who,
                    busy if self.chance(0.7) else rng.uniform(0, self.horizon + 20),
                    verb,
                    rng.randrange(1, 6),
                    self.chance(0.5),
                    rng.choice((0.0, 0.0, 1.0, 15.0)),
                    clean=verb is None and self.chance(0.35),
                )
            )
        return tuple(found)

    def troubles(self, names: list[str], quiet_at: float) -> tuple[Trouble, ...]:
        rng = self.rng
        found = []
        for _ in range(rng.choices((0, 1, 2), (7, 2, 1))[0]):
            start = rng.uniform(0, self.horizon)
            length = rng.choice((0.1, 3.0, 8.0, 14.0))
            kind = rng.choice(("full", "away", "away", "slow"))
            found.append(Trouble(rng.choice((*names, "all")), start, min(start + length, quiet_at), kind))
        if "courier1" in names and self.chance(0.25):  # the holder of the lease is cut off, another takes over
            start = rng.uniform(0, self.horizon)
            who, length = rng.choice(("courier0", "courier1")), rng.uniform(9, 20)
            found.append(Trouble(who, start, min(start + length, quiet_at), rng.choice(("away", "slow"))))
        return tuple(found)
