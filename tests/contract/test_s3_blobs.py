"""What a bucket does besides what every place for files does: it knows no transactions, may be refused, misnamed or away."""

from __future__ import annotations

import asyncio
import hashlib
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
from aiobotocore.session import get_session

from kurir.core.errors import InvalidSetting, KurirError, StoreAway, StoreError
from kurir.stores.breaker import OPENS_AFTER
from kurir.stores.s3 import S3Blobs, bucket
from kurir.stores.s3.address import parse
from kurir.stores.s3.blobs import FRESH
from kurir.stores.urls import open_files
from tests.buckets import BUCKET, CREDENTIALS, ENVIRONMENT, READER, S3Server, shared_bucket
from tests.serving import free_port


@pytest.fixture(autouse=True)
def server(monkeypatch: pytest.MonkeyPatch) -> S3Server:
    for name, value in ENVIRONMENT.items():
        monkeypatch.setenv(name, value)
    return shared_bucket()


@pytest.fixture
def url(server: S3Server) -> str:
    return server.fresh()


@pytest.fixture
async def make(url: str) -> AsyncIterator[Callable[..., S3Blobs]]:
    """Handles on one part of the bucket, as of several machines."""
    made: list[S3Blobs] = []

    def one(fresh: float = 0.0) -> S3Blobs:
        made.append(S3Blobs(url, fresh=fresh))
        return made[-1]

    yield one
    for each in made:
        await each.close()


@pytest.fixture
async def raw(server: S3Server) -> AsyncIterator[Any]:
    async with get_session().create_client("s3", endpoint_url=server.endpoint, region_name="eu-central-1") as client:
        yield client


def a_file(folder: Path, content: bytes = b"content") -> tuple[str, Path]:
    path = folder / "source"
    path.write_bytes(content)
    return hashlib.sha256(content).hexdigest(), path


def before(blobs: S3Blobs, request: str, does: Callable[[], Awaitable[object]]) -> None:
    """The next request of that kind is preceded by what somebody else does."""
    bucket: Any = blobs._bucket
    inner = getattr(bucket, request)

    async def once(*args: Any) -> Any:
        setattr(bucket, request, inner)
        await does()
        return await inner(*args)

    setattr(bucket, request, once)


async def keys(raw: Any, url: str) -> list[str]:
    found = await raw.list_objects_v2(Bucket=BUCKET, Prefix=parse(url).prefix)
    return [entry["Key"].rpartition("/")[2] for entry in found.get("Contents", ())]


# ---------------------------------------------------------------- several at once


async def test_a_file_that_is_marked_while_it_is_dropped_stays(make: Any, tmp_path: Path) -> None:
    one, other = make(), make()
    sha256, path = a_file(tmp_path)
    await one.put_blob(sha256, path, 100.0)
    before(one, "delete", lambda: other.put_blob(sha256, path, 300.0))
    await one.drop_blobs([sha256], 200.0)
    assert await other.get_blob(sha256, tmp_path / "back")
    assert await other.blobs(301.0) == [sha256]
    assert await other.blobs(300.0) == []


async def test_a_file_that_is_dropped_while_it_is_marked_is_put_again(make: Any, tmp_path: Path) -> None:
    one, other = make(), make()
    sha256, path = a_file(tmp_path)
    await one.put_blob(sha256, path, 100.0)
    before(one, "copy", lambda: other.drop_blobs([sha256], 200.0))
    await one.put_blob(sha256, path, 300.0)
    assert await other.get_blob(sha256, tmp_path / "back")
    assert (tmp_path / "back").read_bytes() == b"content"


async def test_two_who_mark_a_file_at_once_leave_it_marked_by_the_later(make: Any, tmp_path: Path) -> None:
    one, other = make(), make()
    sha256, path = a_file(tmp_path)
    await one.put_blob(sha256, path, 100.0)
    before(one, "copy", lambda: other.put_blob(sha256, path, 300.0))
    await one.put_blob(sha256, path, 200.0)
    assert await one.blobs(300.0) == []
    assert await one.get_blob(sha256, tmp_path / "back")


