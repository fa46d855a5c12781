"""Webhooks: updates pushed over HTTP, with the secret, in order, again until they are taken (`WebhookActor.cpp`)."""

from __future__ import annotations

import asyncio
import contextlib

import aiohttp
import orjson

from .model import Bot, Webhook
from .world import World

LOOK = 0.02  # seconds between looks for work
TIMEOUT = 60.0  # seconds for one delivery
BACKOFF = (1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 60.0)  # seconds; the last one repeats
LONGEST = 3600.0  # seconds of Retry-After that are honoured
UNANSWERABLE = ("setwebhook", "deletewebhook", "close", "logout")


class Webhooks:
    """Delivers for every bot of a world; one update at a time a bot."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._task: asyncio.Task[None] | None = None
        self._busy: dict[str, asyncio.Task[None]] = {}

    def start(self) -> None:
        self._task = asyncio.create_task(self._run())

    async def stop(self) -> None:
        tasks = [task for task in (self._task, *self._busy.values()) if task is not None]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _run(self) -> None:
        while True:
            for token, bot in self._world.bots.items():
                busy = self._busy.get(token)
                if bot.webhook is not None and bot.updates and (busy is None or busy.done()):
                    self._busy[token] = asyncio.create_task(self._deliver(bot))
            await asyncio.sleep(LOOK)

    async def _deliver(self, bot: Bot) -> None:
        """Until the queue is empty or the webhook is another one."""
        failures, hook = 0, bot.webhook
        async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=TIMEOUT)) as session:
            while hook is not None and bot.webhook is hook and bot.updates:
                update = bot.updates[0]
                pause = await self._post(session, bot, hook, orjson.dumps(update))
                if pause is None:
                    failures = 0
                    if bot.updates and bot.updates[0] is update:
                        bot.updates.popleft()
                else:
                    await asyncio.sleep(pause or BACKOFF[min(failures, len(BACKOFF) - 1)])
                    failures += 1

    async def _post(self, session: aiohttp.ClientSession, bot: Bot, hook: Webhook, body: bytes) -> float | None:
        """None: taken. Else the seconds to wait that the receiver asks for (0: it does not say)."""
        headers = {"Content-Type": "application/json"}
        if hook.secret:
            headers["X-Telegram-Bot-Api-Secret-Token"] = hook.secret
        try:
            async with session.post(hook.url, data=body, headers=headers) as answer:
                text = await answer.read()
                if 200 <= answer.status < 300:
                    self._reply(bot, text)
                    return None
                words = f"Wrong response from the webhook: {answer.status} {answer.reason}"
                asked = answer.headers.get("Retry-After", "")
        except (aiohttp.ClientError, TimeoutError) as error:
            words, asked = f"Connection failed: {type(error).__name__}", ""
        hook.last_error_date, hook.last_error = int(self._world.clock.now()), words
        return min(float(asked), LONGEST) if asked.isdigit() else 0.0

    def _reply(self, bot: Bot, body: bytes) -> None:
        """A call in the answer's body is made, its result thrown away."""
        given = None
        with contextlib.suppress(orjson.JSONDecodeError):
            given = orjson.loads(body) if body else None
        method = str(given.get("method", "")) if isinstance(given, dict) else ""
        if method and not method.lower().startswith("get") and method.lower() not in UNANSWERABLE:
            self._world.handle(bot.token, method, given or {})
