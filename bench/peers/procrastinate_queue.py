"""procrastinate on PostgreSQL; see jobs.py."""

import uvloop
from jobs import AT_ONCE, Countdown, Job, asked, drained, enqueued, in_bulk, tell
from procrastinate import App, PsycopgConnector  # type: ignore[import-not-found]


async def main(url: str, mode: str, count: int) -> float:
    app = App(connector=PsycopgConnector(conninfo=url, max_size=20))
    countdown = Countdown(count)

    @app.task(name="noop", pass_context=False)
    async def noop(**message: object) -> None:
        countdown.done()

    async def many(jobs: list[Job]) -> None:
        await noop.batch_defer_async(*jobs)

    async with app.open_async():
        await app.schema_manager.apply_schema_async()
        if mode != "drain":
            return await enqueued(mode, count, lambda job: noop.defer_async(**job), many)
        await in_bulk(count, many)
        worker = app.run_worker_async(concurrency=AT_ONCE, install_signal_handlers=False)
        return await drained(count, countdown, worker)


tell(uvloop.run(main(*asked())))
