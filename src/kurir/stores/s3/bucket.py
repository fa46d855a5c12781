"""Requests to a bucket, each with a time limit. No more of a file than a piece is ever held."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import os
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager, closing, suppress
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import Any, BinaryIO, Final

from aiobotocore.config import AioConfig
from aiobotocore.session import get_session

from kurir.core.errors import StoreAway, StoreError
from kurir.stores.breaker import Breaker

from .address import Address
from .patience import Patience
from .troubles import ASKING, Missing, trouble

PIECE: Final = 5 << 20
"""Bytes of a part: the least that S3 takes (docs.aws.amazon.com/AmazonS3/latest/userguide/qfacts.html)."""
QUICK: Final = 15.0  # seconds for a request, its repetitions included; or without a byte of a piece that is read
LIMIT: Final = 60.0  # seconds without a byte of a piece that is written, buffers on the way included
LONG: Final = 600.0  # seconds for a request that makes the server move a whole file
CONNECTIONS: Final = 16
PIECES: Final = 3
"""On their way at once: on a slow link a few arrive one after the other, where many would all be late."""

_CHUNK: Final = 256 * 1024  # bytes
_CONFIG: Final = AioConfig(
    connect_timeout=5,
    read_timeout=LONG,  # each request has a limit of its own
    max_pool_connections=CONNECTIONS,
    retries={"mode": "standard", "total_max_attempts": 2},
    request_checksum_calculation="when_required",  # other servers than AWS do not know the new ones
    response_checksum_validation="when_required",
)


@dataclass(frozen=True, slots=True)
class Entry:
    """An object of the bucket."""

    key: str
    size: int  # bytes


@dataclass(frozen=True, slots=True)
class Upload:
    """One that was begun and is not finished."""

    key: str
    id: str
    begun_at: float  # Unix seconds, by the bucket's clock


class _Body(BytesIO):
    """Tells when some of it is read: to be sent."""

    heard: Callable[[], None] | None = None

    def read(self, size: int | None = -1, /) -> bytes:
        if self.heard is not None:
            self.heard()
        return super().read(size)


@dataclass(frozen=True, slots=True)
class _Piece:
    """The only one who holds the bytes: else aiohttp makes a second copy."""

    body: _Body
    size: int  # bytes
    md5: str  # Base64


class Bucket:
    """Errors: `StoreError` and its children, `Missing` where it says so among them."""

    def __init__(self, address: Address) -> None:
        self.address = address
        self._client: Any = None
        self._opened = AsyncExitStack()
        self._opening = asyncio.Lock()
        self._closed = False
        self._quick = asyncio.Semaphore(CONNECTIONS - PIECES)  # nobody waits for a connection while the clock ticks
        self._pieces = asyncio.Semaphore(PIECES)
        self._breaker = Breaker(str(address))

    async def open(self) -> None:
        """Nothing is asked of the bucket yet. The first request does it, if nobody did; none does it after `close`."""
        async with self._opening:
            if self._closed:
                raise StoreAway(f"{self.address} is closed", "Open another one.")
            if self._client is not None:
                return
            session = get_session()
            try:
                # the descriptions of the service take their time to read
                await asyncio.to_thread(session.get_component("data_loader").load_service_model, "s3", "service-2")
                made = session.create_client(
                    "s3", region_name=self.address.region, endpoint_url=self.address.endpoint_url, config=_CONFIG
                )
                self._client = await self._opened.enter_async_context(made)
            except ASKING as error:
                raise trouble(error, str(self.address), "ask") from error

    async def close(self) -> None:
        async with self._opening:
            self._closed = True
            self._client = None
            await self._opened.aclose()

    async def entries(self, prefix: str) -> AsyncIterator[Entry]:
        """Those whose keys begin with that, by key."""
        more: dict[str, Any] = {}
        while True:
            page = await self._ask("list_objects_v2", "list files", Prefix=prefix, **more)
            for found in page.get("Contents", ()):
                yield Entry(found["Key"], int(found["Size"]))
            if not page.get("IsTruncated"):
                return
            more = {"ContinuationToken": self._named(page, "NextContinuationToken")}

    async def put(self, key: str, path: Path) -> None:
        """The file, whole or not at all."""
        with path.open("rb") as file:
            if os.fstat(file.fileno()).st_size > PIECE:
                await self._put_in_parts(key, file)
                return
            piece = await asyncio.to_thread(_read, file)
            await self._send("put_object", piece, Key=key)

    async def copy(self, key: str, to: str) -> None:
        """Raises Missing."""
        source = {"Bucket": self.address.bucket, "Key": key}
        await self._ask("copy_object", "copy", LONG, Key=to, CopySource=source)

    async def get(self, entry: Entry, path: Path) -> None:
        """The object, piece by piece. Raises Missing, also when it goes meanwhile."""
        with path.open("wb") as file:
            for start in range(0, entry.size, PIECE):
                await self._get_piece(entry.key, start, min(start + PIECE, entry.size), file)

    async def delete(self, key: str) -> None:
        """One that is not there is deleted."""
        with suppress(Missing):
            await self._ask("delete_object", "delete", Key=key)

    async def uploads(self, prefix: str) -> AsyncIterator[Upload]:
        """Those that are not finished."""
        more: dict[str, Any] = {}
        while True:
            page = await self._ask("list_multipart_uploads", "list unfinished uploads", Prefix=prefix, **more)
            for found in page.get("Uploads", ()):
                yield Upload(found["Key"], found["UploadId"], found["Initiated"].timestamp())
            if not page.get("IsTruncated"):
                return
            more = {name: self._named(page, f"Next{name}") for name in ("KeyMarker", "UploadIdMarker")}

    async def abandon(self, key: str, id: str) -> None:
        """An upload that is not to be finished; one that is none is abandoned."""
        with suppress(Missing):
            await self._ask("abort_multipart_upload", "end unfinished uploads", Key=key, UploadId=id)

    # ---------------------------------------------------------------- one request

    async def _ask(self, request: str, action: str, limit: float = QUICK, **more: Any) -> Any:
        async with self._asking(action, self._quick, limit) as (client, _):
            return await getattr(client, request)(Bucket=self.address.bucket, **more)

    @asynccontextmanager
    async def _asking(
        self, action: str, room: asyncio.Semaphore, limit: float
    ) -> AsyncIterator[tuple[Any, Callable[[], None]]]:
        """The client, for one request, and what to call when a byte moved. While the bucket is away all but a probe are told
        so at once."""
        async with room:
            await self.open()
            async with self._breaker.passing():
                try:
                    async with Patience(limit) as patience:
                        yield self._client, patience.heard
                except ASKING as error:
                    raise trouble(error, str(self.address), action) from error

    def _named(self, page: dict[str, Any], field: str) -> Any:
        if field not in page:
            raise StoreError(f"{self.address} answers without {field}", "Use a server that lists as S3 does.")
        return page[field]

    async def _get_piece(self, key: str, start: int, end: int, file: BinaryIO) -> None:
        async with self._asking("read", self._pieces, QUICK) as (client, heard):
            answer = await client.get_object(Bucket=self.address.bucket, Key=key, Range=f"bytes={start}-{end - 1}")
            with closing(answer["Body"]) as body:
                if answer["ContentLength"] != end - start:
                    raise StoreError(f"{self.address} does not give parts of files", "Use a server that does.")
                chunks = []
                async for chunk in body.iter_chunks(_CHUNK):
                    chunks.append(chunk)
                    heard()
        await asyncio.to_thread(file.writelines, chunks)

    async def _put_in_parts(self, key: str, file: BinaryIO) -> None:
        begun = await self._ask("create_multipart_upload", "write", Key=key)
        upload = {"Key": key, "UploadId": begun["UploadId"]}
        parts: list[dict[str, Any]] = []
        try:
            while etag := await self._put_part(file, PartNumber=len(parts) + 1, **upload):
                parts.append({"PartNumber": len(parts) + 1, "ETag": etag})
            await self._ask("complete_multipart_upload", "write", LONG, MultipartUpload={"Parts": parts}, **upload)
        except BaseException:
            with suppress(StoreError):
                await self.abandon(key, begun["UploadId"])
            raise

    async def _put_part(self, file: BinaryIO, **part: Any) -> str | None:
        """Its mark; None at the end of the file."""
        piece = await asyncio.to_thread(_read, file)
        if not piece.size:
            return None
        return str((await self._send("upload_part", piece, **part))["ETag"])

    async def _send(self, request: str, piece: _Piece, **more: Any) -> Any:
        """What is closed is let go of, whoever still knows of the request."""
        with piece.body:
            async with self._asking("write", self._pieces, LIMIT) as (client, heard):
                piece.body.heard = heard
                body = {"Body": piece.body, "ContentMD5": piece.md5}
                return await getattr(client, request)(Bucket=self.address.bucket, **body, **more)


def _read(file: BinaryIO) -> _Piece:
    data = file.read(PIECE)
    md5 = base64.b64encode(hashlib.md5(data, usedforsecurity=False).digest()).decode()
    return _Piece(_Body(data), len(data), md5)