async def test_a_file_that_is_marked_while_it_is_read_is_read(make: Any, tmp_path: Path) -> None:
    one, other = make(), make()
    sha256, path = a_file(tmp_path)
    await one.put_blob(sha256, path, 100.0)
    before(one, "get", lambda: other.put_blob(sha256, path, 300.0))
    assert await one.get_blob(sha256, tmp_path / "back")


# ---------------------------------------------------------------- what is kept


async def test_a_file_in_use_is_copied_now_and_then_and_not_each_time(
    make: Any, raw: Any, url: str, tmp_path: Path
) -> None:
    blobs = make(FRESH)
    sha256, path = a_file(tmp_path)
    for at in (1000.0, 1000.0 + FRESH):
        await blobs.put_blob(sha256, path, at)
    assert await keys(raw, url) == ["0000001000.000000"]
    assert await blobs.drop_blobs([sha256], 1000.0 + FRESH) == 0  # as it may have been used since
    await blobs.put_blob(sha256, path, 1001.0 + FRESH)
    assert await keys(raw, url) == [f"{1001.0 + FRESH:017.6f}"]
    assert await blobs.drop_blobs([sha256], 1002.0 + 2 * FRESH) == 1
    assert await keys(raw, url) == []


async def test_what_is_not_ours_is_left_alone(make: Any, raw: Any, url: str, tmp_path: Path) -> None:
    await raw.put_object(Bucket=BUCKET, Key=f"{parse(url).prefix}README", Body=b"ours")
    blobs = make()
    assert await blobs.blobs(1e12) == []
    sha256, path = a_file(tmp_path)
    await blobs.put_blob(sha256, path, 100.0)
    assert await blobs.drop_blobs(await blobs.blobs(1e12), 1e12) == 1
    assert await keys(raw, url) == ["README"]


async def test_an_upload_that_nobody_finished_is_swept_after_some_hours(make: Any, raw: Any, url: str) -> None:
    blobs = make()
    key = f"{parse(url).prefix}{'0' * 64}/0000000100.000000"
    await raw.create_multipart_upload(Bucket=BUCKET, Key=key)
    left = []
    for hours in (5, 7):
        await blobs.drop_blobs([], time.time() + hours * 3600)
        left.append([upload.key async for upload in blobs._bucket.uploads(parse(url).prefix)])
    assert left == [[key], []]


async def test_more_files_than_a_page_holds_are_all_told_of(make: Any, tmp_path: Path) -> None:
    blobs = make()
    bucket: Any = blobs._bucket
    inner = bucket._ask

    async def in_small_pages(request: str, *args: Any, **more: Any) -> Any:
        return await inner(request, *args, **({**more, "MaxKeys": 2} if request == "list_objects_v2" else more))

    bucket._ask = in_small_pages
    names = []
    for n in range(5):
        sha256, path = a_file(tmp_path, bytes([n]))
        await blobs.put_blob(sha256, path, 100.0 + n)
        names.append(sha256)
    assert await blobs.blobs(1000.0) == names


# ---------------------------------------------------------------- what goes wrong


async def refused(blobs: S3Blobs, folder: Path) -> KurirError:
    sha256, path = a_file(folder)
    with pytest.raises(StoreError) as caught:
        await blobs.put_blob(sha256, path, 100.0)
    for secret in (CREDENTIALS["AWS_SECRET_ACCESS_KEY"], "wrong-secret"):
        assert secret not in f"{caught.value} {caught.value.__cause__!r}"
    assert caught.value.remedy
    return caught.value


