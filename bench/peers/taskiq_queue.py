"""taskiq on a Redis stream (taskiq-redis); see jobs.py."""

import uvloop
from jobs import AT_ONCE, Countdown, asked, drained, enqueued, share, tell
from taskiq.api import run_receiver_task  # type: ignore[import-not-found]
from taskiq_redis import RedisStreamBroker  # type: ignore[import-not-found]


async def main(url: str, mode: str, count: int) -> float:
    broker = RedisStreamBroker(url)
    countdown = Countdown(count)

    @broker.task(task_name="noop")
    async def noop(**message: object) -> None:
        countdown.done()

    await broker.startup()
    try:
        if mode != "drain":
            return await enqueued(mode, count, lambda job: noop.kiq(**job))
        await share(count, lambda job: noop.kiq(**job))
        return await drained(count, countdown, run_receiver_task(broker, max_async_tasks=AT_ONCE))
    finally:
        await broker.shutdown()


tell(uvloop.run(main(*asked())))
