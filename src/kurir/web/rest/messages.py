"""`/v1/messages`: hand over, look, retry, cancel, purge."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

from kurir.app import Kurir
from kurir.core.errors import InvalidMessage, TooLarge
from kurir.core.message import Record, State
from kurir.message import Message
from kurir.ports import Cancel, Change, Clock, Purge, Requeue
from kurir.records import record_json
from kurir.services.receipts import Receipt
from kurir.telegram.files import InputFile

from .answers import Reply, reply
from .asked import Asked, Unsupported, load
from .describe import (
    ADMIN,
    COUNT,
    CURSOR,
    ID,
    LIMIT,
    LOOK,
    SEND,
    Json,
    Operation,
    answer,
    body,
    describe,
    page_of,
    parameter,
    ref,
)
from .examples import ACCEPTED, CALL, CALLS, EDIT, PHOTO, RECORD
from .files import KEPT, MARKS, Desk, referred
from .filters import Conditions, filter_parameters, filter_schema, from_body, from_query
from .incoming import header_key, keyed, keyed_batch, message, messages

STEP = 500  # messages changed in one step
PAGE_STEP = 50  # messages read in one step
PAGE_BYTES = 8 << 20  # after which a page ends
TAG = "Messages"


@dataclass(frozen=True, slots=True)
class Messages:
    """The handlers. `names`: the bots' names by id."""

    kurir: Kurir
    desk: Desk
    clock: Clock
    names: Mapping[int, str]

    # ---------------------------------------------------------------- handing over

    async def post(self, asked: Asked) -> Reply:
        """POST /v1/messages."""
        if asked.media() == b"multipart/form-data":
            return await self._post_multipart(asked)
        raw = await asked.raw_json(self.desk.body)
        named = any(mark in raw for mark in MARKS)
        return await self._submit(await load(raw), header_key(asked.header(b"idempotency-key")), {} if named else None)

    async def _submit(self, given: Any, key: str | None, files: Mapping[str, InputFile] | None) -> Reply:
        """`files`: None where nothing in the body refers to a file."""
        try:
            if type(given) is list:
                batch = messages(given)
                if key is not None:
                    batch = keyed_batch(batch, key)
                if files is not None:
                    batch = [self._resolved(one, f"messages[{i}].", files) for i, one in enumerate(batch)]
                return reply([_accepted(receipt) for receipt in await self.kurir.submit(batch)], 202)
            one = message(given)
            if key is not None:
                one = keyed(one, key)
            if files is not None:
                one = self._resolved(one, "", files)
            return reply(_accepted(await self.kurir.submit(one)), 202)
        except RecursionError:
            raise _deep() from None

    def _resolved(self, one: Message, where: str, files: Mapping[str, InputFile]) -> Message:
        return self.desk.resolve(one, where, files) if type(one.params) is dict else one

    async def _post_multipart(self, asked: Asked) -> Reply:
        key = header_key(asked.header(b"idempotency-key"))
        async with self.desk.parts(asked) as (texts, uploads):
            given = await load(await _message_part(texts, uploads, self.desk.body))
            found = [message(given)] if type(given) is not list else messages(given)
            try:
                wanted = referred([one.params for one in found])
            except RecursionError:
                raise _deep() from None
            for name in [*texts, *uploads]:
                if name not in wanted and name != "message":
                    raise InvalidMessage(
                        name[:64], "is a part that no message refers to", f"Write attach://{name[:64]}."
                    )
            files = {
                name: (await self.desk.keep(name, upload))[0] for name, upload in uploads.items() if name in wanted
            }
        return await self._submit(given, key, files)

    # ---------------------------------------------------------------- looking

    async def get(self, asked: Asked) -> Reply:
        """GET /v1/messages/{id}."""
        return reply(self.shown(await self.kurir.get(asked.path_params["id"])))

    async def page(self, asked: Asked) -> Reply:
        """GET /v1/messages."""
        return await self.found(from_query(asked.query(), self.kurir.bots, self.clock.now()))

    async def found(self, conditions: Conditions) -> Reply:
        """A page of messages: as many as asked for, or fewer when they are large, and at least one if there is one."""
        left, size = conditions.pop("limit"), 0
        items: list[Json] = []
        while True:
            conditions["limit"] = min(left, PAGE_STEP)
            page = await self.kurir.find(**conditions, with_attempts=True)
            fit = _fitting(page.items, PAGE_BYTES - size)
            if fit < len(page.items):
                if items and not fit:
                    break  # the next page begins with this step
                conditions["limit"] = left = max(1, fit)
                page = await self.kurir.find(**conditions, with_attempts=True)
            items += [self.shown(record) for record in page.items]
            size += sum(map(_size, page.items))
            left -= len(page.items)
            conditions["cursor"] = page.next
            if page.next is None or left <= 0:
                break
        return reply({"items": items, "next": conditions["cursor"]})

    def shown(self, record: Record) -> Json:
        """A message as REST tells it: `bot` is the name in the settings."""
        shown = record_json(record)
        shown["bot"], shown["bot_id"] = self.names.get(record.bot, str(record.bot)), record.bot
        return shown

    # ---------------------------------------------------------------- changing

    async def retry(self, asked: Asked) -> Reply:
        """POST /v1/messages/{id}/retry."""
        await self.kurir.retry(asked.path_params["id"])
        return await self.get(asked)

    async def cancel(self, asked: Asked) -> Reply:
        """POST /v1/messages/{id}/cancel."""
        await self.kurir.cancel(asked.path_params["id"])
        return await self.get(asked)

    async def retry_all(self, asked: Asked) -> Reply:
        """POST /v1/messages/retry."""
        return await self._change_all(asked, Requeue(), State.DEAD)

    async def cancel_all(self, asked: Asked) -> Reply:
        """POST /v1/messages/cancel."""
        return await self._change_all(asked, Cancel(), State.WAITING)

    async def purge_all(self, asked: Asked) -> Reply:
        """POST /v1/messages/purge."""
        return await self._change_all(asked, Purge(), None)

    async def _change_all(self, asked: Asked, change: Change, usual: State | None) -> Reply:
        given = await asked.json(self.desk.body)
        conditions = from_body(given, self.kurir.bots, self.clock.now())
        if "states" not in conditions and "ids" not in conditions:
            if usual is None:
                raise InvalidMessage("state", "is missing", "Say which ended messages go: delivered, dead, ...")
            conditions["states"] = (usual,)
        return await self.changed(conditions, change)

    async def changed(self, conditions: Conditions, change: Change) -> Reply:
        """Change all that match; answers how many."""
        return reply({"count": await self.kurir.change_all(change, **conditions, limit=STEP)})


