"""The way in. Every door ends here: what is handed over is checked, its files are spooled, and it is durable."""

from __future__ import annotations

import random
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, cast

from .core.errors import InvalidMessage, StoreError, UnknownBot
from .core.events import Event, StoreBack, StoreTrouble, Submitted
from .core.ids import RANDOM_BITS, make_id
from .core.message import Accepted, Draft, FileRef
from .drafting import check_method, draft, encode, plain
from .message import Message
from .ports import Clock, Joining, Store
from .telegram.files import Attachment, detach
from .telegram.spool import Spool

MAX_BATCH = 1000  # messages in one submit

Take = Callable[[Sequence[Draft], float, bool], Awaitable[list[Accepted]]]  # drafts, now, may they be spooled


@dataclass(frozen=True, slots=True)
class Bots:
    """The bots that are configured: numeric id by name, and names by id."""

    ids: Mapping[str, int]

    def resolve(self, bot: str | int | None) -> int:
        """The id of the bot meant. Raises UnknownBot."""
        if bot is None:
            if len(self.ids) == 1:
                (only,) = self.ids.values()
                return only
            known = ", ".join(sorted(self.ids)) or "none"
            raise UnknownBot(
                "bot",
                f"is missing, and there is not exactly one ({known})",
                "Name it, or set KURIR_BOT_TOKEN.",
            )
        if isinstance(bot, str) and bot in self.ids:
            return self.ids[bot]
        text = str(bot)
        if len(text) <= 20 and text.isascii() and text.isdigit() and int(text) in self.ids.values():
            return int(text)
        known = ", ".join(sorted(self.ids)) or "none"
        raise UnknownBot(
            "bot",
            f"{_safe(text)!r} is not configured (known: {known})",
            "Use a known one, or add it to kurir.toml.",
        )


def _safe(bot: str) -> str:
    """A token given by mistake is not repeated in an error."""
    return bot.split(":", 1)[0] if ":" in bot else bot[:64]


class Outbox:
    """Accepts messages."""

    def __init__(
        self,
        store: Store,
        bots: Bots,
        clock: Clock,
        *,
        rng: random.Random,
        spool: Spool | None,
        emit: Callable[[Event], None],
        local: bool = False,
        soon: Callable[[set[int]], None] = lambda _: None,
        take: Take | None = None,
    ) -> None:
        self._store = store
        self._bots = bots
        self._clock = clock
        self._rng = rng
        self._spool = spool
        self._emit = emit
        self._soon = soon  # hears of which bots there will be something to claim
        self._trouble_since: float | None = None  # Unix seconds: the store refuses what is handed over
        self._local = local  # a local Bot API server: larger files
        self._take = take or _ignoring_spool(store)

    async def submit(self, messages: Sequence[Message], *, spool: bool = True) -> list[Accepted]:
        """All or none. When it returns, they survive SIGKILL and loss of power. `spool`: in the local journal, if need be.

        Raises InvalidMessage (with `index` in a batch), KeyConflict, StoreError."""
        drafts = await self.prepare(messages)
        if not drafts:
            return []
        self._soon({draft.bot for draft in drafts})
        accepted = await self._kept(drafts, drafts[0].accepted_at, spool)
        self._emit(Submitted(tuple(drafts), tuple(accepted)))
        return accepted

    async def submit_within(self, connection: Any, messages: Sequence[Message]) -> list[Accepted]:
        """All or none, in the transaction of the caller's connection: they exist iff it commits. Nobody is told of what may
        yet be rolled back; couriers see it when it is there.

        Raises what `submit` does, and InvalidMessage for a connection that cannot be joined."""
        store = self.joining()
        drafts = await self.prepare(messages, joined=True)
        return await store.submit_within(connection, drafts, drafts[0].accepted_at) if drafts else []

    def joining(self) -> Joining:
        """The store, if callers' transactions can be joined in it. Raises InvalidMessage."""
        if not hasattr(self._store, "submit_within"):
            raise InvalidMessage(
                "connection",
                "cannot be joined: this store has no transactions that others could take part in",
                "Keep the messages where your own tables are: set KURIR_STORE to that PostgreSQL or SQLite database.",
            )
        return cast("Joining", self._store)

    async def prepare(self, messages: Sequence[Message], *, joined: bool = False) -> list[Draft]:
        """What is to be stored; files are kept already, for a `joined` submit where every courier finds them. Raises
        InvalidMessage, StoreError."""
        if len(messages) > MAX_BATCH:
            raise InvalidMessage("messages", f"are {len(messages)}", f"Hand over at most {MAX_BATCH:,} at once.")
        now = self._clock.now()
        drafts = []
        for index, message in enumerate(messages):
            try:
                drafts.append(self._plain(message, now) or await self._with_files(message, now))
            except InvalidMessage as error:
                if len(messages) == 1:
                    raise
                raise type(error)(f"messages[{index}].{error.field}", _what(error), error.remedy) from None
        if joined and self._spool is not None:
            await self._spool.publish([file.sha256 for draft in drafts for file in draft.files])
        return drafts

    async def _kept(self, drafts: list[Draft], now: float, spool: bool) -> list[Accepted]:
        """The store's answer; its trouble is told of once, and its end."""
        try:
            accepted = await self._take(drafts, now, spool)
        except StoreError as error:
            if self._trouble_since is None:
                self._trouble_since = now
                self._emit(StoreTrouble("submit", str(error)))
            raise
        if self._trouble_since is not None:
            self._emit(StoreBack(self._clock.now() - self._trouble_since, "submit"))
            self._trouble_since = None
        return accepted

    def _plain(self, message: Message, now: float) -> Draft | None:
        """The draft of a message without files; None where its parameters are not all JSON."""
        if not isinstance(message, Message):
            raise InvalidMessage("message", f"is a {type(message).__name__}", "Give a Message.")
        if type(message.params) is not dict and not isinstance(message.params, Mapping):
            raise InvalidMessage("params", f"is a {type(message.params).__name__}", "Give a mapping of parameters.")
        bot = self._bots.resolve(message.bot)
        body = plain(message.params) if message.parts is None else None
        return None if body is None else draft(message, message.params, body, (), bot, self._new_id(now), now)

    async def _with_files(self, message: Message, now: float) -> Draft:
        bot, id = self._bots.resolve(message.bot), self._new_id(now)
        params, attachments = detach(check_method(message.method), message.params, message.parts)
        body = encode(params)
        draft(message, params, body, (), bot, id, now)  # what is wrong shows before megabytes are copied
        files = tuple([await self._keep(attachment) for attachment in attachments])
        return draft(message, params, body, files, bot, id, now)

    def _new_id(self, now: float) -> str:
        return make_id(now, self._rng.getrandbits(RANDOM_BITS))

    async def _keep(self, file: Attachment) -> FileRef:
        if self._spool is None:
            raise InvalidMessage(
                file.where, "is a file, and this Kurir has no file spool", "Set KURIR_FILES to a folder."
            )
        blob = await self._spool.add(file.source, name=file.where, max_bytes=file.limit(self._local))
        return file.ref(blob.sha256, blob.size)


def _ignoring_spool(store: Store) -> Take:
    return lambda drafts, now, _: store.submit(drafts, now)


def _what(error: InvalidMessage) -> str:
    return error.what.removeprefix(f"{error.field}: ")
