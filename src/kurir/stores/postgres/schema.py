"""The schema: tables by migrations, functions made anew with each of them."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from importlib import resources
from typing import Any

from kurir.core.errors import InvalidSetting, SchemaMismatch, StoreError
from kurir.stores.named import migrations, statements

from .address import FIELD

OLDEST = 130000  # the server's version
REVISION = 5  # of the functions: to be raised with each change of theirs that comes without a migration
_FUNCTION = re.compile(r"^CREATE FUNCTION (\w+)", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Installed:
    """What a database has. Within a `version`, all revisions of the functions do for all: none changes what it takes or
    answers, so that old and new processes work side by side."""

    version: int
    revision: int


def queries(schema: str) -> Mapping[str, str]:
    """The statements of `queries.sql` for that schema."""
    return {name: sql.replace("kurir.", f'"{schema}".') for name, sql in statements(__package__, "queries.sql").items()}


def functions() -> str:
    """The scripts that make the functions."""
    folder = resources.files(f"{__package__}.functions")
    names = sorted(f.name for f in folder.iterdir() if f.name.endswith(".sql"))
    return "\n".join(folder.joinpath(name).read_text("utf8") for name in names)


async def migrate(connection: Any, schema: str, package: str = f"{__package__}.migrations") -> int:
    """Bring the schema up to date, in one transaction, while nobody else does; answers its version. Raises SchemaMismatch
    when it is newer than we know."""
    scripts = migrations(package)
    ours = Installed(scripts[-1][0], REVISION)
    if not await _is_older(connection, schema, ours):
        return ours.version
    async with connection.transaction(isolation="read_committed"):
        await connection.execute("SELECT pg_advisory_xact_lock(hashtextextended($1, 0))", f"kurir migrates {schema}")
        if await _is_older(connection, schema, ours):
            present = await _installed(connection, schema)
            if not present.version:
                await _refuse_foreign(connection, schema)
            await connection.execute(f'CREATE SCHEMA IF NOT EXISTS "{schema}"')
            await connection.execute(f'SET LOCAL search_path = "{schema}", pg_temp')
            await connection.execute("SET LOCAL check_function_bodies = off")
            for version, script in scripts:
                if version > present.version:
                    await connection.execute(script)
            await _drop_functions(connection, schema)
            await connection.execute(functions())
            await connection.execute(
                "CREATE TABLE IF NOT EXISTS version (number integer NOT NULL, revision integer NOT NULL)"
            )
            await connection.execute("DELETE FROM version")
            await connection.execute("INSERT INTO version VALUES ($1, $2)", ours.version, ours.revision)
    return ours.version


async def _is_older(connection: Any, schema: str, ours: Installed) -> bool:
    """Something is to be done. Raises SchemaMismatch."""
    present = await _installed(connection, schema)
    if present.version > ours.version:
        raise SchemaMismatch(
            f"{schema} has schema {present.version}; this Kurir knows up to {ours.version}",
            "Upgrade Kurir (`pip install -U kurir`); a newer one has used this database.",
        )
    return present.version < ours.version or present.revision < ours.revision


async def _installed(connection: Any, schema: str) -> Installed:
    # Not by to_regclass: it may answer from what this session remembers, without a look at what others did meanwhile.
    if not await connection.fetchval(
        "SELECT EXISTS (SELECT FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace "
        "WHERE n.nspname = $1 AND c.relname = 'version')",
        schema,
    ):
        return Installed(0, 0)
    row = await connection.fetchrow(f'SELECT number, revision FROM "{schema}".version')
    return Installed(0, 0) if row is None else Installed(row[0], row[1])


async def _refuse_foreign(connection: Any, schema: str) -> None:
    """Raises InvalidSetting for a schema in which somebody else keeps something."""
    sql = """SELECT EXISTS (SELECT FROM pg_class WHERE relnamespace = to_regnamespace($1))
      OR EXISTS (SELECT FROM pg_proc WHERE pronamespace = to_regnamespace($1))"""
    if await connection.fetchval(sql, f'"{schema}"'):
        raise InvalidSetting(
            FIELD,
            f"names schema {schema!r}, which holds something that is not Kurir's",
            "Leave `schema=` out (it is then kurir), or name one that does not exist yet.",
        )


async def _drop_functions(connection: Any, schema: str) -> None:
    """Those of ours, in whatever form they are there."""
    sql = "SELECT oid::regprocedure::text FROM pg_proc WHERE pronamespace = to_regnamespace($1) AND proname = ANY ($2)"
    ours = sorted(set(_FUNCTION.findall(functions())))
    names = [row[0] for row in await connection.fetch(sql, f'"{schema}"', ours)]
    if names:
        await connection.execute(f"DROP FUNCTION {', '.join(names)} CASCADE")


def check_server(row: Any, name: str) -> None:
    """Raises StoreError for a server that is too old, or keeps text in another encoding."""
    if row["version_num"] < OLDEST:
        raise StoreError(f"{name} is {row['version']}", "Kurir needs PostgreSQL 13 or newer.")
    if row["encoding"] != "UTF8":
        raise StoreError(f"{name} has encoding {row['encoding']}", "Create the database with ENCODING 'UTF8'.")
