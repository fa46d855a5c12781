"""aiogram alone sends COUNT messages, CONCURRENCY at once: aiogram_send.py URL TOKEN COUNT CONCURRENCY."""

import asyncio
import json
import resource
import sys
import time

import uvloop
from aiogram import Bot  # type: ignore[import-not-found]
from aiogram.client.session.aiohttp import AiohttpSession  # type: ignore[import-not-found]
from aiogram.client.telegram import TelegramAPIServer  # type: ignore[import-not-found]

TEXT = "Your order is on its way. " * 13 + "Thank you!!"


async def main(url: str, token: str, count: int, concurrency: int) -> None:
    session = AiohttpSession(api=TelegramAPIServer.from_base(url), limit=concurrency)
    bot = Bot(token, session=session)
    numbers = iter(range(count))

    async def work() -> None:
        for number in numbers:
            await bot.send_message(100_000_000 + number % 1000, TEXT, parse_mode="HTML")

    await bot.send_message(1, TEXT)
    before, began = resource.getrusage(resource.RUSAGE_SELF), time.perf_counter()
    await asyncio.gather(*(work() for _ in range(concurrency)))
    wall, after = time.perf_counter() - began, resource.getrusage(resource.RUSAGE_SELF)
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    print(json.dumps({"wall": wall, "cpu": cpu}))
    await session.close()


uvloop.run(main(sys.argv[1], sys.argv[2], int(sys.argv[3]), int(sys.argv[4])))