async def test_one_who_may_not_write_is_told_what_to_allow(
    make: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    for name, value in READER.items():
        monkeypatch.setenv(name, value)
    error = await refused(make(), tmp_path)
    assert "does not let us write: AccessDenied" in error.what
    assert "s3:PutObject" in error.remedy


async def test_a_wrong_key_and_none_at_all_are_told_apart(
    make: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "wrong-secret")
    assert "does not take the credentials" in (await refused(make(), tmp_path)).what
    for name in CREDENTIALS:
        monkeypatch.delenv(name)
    error = await refused(make(), tmp_path)
    assert "no credentials" in error.what
    assert "AWS_PROFILE" in error.remedy


async def test_a_bucket_that_is_not_there_is_told(server: S3Server, tmp_path: Path) -> None:
    blobs = S3Blobs(f"s3://no-such-bucket?endpoint_url={server.endpoint}")
    assert "no such bucket" in (await refused(blobs, tmp_path)).what
    await blobs.close()


async def test_a_server_that_is_away_is_away(tmp_path: Path) -> None:
    blobs = S3Blobs(f"s3://{BUCKET}?endpoint_url=http://127.0.0.1:{free_port()}")
    error = await refused(blobs, tmp_path)
    assert isinstance(error, StoreAway)
    assert f"s3://{BUCKET} cannot be reached" in error.what
    await blobs.close()


async def test_an_endpoint_of_the_aws_settings_that_is_no_address_is_told(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL_S3", "http://my_minio:9000")
    blobs = S3Blobs(f"s3://{BUCKET}?region=eu-central-1")
    error = await refused(blobs, tmp_path)
    assert "its endpoint is no address" in error.what
    assert "AWS_ENDPOINT_URL_S3" in error.remedy
    await blobs.close()


async def test_who_asks_a_bucket_that_was_closed_is_told_and_opens_nothing(make: Any, tmp_path: Path) -> None:
    blobs = make()
    sha256, path = a_file(tmp_path)
    await blobs.put_blob(sha256, path, 100.0)
    await blobs.close()
    assert "is closed" in (await refused(blobs, tmp_path)).what
    assert blobs._bucket._client is None


@pytest.mark.parametrize(
    ("url", "words"),
    [
        ("s3://", "names no S3 bucket"),
        ("s3:///prefix", "names no S3 bucket"),
        ("s3://minio:9000/bucket", "names no S3 bucket"),
        ("s3://key:wrong-secret@bucket/prefix", "holds credentials"),
        ("s3://bucket?endpoint=http://minio:9000", "'endpoint' is unknown. Known: endpoint_url, region"),
        ("s3://bucket?endpoint_url=minio:9000", "endpoint_url is no http"),
        ("s3://bucket?endpoint_url=http://key:wrong-secret@minio", "endpoint_url is no http"),
        ("s3://bucket?endpoint_url=http://my_minio:9000", "endpoint_url names no host"),
        ("s3://bucket?endpoint_url=http://minio:99999", "endpoint_url is no http"),
        ("s3://bucket?endpoint_url=http://[::1", "endpoint_url is no http"),
        ("s3://[bucket/prefix", "is no URL"),
        ("s3://bucket?region=a%20b", "region is none"),
        ("s3://bucket?region", "cannot be read"),
    ],
)
def test_a_url_that_is_wrong_is_refused_and_shows_no_secret(url: str, words: str) -> None:
    with pytest.raises(InvalidSetting) as caught:
        open_files(url)
    assert caught.value.field == "KURIR_FILES"
    assert words in str(caught.value)
    assert "secret" not in str(caught.value)
    assert caught.value.remedy


def test_a_url_names_a_part_of_a_bucket() -> None:
    address = parse("s3://my.bucket//files/of/kurir/?endpoint_url=http%3A//minio:9000/&region=eu-west-1")
    assert (address.bucket, address.prefix) == ("my.bucket", "files/of/kurir/")
    assert (address.endpoint_url, address.region) == ("http://minio:9000", "eu-west-1")
    assert str(address) == "s3://my.bucket/files/of/kurir"
    assert parse("s3://bucket").prefix == ""


def test_a_missing_library_is_named_with_its_extra() -> None:
    """In a process where it cannot be imported, as if it were not installed."""
    program = """
import sys
class Missing:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] == "aiobotocore":
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)
sys.meta_path.insert(0, Missing())
from kurir import Kurir, Settings
from kurir.core.errors import InvalidSetting
try:
    Kurir("memory://", courier=False, settings=Settings(), files="s3://bucket")
except InvalidSetting as error:
    print(error)
"""
    said = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=30, check=True)
    assert "KURIR_FILES: s3:// needs the library aiobotocore" in said.stdout
    assert "pip install 'kurir[s3]'" in said.stdout


def test_the_library_is_not_imported_unless_asked_for() -> None:
    program = "import sys, kurir.cli.main, kurir.app; print('botocore' in sys.modules)"
    said = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=30, check=True)
    assert said.stdout.strip() == "False"


