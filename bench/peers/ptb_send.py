"""python-telegram-bot alone sends COUNT messages, CONCURRENCY at once: ptb_send.py URL TOKEN COUNT CONCURRENCY."""

import asyncio
import json
import resource
import sys
import time

import uvloop
from telegram import Bot  # type: ignore[import-not-found]
from telegram.request import HTTPXRequest  # type: ignore[import-not-found]

TEXT = "Your order is on its way. " * 13 + "Thank you!!"


async def main(url: str, token: str, count: int, concurrency: int) -> None:
    request = HTTPXRequest(connection_pool_size=concurrency)
    bot = Bot(token, base_url=f"{url}/bot", request=request)
    numbers = iter(range(count))

    async def work() -> None:
        for number in numbers:
            await bot.send_message(100_000_000 + number % 1000, TEXT, parse_mode="HTML")

    async with bot:
        before, began = resource.getrusage(resource.RUSAGE_SELF), time.perf_counter()
        await asyncio.gather(*(work() for _ in range(concurrency)))
        wall, after = time.perf_counter() - began, resource.getrusage(resource.RUSAGE_SELF)
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    print(json.dumps({"wall": wall, "cpu": cpu}))


uvloop.run(main(sys.argv[1], sys.argv[2], int(sys.argv[3]), int(sys.argv[4])))
