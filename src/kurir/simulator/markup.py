"""What the parsers of formatted text share. Offsets and lengths are in UTF-16 units, as in the Bot API."""

from __future__ import annotations

import re
from typing import Any

from .errors import ApiError, bad_request

Entity = dict[str, Any]  # type, offset, length, and url / user / language / custom_emoji_id

# Outer entities come first where two have the same extent (td `MessageEntity::get_type_priority`).
PRIORITY = {
    "blockquote": 0, "expandable_blockquote": 0, "pre": 11, "code": 20, "text_link": 49, "text_mention": 49,
    "bold": 90, "italic": 91, "underline": 92, "strikethrough": 93, "spoiler": 94, "custom_emoji": 99,
}  # fmt: skip

_LINK = re.compile(r"^(?:(https?)://)?([^\s/?#:@]+\.[^\s/?#:@]{2,})(:\d+)?([/?#]\S*)?$", re.IGNORECASE)
_APP_LINK = re.compile(r"^(tg|ton|tonsite)://?\S+$", re.IGNORECASE)
_USER = re.compile(r"^tg:(?://)?user\?id=(\d+)$", re.IGNORECASE)
_EMOJI = re.compile(r"[?&]id=([^&#]*)")


def units(text: str) -> int:
    """Length in UTF-16 units."""
    return len(text) if text.isascii() else len(text.encode("utf-16-le")) // 2


def unparsable(words: str) -> ApiError:
    """What every parse error becomes."""
    return bad_request(f"can't parse entities: {words}")


def byte_offset(text: str, index: int) -> int:
    """Telegram counts places in UTF-8 bytes."""
    return len(text[:index].encode())


class Out:
    """The text without its markup, and the entities found."""

    def __init__(self) -> None:
        self.parts: list[str] = []
        self.offset = 0
        self.entities: list[Entity] = []

    def add(self, piece: str) -> None:
        self.parts.append(piece)
        self.offset += units(piece)

    def since(self, index: int) -> str:
        """What was written after the first `index` pieces."""
        return "".join(self.parts[index:])

    def mark(self, kind: str, offset: int, **more: Any) -> None:
        """An entity from `offset` to here; nothing where it is empty."""
        if self.offset > offset:
            self.entities.append({"type": kind, "offset": offset, "length": self.offset - offset, **more})

    def link(self, url: str, offset: int) -> None:
        """A link or a mention of a user; nothing where the address is none."""
        user = _USER.match(url.strip())
        if user:
            mentioned = {"id": int(user[1]), "is_bot": False, "first_name": f"User {user[1]}"}
            self.mark("text_mention", offset, user=mentioned)
            return
        address = checked_link(url)
        if address:
            self.mark("text_link", offset, url=address)

    def done(self) -> tuple[str, list[Entity]]:
        self.entities.sort(key=lambda e: (e["offset"], -e["length"], PRIORITY.get(e["type"], 50)))
        return "".join(self.parts), self.entities


def checked_link(url: str) -> str:
    """The address as Telegram stores it; empty where it is no address."""
    url = url.strip()
    if _APP_LINK.match(url):
        return url
    found = _LINK.match(url)
    if not found:
        return ""
    scheme, host, port, rest = found.groups()
    rest = rest or ""
    if not rest.startswith("/"):
        rest = "/" + rest
    return f"{(scheme or 'http').lower()}://{host.lower()}{port or ''}{rest}"


def emoji_id(url: str) -> str:
    """The identifier in a tg://emoji?id= address."""
    scheme, _, rest = url.partition(":")
    if scheme.lower() != "tg":
        raise unparsable("Custom emoji URL must have scheme tg")
    host = re.split(r"[/?#]", rest.removeprefix("//"), maxsplit=1)[0]
    if host.lower() != "emoji":
        raise unparsable('Custom emoji URL must have host "emoji"')
    found = _EMOJI.search(rest.split("#")[0])
    if not found:
        raise unparsable("Custom emoji URL must have an emoji identifier")
    return checked_emoji(found[1])


def checked_emoji(identifier: str) -> str:
    if not identifier.isdigit() or identifier.startswith("0") or int(identifier) >= 2**63:
        raise unparsable("Invalid custom emoji identifier specified")
    return identifier
