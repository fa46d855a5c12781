"""The way to Telegram, the tokens, and the clock."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from email.utils import parsedate_to_datetime
from typing import Any
from urllib.parse import urlsplit

import aiohttp
import aiohttp_socks

from kurir.core.outcome import NoReply
from kurir.ports import Call
from kurir.settings import Bot, Settings
from kurir.telegram.redact import redact
from kurir.telegram.transport import HttpTransport

from .finding import Finding, ok, problem, warning

PATIENCE = 10.0  # seconds
SLOW = 1.0  # seconds of a round trip that are worth a word
SKEW = (5.0, 60.0)  # seconds the clock may be wrong: more is a warning, a problem
PORTS = {"http": 80, "https": 443}
DEFAULT_PROXY_PORT = 1080


async def check(settings: Settings) -> AsyncIterator[Finding]:
    reached = True
    async for finding in _way(settings):
        reached = reached and finding.level.value != "problem"
        yield finding
    if not reached:
        return
    yield await _clock(settings)
    for bot in settings.bots:
        yield await _token(settings, bot)


async def _way(settings: Settings) -> AsyncIterator[Finding]:
    """DNS and connect: to the proxy where there is one."""
    whose = "proxy" if settings.proxy else "telegram"
    url = urlsplit(settings.proxy or settings.telegram_url)
    host, port = url.hostname or "", url.port or PORTS.get(url.scheme, DEFAULT_PROXY_PORT)
    started = time.perf_counter()
    try:
        async with asyncio.timeout(PATIENCE):
            found = await asyncio.get_running_loop().getaddrinfo(host, port)
    except (OSError, TimeoutError):
        yield problem("network", f"{whose}: {host} has no address", "Check the name, and this machine's DNS.")
        return
    addresses = sorted({str(entry[4][0]) for entry in found})
    yield ok("network", f"{whose}: {host} is {', '.join(addresses[:3])} ({_ms(time.perf_counter() - started)})")
    started = time.perf_counter()
    try:
        async with asyncio.timeout(PATIENCE):
            _, writer = await asyncio.open_connection(host, port)
    except (OSError, TimeoutError) as error:
        why = "no answer" if isinstance(error, TimeoutError) else error.strerror or type(error).__name__
        fix = "Check the firewall and KURIR_TELEGRAM_URL; where Telegram is blocked, set KURIR_PROXY."
        yield problem("network", f"{whose}: cannot connect to {host}:{port}: {why}", fix)
        return
    took = time.perf_counter() - started
    writer.close()
    yield ok("network", f"{whose}: {host}:{port} takes connections ({_ms(took)})")


async def _clock(settings: Settings) -> Finding:
    """Our clock against the `Date` of an HTTP answer (whole seconds, RFC 9110)."""
    try:
        date = await _date(settings)
    except (OSError, TimeoutError, aiohttp.ClientError, ValueError) as error:
        return warning(
            "clock", f"not compared: {redact(str(error)) or type(error).__name__}", "Check the network first."
        )
    if date is None:
        return ok("clock", "not compared: the answer has no Date")
    skew = time.time() - date
    least, most = SKEW
    words = f"{abs(skew):.0f} s {'ahead of' if skew > 0 else 'behind'} Telegram's"
    if abs(skew) > most:
        return problem("clock", words, "Set the clock (NTP): due times, expiry and leases depend on it.")
    if abs(skew) > least:
        return warning("clock", words, "Set the clock (NTP).")
    return ok("clock", f"agrees with Telegram's within {least:g} s")


async def _date(settings: Settings) -> float | None:
    """Unix seconds by the server's clock, at about the middle of the round trip."""
    options: dict[str, Any] = {}
    connector = None
    if settings.proxy and settings.proxy.startswith("socks"):
        connector = aiohttp_socks.ProxyConnector.from_url(settings.proxy.replace("socks5h://", "socks5://"))
    elif settings.proxy:
        options["proxy"] = settings.proxy
    timeout = aiohttp.ClientTimeout(total=PATIENCE)
    async with (
        aiohttp.ClientSession(connector=connector, timeout=timeout) as session,
        session.get(settings.telegram_url, allow_redirects=False, **options) as response,
    ):
        text = response.headers.get("Date")
    return None if text is None else parsedate_to_datetime(text).timestamp() + 0.5


async def _token(settings: Settings, bot: Bot) -> Finding:
    """getMe, the way the courier calls."""
    transport = HttpTransport(
        settings.telegram_url,
        proxy=settings.proxy,
        connect_timeout=settings.connect_timeout,
        read_timeout=PATIENCE,
        pool=1,
        local=settings.local_server,
    )
    started = time.perf_counter()
    try:
        answer = await transport.call(Call(bot.token, "getMe", b"{}", timeout=PATIENCE))
    finally:
        await transport.close()
    took = time.perf_counter() - started
    if isinstance(answer, NoReply):
        why = f"{answer.kind.value}{f': {answer.detail}' if answer.detail else ''}"
        return problem("bot", f"{bot.name} ({bot.id}): no answer to getMe: {why}", "Check the network and the proxy.")
    payload = answer.payload or {}
    if answer.status == 200 and payload.get("ok"):
        me = payload.get("result", {})
        words = f"{bot.name} ({bot.id}) is @{me.get('username', '?')} ({_ms(took)})"
        return warning("bot", words, "Slow: look at the way to Telegram.") if took > SLOW else ok("bot", words)
    said = payload.get("description") or answer.excerpt or f"HTTP {answer.status}"
    fixes = {
        401: "The token is wrong or was revoked: copy it anew from @BotFather.",
        404: "This is no Bot API at that address, or the token is wrong: check KURIR_TELEGRAM_URL.",
    }
    words = f"{bot.name} ({bot.id}): Telegram refuses the token: {said}"
    return problem("bot", words, fixes.get(answer.status, "Try again later; ask @BotFather about the bot."))


def _ms(seconds: float) -> str:
    return f"{seconds * 1000:.0f} ms"
