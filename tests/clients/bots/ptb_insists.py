"""python-telegram-bot with its own timeouts: what ended in TimedOut is sent again, as many bots do."""

from __future__ import annotations

import asyncio
from typing import Any

from telegram import Bot
from telegram.error import TimedOut

from .telling import CHATS, Given, step, tell

TRIES = 3


async def main(given: Given) -> None:
    async with Bot(given.token, base_url=f"{given.url}/bot", base_file_url=f"{given.url}/file/bot") as bot:

        async def send() -> dict[str, Any]:
            for _ in range(TRIES):
                try:
                    sent = await bot.send_message(CHATS["text"], "only once")
                except TimedOut:
                    tell("timed out")
                else:
                    return {"id": sent.message_id}
            raise TimeoutError

        await step("text", send, lambda error: {"words": str(error)})


if __name__ == "__main__":
    asyncio.run(main(Given.read()))
