"""pyTelegramBotAPI (the asynchronous half) does everything a bot does once."""

from __future__ import annotations

import asyncio
from typing import Any

from telebot import asyncio_helper
from telebot.async_telebot import AsyncTeleBot
from telebot.types import CallbackQuery, InlineKeyboardMarkup, InputFile, InputMediaPhoto, Message

from .telling import CHATS, LONG, MENU, Given, digest, step, tell


def describe(error: Exception) -> dict[str, Any]:
    answer = getattr(error, "result_json", {})
    return {"words": str(error), "retry_after": answer.get("parameters", {}).get("retry_after")}


async def sends(bot: AsyncTeleBot, given: Given) -> None:
    async def text() -> dict[str, Any]:
        sent = await bot.send_message(CHATS["text"], "Hello, <b>Wörld</b> ✓", parse_mode="HTML")
        return {"id": sent.message_id, "text": sent.text}

    async def photo() -> dict[str, Any]:
        sent = await bot.send_photo(CHATS["photo"], InputFile(given.pictures[0]), caption="a picture")
        return {"id": sent.message_id, "file": sent.photo[-1].file_id}

    async def album() -> dict[str, Any]:
        items = [InputMediaPhoto(InputFile(path), caption=path.stem) for path in given.pictures]
        return {"ids": [one.message_id for one in await bot.send_media_group(CHATS["album"], items)]}

    async def download() -> dict[str, Any]:
        file = await bot.get_file(shown["file"])
        return {"sha256": digest(await bot.download_file(file.file_path))}

    await step("text", text, describe)
    await step("long", lambda: bot.send_message(CHATS["long"], LONG), describe)
    shown = await step("photo", photo, describe)
    await step("album", album, describe)
    await step("download", download, describe)


async def changes(bot: AsyncTeleBot) -> None:
    async def edit() -> dict[str, Any]:
        sent = await bot.send_message(CHATS["edit"], "before")
        edited = await bot.edit_message_text("after", sent.chat.id, sent.message_id)
        assert isinstance(edited, Message)
        return {"id": edited.message_id, "text": edited.text}

    async def delete() -> dict[str, Any]:
        sent = await bot.send_message(CHATS["delete"], "to be deleted")
        await bot.send_message(CHATS["delete"], "to stay")
        return {"deleted": await bot.delete_message(sent.chat.id, sent.message_id)}

    await step("edit", edit, describe)
    await step("delete", delete, describe)


async def refusals(bot: AsyncTeleBot) -> None:
    await step("refused", lambda: bot.send_message(CHATS["refused"], "<wrong>", parse_mode="HTML"), describe)
    await step("blocked", lambda: bot.send_message(CHATS["blocked"], "one"), describe)
    await step("blocked again", lambda: bot.send_message(CHATS["blocked"], "two"), describe)
    await step("flood", lambda: bot.get_chat(CHATS["flood"]), describe)


async def polling(bot: AsyncTeleBot) -> None:
    done = asyncio.Event()

    @bot.message_handler()
    async def on_message(message: Message) -> None:
        tell("message", result={"text": message.text})
        await bot.reply_to(message, f"You said {message.text}")

    @bot.callback_query_handler(func=None)
    async def on_press(query: CallbackQuery) -> None:
        tell("press", result={"data": query.data, "answered": await bot.answer_callback_query(query.id, "Thank you")})
        done.set()

    menu = await bot.send_message(CHATS["menu"], "Menu", reply_markup=InlineKeyboardMarkup.de_json(MENU))
    tell("polling", result={"menu": menu.message_id})
    loop = asyncio.create_task(bot.polling(non_stop=True))
    await done.wait()
    loop.cancel()
    await asyncio.gather(loop, return_exceptions=True)


async def main(given: Given) -> None:
    asyncio_helper.API_URL = f"{given.url}/bot{{0}}/{{1}}"
    asyncio_helper.FILE_URL = f"{given.url}/file/bot{{0}}/{{1}}"
    bot = AsyncTeleBot(given.token)
    await sends(bot, given)
    await changes(bot)
    await refusals(bot)
    await polling(bot)
    await bot.close_session()


if __name__ == "__main__":
    asyncio.run(main(Given.read()))
