"""Submit inside the caller's own transaction: `ports.Joining`. One statement, whatever the driver."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import Any

import orjson

from kurir.core.errors import InvalidMessage, KeyConflict, KurirError, StoreAway, StoreError, StoreFull
from kurir.core.message import Accepted, Draft
from kurir.stores.connections import FIELD, Driver, Theirs, find, find_sync, outside, stranger

from . import submit

NEEDED = "PostgreSQL"
DRIVERS = ("asyncpg", "psycopg", "psycopg_pool")
IDLE = 0  # libpq's PQTRANS_IDLE
_MISSING = ("3F000", "42883", "42P01")  # no such schema, function, table
_TAKEN_BACK = ("40001", "40P01", "55P03")  # because of somebody else's transaction
_UNSTORABLE = ("22021", "22P05")


class Joins:
    """What a caller's connection is asked. `here`: what `whereabouts()` answers in the store's database."""

    def __init__(self, schema: str, name: str) -> None:
        self.here: str | None = None
        self._schema = schema
        self._name = name  # of the server, for errors
        types = ("text", "text", *submit.TYPES)
        function = f'SELECT seqs, rest, refused FROM "{schema}".submit_within'
        self._numbered = f"{function}({', '.join(f'${n}::{type}' for n, type in enumerate(types, 1))})"
        self._formatted = f"{function}({', '.join(f'%s::{type}' for type in types)})"

    async def submit(self, connection: Any, drafts: Sequence[Draft], at: float | None) -> list[Accepted]:
        """In the transaction that the connection is in. A connection that blocks does so here."""
        theirs = await find(connection)
        if theirs.driver is Driver.PSYCOPG:
            return self._blocking(theirs, drafts, at)
        _check(theirs)
        sent = submit.unique(drafts)
        values = (self.here, self._schema, *submit.arguments(sent, at))
        try:
            if theirs.driver is Driver.ASYNCPG:
                row = await theirs.raw.fetchrow(self._numbered, *values)
            else:
                async with theirs.raw.cursor(row_factory=_tuples()) as cursor:
                    await cursor.execute(self._formatted, values)
                    row = await cursor.fetchone()
        except Exception as error:
            raise self._translated(error) from error
        return self._answers(drafts, sent, row)

    def submit_sync(self, connection: Any, drafts: Sequence[Draft], at: float | None) -> list[Accepted]:
        """The same for connections that block."""
        return self._blocking(find_sync(connection), drafts, at)

    def _blocking(self, theirs: Theirs, drafts: Sequence[Draft], at: float | None) -> list[Accepted]:
        _check(theirs)
        sent = submit.unique(drafts)
        values = (self.here, self._schema, *submit.arguments(sent, at))
        try:
            with theirs.raw.cursor(row_factory=_tuples()) as cursor:
                cursor.execute(self._formatted, values)
                row = cursor.fetchone()
        except Exception as error:
            raise self._translated(error) from error
        return self._answers(drafts, sent, row)

    def _answers(self, drafts: Sequence[Draft], sent: Sequence[Draft], row: Any) -> list[Accepted]:
        seqs, rest, refused = row[0], row[1], row[2]
        if refused == "elsewhere":
            raise self._elsewhere(f"is to another database than {self._name}")
        if refused is not None:
            raise KeyConflict(*orjson.loads(refused))
        return submit.answers(drafts, sent, (seqs, rest))

    def _elsewhere(self, what: str) -> InvalidMessage:
        return InvalidMessage(FIELD, what, "Point KURIR_STORE at the database that holds your own tables.")

    def _translated(self, error: Exception) -> Exception:
        """A driver's error as ours; the caller's transaction has failed with it."""
        if isinstance(error, KurirError):
            return error
        code = getattr(error, "sqlstate", None) or ""
        said = " ".join(str(error).split())
        if code in _MISSING:
            return self._elsewhere(f"is to a database without Kurir's schema {self._schema} ({said})")
        if isinstance(error, UnicodeEncodeError) or code in _UNSTORABLE:
            return InvalidMessage("text", f"is not kept by PostgreSQL: {said}", "Leave NULs and half characters out.")
        if code == "42501":
            remedy = f'GRANT USAGE ON SCHEMA "{self._schema}" to the role that this connection has.'
            return StoreError(f"{self._name}: {said}", remedy)
        if code == "53100":
            return StoreFull(f"no room left on {self._name}: {said}", "Free disk space there.")
        if code in _TAKEN_BACK:
            return StoreAway(f"{self._name}: {said}", "Roll your transaction back and do it again.")
        if code:
            return StoreError(f"{self._name}: {said} ({code})", "Your transaction has failed: roll it back.")
        if isinstance(error, OSError) or type(error).__module__.partition(".")[0] in DRIVERS:
            return StoreAway(f"{self._name}: {said or type(error).__name__}", "See that your connection is sound.")
        return error


def _tuples() -> Any:
    return sys.modules["psycopg.rows"].tuple_row  # of the library that made the connection


def _check(theirs: Theirs) -> None:
    """It is of PostgreSQL, and in a transaction or about to begin one by itself."""
    raw = theirs.raw
    if theirs.driver is Driver.ASYNCPG:
        if not raw.is_in_transaction():
            raise outside("async with connection.transaction()")
    elif theirs.driver in (Driver.PSYCOPG, Driver.PSYCOPG_ASYNC):
        if raw.autocommit and raw.info.transaction_status == IDLE:
            raise outside("with connection.transaction(), or transaction.atomic() in Django")
    else:
        raise stranger(raw, NEEDED)
