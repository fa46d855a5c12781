"""python-telegram-bot does everything a bot does once."""

from __future__ import annotations

import asyncio
from typing import Any

from telegram import Bot, InlineKeyboardMarkup, InputMediaPhoto, Message, Update
from telegram.error import RetryAfter
from telegram.ext import Application, ApplicationBuilder, CallbackQueryHandler, ContextTypes, MessageHandler, filters

from .telling import CHATS, LONG, MENU, Given, digest, step, tell


def describe(error: Exception) -> dict[str, Any]:
    return {"words": str(error), "retry_after": error.retry_after if isinstance(error, RetryAfter) else None}


async def sends(bot: Bot, given: Given) -> None:
    async def text() -> dict[str, Any]:
        sent = await bot.send_message(CHATS["text"], "Hello, <b>Wörld</b> ✓", parse_mode="HTML")
        return {"id": sent.message_id, "text": sent.text}

    async def photo() -> dict[str, Any]:
        sent = await bot.send_photo(CHATS["photo"], given.pictures[0], caption="a picture")
        return {"id": sent.message_id, "file": sent.photo[-1].file_id}

    async def album() -> dict[str, Any]:
        items = [InputMediaPhoto(path.read_bytes(), caption=path.stem) for path in given.pictures]
        return {"ids": [one.message_id for one in await bot.send_media_group(CHATS["album"], items)]}

    async def download() -> dict[str, Any]:
        file = await bot.get_file(shown["file"])
        return {"sha256": digest(bytes(await file.download_as_bytearray()))}

    await step("text", text, describe)
    await step("long", lambda: bot.send_message(CHATS["long"], LONG), describe)
    shown = await step("photo", photo, describe)
    await step("album", album, describe)
    await step("download", download, describe)


async def changes(bot: Bot) -> None:
    async def edit() -> dict[str, Any]:
        sent = await bot.send_message(CHATS["edit"], "before")
        edited = await sent.edit_text("after")
        assert isinstance(edited, Message)
        return {"id": edited.message_id, "text": edited.text}

    async def delete() -> dict[str, Any]:
        sent = await bot.send_message(CHATS["delete"], "to be deleted")
        await bot.send_message(CHATS["delete"], "to stay")
        return {"deleted": await sent.delete()}

    await step("edit", edit, describe)
    await step("delete", delete, describe)


async def refusals(bot: Bot) -> None:
    await step("refused", lambda: bot.send_message(CHATS["refused"], "<wrong>", parse_mode="HTML"), describe)
    await step("blocked", lambda: bot.send_message(CHATS["blocked"], "one"), describe)
    await step("blocked again", lambda: bot.send_message(CHATS["blocked"], "two"), describe)
    await step("flood", lambda: bot.get_chat(CHATS["flood"]), describe)


async def on_message(update: Update, _: ContextTypes.DEFAULT_TYPE) -> None:
    assert update.message is not None
    tell("message", result={"text": update.message.text})
    await update.message.reply_text(f"You said {update.message.text}")


async def on_press(update: Update, context: ContextTypes.DEFAULT_TYPE) -> None:
    query = update.callback_query
    assert query is not None
    tell("press", result={"data": query.data, "answered": await query.answer("Thank you")})
    context.application.stop_running()


async def before_polling(app: Application[Any, Any, Any, Any, Any, Any]) -> None:
    given = Given.read()
    await sends(app.bot, given)
    await changes(app.bot)
    await refusals(app.bot)
    markup = InlineKeyboardMarkup.de_json(MENU, app.bot)
    menu = await app.bot.send_message(CHATS["menu"], "Menu", reply_markup=markup)
    tell("polling", result={"menu": menu.message_id})


def main(given: Given) -> None:
    builder = (
        ApplicationBuilder().token(given.token).base_url(f"{given.url}/bot").base_file_url(f"{given.url}/file/bot")
    )
    app = builder.post_init(before_polling).build()
    app.add_handler(MessageHandler(filters.TEXT, on_message))
    app.add_handler(CallbackQueryHandler(on_press))
    asyncio.set_event_loop(asyncio.new_event_loop())
    app.run_polling(stop_signals=None)


if __name__ == "__main__":
    main(Given.read())