async def test_a_bucket_that_is_away_is_not_hammered(tmp_path: Path) -> None:
    """Who asks for it is told at once, so that nothing that needs no file waits for it."""
    blobs = S3Blobs(f"s3://{BUCKET}?endpoint_url=http://127.0.0.1:{free_port()}")
    for _ in range(OPENS_AFTER):
        await refused(blobs, tmp_path)
    asked: Any = blobs._bucket._client
    asked.list_objects_v2 = None
    assert "is away and is tried again in" in (await refused(blobs, tmp_path)).what
    await blobs.close()


# ---------------------------------------------------------------- a slow link


@asynccontextmanager
async def slow_link(server: S3Server, url: str, chunk: int, pause: float) -> AsyncIterator[str]:
    """The URL through a link that lets `chunk` bytes from the bucket pass in `pause` seconds, for all together."""
    room = asyncio.Lock()

    async def pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, slow: bool) -> None:
        try:
            while data := await reader.read(chunk):
                if slow and len(data) == chunk:
                    async with room:
                        await asyncio.sleep(pause)
                writer.write(data)
                await writer.drain()
        except OSError:
            pass
        finally:
            writer.close()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        there = await asyncio.open_connection("127.0.0.1", server.port)
        await asyncio.gather(pump(reader, there[1], False), pump(there[0], writer, True))

    async with await asyncio.start_server(serve, "127.0.0.1", 0) as link:
        port = link.sockets[0].getsockname()[1]
        yield url.replace(quote(server.endpoint), quote(f"http://127.0.0.1:{port}"))


async def test_a_file_arrives_over_a_slow_link_though_all_of_it_takes_longer_than_a_limit(
    server: S3Server, make: Any, url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sha256, path = a_file(tmp_path, bytes(16 << 14))
    await make().put_blob(sha256, path, 100.0)
    monkeypatch.setattr(bucket, "QUICK", 1.0)
    async with slow_link(server, url, 1 << 14, 0.1) as slow:
        blobs = S3Blobs(slow)
        started = time.monotonic()
        assert await blobs.get_blob(sha256, tmp_path / "back")
        assert time.monotonic() - started > 1.0
        await blobs.close()
    assert (tmp_path / "back").read_bytes() == path.read_bytes()


async def test_a_link_that_falls_silent_is_given_up(
    server: S3Server, make: Any, url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sha256, path = a_file(tmp_path, bytes(16 << 14))
    await make().put_blob(sha256, path, 100.0)
    monkeypatch.setattr(bucket, "QUICK", 0.5)
    async with slow_link(server, url, 1 << 14, 30.0) as slow:
        blobs = S3Blobs(slow)
        with pytest.raises(StoreAway, match="did not answer in time"):
            await blobs.get_blob(sha256, tmp_path / "back")
        await blobs.close()


async def test_a_few_pieces_are_on_their_way_at_once_and_the_others_wait_their_turn(make: Any, tmp_path: Path) -> None:
    blobs = make()
    for n in range(12):
        sha256, path = a_file(tmp_path, bytes([n]))
        await blobs.put_blob(sha256, path, 100.0)
    client, going, most = blobs._bucket._client, 0, 0
    inner = client.get_object

    async def counted(**more: Any) -> Any:
        nonlocal going, most
        going += 1
        most = max(most, going)
        await asyncio.sleep(0.01)
        going -= 1
        return await inner(**more)

    client.get_object = counted
    names = [hashlib.sha256(bytes([n])).hexdigest() for n in range(12)]
    assert all(await asyncio.gather(*(blobs.get_blob(name, tmp_path / name) for name in names)))
    assert most == bucket.PIECES
