"""The gateway: what api.telegram.org speaks, so that any bot library becomes durable by changing one URL.

read ──> which bot? ──> to be stored?  ── no ──> Direct: Telegram's answer, now
                             │ yes
                             ▼
         the same again? ── yes ──> join ──┐
                             │ no          ▼
                           submit ──> wait for the end ──> Telegram's answer · placeholder · 504
"""

from __future__ import annotations

import asyncio
import hmac
import logging
import math
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any

from kurir.app import Kurir
from kurir.core.errors import DeliveryTimeout, KurirError, NotFound, StoreError
from kurir.core.message import Accepted
from kurir.core.methods import canonical, known
from kurir.drafting import check_method, deliverable, encode
from kurir.message import Message
from kurir.ports import Part
from kurir.services.receipts import Receipt
from kurir.settings import Bot
from kurir.telegram.files import LOCAL_LIMIT, Attachment, detach
from kurir.web.auth import Failures
from kurir.web.forms.body import Receive
from kurir.web.forms.errors import BadRequest, ClientLeft
from kurir.web.forms.limits import Limits
from kurir.web.protocol import peer_of

from . import answers, preferences
from .answers import MESSAGE, Answer, Header, Send
from .identities import Identities
from .logbook import Logbook
from .preferences import Preferences
from .reading import Asked, read
from .referring import Referring
from .repeats import Repeats, Same, same
from .request import Request, prepared
from .returning import Returning
from .standins import standin
from .visit import Visit, Why

Observe = Callable[[str, int, float], None]  # door, HTTP status, seconds

logger = logging.getLogger("kurir.gateway")


