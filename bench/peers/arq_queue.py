"""arq on Redis; see jobs.py."""

import uvloop
from arq import create_pool, func  # type: ignore[import-not-found]
from arq.connections import RedisSettings  # type: ignore[import-not-found]
from arq.worker import Worker  # type: ignore[import-not-found]
from jobs import AT_ONCE, Countdown, asked, drained, enqueued, share, tell


async def main(url: str, mode: str, count: int) -> float:
    pool = await create_pool(RedisSettings.from_dsn(url))
    countdown = Countdown(count)

    async def noop(_: object, **message: object) -> None:
        countdown.done()

    if mode != "drain":
        return await enqueued(mode, count, lambda job: pool.enqueue_job("noop", **job))
    await share(count, lambda job: pool.enqueue_job("noop", **job))
    functions = [func(noop, name="noop")]
    worker = Worker(functions, redis_pool=pool, max_jobs=AT_ONCE, poll_delay=0.01, handle_signals=False)
    return await drained(count, countdown, worker.async_run())


tell(uvloop.run(main(*asked())))
