"""Files in the store, as rows of pieces: `ports.BlobStore`."""

from __future__ import annotations

import asyncio
from abc import ABC, abstractmethod
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final, TypeVar

from .connections import Work

T = TypeVar("T")

PIECE: Final = 512 * 1024  # bytes
ABANDONED: Final = 6 * 3600.0  # seconds after its beginning a file that is not finished is debris


class Blobs(ABC):
    """Mixed into `PostgresStore`."""

    _schema: str

    @abstractmethod
    async def _run(self, work: Work[T], *, limit: float | None = None) -> T: ...

    async def _value(self, sql: str, *values: Any) -> Any:
        """The one value that a statement answers; `kurir.` stands for the schema."""
        sql = sql.replace("kurir.", f'"{self._schema}".')
        return await self._run(lambda db: db.fetchval(sql, *values))

    async def put_blob(self, sha256: str, path: Path, now: float) -> None:
        while True:
            file = await self._value("SELECT kurir.begin_file($1, $2::float8)", sha256, now)
            if file is None:
                return
            if await self._write(file, path) and await self._value(
                "SELECT kurir.finish_file($1::int8, $2::float8)", file, now
            ):
                return

    async def _write(self, file: int, path: Path) -> bool:
        """False when what was written was swept meanwhile."""
        number = 0
        with path.open("rb") as source:
            while piece := await asyncio.to_thread(source.read, PIECE):
                if not await self._value("SELECT kurir.write_piece($1::int8, $2::int4, $3)", file, number, piece):
                    return False
                number += 1
        return True

    async def get_blob(self, sha256: str, path: Path) -> bool:
        file = await self._value("SELECT id FROM kurir.file WHERE sha256 = $1 AND ready", sha256)
        if file is None:
            return False
        sql = "SELECT bytes FROM kurir.piece WHERE file = $1::int8 AND number = $2::int4"
        with path.open("wb") as target:
            number = 0
            while piece := await self._value(sql, file, number):
                await asyncio.to_thread(target.write, piece)
                number += 1
        return number > 0

    async def drop_blobs(self, sha256s: Sequence[str], before: float) -> int:
        gone: int = await self._value(
            "SELECT kurir.drop_files($1::text[], $2::float8, $3::float8)", list(sha256s), before, before - ABANDONED
        )
        return gone

    async def blobs(self, before: float) -> list[str]:
        sql = "SELECT sha256 FROM kurir.file WHERE ready AND used_at < $1::float8 ORDER BY used_at".replace(
            "kurir.", f'"{self._schema}".'
        )
        return [row[0] for row in await self._run(lambda db: db.fetch(sql, before))]