def _size(record: Record) -> int:
    """Bytes it has in an answer, about."""
    return 1000 + len(record.params) + len(record.result or b"")


def _fitting(records: Sequence[Record], room: int) -> int:
    """How many of them have room in so many bytes."""
    for number, record in enumerate(records):
        room -= _size(record)
        if room < 0:
            return number
    return len(records)


def _deep() -> InvalidMessage:
    return InvalidMessage("params", "are nested too deeply", "Send fewer levels.")


def _accepted(receipt: Receipt) -> Json:
    accepted = receipt.accepted
    told: Json = {"id": accepted.id, "state": accepted.state, "duplicate": accepted.duplicate}
    return {**told, "spooled": True} if accepted.spooled else told


async def _message_part(texts: Mapping[str, str], uploads: Mapping[str, InputFile], most: int) -> bytes:
    """The JSON of the part `message`, sent as text or as a file. Raises TooLarge, Unsupported."""
    if "message" in texts:
        return texts["message"].encode()
    if "message" not in uploads:
        raise Unsupported(
            "the multipart body has no part `message`", "Put the message's JSON into a part of that name."
        )
    path = cast("Path", uploads["message"].source)
    if path.stat().st_size > most:
        raise TooLarge("message", f"is larger than {most:,} bytes", "Send less at once.")
    return await asyncio.to_thread(path.read_bytes)


# ---------------------------------------------------------------- described

