"""aiogram 3 does everything a bot does once."""

from __future__ import annotations

import asyncio
from typing import Any

from aiogram import Bot, Dispatcher
from aiogram.client.session.aiohttp import AiohttpSession
from aiogram.client.telegram import TelegramAPIServer
from aiogram.types import CallbackQuery, FSInputFile, InlineKeyboardMarkup, InputMediaPhoto, Message

from .telling import CHATS, LONG, MENU, Given, digest, step, tell


def describe(error: Exception) -> dict[str, Any]:
    return {"words": str(error), "retry_after": getattr(error, "retry_after", None)}


async def sends(bot: Bot, given: Given) -> None:
    async def text() -> dict[str, Any]:
        sent = await bot.send_message(CHATS["text"], "Hello, <b>Wörld</b> ✓", parse_mode="HTML")
        return {"id": sent.message_id, "text": sent.text}

    async def photo() -> dict[str, Any]:
        sent = await bot.send_photo(CHATS["photo"], FSInputFile(given.pictures[0]), caption="a picture")
        assert sent.photo
        return {"id": sent.message_id, "file": sent.photo[-1].file_id}

    async def album() -> dict[str, Any]:
        items = [InputMediaPhoto(media=FSInputFile(path), caption=path.stem) for path in given.pictures]
        return {"ids": [one.message_id for one in await bot.send_media_group(CHATS["album"], items)]}

    async def download() -> dict[str, Any]:
        data = await bot.download(shown["file"])
        assert data is not None
        return {"sha256": digest(data.read())}

    await step("text", text, describe)
    await step("long", lambda: bot.send_message(CHATS["long"], LONG), describe)
    shown = await step("photo", photo, describe)
    await step("album", album, describe)
    await step("download", download, describe)


async def changes(bot: Bot) -> None:
    async def edit() -> dict[str, Any]:
        sent = await bot.send_message(CHATS["edit"], "before")
        edited = await bot.edit_message_text("after", chat_id=sent.chat.id, message_id=sent.message_id)
        assert isinstance(edited, Message)
        return {"id": edited.message_id, "text": edited.text}

    async def delete() -> dict[str, Any]:
        sent = await bot.send_message(CHATS["delete"], "to be deleted")
        await bot.send_message(CHATS["delete"], "to stay")
        return {"deleted": await bot.delete_message(sent.chat.id, sent.message_id)}

    await step("edit", edit, describe)
    await step("delete", delete, describe)


async def refusals(bot: Bot) -> None:
    await step("refused", lambda: bot.send_message(CHATS["refused"], "<wrong>", parse_mode="HTML"), describe)
    await step("blocked", lambda: bot.send_message(CHATS["blocked"], "one"), describe)
    await step("blocked again", lambda: bot.send_message(CHATS["blocked"], "two"), describe)
    await step("flood", lambda: bot.get_chat(CHATS["flood"]), describe)


async def polling(bot: Bot) -> None:
    router = Dispatcher()

    @router.message()
    async def on_message(message: Message) -> None:
        tell("message", result={"text": message.text})
        await message.answer(f"You said {message.text}")

    @router.callback_query()
    async def on_press(query: CallbackQuery) -> None:
        tell("press", result={"data": query.data, "answered": await query.answer("Thank you")})
        await router.stop_polling()

    menu = await bot.send_message(CHATS["menu"], "Menu", reply_markup=InlineKeyboardMarkup.model_validate(MENU))
    tell("polling", result={"menu": menu.message_id})
    await router.start_polling(bot, handle_signals=False)


async def main(given: Given) -> None:
    session = AiohttpSession(api=TelegramAPIServer.from_base(given.url))
    async with Bot(given.token, session=session) as bot:
        await sends(bot, given)
        await changes(bot)
        await refusals(bot)
        await polling(bot)


if __name__ == "__main__":
    asyncio.run(main(Given.read()))
