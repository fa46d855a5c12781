"""What the single sends put into a message: one function a kind, from parameters to the Bot API's fields."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from . import params as read
from .errors import bad_request
from .files import media_json
from .model import Json
from .query import Query

DICE = {"🎲": 6, "🎯": 6, "🎳": 6, "🏀": 5, "⚽": 5, "🎰": 64}
EXTRAS = ("width", "height", "duration", "length", "title", "performer")


@dataclass(frozen=True, slots=True)
class Shape:
    """How one kind of message is made. `rights`: the word in "not enough rights to send ... to the chat"."""

    kind: str
    rights: str
    build: Callable[[Query], Json]
    captioned: bool = False


def media(kind: str) -> Callable[[Query], Json]:
    """A message with one file, in the parameter named after its kind."""

    def build(query: Query) -> Json:
        stored = query.file(kind, kind, query.params.get(kind))
        if stored is None:
            raise bad_request(f"there is no {kind.replace('_', ' ')} in the request")
        return media_json(stored, {name: _plain(query.params, name) for name in EXTRAS})

    return build


def item_json(query: Query, item: Any, kinds: tuple[str, ...]) -> tuple[str, Json]:
    """An InputMedia object: its kind and the fields of its message. Raises ApiError (400)."""
    wrong = "can't parse InputMedia: "
    if not isinstance(item, dict):
        raise bad_request(f"{wrong}expected an Object")
    kind = item.get("type")
    if not isinstance(kind, str) or kind not in ("photo", "video", "animation", "audio", "document"):
        raise bad_request(f'{wrong}type "{kind}" is unsupported')
    if kind not in kinds:
        raise bad_request(f'{wrong}type "{kind}" can\'t be used in sendMediaGroup')
    stored = query.file(kind, "", item["media"]) if item.get("media") else None
    if stored is None:
        raise bad_request(f"{wrong}media not found")
    return kind, media_json(stored, item)


def _plain(params: read.Params, name: str) -> Any:
    value = params.get(name)
    return int(value) if isinstance(value, str) and value.isdigit() else value


def no_fields(query: Query) -> Json:
    return {}


def _coordinates(query: Query) -> Json:
    latitude, longitude = read.decimal(query.params, "latitude"), read.decimal(query.params, "longitude")
    if latitude is None:
        raise bad_request("latitude is empty")
    if longitude is None:
        raise bad_request("longitude is empty")
    return {"latitude": latitude, "longitude": longitude}


def location(query: Query) -> Json:
    place = _coordinates(query)
    period = read.number(query.params, "live_period")
    if period and not (60 <= period <= 86400 or period == 0x7FFFFFFF):
        raise bad_request("invalid live_period specified")
    if period:
        place["live_period"] = period
    return {"location": place}


def venue(query: Query) -> Json:
    place = _coordinates(query)
    title, address = read.required(query.params, "title"), read.required(query.params, "address")
    return {"venue": {"location": place, "title": title, "address": address}, "location": place}


def contact(query: Query) -> Json:
    phone, name = read.required(query.params, "phone_number"), read.required(query.params, "first_name")
    card = {"phone_number": phone, "first_name": name}
    last = read.text(query.params, "last_name")
    return {"contact": {**card, "last_name": last} if last else card}


def poll(query: Query) -> Json:
    question = read.text(query.params, "question").strip()
    if not question:
        raise bad_request("poll question must be non-empty")
    if len(question) > 300:
        raise bad_request("poll question length must not exceed 300")
    given = read.document(query.params, "options", "can't parse options JSON object")
    if not isinstance(given, list):
        raise bad_request("expected an Array of String as options")
    texts = [str(one.get("text", "")) if isinstance(one, dict) else str(one) for one in given]
    if len(texts) < 2:
        raise bad_request("poll must have at least 2 option")
    if len(texts) > 12:
        raise bad_request("poll can't have more than 12 options")
    if any(not text.strip() for text in texts):
        raise bad_request("poll options must be non-empty")
    if any(len(text) > 100 for text in texts):
        raise bad_request("poll options length must not exceed 100")
    anonymous = "is_anonymous" not in query.params or read.flag(query.params, "is_anonymous")
    return {
        "poll": {
            "id": str(query.world.rng.getrandbits(62)),
            "question": question,
            "options": [
                {"text": text, "voter_count": 0, "persistent_id": str(number)} for number, text in enumerate(texts)
            ],
            "total_voter_count": 0,
            "is_closed": read.flag(query.params, "is_closed"),
            "is_anonymous": anonymous,
            "type": read.text(query.params, "type") or "regular",
            "allows_multiple_answers": read.flag(query.params, "allows_multiple_answers"),
            "allows_revoting": read.flag(query.params, "allows_revoting"),
            "members_only": False,
        }
    }


def dice(query: Query) -> Json:
    emoji = read.text(query.params, "emoji") or "🎲"
    if emoji not in DICE:
        raise bad_request("DICE_EMOJI_INVALID")
    return {"dice": {"emoji": emoji, "value": query.world.rng.randint(1, DICE[emoji])}}


def paid_media(query: Query) -> Json:
    stars = read.number(query.params, "star_count")
    if stars <= 0:
        raise bad_request("invalid paid media price specified")
    given = read.document(query.params, "media", "can't parse paid media JSON object")
    if not isinstance(given, list) or not given:
        raise bad_request("expected an Array of InputPaidMedia")
    items = [item_json(query, item, ("photo", "video")) for item in given]
    shown = [{"type": kind, kind: fields[kind]} for kind, fields in items]
    return {"paid_media": {"star_count": stars, "paid_media": shown}}


def invoice(query: Query) -> Json:
    title = read.required(query.params, "title")
    description = read.required(query.params, "description")
    read.required(query.params, "payload")
    currency = read.required(query.params, "currency")
    read.required(query.params, "prices")
    prices = read.document(query.params, "prices", "can't parse prices JSON object")
    if not isinstance(prices, list) or not all(isinstance(price, dict) for price in prices):
        raise bad_request("expected an Array of labeled prices")
    if not prices:
        raise bad_request("there must be at least one price")
    if len(currency) != 3:
        raise bad_request("CURRENCY_INVALID")
    total = sum(read.number(price, "amount") for price in prices)
    shown = {"title": title, "description": description, "start_parameter": "", "currency": currency}
    return {"invoice": {**shown, "total_amount": total}}


def game(query: Query) -> Json:
    name = read.required(query.params, "game_short_name")
    picture = {"file_id": f"game_{name}", "file_unique_id": f"game_{name}", "width": 1, "height": 1}
    return {"game": {"title": name, "description": name, "photo": [picture]}}


SHAPES = {
    "sendMessage": Shape("text", "text messages", no_fields),
    "sendPhoto": Shape("photo", "photos", media("photo"), captioned=True),
    "sendAudio": Shape("audio", "music", media("audio"), captioned=True),
    "sendDocument": Shape("document", "documents", media("document"), captioned=True),
    "sendVideo": Shape("video", "videos", media("video"), captioned=True),
    "sendAnimation": Shape("animation", "animations", media("animation"), captioned=True),
    "sendVoice": Shape("voice", "voice notes", media("voice"), captioned=True),
    "sendVideoNote": Shape("video_note", "video notes", media("video_note")),
    "sendSticker": Shape("sticker", "stickers", media("sticker")),
    "sendPaidMedia": Shape("paid_media", "paid media", paid_media, captioned=True),
    "sendLocation": Shape("location", "locations", location),
    "sendVenue": Shape("venue", "venues", venue),
    "sendContact": Shape("contact", "contacts", contact),
    "sendPoll": Shape("poll", "polls", poll),
    "sendDice": Shape("dice", "dice", dice),
    "sendInvoice": Shape("invoice", "invoices", invoice),
    "sendGame": Shape("game", "games", game),
}
