"""Texts and captions: parse, trim, measure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from .errors import bad_request
from .html import parse_html
from .markdown import parse_markdown, parse_markdown_v2
from .markup import Entity, units
from .params import Params, document, text

TEXT_LIMIT = 4096  # UTF-16 units after parsing (core.telegram.org/bots/api#sendmessage)
CAPTION_LIMIT = 1024

PARSERS = {"html": parse_html, "markdown": parse_markdown, "markdownv2": parse_markdown_v2}
DETECTED = frozenset(("mention", "hashtag", "cashtag", "bot_command", "url", "email", "phone_number"))
TYPES = DETECTED | {
    "bold", "italic", "underline", "strikethrough", "spoiler", "blockquote", "expandable_blockquote", "code",
    "pre", "text_link", "text_mention", "custom_emoji", "date_time",
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Formatted:
    text: str
    entities: list[Entity]

    @property
    def units(self) -> int:
        return units(self.text)


EMPTY = Formatted("", [])


def formatted(params: Params, field: str, entities_field: str) -> Formatted:
    """The parameter `field` after entity parsing. Raises ApiError (400) as Telegram words it."""
    source = text(params, field)
    if not source:
        return EMPTY
    mode = text(params, "parse_mode").lower()
    if mode and mode != "none":
        parser = PARSERS.get(mode)
        if parser is None:
            raise bad_request("unsupported parse_mode")
        plain, entities = parser(source)
        return trimmed(plain, entities)
    entities = explicit(params, entities_field, source) if params.get(entities_field) else []
    return trimmed(source, entities)


def explicit(params: Params, field: str, source: str) -> list[Entity]:
    """Entities given as a list."""
    given = document(params, field, "can't parse entities JSON object")
    if not isinstance(given, list):
        return []
    length, result = units(source), []
    for item in given:
        if not isinstance(item, dict):
            raise bad_request("can't parse MessageEntity: expected an Object")
        kind = item.get("type")
        if kind not in TYPES:
            raise bad_request("can't parse MessageEntity: Unsupported type specified")
        offset, extent = _place(item, "offset"), _place(item, "length")
        if offset < 0 or extent <= 0 or kind in DETECTED:
            continue
        if offset + extent > length:
            words = f"entity beginning at UTF-16 offset {offset} ends after the end of the text"
            raise bad_request(f"{words} at UTF-16 offset {length}")
        result.append({key: value for key, value in item.items() if value is not None})
    return result


def _place(item: dict[str, Any], name: str) -> int:
    value = item.get(name)
    if isinstance(value, int) and not isinstance(value, bool):
        return value
    raise bad_request(f'can\'t parse MessageEntity: Field "{name}" must be of type Number')


def trimmed(plain: str, entities: list[Entity]) -> Formatted:
    """As Telegram keeps it: no carriage returns, no white space at the ends."""
    clean = plain.replace("\r", "") if "\r" in plain and not entities else plain
    stripped = clean.strip()
    if stripped == clean or not entities:
        return Formatted(stripped, entities)
    lead = units(clean[: len(clean) - len(clean.lstrip())])
    length, kept = units(stripped), []
    for entity in entities:
        begin = max(entity["offset"] - lead, 0)
        end = min(entity["offset"] + entity["length"] - lead, length)
        if end > begin:
            kept.append({**entity, "offset": begin, "length": end - begin})
    return Formatted(stripped, kept)


def check_text(value: Formatted) -> None:
    """The limits of a message's text."""
    if not value.text:
        raise bad_request("text must be non-empty")
    if value.units > TEXT_LIMIT:
        raise bad_request("message is too long")


def check_caption(value: Formatted) -> None:
    """The limits of a caption."""
    if value.units > CAPTION_LIMIT:
        raise bad_request("message caption is too long")
