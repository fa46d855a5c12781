"""pyTelegramBotAPI with its own retries: it waits a second for an answer and asks the same five times at most."""

from __future__ import annotations

import asyncio
from typing import Any

from telebot import TeleBot, apihelper

from .telling import CHATS, Given, step


def main(given: Given) -> None:
    apihelper.API_URL = f"{given.url}/bot{{0}}/{{1}}"
    apihelper.READ_TIMEOUT = 1
    apihelper.RETRY_ON_ERROR = True
    apihelper.RETRY_ENGINE = 1
    apihelper.RETRY_TIMEOUT = 0
    apihelper.MAX_RETRIES = 5
    bot = TeleBot(given.token)

    def send() -> dict[str, Any]:
        return {"id": bot.send_message(CHATS["text"], "only once").message_id}

    asyncio.run(step("text", send, lambda error: {"words": str(error)}))


if __name__ == "__main__":
    main(Given.read())
