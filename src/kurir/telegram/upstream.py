"""The server calls go to: its address, the way there, and the pool of connections."""

from __future__ import annotations

import asyncio
import base64
from typing import Final
from urllib.parse import quote, unquote

import aiohttp
import aiohttp_socks
from aiohttp.connector import Connection
from multidict import CIMultiDict
from yarl import URL

from kurir.core.errors import InvalidSetting, KurirError

KEEP_ALIVE: Final = 15.0
"""Seconds a connection is kept idle; less than nginx's 75 s, so that the server seldom closes it first."""

_HEADS: Final = 10_000  # request heads kept, one for each token and method


class Upstream:
    """Where, and through which proxy, the Bot API is reached. Its connector is made in the loop that first
    connects."""

    def __init__(self, base_url: str, proxy: str | None, connect_timeout: float) -> None:
        self._base = _url("telegram_url", base_url, ("http", "https"))
        self._proxy = None
        if proxy:
            self._proxy = _url("proxy", proxy, ("http", "https", "socks5", "socks5h", "socks4", "socks4a"))
        self._timeout = aiohttp.ClientTimeout(total=None, connect=connect_timeout, sock_connect=connect_timeout)
        self._connector: aiohttp.TCPConnector | None = None
        self._target: aiohttp.ClientRequest | None = None
        self._heads: dict[tuple[str, str, bool], bytes] = {}
        self._where = self._request_target()
        self._common = self._common_headers()

    @property
    def proxied(self) -> bool:
        return self._proxy is not None

    # ---------------------------------------------------------------- connections

    async def connect(self) -> Connection:
        """A connection, kept alive or new, that holds no leftover of an earlier answer."""
        connector, target = self._connector, self._target
        if connector is None or target is None:
            connector, target = self._open()
        while True:
            connection = await connector.connect(target, [], self._timeout)
            protocol = connection.protocol
            if protocol is not None and not len(protocol):
                return connection
            connection.close()

    async def close(self) -> None:
        connector, self._connector = self._connector, None
        if connector is not None:
            await connector.close()

    def _open(self) -> tuple[aiohttp.TCPConnector, aiohttp.ClientRequest]:
        proxy = self._proxy
        headers: CIMultiDict[str] | None = None
        if proxy is not None and proxy.scheme.startswith("socks"):
            connector: aiohttp.TCPConnector = aiohttp_socks.ProxyConnector(
                proxy.host or "",
                proxy.explicit_port or 1080,
                aiohttp_socks.ProxyType.SOCKS4 if "4" in proxy.scheme else aiohttp_socks.ProxyType.SOCKS5,
                proxy.user,
                proxy.password,
                rdns=proxy.scheme in ("socks5h", "socks4a"),
                limit=0,
                keepalive_timeout=KEEP_ALIVE,
            )
            proxy = None
        else:
            connector = aiohttp.TCPConnector(limit=0, ttl_dns_cache=60, keepalive_timeout=KEEP_ALIVE)
        if proxy is not None:
            headers = CIMultiDict({"Host": self._base.host_port_subcomponent or ""})
            if proxy.user is not None:
                headers["Proxy-Authorization"] = _basic(proxy)
            proxy = proxy.with_user(None)
        target = aiohttp.ClientRequest(
            "POST",
            self._base.with_user(None),
            loop=asyncio.get_running_loop(),
            proxy=proxy,
            proxy_headers=headers,
        )
        self._connector, self._target = connector, target
        return connector, target

    # ---------------------------------------------------------------- request heads

    def json_head(self, token: str, method: str, test: bool = False) -> bytes:
        """The head of a JSON call up to `Content-Length: `."""
        head = self._heads.get((token, method, test))
        if head is None:
            if len(self._heads) >= _HEADS:
                self._heads.clear()
            head = self._heads[token, method, test] = self.form_head(token, method, "application/json", test)
        return head

    def form_head(self, token: str, method: str, content_type: str, test: bool = False) -> bytes:
        """The head of any call up to `Content-Length: `. `test`: of Telegram's test environment
        (core.telegram.org/bots/features, "Testing your bot")."""
        path = f"{self._where}/bot{_place(token, test)}/{quote(method, safe='')}"
        kind = f"Content-Type: {content_type}\r\n"
        return f"POST {path} HTTP/1.1\r\n{self._common}{kind}Content-Length: ".encode()

    def file_head(self, token: str, file_path: str, test: bool = False) -> bytes:
        """The whole head of a download. Raises KurirError for a path that could lead out of the bot's files."""
        path = f"/file/bot{_place(token, test)}/{_inside(file_path)}"
        return f"GET {self._where}{path} HTTP/1.1\r\n{self._common}\r\n".encode()

    def _request_target(self) -> str:
        """What precedes the path: all of the address when a proxy is asked to fetch it."""
        prefix = self._base.raw_path.rstrip("/")
        if self._asks_proxy():
            return f"{self._base.scheme}://{self._base.host_port_subcomponent}{prefix}"
        return prefix

    def _common_headers(self) -> str:
        headers = f"Host: {self._base.host_port_subcomponent}\r\nUser-Agent: kurir\r\nAccept: */*\r\n"
        if self._base.user is not None:
            headers += f"Authorization: {_basic(self._base)}\r\n"
        if self._proxy is not None and self._asks_proxy() and self._proxy.user is not None:
            headers += f"Proxy-Authorization: {_basic(self._proxy)}\r\n"
        return headers

    def _asks_proxy(self) -> bool:
        """An HTTP proxy in front of a plain HTTP server; all others are tunnels."""
        return self._proxy is not None and self._proxy.scheme in ("http", "https") and self._base.scheme == "http"


def _url(setting: str, text: str, schemes: tuple[str, ...]) -> URL:
    try:
        url = URL(text)
        host = url.host
    except ValueError:
        url, host = URL(), None
    if url.scheme not in schemes or not host:
        what = "is not an address Kurir can use"  # not shown: it may hold a password
        raise InvalidSetting(setting, what, f"Give one that begins with {', '.join(f'{s}://' for s in schemes)}.")
    return url


def _place(token: str, test: bool) -> str:
    """What follows `/bot` or `/file/bot`."""
    return quote(token, safe=":") + ("/test" if test else "")


def _inside(file_path: str) -> str:
    """A `file_path` of `getFile`, quoted. Servers resolve dots before they look at the path's beginning, some also
    decode twice or take a backslash for a slash: what looks like a step up is refused, not quoted."""
    path = file_path.lstrip("/")
    for spelling in (path, unquote(path), unquote(unquote(path))):
        steps = spelling.replace("\\", "/").split("/")
        if not spelling.isprintable() or not {".", ".."}.isdisjoint(steps) or steps == [""]:
            raise KurirError("that is no file_path of getFile", "Ask getFile for one.")
    return quote(path, safe="/")


def _basic(url: URL) -> str:
    """HTTP basic authentication (RFC 7617) with the user and password of an address."""
    pair = f"{url.user or ''}:{url.password or ''}".encode()
    return f"Basic {base64.b64encode(pair).decode()}"
