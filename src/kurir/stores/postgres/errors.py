"""asyncpg's errors as ours, with what to do; and whether what was asked may have been done all the same."""

from __future__ import annotations

import asyncio

import asyncpg
import orjson

from kurir.core.errors import InvalidMessage, KeyConflict, KeyHeld, KurirError, StoreAway, StoreError, StoreFull
from kurir.stores.codec import too_large

_AWAY = {  # SQLSTATE classes and codes with which a server says that it cannot be spoken to now
    "08",  # connection exception
    "57P01",  # administrator shut it down
    "57P02",  # crashed
    "57P03",  # cannot connect now: starting up, shutting down
    "57P05",  # idle session timeout
    "53300",  # too many connections
    "25006",  # read-only: a standby, or one that was
    "25P03",  # idle in transaction for too long
    "28",  # authorization
    "3D000",  # no such database
}
_BROKEN = {"57P01", "57P02", "57P05", "25P03"}  # the connection ends with these, perhaps after the work was done
_AGAIN = {"40001", "40P01", "55P03"}  # rolled back because of others: to be tried again at once
CONFLICT, HELD = "KU409", "KU423"  # raised by our own functions


class Away(Exception):
    """The server did not answer, or not now. `doubtful`: what was asked may have been done. `again`: nothing was, because of
    somebody else's transaction. `usable`: the connection is."""

    def __init__(self, error: StoreAway, *, doubtful: bool, again: bool = False, usable: bool = False) -> None:
        super().__init__(str(error))
        self.error = error
        self.doubtful = doubtful
        self.again = again
        self.usable = usable


def translate(error: BaseException, server: str) -> Away | KurirError | None:
    """What to raise instead; None for what is not the store's."""
    if isinstance(error, asyncpg.PostgresError):
        return _of_server(error, server)
    if isinstance(error, UnicodeEncodeError):
        return _unstorable()
    if isinstance(error, TimeoutError | asyncio.IncompleteReadError):
        return Away(StoreAway(f"{server} did not answer in time", _remedy(server)), doubtful=True)
    if isinstance(error, OSError | asyncpg.InterfaceError | asyncpg.InternalClientError):
        why = str(error) or type(error).__name__
        return Away(StoreAway(f"{server} is not reachable: {why}", _remedy(server)), doubtful=True)
    return None


def _of_server(error: asyncpg.PostgresError, server: str) -> Away | KurirError:
    code = error.sqlstate or ""
    said = str(error)
    if code == CONFLICT:
        key, id = orjson.loads(error.detail or "[]")
        return KeyConflict(key, id)
    if code == HELD:
        return KeyHeld(
            f"a transaction on {server} that is still open submits with the same idempotency key",
            "Try again when it has ended.",
        )
    if code in _AGAIN:
        return Away(StoreAway(f"{server}: {said}", "Try again."), doubtful=False, again=True, usable=True)
    if code == "57014":
        return Away(StoreAway(f"{server} took too long: {said}", _remedy(server)), doubtful=False, usable=True)
    if code == "53100":
        return StoreFull(f"no room left on {server}: {said}", "Free disk space there; everything accepted is kept.")
    if code in _AWAY or code[:2] in _AWAY:
        return Away(StoreAway(f"{server}: {said}", _remedy(server)), doubtful=code in _BROKEN or code[:2] == "08")
    if code in ("22021", "22P05") or isinstance(error.__cause__, UnicodeEncodeError):
        return _unstorable()
    if isinstance(error.__cause__, OverflowError):  # the driver cannot even say it to the server
        return too_large()
    return StoreError(f"{server}: {said} ({code})", "Run `kurir doctor`.")


def _unstorable() -> InvalidMessage:
    return InvalidMessage("text", "has a NUL or half a character, which PostgreSQL does not keep", "Leave it out.")


def _remedy(server: str) -> str:
    return f"See that {server} runs and lets Kurir in (KURIR_STORE); all goes on when it is back."
