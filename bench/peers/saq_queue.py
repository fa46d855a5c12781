"""SAQ on PostgreSQL or Redis, by the URL; see jobs.py."""

import uvloop
from jobs import AT_ONCE, Countdown, asked, drained, enqueued, share, tell
from saq import Queue, Worker  # type: ignore[import-not-found]


async def main(url: str, mode: str, count: int) -> float:
    queue = Queue.from_url(url)
    await queue.connect()
    countdown = Countdown(count)

    async def noop(_: object, **message: object) -> None:
        countdown.done()

    try:
        if mode != "drain":
            return await enqueued(mode, count, lambda job: queue.enqueue("noop", **job))
        await share(count, lambda job: queue.enqueue("noop", **job))
        worker = Worker(queue, functions=[("noop", noop)], concurrency=AT_ONCE)
        return await drained(count, countdown, worker.start())
    finally:
        await queue.disconnect()


tell(uvloop.run(main(*asked())))
