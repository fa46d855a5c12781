"""dramatiq on Redis; see jobs.py. It blocks: a hundred at once are a hundred threads."""

import itertools
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import dramatiq  # type: ignore[import-not-found]
from dramatiq.brokers.redis import RedisBroker  # type: ignore[import-not-found]
from jobs import AT_ONCE, WARM_UP, asked, job, tell

CONNECTIONS = 300  # no thread waits for one


def main(url: str, mode: str, count: int) -> float:
    broker = RedisBroker(url=f"{url}?max_connections={CONNECTIONS}")
    dramatiq.set_broker(broker)
    done, ended = itertools.count(1), threading.Event()

    @dramatiq.actor
    def noop(**message: object) -> None:
        if next(done) == count:
            ended.set()

    def send(number: int) -> None:
        noop.send(**job(number))

    if mode != "drain":
        return _enqueued(mode, count, send)
    _at_once(count, send)
    began = time.perf_counter()
    worker = dramatiq.Worker(broker, worker_threads=AT_ONCE)
    worker.start()
    ended.wait()
    rate = count / (time.perf_counter() - began)
    worker.stop()
    return rate


def _enqueued(mode: str, count: int, send: Callable[[int], None]) -> float:
    for number in range(WARM_UP):
        send(number)
    began = time.perf_counter()
    if mode == "one":
        for number in range(count):
            send(number)
    else:
        assert mode == "hundred", mode
        _at_once(count, send)
    return count / (time.perf_counter() - began)


def _at_once(count: int, send: Callable[[int], None]) -> None:
    with ThreadPoolExecutor(AT_ONCE) as threads:
        list(threads.map(send, range(count)))


tell(main(*asked()))
