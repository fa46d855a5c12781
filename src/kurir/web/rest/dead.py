"""`/v1/dead-letters`: what nobody will try again unless asked."""

from __future__ import annotations

from dataclasses import dataclass

from kurir.core.errors import WrongState
from kurir.core.message import State
from kurir.ports import Purge, Requeue

from .answers import Reply
from .asked import Asked
from .describe import ADMIN, COUNT, CURSOR, ID, LIMIT, READ, Json, Operation, answer, body, describe, page_of, ref
from .examples import RECORD
from .filters import filter_parameters, filter_schema, from_body, from_query
from .messages import Messages

TAG = "Dead letters"
DEAD = (State.DEAD,)


@dataclass(frozen=True, slots=True)
class DeadLetters:
    """The handlers: those of messages, for dead ones only."""

    messages: Messages

    async def page(self, asked: Asked) -> Reply:
        """GET /v1/dead-letters."""
        m = self.messages
        conditions = from_query(asked.query(), m.kurir.bots, m.clock.now(), states=False)
        return await m.found({**conditions, "states": DEAD})

    async def retry(self, asked: Asked) -> Reply:
        """POST /v1/dead-letters/{id}/retry."""
        id = asked.path_params["id"]
        record = await self.messages.kurir.get(id)
        if record.state is not State.DEAD:
            raise WrongState(f"message {id} is {record.state}", "It is to be dead; see POST /v1/messages/{id}/retry.")
        return await self.messages.retry(asked)

    async def retry_all(self, asked: Asked) -> Reply:
        """POST /v1/dead-letters/retry."""
        return await self._change_all(asked, Requeue())

    async def purge_all(self, asked: Asked) -> Reply:
        """POST /v1/dead-letters/purge."""
        return await self._change_all(asked, Purge())

    async def _change_all(self, asked: Asked, change: Requeue | Purge) -> Reply:
        m = self.messages
        given = await asked.json(m.desk.body)
        conditions = from_body(given, m.kurir.bots, m.clock.now(), states=False)
        return await m.changed({**conditions, "states": DEAD}, change)


# ---------------------------------------------------------------- described


def _by_filter(summary: str, words: str, example: Json) -> Json:
    return describe(
        summary,
        words,
        tag=TAG,
        body=body(filter_schema(states=False), {"an example": example}),
        answers={200: answer("How many it was.", COUNT, {"count": 3})},
        errors=(400, 413, 415, 422),
    )


def operations(d: DeadLetters) -> list[Operation]:
    dead = {**RECORD, "state": "dead", "reason": "bot was blocked by the user", "result": None}
    listed = describe(
        "Dead letters, newest first",
        "Refused for good, out of tries, held in doubt, or poison; `reason` carries Telegram's own words.",
        tag=TAG,
        parameters=[*filter_parameters(states=False), LIMIT, CURSOR],
        answers={200: answer("A page.", page_of("Record"), {"items": [dead], "next": None})},
        errors=(400, 422),
    )
    retry_one = describe(
        "Retry one",
        "It waits again, at the end of its chat's queue.",
        tag=TAG,
        parameters=[ID],
        answers={200: answer("The message as it is now.", ref("Record"), RECORD)},
        errors=(404, 409),
    )
    retry = _by_filter("Retry all that match", "`{}` means all of them.", {"reason": "Bad Gateway"})
    purge = _by_filter("Remove all that match", "For good; `{}` means all of them.", {"until": "2026-01-01T00:00:00Z"})
    return [
        Operation("GET", "/v1/dead-letters", READ, d.page, listed),
        Operation("POST", "/v1/dead-letters/retry", ADMIN, d.retry_all, retry),
        Operation("POST", "/v1/dead-letters/purge", ADMIN, d.purge_all, purge),
        Operation("POST", "/v1/dead-letters/{id}/retry", ADMIN, d.retry, retry_one),
    ]
