"""Short ways to send the common kinds. Parameters have the Bot API's own names; what is not a parameter of the method is
how to treat the message (`priority`, `idempotency_key`, `due_at`, ... see `Message`), or the `connection` to join."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import fields
from typing import Any

from .message import Message
from .services.receipts import Receipt

TREATMENT = frozenset(f.name for f in fields(Message)) - {"method", "params"}


def message(method: str, params: dict[str, Any]) -> Message:
    """A `Message` out of one set of keyword arguments: the treatment's names are taken out of the parameters."""
    treatment = {name: params.pop(name) for name in TREATMENT & params.keys()}
    return Message(method, {name: value for name, value in params.items() if value is not None}, **treatment)


class Conveniences(ABC):
    """Mixed into `Kurir`. Each returns a receipt once the message is durable, and raises what `submit` raises."""

    @abstractmethod
    async def submit(self, message: Message, /, *, connection: Any = None) -> Receipt: ...

    async def _send(self, method: str, chat_id: int | str, *, connection: Any = None, **params: Any) -> Receipt:
        return await self.submit(message(method, {"chat_id": chat_id, **params}), connection=connection)

    async def send_text(self, chat_id: int | str, text: str, **more: Any) -> Receipt:
        """sendMessage."""
        return await self._send("sendMessage", chat_id, text=text, **more)

    async def send_photo(self, chat_id: int | str, photo: Any, **more: Any) -> Receipt:
        """sendPhoto. `photo`: a path, bytes, an open file, or a `file_id` or URL as text."""
        return await self._send("sendPhoto", chat_id, photo=photo, **more)

    async def send_document(self, chat_id: int | str, document: Any, **more: Any) -> Receipt:
        """sendDocument."""
        return await self._send("sendDocument", chat_id, document=document, **more)

    async def send_voice(self, chat_id: int | str, voice: Any, **more: Any) -> Receipt:
        """sendVoice."""
        return await self._send("sendVoice", chat_id, voice=voice, **more)

    async def send_video(self, chat_id: int | str, video: Any, **more: Any) -> Receipt:
        """sendVideo."""
        return await self._send("sendVideo", chat_id, video=video, **more)

    async def send_animation(self, chat_id: int | str, animation: Any, **more: Any) -> Receipt:
        """sendAnimation."""
        return await self._send("sendAnimation", chat_id, animation=animation, **more)

    async def send_location(self, chat_id: int | str, latitude: float, longitude: float, **more: Any) -> Receipt:
        """sendLocation. Degrees."""
        return await self._send("sendLocation", chat_id, latitude=latitude, longitude=longitude, **more)

    async def send_media_group(self, chat_id: int | str, media: Sequence[dict[str, Any]], **more: Any) -> Receipt:
        """sendMediaGroup: 2 to 10 InputMedia objects as mappings; `media` in them may be a path or bytes."""
        return await self._send("sendMediaGroup", chat_id, media=list(media), **more)
