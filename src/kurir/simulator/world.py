"""The simulated Telegram: a state machine of bots, chats and messages with an injected clock.

It is an oracle: it shares nothing with the engine but the ports, so that an error of the engine cannot hide
in it. `handle` answers one call as Telegram would. `exchange` is `handle` behind a network that may fail; the
adapters (`transport.py` in process, `server.py` over HTTP) only act out what it says, which is why they
behave alike.
"""

from __future__ import annotations

import random
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from .errors import ApiError
from .faults import Faults, Kind, Rule
from .files import Files, Upload, check_sizes
from .journal import Journal, Verb
from .limits import Limits, Meter
from .marks import Marker, mark_of
from .methods import METHODS, Described, Method
from .model import Bot, Json, Response
from .population import Clock, Population
from .query import Query


@dataclass(frozen=True, slots=True)
class Exchange:
    """What becomes of a call: Telegram's answer (None: never handled) and the fault that struck it."""

    response: Response | None
    fault: Rule | None = None


class World(Population):
    """Everything the simulated Telegram knows. Not thread-safe."""

    def __init__(
        self,
        clock: Clock,
        *,
        seed: int = 0,
        limits: Limits | None = None,
        faults: Faults | None = None,
        open_doors: bool = False,
        any_token: bool = False,
        mark: Marker = mark_of,
        history: int = 100_000,
        local: bool = False,
    ) -> None:
        """`open_doors`: an unknown chat comes into being when first written to: private for a positive id,
        supergroup for -100..., group for another negative one. `history`: messages remembered. `local`: the
        limits of a local Bot API server."""
        super().__init__(clock, seed, open_doors, history)
        self.limits = limits or Limits()
        self.faults = faults or Faults(rng=random.Random(seed + 1))
        self.any_token = any_token
        self.local = local
        self._mark = mark

    # ------------------------------------------------------------ calls

    def exchange(
        self, token: str, method: str, params: Mapping[str, Any], files: dict[str, Upload] | None = None
    ) -> Exchange:
        """One call over the simulated network. Outages are the adapters' business."""
        faults = self.faults
        if not faults.rules:
            return Exchange(self.handle(token, method, params, files))
        number = token.partition(":")[0]
        bot = int(number) if number.isdigit() else 0
        spelt = METHODS[method.lower()].name if method.lower() in METHODS else method
        rule = faults.draw(bot, params.get("chat_id"), spelt, self._mark(spelt, params))
        if rule is None:
            return Exchange(self.handle(token, method, params, files))
        self.journal.faults[rule.kind] += 1
        if not rule.done:
            return Exchange(self._scripted(rule), rule)
        response = self.handle(token, method, params, files, rule if rule.kind is Kind.ALBUM else None)
        if rule.kind in (Kind.SLOW, Kind.ALBUM):
            return Exchange(response, rule)
        self.journal.doubt(response.entry)
        return Exchange(self._scripted(rule, response.entry) or response, rule)

    def handle(
        self,
        token: str,
        method: str,
        params: Mapping[str, Any],
        files: dict[str, Upload] | None = None,
        fault: Rule | None = None,
    ) -> Response:
        """One call that reached Telegram. Never raises."""
        now = self.clock.now()
        try:
            bot = self._authorised(token)
            known = METHODS.get(method.lower())
            if known is None:
                raise ApiError(404, "Not Found: method not found")
            if bot.frozen and known.verb is not None:
                raise ApiError(400, "Bad Request: FROZEN_METHOD_INVALID")
        except ApiError as error:
            return _refusal(error)
        query = Query(self, bot, known.name, params, files or {}, now)
        if known.verb is not None:
            query.mark = self._mark(known.name, params)
        if fault is not None:
            query.fail_item, query.fail_words = fault.item, fault.description or "MEDIA_EMPTY"
        try:
            if files:
                check_sizes(files, self.local)
            result = known.run(query)
        except ApiError as error:
            return self._refused(query, known, error)
        entry = self._record(query, known) if known.verb is not None else None
        return _success(result, query, entry)

    def poll(self, token: str, params: Mapping[str, Any], generation: int) -> Response | None:
        """A waiting getUpdates looks again; None: wait on. `generation`: `Bot.polls` when it began."""
        bot = self.bots.get(token)
        if bot is None:
            return _refusal(ApiError(401, "Unauthorized"))
        if bot.webhook is not None:
            return _refusal(ApiError(409, "Conflict: terminated by setWebhook request"))
        if bot.polls != generation:
            words = "terminated by other getUpdates request; make sure that only one bot instance is running"
            return _refusal(ApiError(409, f"Conflict: {words}"))
        if not bot.updates:
            return None
        return self.handle(token, "getUpdates", {**params, "timeout": 0})

    def reset(self) -> None:
        """Forget chats, messages, files, limits spent, faults, updates and the journal; bots and settings stay."""
        self.close()
        self.journal, self.meter, self.files = Journal(), Meter(), Files()
        self.faults.clear()
        self._chats.clear()
        self._names.clear()
        self._messages.clear()
        for token, bot in list(self.bots.items()):
            bot.webhook = None
            bot.wake()
            self.bots[token] = Bot(bot.id, token, bot.username, bot.name, self.clock.now())

    def close(self) -> None:
        """Remove the files from the disk."""
        self.files.close()

    # ------------------------------------------------------------ within

    def _authorised(self, token: str) -> Bot:
        bot = self.bots.get(token)
        if bot is None:
            if ":" not in token or not token.partition(":")[0].isdigit():
                raise ApiError(401, "Unauthorized: invalid token specified")
            if not self.any_token:
                raise ApiError(401, "Unauthorized")
            bot = self.add_bot(token)
        if bot.logged_out:
            raise ApiError(400, "Logged out")
        if bot.revoked:
            raise ApiError(401, "Unauthorized")
        return bot

    def _record(self, query: Query, method: Method) -> int:
        assert method.verb is not None
        verb = query.verb or method.verb
        return self.journal.write(
            verb, query.takes_effect, query.at, query.bot.id, _chat_id(query), method.name, query.mark,
            message_ids=tuple(query.message_ids), target=query.target, cost=query.cost,
        ).number  # fmt: skip

    def _refused(self, query: Query, method: Method, error: ApiError) -> Response:
        if method.verb is None:
            return _refusal(error)
        verb = query.verb or (Verb.THROTTLED if error.code == 429 else Verb.REFUSED)
        entry = self.journal.write(
            verb, query.takes_effect, query.at, query.bot.id, _chat_id(query), method.name, query.mark,
            message_ids=tuple(query.message_ids), target=query.target, cost=query.cost,
            status=error.code, why=error.description,
        )  # fmt: skip
        if verb is Verb.PARTIAL:
            self.journal.doubt(entry.number)
        return _refusal(error, query.hold, entry.number)

    def _scripted(self, rule: Rule, entry: int | None = None) -> Response | None:
        """The answer of a STATUS_* fault."""
        if rule.kind not in (Kind.STATUS_JSON, Kind.STATUS_HTML):
            return None
        if rule.kind is Kind.STATUS_HTML:
            return Response(rule.status, {}, entry=entry)
        parameters = {"retry_after": rule.retry_after} if rule.retry_after is not None else None
        words = rule.description or REASONS.get(rule.status, "Internal Server Error")
        return _refusal(ApiError(rule.status, words, parameters), entry=entry)


REASONS = {502: "Bad Gateway", 503: "Service Unavailable", 504: "Gateway Timeout"}


def _chat_id(query: Query) -> int | str | None:
    return query.chat.id if query.chat is not None else query.chat_name


def _success(result: Any, query: Query, entry: int | None) -> Response:
    if isinstance(result, Described):
        payload = {"ok": True, "result": result.value, "description": result.words}
    else:
        payload = {"ok": True, "result": result}
    return Response(200, payload, {}, query.hold, query.poll, entry)


def _refusal(error: ApiError, hold: float = 0.0, entry: int | None = None) -> Response:
    payload: Json = {"ok": False, "error_code": error.code, "description": error.description}
    headers = {}
    if error.parameters:
        payload["parameters"] = error.parameters
        if "retry_after" in error.parameters:
            headers["Retry-After"] = str(error.parameters["retry_after"])
    return Response(error.code, payload, headers, hold, entry=entry)
