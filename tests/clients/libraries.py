"""The bot libraries that are tested, and what they call Telegram's refusals."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Library:
    """`script`: in bots/ or, where `node`, in node/. Then its classes for a 400, a 403 and a 429."""

    script: str
    bad_request: str
    forbidden: str
    flood: str
    node: bool = False

    def __str__(self) -> str:
        return self.script.removesuffix("_steps")


LIBRARIES = (
    Library("aiogram_steps", "TelegramBadRequest", "TelegramForbiddenError", "TelegramRetryAfter"),
    Library("ptb_steps", "BadRequest", "Forbidden", "RetryAfter"),
    Library("telebot_steps", *["ApiTelegramException"] * 3),
    Library("telebot_async_steps", *["ApiTelegramException"] * 3),
    Library("grammy", *["GrammyError"] * 3, node=True),
    Library("telegraf", *["TelegramError"] * 3, node=True),
    Library("ntba", *["TelegramApiError"] * 3, node=True),
    Library("ntba_classic", *["TelegramError"] * 3, node=True),
)
