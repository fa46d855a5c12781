"""The doors of `kurir serve`, in a process of its own: the gateway, REST, and what connections cost that only wait."""

from __future__ import annotations

import selectors
import socket
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from functools import partial
from statistics import median

import orjson

from bench.load import Clients, Load, clients, post
from bench.report import Figure, Target
from bench.rounds import compared, percentile, ratios, take_turns
from bench.serving import KEY, Process, bare, serve
from bench.upstream import Upstream, upstream
from bench.world import CHATS, TOKEN, Run, params

CONNECTIONS = 50
LOW_RATE = 200.0  # gateway sends a second at which what is added to a call is measured
BATCH = 500
BATCHES_AT_ONCE = 4
MOST_OPEN = 200  # connections of an open load
IDLE = 1_000  # connections that wait for something
LOOKED_AT = 4.0  # seconds in which their memory is looked at
EMPTY_WITHIN = 120.0  # seconds a courier gets for a backlog
MS, MICRO, MB = 1e3, 1e6, 1e6

SENDS = tuple(post(f"/bot{TOKEN}/sendMessage", orjson.dumps(params(chat))) for chat in range(CHATS))


def doors(run: Run) -> list[Figure]:
    """All of it, one after the other."""
    with clients() as crowd:
        rest = [_rest(run, crowd, courier) for courier in (False, True)]
        return [*_gateway(run, crowd), *rest[0], *rest[1], *_idle(run)]


def _rounds(run: Run) -> int:
    return run.size(3, 2)


# ---------------------------------------------------------------- gateway


def _gateway(run: Run, crowd: Clients) -> list[Figure]:
    """Sends that are stored, sent and answered; beside them a proxy that stores nothing, and direct calls."""
    with upstream() as telegram, run.folder() as folder, ExitStack() as stack:
        kurir = stack.enter_context(serve(folder, telegram.url))
        proxy = stack.enter_context(bare(telegram.url))
        ports = {"Kurir": kurir.port, "bare Starlette proxy": proxy.port, "direct": _port(telegram)}
        for port in ports.values():
            crowd.run(Load(port, SENDS, CHATS), 200)
        return [*_sends(run, crowd, ports, {kurir.port: kurir, proxy.port: proxy}), *_added(run, crowd, ports)]


def _sends(run: Run, crowd: Clients, ports: Mapping[str, int], servers: Mapping[int, Process]) -> list[Figure]:
    count = run.size(10_000, 2_000)
    spent: dict[str, list[float]] = {name: [] for name in ports}

    def send(name: str) -> float:
        server = servers.get(ports[name])
        before = server.cpu() if server else 0.0
        told = crowd.run(Load(ports[name], SENDS, count, CONNECTIONS), 200)
        spent[name].append(((server.cpu() if server else 0.0) - before) / count * MICRO)
        return count / told.wall

    measured = take_turns(_rounds(run), {name: partial(send, name) for name in ports}, run.say)
    note = f"stored, sent, answered; {CONNECTIONS} connections"
    return [
        compared("gateway sends", "/s", measured, "Kurir", "bare Starlette proxy", Target("value", 1_500), note),
        compared("  the same, direct calls beside it", "/s", measured, "Kurir", "direct"),
        compared("  CPU of the server's process for one", "µs", spent, "Kurir", "bare Starlette proxy"),
    ]


def _added(run: Run, crowd: Clients, ports: Mapping[str, int]) -> list[Figure]:
    """What a call takes longer than a direct one while there is little to do."""
    count = run.size(800, 200)
    taken: dict[str, list[Sequence[float]]] = {name: [] for name in ports}

    def send(name: str) -> float:
        told = crowd.run(Load(ports[name], SENDS, count, CONNECTIONS, LOW_RATE), 200)
        taken[name].append(told.taken)
        return median(told.taken)

    take_turns(_rounds(run), {name: partial(send, name) for name in ports}, run.say)
    note = f"beyond a direct call, which takes {_of(taken['direct'], 0.5):.2f} and {_of(taken['direct'], 0.99):.2f} ms"
    return [
        _beyond("gateway send, 200/s, added, p50", taken, 0.5, Target("value", 4, most=True), note),
        _beyond("gateway send, 200/s, added, p99", taken, 0.99, None, ""),
    ]


