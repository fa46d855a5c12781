"""A bot in python-telegram-bot: it echoes what users write, in order for each of them, and has a menu."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from typing import Any

from telegram import InlineKeyboardMarkup, Update
from telegram.ext import (
    Application,
    ApplicationBuilder,
    CallbackQueryHandler,
    CommandHandler,
    ContextTypes,
    MessageHandler,
    filters,
)

from .telling import MENU, Given, tell

turns: defaultdict[int, asyncio.Lock] = defaultdict(asyncio.Lock)  # with concurrent updates PTB keeps no order


async def on_menu(update: Update, context: ContextTypes.DEFAULT_TYPE) -> None:
    assert update.message is not None
    await update.message.reply_text("Menu", reply_markup=InlineKeyboardMarkup.de_json(MENU, context.bot))


async def on_text(update: Update, _: ContextTypes.DEFAULT_TYPE) -> None:
    assert update.message is not None
    async with turns[update.message.chat_id]:
        await update.message.reply_text(f"You said {update.message.text}")


async def on_press(update: Update, _: ContextTypes.DEFAULT_TYPE) -> None:
    query = update.callback_query
    assert query is not None
    await query.edit_message_text(f"You {query.data} it")
    await query.answer("Thank you")


async def on_start(_: Application[Any, Any, Any, Any, Any, Any]) -> None:
    tell("polling")


def main(given: Given) -> None:
    builder = (
        ApplicationBuilder().token(given.token).base_url(f"{given.url}/bot").base_file_url(f"{given.url}/file/bot")
    )
    app = builder.concurrent_updates(True).post_init(on_start).build()
    app.add_handler(CommandHandler("menu", on_menu))
    app.add_handler(MessageHandler(filters.TEXT, on_text))
    app.add_handler(CallbackQueryHandler(on_press))
    asyncio.set_event_loop(asyncio.new_event_loop())
    app.run_polling(bootstrap_retries=-1)


if __name__ == "__main__":
    main(Given.read())