class Gateway:
    """An ASGI application for `/bot<token>/...`. `folder` is where uploads are written first: that of the file spool."""

    def __init__(self, kurir: Kurir, folder: Path, observe: Observe) -> None:
        self._kurir = kurir
        self._folder = folder
        self._observe = observe
        self._bots = {str(bot.id): bot for bot in kurir.settings.bots}
        self._limits = Limits(file=LOCAL_LIMIT) if kurir.settings.local_server else Limits()
        self._repeats = Repeats(kurir.clock)
        spooled = folder if kurir.spool is not None else None
        self._logbook = Logbook(kurir.settings.listen, spooled, kurir.store, kurir.clock, self._repeats)
        self._referring = Referring(kurir.store)
        self._returning = Returning(kurir.store, kurir.clock)
        self._identities = Identities(kurir.direct, spooled)
        self._learning: list[asyncio.Future[None]] = []
        self._failures = Failures()
        self._visits: set[Visit] = set()
        self._calls = 0  # out at the moment, long polls aside
        self._stopping = False

    async def open(self) -> None:
        """Recall the clients of a crash or a stop: they got no answer, and will ask again."""
        await self._logbook.open()
        await self._identities.recall()
        self._learning = [asyncio.ensure_future(self._identities.learn(bot.id)) for bot in self._bots.values()]

    async def close(self) -> None:
        """When all are told: write down who will ask again."""
        for task in self._learning:
            task.cancel()
        await self._logbook.close()

    def refuse(self) -> None:
        """Take no new calls from now on; those that are out go on."""
        self._stopping = True

    def end(self) -> None:
        """Tell all who still wait that Kurir stops."""
        self._stopping = True
        for visit in list(self._visits):
            visit.end()

    @property
    def busy(self) -> bool:
        """Is any call out, long polls aside?"""
        return self._calls > 0

    async def __call__(self, scope: Mapping[str, Any], receive: Receive, send: Send) -> None:
        began = time.perf_counter()
        try:
            answer = await self._answer(scope, receive)
        except ClientLeft:
            self._observe("gateway", 499, time.perf_counter() - began)
            return
        self._observe("gateway", answer.status, time.perf_counter() - began)
        await answer.send(send)

    # ---------------------------------------------------------------- one request

    async def _answer(self, scope: Mapping[str, Any], receive: Receive) -> Answer:
        if self._stopping:
            return answers.stopping()
        self._calls += 1
        try:
            bot = self.known(scope)
            asked = await read(scope, receive, folder=self._folder, limits=self._limits)
            try:
                return answers.stopping() if self._stopping else await self._visit(bot, asked, scope, receive)
            finally:
                await asked.close()
        except (KurirError, BadRequest) as error:
            return answers.of_error(error)
        except ClientLeft:
            raise
        except Exception:
            logger.exception("a call through the gateway failed")
            return answers.refused(500, answers.worded(500, "Kurir failed; the log says more"))
        finally:
            self._calls -= 1

    async def _visit(self, bot: Bot, asked: Asked, scope: Mapping[str, Any], receive: Receive) -> Answer:
        """The answer, unless the client leaves or Kurir stops before."""
        with Visit(receive, self._visits, peer_of(scope)) as visit:
            try:
                return await self._handle(bot, asked, preferences.read(scope["headers"]), visit)
            except asyncio.CancelledError:
                if not visit.caught():
                    raise
                if visit.broken is Why.LEFT:
                    raise ClientLeft from None
                return answers.stopping(visit.message)

    def known(self, scope: Mapping[str, Any]) -> Bot:
        """The bot asked for. Who tries many tokens is told to wait; right ones of the same address are not held up."""
        try:
            return self.bot_of(scope["path"])
        except BadRequest as error:
            address = (scope.get("client") or ("",))[0]
            wait = self._failures.note(address, self._kurir.clock.now()) if error.code == 401 else 0.0
            if wait:
                raise BadRequest(429, f"Too Many Requests: retry after {math.ceil(wait)}", math.ceil(wait)) from None
            raise

    def bot_of(self, path: str) -> Bot:
        """The configured bot whose token is in the path. Raises BadRequest in Telegram's words."""
        token, _, rest = path.partition("/bot")[2].partition("/")
        id = token.partition(":")[0]
        if not id.isdecimal():
            raise BadRequest(404, "Not Found")
        bot = self._bots.get(id)
        if bot is None or not hmac.compare_digest(token.encode(), bot.token.encode()):
            raise BadRequest(401, "Unauthorized")
        if bot.test is not (rest == "test" or rest.startswith("test/")):
            raise BadRequest(401, "Unauthorized")
        return bot

    async def _handle(self, bot: Bot, asked: Asked, prefer: Preferences, visit: Visit) -> Answer:
        if not asked.method:
            raise BadRequest(404, "Not Found")
        method = canonical(asked.method)
        if not (known(method) and deliverable(method)):
            return await self._ask(bot, method, asked)
        request = await prepared(check_method(method), asked, await self._referring.settled(bot.id, method, asked))
        return await self._deliver(bot, request, prefer, visit)

    # ---------------------------------------------------------------- calls that are stored

    async def _deliver(self, bot: Bot, request: Request, prefer: Preferences, visit: Visit) -> Answer:
        like = same(bot.id, request.method, request.params, request.files)
        accepted = None if prefer.key else await self._repeats.join(like)
        joined = accepted is not None
        self._repeats.enter(like)
        answered = False
        try:
            if accepted is None:
                accepted = await self._submit(bot, request, prefer, like)
            visit.message = accepted.id
            try:
                answer = await self._await_end(bot, request, accepted, prefer, joined)
            except NotFound:
                if not joined:
                    raise
                accepted = await self._submit(bot, request, prefer, like)  # the first one has been purged
                visit.message = accepted.id
                answer = await self._await_end(bot, request, accepted, prefer, False)
            answered = answer.status != 504 and not visit.gone()
            if answered and not prefer.key:
                visit.if_reset(partial(self._repeats.unanswered, like, accepted))
            return answer
        finally:
            self._repeats.leave(like)
            if accepted is not None and not answered and not prefer.key:
                self._repeats.unanswered(like, accepted)

    async def _submit(self, bot: Bot, request: Request, prefer: Preferences, like: Same) -> Accepted:
        asynchronously = prefer.respond_async or bot.respond_async
        message = Message(
            request.method,
            request.given,
            bot.id,
            prefer.priority,
            prefer.key,
            metadata=None if asynchronously else self._logbook.mark,
            parts=request.parts,
        )
        # (A placeholder is made of the number that the store gives: what is spooled has none yet.)
        submitting = asyncio.ensure_future(self._kurir.submit(message, spool=not asynchronously))
        try:
            return (await asyncio.shield(submitting)).accepted
        except asyncio.CancelledError:  # whoever leaves now may join what is being accepted all the same
            if not prefer.key:
                self._repeats.unanswered(like, submitting)
            submitting.add_done_callback(_heard)
            raise

    async def _await_end(
        self, bot: Bot, request: Request, accepted: Accepted, prefer: Preferences, joined: bool
    ) -> Answer:
        fresh = not joined and not accepted.duplicate and not accepted.state.final
        headers: tuple[Header, ...] = ((MESSAGE, accepted.id.encode()),)
        if prefer.respond_async or prefer.wait is not None:
            headers = (*headers, (b"preference-applied", prefer.applied()))
        asynchronously = prefer.respond_async or bot.respond_async
        own = bot.wait if bot.wait is not None else self._kurir.settings.gateway_wait
        wait = prefer.wait
        if wait is None:
            wait = 0.0 if prefer.respond_async else own
        instead = None
        if asynchronously:
            instead = await self._instead(bot, request, accepted)
            if instead is None and prefer.wait is None:
                wait = own  # nothing could stand in for the result: it is waited for
            elif not wait and not accepted.state.final:
                return answers.done(instead, headers) if instead is not None else answers.later(accepted.id, 0, headers)
        try:
            end = await self._kurir.end(accepted.id, wait, fresh=fresh)
        except DeliveryTimeout:
            return answers.done(instead, headers) if instead is not None else answers.later(accepted.id, wait, headers)
        return answers.of_end(end, headers)

    async def _instead(self, bot: Bot, request: Request, accepted: Accepted) -> bytes | None:
        """What stands in for the result; None where nothing can, or the message has no number yet."""
        seq = accepted.seq
        if not seq:  # it was spooled for a client that did not ask for a placeholder
            with suppress(StoreError):
                seq = (await self._kurir.get(accepted.id)).seq
        me = self._kurir.direct.me(bot.id)
        return standin(request.method, request.params, seq, self._kurir.clock.now(), me) if seq else None

    # ---------------------------------------------------------------- calls that are not

    async def _ask(self, bot: Bot, method: str, asked: Asked) -> Answer:
        params, attachments = detach(method, asked.params, asked.parts or None)
        call = self._kurir.direct.call(bot.id, method, encode(params), tuple(_part(one) for one in attachments))
        if method != "getUpdates":
            return answers.of_reply(await call)
        self._calls -= 1  # a stop does not wait for a long poll
        try:
            reply = await call
            await self._returning.hear(bot.id, reply)
        finally:
            self._calls += 1
        return answers.of_reply(reply)


def _heard(submitting: asyncio.Future[Receipt]) -> None:
    """Nobody waits for it any more; if it failed, nothing was accepted."""
    if not submitting.cancelled():
        submitting.exception()


def _part(file: Attachment) -> Part:
    """A file of a call that is not stored goes out from where it was received."""
    assert isinstance(file.source, Path)
    return Part(file.field, file.source, file.name, file.mime, file.source.stat().st_size)
