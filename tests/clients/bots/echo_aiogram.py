"""A bot in aiogram: it echoes what users write, in order for each of them, and has a menu."""

from __future__ import annotations

import asyncio
from collections import defaultdict

from aiogram import Bot, Dispatcher, F
from aiogram.client.session.aiohttp import AiohttpSession
from aiogram.client.telegram import TelegramAPIServer
from aiogram.filters import Command
from aiogram.types import CallbackQuery, InlineKeyboardMarkup, Message

from .telling import MENU, Given, tell

router = Dispatcher()
turns: defaultdict[int, asyncio.Lock] = defaultdict(asyncio.Lock)  # aiogram handles all updates at once


@router.message(Command("menu"))
async def on_menu(message: Message) -> None:
    await message.answer("Menu", reply_markup=InlineKeyboardMarkup.model_validate(MENU))


@router.message(F.text)
async def on_text(message: Message) -> None:
    async with turns[message.chat.id]:
        await message.answer(f"You said {message.text}")


@router.callback_query()
async def on_press(query: CallbackQuery) -> None:
    assert isinstance(query.message, Message)
    await query.message.edit_text(f"You {query.data} it")
    await query.answer("Thank you")


@router.startup()
async def on_startup() -> None:
    tell("polling")


async def main(given: Given) -> None:
    bot = Bot(given.token, session=AiohttpSession(api=TelegramAPIServer.from_base(given.url)))
    await router.start_polling(bot)


if __name__ == "__main__":
    asyncio.run(main(Given.read()))