_ONE_OR_MANY: Json = {
    "oneOf": [ref("Message"), {"type": "array", "items": ref("Message"), "maxItems": 1000}],
}
_ACCEPTED: Json = {"oneOf": [ref("Accepted"), {"type": "array", "items": ref("Accepted")}]}
_KEY = parameter(
    "Idempotency-Key",
    "The same key and body (`method`, `params`, files) again is the same message. Of a list, each message without a key "
    "of its own gets this one, `/` and its place.",
    {"type": "string", "minLength": 1, "maxLength": 255},
    "header",
)
_POST = describe(
    "Hand over a message, or up to 1,000",
    "When 202 comes back they are on disk and will be delivered, or end with a reason. `spooled`: the store is away, and "
    "they are on this machine until it is back. A list is kept whole or not at all. "
    "Files: send multipart/form-data with a part `message` (the JSON) and a part for each `attach://name` in its "
    f"parameters, or upload once with POST /v1/files and write `{KEPT}<id>/<name>`.",
    tag=TAG,
    parameters=[_KEY],
    body={
        **body(_ONE_OR_MANY, {"a text": CALL, "several, all or none": CALLS, "an edit": EDIT}),
        "multipart/form-data": {
            "schema": {
                "type": "object",
                "required": ["message"],
                "properties": {"message": _ONE_OR_MANY},
                "additionalProperties": {"type": "string", "contentMediaType": "application/octet-stream"},
            },
            "encoding": {"message": {"contentType": "application/json"}},
            "examples": {"e0": {"summary": "a photo in a part of its own", "value": PHOTO}},
        },
    },
    answers={202: answer("Durable.", _ACCEPTED, ACCEPTED)},
    errors=(400, 409, 413, 415, 422),
)
_CHANGE = "What the state of a message does not allow is left alone."


def _by_filter(summary: str, words: str, example: Json, schema: Json) -> Json:
    return describe(
        summary,
        f"{words} {_CHANGE}",
        tag=TAG,
        body=body(schema, {"an example": example}),
        answers={200: answer("How many it was.", COUNT, {"count": 3})},
        errors=(400, 413, 415, 422),
    )


def _change_one(summary: str, words: str) -> Json:
    record = answer("The message as it is now.", ref("Record"), RECORD)
    return describe(summary, words, tag=TAG, parameters=[ID], answers={200: record}, errors=(404, 409))


def operations(m: Messages) -> list[Operation]:
    purge = _by_filter(
        "Remove all that match",
        "Ended messages go for good, with their attempts and keys. `state` (or `ids`) is required.",
        {"state": ["delivered"], "until": "2026-01-01T00:00:00Z"},
        {**filter_schema(), "anyOf": [{"required": ["state"]}, {"required": ["ids"]}]},
    )
    listed = describe(
        "Messages, newest first",
        f"All given filters hold. A page ends early at about {PAGE_BYTES >> 20} MB.",
        tag=TAG,
        parameters=[*filter_parameters(), LIMIT, CURSOR],
        answers={200: answer("A page.", page_of("Record"), {"items": [RECORD], "next": None})},
        errors=(400, 422),
    )
    one = describe(
        "One message",
        "Its state, the reason, every attempt with its outcome, and Telegram's own result.",
        tag=TAG,
        parameters=[ID],
        answers={200: answer("The message.", ref("Record"), RECORD)},
        errors=(404,),
    )
    retry = _by_filter(
        "Retry all that match",
        "The dead ones, unless `state` says otherwise; `{}`: all of them.",
        {"chat_id": 42},
        filter_schema(),
    )
    cancel = _by_filter(
        "Cancel all that match",
        "What waits; what is being sent goes on. `{}`: all of it.",
        {"priority": "low"},
        filter_schema(),
    )
    retry_one = _change_one(
        "Retry", "A dead, cancelled or expired message waits again, at the end of its chat's queue."
    )
    cancel_one = _change_one("Cancel", "A waiting message that is not being sent at the moment.")
    return [
        Operation("POST", "/v1/messages", SEND, m.post, _POST),
        Operation("GET", "/v1/messages", LOOK, m.page, listed),
        Operation("POST", "/v1/messages/retry", ADMIN, m.retry_all, retry),
        Operation("POST", "/v1/messages/cancel", ADMIN, m.cancel_all, cancel),
        Operation("POST", "/v1/messages/purge", ADMIN, m.purge_all, purge),
        Operation("GET", "/v1/messages/{id}", LOOK, m.get, one),
        Operation("POST", "/v1/messages/{id}/retry", ADMIN, m.retry, retry_one),
        Operation("POST", "/v1/messages/{id}/cancel", ADMIN, m.cancel, cancel_one),
    ]
