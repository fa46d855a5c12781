"""What redis-py raises, as what Kurir raises."""

from __future__ import annotations

import re

from redis import exceptions as theirs

from kurir.core.errors import StoreAway, StoreError, StoreFull

from .sentinels import NoMaster

_FULL = ("OOM", "MISCONF")
_AWAY = (
    "LOADING", "READONLY", "CLUSTERDOWN", "MASTERDOWN", "NOREPLICAS", "TRYAGAIN", "BUSY", "UNBLOCKED", "MOVED", "ASK",
)  # fmt: skip
_NOT_ALLOWED = ("NOAUTH", "WRONGPASS", "NOPERM", "DENIED")
_CODE = re.compile(rf"(?:^|\s-)({'|'.join((*_FULL, *_AWAY, *_NOT_ALLOWED))})\b")
"""A server's error begins with its code; Redis 6.2 puts those that a script met behind its own words."""

_AWAY_CLASSES = (theirs.BusyLoadingError, theirs.ReadOnlyError, theirs.ClusterError, theirs.TryAgainError)
_CONNECTION = (theirs.ConnectionError, theirs.TimeoutError, OSError, TimeoutError)


def translate(error: Exception, shown: str, *, worked: bool = False) -> StoreError:
    """The error as ours; `shown` names the server, without a password. `worked`: it let us in before, so that somebody is
    changing passwords or rights: it is away for us until that is done."""
    text = str(error) or type(error).__name__
    if isinstance(error, NoMaster):
        away = worked or not error.wrong
        return (
            StoreAway(f"{shown} is away: {text}", error.remedy)
            if away
            else StoreError(f"{shown}: {text}", error.remedy)
        )
    found = _CODE.search(text)
    code = found[1] if found else ""
    if isinstance(error, theirs.OutOfMemoryError) or code == "OOM":
        return StoreFull(
            f"{shown} has no memory left for more (`maxmemory`)",
            "Raise its `maxmemory`, or prune old messages; everything accepted is kept.",
        )
    if code == "MISCONF":
        remedy = "Free disk space there, and see its log; everything accepted is kept."
        return StoreFull(f"{shown} cannot write to its disk: {text}", remedy)
    if isinstance(error, theirs.AuthenticationError | theirs.NoPermissionError) or code in _NOT_ALLOWED:
        remedy = "Check user and password in KURIR_STORE, and the user's rights."
        return (StoreAway if worked else StoreError)(f"{shown} does not allow it: {text}", remedy)
    if isinstance(error, (*_AWAY_CLASSES, *_CONNECTION)) or code in _AWAY:
        remedy = "See whether it runs and can be reached; Kurir goes on by itself."
        return StoreAway(f"{shown} is away: {text}", remedy)
    return StoreError(f"{shown}: {text}", "Run `kurir doctor`.")
