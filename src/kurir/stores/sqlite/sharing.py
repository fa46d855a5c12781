"""A file that an application keeps its own tables in, too: is what bears our names ours?"""

from __future__ import annotations

import re
import sqlite3
from pathlib import Path

from kurir.core.errors import SchemaMismatch

_CREATES = re.compile(r"^CREATE (?:TABLE|VIEW) (\w+)", re.MULTILINE)
REMEDY = "Give Kurir a file of its own (KURIR_STORE), or keep clear of the names it uses there."


def check(db: sqlite3.Connection, path: Path, version: int, first: str) -> None:
    """`version`: the file's `user_version`. `first`: the script that makes our tables. Raises SchemaMismatch."""
    ours = set(_CREATES.findall(first))
    there = {row[0] for row in db.execute("SELECT name FROM sqlite_master WHERE type IN ('table', 'view')")}
    if version and not ours <= there:
        raise SchemaMismatch(f"{path} has another program's user_version ({version}), which Kurir needs", REMEDY)
    if not version and (taken := sorted(ours & there)):
        raise SchemaMismatch(f"{path} has tables of another program's that are named as Kurir's: {taken}", REMEDY)
