"""pyTelegramBotAPI (the blocking half) does everything a bot does once."""

from __future__ import annotations

import asyncio
from typing import Any

from telebot import TeleBot, apihelper
from telebot.types import CallbackQuery, InlineKeyboardMarkup, InputFile, InputMediaPhoto, Message

from .telling import CHATS, LONG, MENU, Given, digest, step, tell


def describe(error: Exception) -> dict[str, Any]:
    answer = getattr(error, "result_json", {})
    return {"words": str(error), "retry_after": answer.get("parameters", {}).get("retry_after")}


async def sends(bot: TeleBot, given: Given) -> None:
    def text() -> dict[str, Any]:
        sent = bot.send_message(CHATS["text"], "Hello, <b>Wörld</b> ✓", parse_mode="HTML")
        return {"id": sent.message_id, "text": sent.text}

    def photo() -> dict[str, Any]:
        with given.pictures[0].open("rb") as file:
            sent = bot.send_photo(CHATS["photo"], file, caption="a picture")
        return {"id": sent.message_id, "file": sent.photo[-1].file_id}

    def album() -> dict[str, Any]:
        items = [InputMediaPhoto(InputFile(path), caption=path.stem) for path in given.pictures]
        return {"ids": [one.message_id for one in bot.send_media_group(CHATS["album"], items)]}

    def download() -> dict[str, Any]:
        return {"sha256": digest(bot.download_file(bot.get_file(shown["file"]).file_path))}

    await step("text", text, describe)
    await step("long", lambda: bot.send_message(CHATS["long"], LONG), describe)
    shown = await step("photo", photo, describe)
    await step("album", album, describe)
    await step("download", download, describe)


async def changes(bot: TeleBot) -> None:
    def edit() -> dict[str, Any]:
        sent = bot.send_message(CHATS["edit"], "before")
        edited = bot.edit_message_text("after", sent.chat.id, sent.message_id)
        return {"id": edited.message_id, "text": edited.text}

    def delete() -> dict[str, Any]:
        sent = bot.send_message(CHATS["delete"], "to be deleted")
        bot.send_message(CHATS["delete"], "to stay")
        return {"deleted": bot.delete_message(sent.chat.id, sent.message_id)}

    await step("edit", edit, describe)
    await step("delete", delete, describe)


async def refusals(bot: TeleBot) -> None:
    await step("refused", lambda: bot.send_message(CHATS["refused"], "<wrong>", parse_mode="HTML"), describe)
    await step("blocked", lambda: bot.send_message(CHATS["blocked"], "one"), describe)
    await step("blocked again", lambda: bot.send_message(CHATS["blocked"], "two"), describe)
    await step("flood", lambda: bot.get_chat(CHATS["flood"]), describe)


def polling(bot: TeleBot) -> None:
    @bot.message_handler()
    def on_message(message: Message) -> None:
        tell("message", result={"text": message.text})
        bot.reply_to(message, f"You said {message.text}")

    @bot.callback_query_handler(func=None)
    def on_press(query: CallbackQuery) -> None:
        tell("press", result={"data": query.data, "answered": bot.answer_callback_query(query.id, "Thank you")})
        bot.stop_polling()

    menu = bot.send_message(CHATS["menu"], "Menu", reply_markup=InlineKeyboardMarkup.de_json(MENU))
    tell("polling", result={"menu": menu.message_id})
    bot.infinity_polling(long_polling_timeout=2)


def main(given: Given) -> None:
    apihelper.API_URL = f"{given.url}/bot{{0}}/{{1}}"
    apihelper.FILE_URL = f"{given.url}/file/bot{{0}}/{{1}}"
    bot = TeleBot(given.token)
    asyncio.run(sends(bot, given))
    asyncio.run(changes(bot))
    asyncio.run(refusals(bot))
    polling(bot)


if __name__ == "__main__":
    main(Given.read())
