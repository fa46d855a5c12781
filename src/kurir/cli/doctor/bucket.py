"""The bucket of KURIR_FILES: can files be written, listed, read and deleted there?"""

from __future__ import annotations

import hashlib
import secrets
import tempfile
import time
from pathlib import Path

from kurir.cli.times import short
from kurir.core.errors import KurirError
from kurir.ports import FileStore
from kurir.stores.urls import open_files

from .finding import Finding, ok, problem

EVER = 1e12  # Unix seconds later than every file


async def check(url: str) -> Finding:
    started = time.perf_counter()
    try:
        bucket = open_files(url)
        try:
            whole = await _keeps(bucket)
        finally:
            await bucket.close()
    except KurirError as error:
        return problem("files", error.what, error.remedy)
    if not whole:
        return problem("files", f"{bucket} gives back other bytes than it was given", "Use another server.")
    took = short(time.perf_counter() - started)
    return ok("files", f"{bucket} can be written, listed, read and deleted in ({took})")


async def _keeps(bucket: FileStore) -> bool:
    """A file of our own goes there, comes back and is removed."""
    with tempfile.TemporaryDirectory() as folder:
        there, back = Path(folder, "there"), Path(folder, "back")
        sha256 = _write(there)
        await bucket.put_blob(sha256, there, time.time())
        try:
            whole = await bucket.get_blob(sha256, back) and _sha256(back) == sha256
        finally:
            gone = await bucket.drop_blobs([sha256], EVER)
        return whole and gone == 1


def _write(path: Path) -> str:
    path.write_bytes(b"kurir doctor " + secrets.token_bytes(16))
    return _sha256(path)


def _sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()