def _beyond(
    name: str, taken: Mapping[str, Sequence[Sequence[float]]], share: float, target: Target | None, note: str
) -> Figure:
    """Milliseconds that Kurir adds to a direct call of the same round, and that the proxy adds."""
    direct = [percentile(one, share) for one in taken["direct"]]
    ours, theirs = (
        [(percentile(one, share) - least) * MS for one, least in zip(taken[who], direct, strict=True)]
        for who in ("Kurir", "bare Starlette proxy")
    )
    ratio = ratios(ours, theirs) if min(theirs) > 0 else None
    beside = "a bare Starlette proxy adds"
    return Figure(name, median(ours), "ms", beside, median(theirs), ratio, target, note, tuple(ours))


def _of(taken: Sequence[Sequence[float]], share: float) -> float:
    """Milliseconds."""
    return median(percentile(one, share) for one in taken) * MS


# ---------------------------------------------------------------- REST


def _submission(given: object) -> bytes:
    return post("/v1/messages", orjson.dumps(given), f"Authorization: Bearer {KEY}")


def _message(chat: int) -> dict[str, object]:
    return {"method": "sendMessage", "params": params(chat)}


SINGLES = tuple(_submission(_message(chat)) for chat in range(CHATS))
BATCHES = tuple(_submission([_message(chat) for chat in range(at, at + BATCH)]) for at in range(0, CHATS, BATCH))


@dataclass(slots=True)
class _Submits:
    """What one contestant showed, by round."""

    single: list[float] = field(default_factory=list)  # messages/s
    batch: list[float] = field(default_factory=list)  # messages/s
    late: list[float] = field(default_factory=list)  # milliseconds, p99 of single ones at half of Kurir's rate
    cpu: list[float] = field(default_factory=list)  # microseconds of the server's for a single one


def _rest(run: Run, crowd: Clients, courier: bool) -> list[Figure]:
    """Messages handed over one by one and in batches; beside them an endpoint that parses, answers, and does no more."""
    seen = {"Kurir": _Submits(), "bare Starlette endpoint": _Submits()}

    def half() -> float:
        return seen["Kurir"].single[-1] / 2

    with upstream() as telegram, bare(telegram.url) as endpoint:

        def ours() -> float:
            with run.folder() as folder, serve(folder, telegram.url, courier=courier) as server:
                return _submit(run, crowd, server, seen["Kurir"], half, courier)

        contestants = {
            "Kurir": ours,
            "bare Starlette endpoint": lambda: _submit(run, crowd, endpoint, seen["bare Starlette endpoint"], half),
        }
        take_turns(_rounds(run), contestants, run.say)
    return _rest_figures(seen, "a courier sends meanwhile" if courier else "no courier")


