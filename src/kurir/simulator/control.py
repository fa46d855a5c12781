"""The control API, `/sim/...`: what tests in other languages steer the simulator with. JSON in, JSON out."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

import orjson
from aiohttp import web

from .faults import Kind, Rule
from .journal import Entry
from .limits import Limits
from .model import Bot, ChatState, Json
from .world import World

JSON = {"Content-Type": "application/json"}


class _Wrong(Exception):
    """The request is not understood; the text says what to do."""


async def answer(world: World, request: web.BaseRequest) -> web.Response:
    """Run one control request."""
    steps = request.path.strip("/").split("/")[1:]
    route = f"{request.method} {steps[0] if steps else ''}"
    run = ROUTES.get(route)
    if run is None:
        return _reply(404, {"error": f"no {route!r}; there are: {', '.join(sorted(ROUTES))}"})
    try:
        raw = await request.read()
        body = orjson.loads(raw) if raw else {}
        given = {**dict(request.query), **body} if isinstance(body, dict) else {"items": body}
        return _reply(200, run(world, steps[1:], given))
    except (_Wrong, ValueError, TypeError, KeyError) as error:
        words = f"missing {error}" if isinstance(error, KeyError) else str(error)
        return _reply(400, {"error": words})


def _reply(status: int, payload: Any) -> web.Response:
    body = orjson.dumps(payload, option=orjson.OPT_NON_STR_KEYS)
    return web.Response(body=body, status=status, headers=JSON)


def _bot(world: World, given: Json) -> Bot | None:
    token = given.get("token")
    if token is None:
        return None
    if token not in world.bots:
        raise _Wrong("there is no bot with this token: POST /sim/bots first")
    return world.bots[token]


def _add_bot(world: World, steps: list[str], given: Json) -> Json:
    return world.add_bot(given["token"], given.get("name", ""), given.get("username", "")).json


def _change_bot(world: World, steps: list[str], given: Json) -> Json:
    bot = _bot(world, given)
    if bot is None:
        raise _Wrong("name the bot: token")
    bot.revoked = bool(given.get("revoked", bot.revoked))
    bot.frozen = bool(given.get("frozen", bot.frozen))
    return bot.json


def _chats(world: World, steps: list[str], given: Json) -> Any:
    """POST /sim/chats · /sim/chats/ID/state · /sim/chats/ID/migrate · /sim/chats/ID/topics"""
    if not steps:
        chat = world.add_chat(
            int(given["id"]),
            given.get("type", "private"),
            given.get("title", ""),
            username=given.get("username"),
            forum=bool(given.get("forum")),
        )
        return chat.json
    chat_id, what = int(steps[0]), steps[1] if len(steps) > 1 else ""
    if what == "state":
        bot = _bot(world, given)
        world.set_state(chat_id, ChatState(given["state"]), bot.id if bot else None)
    elif what == "migrate":
        world.migrate(chat_id, int(given["to"]))
    elif what == "topics":
        world.add_topic(chat_id, int(given["thread"]), open=bool(given.get("open", True)))
    else:
        raise _Wrong("one of /sim/chats/ID/state, /migrate, /topics")
    return {"ok": True}


def _set_limits(world: World, steps: list[str], given: Json) -> Json:
    """The fields of Limits; `{"none": true}` lifts all."""
    if given.pop("none", False):
        world.limits = Limits.none()
    windows = ("bot", "private", "group", "channel", "paid")
    changed: dict[str, Any] = {
        name: tuple((int(count), float(seconds)) for count, seconds in value)
        if name in windows and value is not None
        else tuple(value)
        if name == "penalties"
        else value
        for name, value in given.items()
    }
    world.limits = dataclasses.replace(world.limits, **changed)
    return dataclasses.asdict(world.limits)


def _add_faults(world: World, steps: list[str], given: Json) -> Json:
    """One rule, or a list of them; see `Rule` for the fields."""
    for item in given.get("items", [given]):
        world.faults.add(Rule(**{**item, "kind": Kind(item["kind"])}))
    return {"rules": len(world.faults.rules)}


def _clear_faults(world: World, steps: list[str], given: Json) -> Json:
    world.faults.clear()
    return {"rules": 0}


def _add_outage(world: World, steps: list[str], given: Json) -> Json:
    """`{"in": seconds from now, "for": seconds, "kind": ...}`"""
    start = world.clock.now() + float(given.get("in", 0))
    kind = Kind(given.get("kind", Kind.REFUSED))
    world.faults.outage(start, start + float(given["for"]), kind)
    return {"start": start, "end": start + float(given["for"]), "kind": kind}


def _journal(world: World, steps: list[str], given: Json) -> Json:
    """`?since=NUMBER&chat=ID&verb=sent`"""
    since, chat, verb = int(given.get("since", 0)), given.get("chat"), given.get("verb")
    found = [
        _entry(entry, entry.number in world.journal.doubts)
        for entry in world.journal.entries
        if entry.number > since
        and (chat is None or str(entry.chat) == str(chat))
        and (verb is None or entry.verb == verb)
    ]
    return {"entries": found, "faults": dict(world.journal.faults)}


def _entry(entry: Entry, doubted: bool) -> Json:
    return {**entry._asdict(), "answer_lost": doubted}


def _report(world: World, steps: list[str], given: Json) -> Json:
    """`{"expected": {"CHAT": ["mark", ...]}}`, or a list of [chat, [marks]] pairs."""
    expected = given["expected"]
    pairs = expected.items() if isinstance(expected, dict) else [(chat, marks) for chat, marks in expected]
    report = world.journal.report(list(pairs))
    return {**dataclasses.asdict(report), "unexplained": report.unexplained, "clean": report.clean}


def _messages(world: World, steps: list[str], given: Json) -> list[Json]:
    """`?chat=ID`"""
    chat = int(given["chat"]) if "chat" in given else None
    return [message.json for message in world.messages(chat)]


def _inject(world: World, steps: list[str], given: Json) -> Json:
    """`{"update": {...}, "token"?}`"""
    return world.inject(given["update"], _bot(world, given))


def _say(world: World, steps: list[str], given: Json) -> Json:
    """`{"chat", "text", "user"?, "token"?}`"""
    return world.say(int(given["chat"]), str(given["text"]), _bot(world, given), given.get("user"))


def _press(world: World, steps: list[str], given: Json) -> Json:
    """`{"chat", "message_id", "data", "token"?}`"""
    return world.press(int(given["chat"]), int(given["message_id"]), str(given["data"]), _bot(world, given))


def _break_url(world: World, steps: list[str], given: Json) -> Json:
    """`{"url", "description"?}`: sending this URL fails."""
    world.files.broken_urls[given["url"]] = given.get("description", "failed to get HTTP URL content")
    return {"ok": True}


def _reset(world: World, steps: list[str], given: Json) -> Json:
    world.reset()
    return {"ok": True}


def _state(world: World, steps: list[str], given: Json) -> Json:
    bots = [{**bot.json, "pending_updates": len(bot.updates)} for bot in world.bots.values()]
    return {
        "bots": bots,
        "messages": len(world.messages()),
        "journal": len(world.journal.entries),
        "rules": [dataclasses.asdict(rule) for rule in world.faults.rules],
        "outages": [dataclasses.asdict(outage) for outage in world.faults.outages],
        "limits": dataclasses.asdict(world.limits),
    }


ROUTES: dict[str, Callable[[World, list[str], Json], Any]] = {
    "GET state": _state,
    "POST bots": _add_bot,
    "PATCH bots": _change_bot,
    "POST chats": _chats,
    "PUT limits": _set_limits,
    "POST faults": _add_faults,
    "DELETE faults": _clear_faults,
    "POST outages": _add_outage,
    "GET journal": _journal,
    "POST report": _report,
    "GET messages": _messages,
    "POST updates": _inject,
    "POST say": _say,
    "POST press": _press,
    "POST broken-urls": _break_url,
    "POST reset": _reset,
}
