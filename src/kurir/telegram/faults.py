"""How a call ended that got no answer: an exception of the network becomes a `NoReply`."""

from __future__ import annotations

import errno
import socket
import ssl
from typing import Final

import aiohttp
import aiohttp_socks

from kurir.core.outcome import Break, NoReply

from .redact import redact

_LONGEST: Final = 300  # characters of `NoReply.detail`

_BY_ERRNO: Final = {
    errno.ECONNREFUSED: Break.REFUSED,
    errno.ENETUNREACH: Break.UNREACHABLE,
    errno.EHOSTUNREACH: Break.UNREACHABLE,
    errno.ENETDOWN: Break.UNREACHABLE,
    errno.EHOSTDOWN: Break.UNREACHABLE,
    errno.EADDRNOTAVAIL: Break.UNREACHABLE,
    errno.ETIMEDOUT: Break.CONNECT_TIMEOUT,
    errno.ECONNRESET: Break.RESET,
    errno.EPIPE: Break.RESET,
    errno.ECONNABORTED: Break.RESET,
}
_PROXY_ERRORS: Final = (
    aiohttp.ClientProxyConnectionError,
    aiohttp.ClientHttpProxyError,
    aiohttp_socks.ProxyError,
    aiohttp_socks.ProxyConnectionError,
    aiohttp_socks.ProxyTimeoutError,
)
_TLS_ERRORS: Final = (ssl.SSLError, ssl.CertificateError, aiohttp.ClientSSLError)


class NoFreeConnection(Exception):
    """All connections of the pool were busy for as long as a connect may take."""


class UnreadableFile(Exception):
    """A file of the call cannot be read as it was announced."""


def fault(error: BaseException, sent: bool, *, proxied: bool = False) -> NoReply:
    """What `error` means for a call. `sent`: its first byte was handed over to the connection."""
    if isinstance(error, UnreadableFile):
        return NoReply(Break.FILE, sent, _words(error))
    if sent:
        kind = Break.TIMEOUT if isinstance(error, TimeoutError) else Break.RESET
    else:
        kind = _unsent(error, proxied)
    return NoReply(kind, sent, _words(error))


def _unsent(error: BaseException, proxied: bool) -> Break:
    """Nothing of the request left: why not?"""
    if isinstance(error, NoFreeConnection):
        return Break.POOL
    if isinstance(error, _PROXY_ERRORS):
        return Break.PROXY
    if isinstance(error, aiohttp.ClientConnectorDNSError | socket.gaierror):
        return Break.DNS
    if isinstance(error, _TLS_ERRORS):
        return Break.TLS
    if isinstance(error, TimeoutError) and not getattr(error, "errno", None):
        return Break.CONNECT_TIMEOUT
    if proxied and isinstance(error, aiohttp.ServerDisconnectedError):
        return Break.PROXY
    return _by_errno(error)


def _by_errno(error: BaseException) -> Break:
    """Several addresses may have failed for several reasons: the first that is told counts."""
    number = getattr(error, "errno", None)
    if number is None and isinstance(error, aiohttp.ClientConnectorError):
        number = error.os_error.errno
    if number is None:
        text = str(error)
        number = next((code for code in _BY_ERRNO if f"[Errno {code}]" in text), None)
    if number in _BY_ERRNO:
        return _BY_ERRNO[number]
    return Break.UNREACHABLE if isinstance(error, aiohttp.ClientConnectorError) else Break.RESET


def _words(error: BaseException) -> str:
    """The error for people: one line, no token; its name if it has no words (a timeout is named by its kind)."""
    if isinstance(error, aiohttp.ClientHttpProxyError):
        return redact(f"the proxy answered {error.status} {error.message}")[:_LONGEST]
    words = " ".join(str(error).split())
    if not words and not isinstance(error, TimeoutError):
        words = type(error).__name__
    return redact(words)[:_LONGEST]
