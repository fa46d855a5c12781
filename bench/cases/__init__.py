"""What is measured, by name, in the order it runs. Each case runs in a process of its own."""

from collections.abc import Callable

from bench.report import Figure
from bench.world import Run

from .claim import claim, lanes
from .doors import doors
from .drain import http, settle
from .latency import load, wire
from .postgres import postgres
from .redis import redis
from .space import disk, memory
from .submit import batch, hundred, one
from .workers import workers

Case = Callable[[Run], list[Figure]]

CASES: dict[str, Case] = {
    "one": one,
    "hundred": hundred,
    "batch": batch,
    "settle": settle,
    "http": http,
    "claim": claim,
    "lanes": lanes,
    "memory": memory,
    "disk": disk,
    "wire": wire,
    "load": load,
    "doors": doors,
    "postgres": postgres,
    "redis": redis,
    "workers": workers,
}
