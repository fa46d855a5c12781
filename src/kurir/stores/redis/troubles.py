"""What redis-py raises, as what Kurir raises."""

from __future__ import annotations

from redis import exceptions as redis_errors

from kurir.core.errors import StoreAway, StoreError, StoreFull

_FULL = ("OOM", "MISCONF")
_AWAY = (
    "LOADING",
    "READONLY",
    "CLUSTERDOWN",
    "MASTERDOWN",
    "NOREPLICAS",
    "TRYAGAIN",
    "BUSY",
    "UNBLOCKED",
    "MOVED",
    "ASK",
)
_NOT_ALLOWED = ("NOAUTH", "WRONGPASS", "NOPERM", "DENIED")


def translate(error: Exception, shown: str) -> StoreError:
    """The error as ours; `shown` names the server, without a password."""
    text = str(error)
    word = text.split(" ", 1)[0]
    match error:
        case redis_errors.OutOfMemoryError():
            return _out_of_memory(shown)
        case redis_errors.AuthenticationError() | redis_errors.NoPermissionError():
            return _not_allowed(shown, text)
        case redis_errors.BusyLoadingError() | redis_errors.ReadOnlyError():
            return _away(shown, text)
        case redis_errors.ConnectionError() | redis_errors.TimeoutError() | OSError() | TimeoutError():
            if word in _NOT_ALLOWED or "invalid username-password" in text:
                return _not_allowed(shown, text)
            return _away(shown, text or type(error).__name__)
        case redis_errors.ClusterError():
            return _away(shown, text)
    if word == "OOM":
        return _out_of_memory(shown)
    if word in _FULL:
        return StoreFull(
            f"{shown} cannot write to its disk: {text}", "Free disk space there; everything accepted is kept."
        )
    if word in _AWAY or any(f"{name} " in text for name in _AWAY[:5]):
        return _away(shown, text)
    if word in _NOT_ALLOWED:
        return _not_allowed(shown, text)
    return StoreError(f"{shown}: {text}", "Run `kurir doctor`.")


def _away(shown: str, why: str) -> StoreAway:
    return StoreAway(f"{shown} is away: {why}", "See whether Redis runs and can be reached; Kurir goes on by itself.")


def _not_allowed(shown: str, why: str) -> StoreError:
    return StoreError(f"{shown} does not allow it: {why}", "Check user and password in KURIR_STORE, and the user's rights.")


def _out_of_memory(shown: str) -> StoreFull:
    return StoreFull(
        f"{shown} has no memory left for more (`maxmemory`)",
        "Raise its `maxmemory`, or prune old messages; everything accepted is kept.",
    )