def _submit(
    run: Run, crowd: Clients, server: Process, seen: _Submits, half: Callable[[], float], emptied: bool = False
) -> float:
    """One round of a contestant. `emptied`: what was handed over is sent before more comes."""
    single, at_half, many = run.size(12_000, 2_000), run.size(6_000, 1_000), run.size(40_000, 5_000)
    crowd.run(Load(server.port, SINGLES, CHATS // 2, CONNECTIONS), 202)
    before = server.cpu()
    told = crowd.run(Load(server.port, SINGLES, single, CONNECTIONS), 202)
    seen.single.append(single / told.wall)
    seen.cpu.append((server.cpu() - before) / single * MICRO)
    if emptied:
        _empty(server)
    told = crowd.run(Load(server.port, SINGLES, at_half, MOST_OPEN, half()), 202)
    seen.late.append(percentile(told.taken, 0.99) * MS)
    if emptied:
        _empty(server)
    told = crowd.run(Load(server.port, BATCHES, many // BATCH, BATCHES_AT_ONCE), 202)
    seen.batch.append(many / told.wall)
    return seen.single[-1]


def _rest_figures(seen: Mapping[str, _Submits], who_sends: str) -> list[Figure]:
    ours, beside = seen
    single, batch, late, cpu = (
        {name: getattr(submits, what) for name, submits in seen.items()} for what in ("single", "batch", "late", "cpu")
    )
    note = f"{who_sends}; {CONNECTIONS} connections"
    in_batches = f"{who_sends}; {BATCHES_AT_ONCE} connections"
    at_half = f"{who_sends}; about {median(single[ours]) / 2:,.0f}/s arrive, at random times"
    return [
        compared("POST /v1/messages, single", "/s", single, ours, beside, Target("value", 4_000), note),
        compared("  CPU of the server's process for one", "µs", cpu, ours, beside),
        compared("  p99 at half of that load", "ms", late, ours, beside, Target("value", 25, most=True), at_half),
        compared(f"  batches of {BATCH}", "/s", batch, ours, beside, Target("value", 20_000), in_batches),
    ]


# ---------------------------------------------------------------- waiting connections


def _idle(run: Run) -> list[Figure]:
    """Memory of connections half of which poll for updates, and half wait for a delivery while Telegram is away."""
    run.say(f"{IDLE:,} connections that wait")
    poll = post(f"/bot{TOKEN}/getUpdates", b'{"timeout":50}')
    waits = [
        post(f"/bot{TOKEN}/sendMessage", orjson.dumps(params(chat)), "Prefer: wait=60") for chat in range(IDLE // 2)
    ]
    with upstream(away=True) as telegram, run.folder() as folder, ExitStack() as stack:
        kurir = stack.enter_context(serve(folder, telegram.url))
        proxy = stack.enter_context(bare(telegram.url))
        ours = _grown(kurir, [poll] * (IDLE - len(waits)) + waits, len(waits))
        theirs = _grown(proxy, [poll] * IDLE, None)
    return [
        Figure(
            f"memory of {IDLE:,} waiting connections",
            ours / MB,
            "MB",
            "a bare Starlette proxy, all long polls",
            theirs / MB,
            ours / theirs,
            Target("value", 150, most=True),
            f"{IDLE - len(waits)} long polls, {len(waits)} sends that wait while Telegram is away",
        )
    ]


def _grown(server: Process, requests: Iterable[bytes], stored: int | None) -> int:
    """Bytes by which the server grows while each request waits on a connection of its own. `stored`: so many messages must
    be waiting then."""
    before = most = server.resident()
    with ExitStack() as stack, selectors.DefaultSelector() as answered:
        for request in requests:
            wire = stack.enter_context(socket.create_connection(("127.0.0.1", server.port)))
            wire.sendall(request)
            answered.register(wire, selectors.EVENT_READ)
        until = time.monotonic() + LOOKED_AT
        while time.monotonic() < until:
            time.sleep(0.2)
            most = max(most, server.resident())
        if found := answered.select(0):
            raise RuntimeError(f"{len(found)} connections were answered, and should wait")
        if stored is not None and (waiting := server.gauge("kurir_waiting")) != stored:
            raise RuntimeError(f"{waiting:.0f} messages wait, not {stored}")
    return most - before


# ---------------------------------------------------------------- servers


def _port(server: Upstream) -> int:
    return int(server.url.rpartition(":")[2])


def _empty(server: Process) -> None:
    """Wait until the courier has nothing left to send."""
    until = time.monotonic() + EMPTY_WITHIN
    while waiting := server.gauge("kurir_waiting"):
        if time.monotonic() > until:
            raise RuntimeError(f"{waiting:.0f} messages were left after {EMPTY_WITHIN:g} s")
        time.sleep(0.1)
