"""The least that a durable message costs on a server: a bare row, a bare entry of a stream, a bare key."""

from __future__ import annotations

import time
from collections.abc import Sequence

import asyncpg  # type: ignore[import-untyped]
import redis.asyncio

from .floors import Row, row

WARM_UP = 50  # rows before the clock starts
BATCH = 500
_TABLE = """
CREATE TABLE job (seq bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, id text, chat text, state int, prio int,
  due_at float8, accepted_at float8, method text, params text)"""
_INDEX = "CREATE INDEX job_due ON job (state, due_at)"
_INSERT = """
INSERT INTO job (id, chat, state, prio, due_at, accepted_at, method, params) VALUES ($1, $2, $3, $4, $5, $6, $7, $8)"""


async def inserted(url: str, count: int) -> float:
    """Rows a second, each in a transaction of its own."""
    connection = await _table(url)
    try:
        insert = await connection.prepare(_INSERT)
        for number in range(WARM_UP):
            await insert.fetch(*row(number))
        began = time.perf_counter()
        for number in range(count):
            await insert.fetch(*row(number))
        return count / (time.perf_counter() - began)
    finally:
        await connection.close()


async def fill_table(url: str, count: int) -> None:
    """So many rows, in batches."""
    connection = await _table(url)
    try:
        for start in range(0, count, BATCH):
            rows: Sequence[Row] = [row(number) for number in range(start, start + BATCH)]
            await connection.executemany(_INSERT, rows)
    finally:
        await connection.close()


async def _table(url: str) -> asyncpg.Connection:
    connection = await asyncpg.connect(url)
    await connection.execute(_TABLE)
    await connection.execute(_INDEX)
    return connection


async def added(url: str, count: int) -> float:
    """Entries a second that a stream takes, one after the other."""
    client = redis.asyncio.Redis.from_url(url)
    try:
        for number in range(WARM_UP):
            await client.xadd("jobs", {"job": row(number)[7]})
        began = time.perf_counter()
        for number in range(count):
            await client.xadd("jobs", {"job": row(number)[7]})
        return count / (time.perf_counter() - began)
    finally:
        await client.aclose()


async def fill_keys(url: str, count: int) -> None:
    """So many keys with a value of 400 bytes."""
    client = redis.asyncio.Redis.from_url(url)
    try:
        for start in range(0, count, BATCH):
            await client.mset({row(number)[0]: row(number)[7] for number in range(start, start + BATCH)})
    finally:
        await client.aclose()
