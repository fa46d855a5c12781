"""Promises of `web.forms.multipart`: forms are understood whatever library wrote them, their files stream to
disk, and nothing is left of them when a request fails or is over."""

from __future__ import annotations

import asyncio
import errno
import os
import resource
import signal
import socket
import tracemalloc
from collections.abc import Iterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import aiohttp
import orjson
import pytest
import uvicorn
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from test_gateway_reading import (
    DEFAULT,
    DISCONNECT,
    FORM_DATA,
    JSON,
    KB,
    MB,
    MULTIPART,
    TOKEN,
    URLENCODED,
    ask,
    attempt,
    content,
    field,
    file,
    form,
    nothing_left,
    part,
    pieces,
    refused,
    scope,
    sender,
)

from kurir.core.errors import StoreError, StoreFull
from kurir.telegram.files import detach
from kurir.telegram.spool import Spool
from kurir.web.gateway.reading import BadRequest, ClientLeft, Limits, read


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[Path]:
    with nothing_left(tmp_path / "spool") as folder:
        yield folder


# ---------------------------------------------------------------- multipart


async def test_a_part_with_a_file_name_is_a_file(folder: Path) -> None:
    body = form(field("chat_id", "1"), file("photo", b"\xff\xd8\r\n--X", "кот.jpg"), field("caption", "Кот\r\n"))
    for size in (1, 3, 64, 1 << 16):
        asked = await ask(folder, body, MULTIPART, size=size)
        assert asked.params == {"chat_id": "1", "caption": "Кот\r\n"}
        assert (asked.parts["photo"].name, asked.parts["photo"].mime) == ("кот.jpg", "image/jpeg")
        assert content(asked, "photo") == b"\xff\xd8\r\n--X"
        assert [path.name[:4] for path in folder.iterdir()] == ["new-"]
        await asked.close()
        await asked.close()
        assert list(folder.iterdir()) == []


async def test_files_are_those_of_the_parameters_and_what_attach_refers_to(folder: Path) -> None:
    media = '[{"type":"photo","media":"attach://f1"},{"type":"video","media":"attach://f2","thumbnail":"attach://t"}]'
    body = form(file("f1", b"1"), file("f2", b"22", "b.mp4"), file("t", b"333"), field("media", media))
    asked = await ask(folder, body, MULTIPART)
    params, files = detach("sendMediaGroup", asked.params, asked.parts)
    assert {f.kind for f in files} == {"photo", "video", "thumbnail"}
    assert [Path(str(f.source)).read_bytes() for f in files] == [b"1", b"22", b"333"]
    await asked.close()
    asked = await ask(folder, form(file("photo", b"1"), field("chat_id", "5")), MULTIPART)
    params, files = detach("sendPhoto", asked.params, asked.parts)
    assert params == {"chat_id": "5", "photo": "attach://photo"}
    blob = await Spool(folder).add(files[0].source, name="photo", max_bytes=10)
    assert blob.size == 1
    await asked.close()
    await Spool(folder).remove([blob.sha256], grace=-1.0)
    Spool(folder).path(blob.sha256).parent.rmdir()
    (folder / ".lock").unlink(missing_ok=True)


async def test_what_aiogram_sends_is_understood(folder: Path, tmp_path: Path) -> None:
    data = aiohttp.FormData(quote_fields=False)
    data.add_field("chat_id", "1")
    data.add_field("photo", "attach://Ab_1")
    data.add_field("Ab_1", b"bytes" * 100_000, filename='мой "кот"; новый.jpg')
    writer = data()
    asked = await ask(folder, await writer.as_bytes(), writer.headers["Content-Type"], size=5_000)
    assert asked.params == {"chat_id": "1", "photo": "attach://Ab_1"}
    assert asked.parts["Ab_1"].name == 'мой "кот"; новый.jpg'
    assert content(asked, "Ab_1") == b"bytes" * 100_000
    await asked.close()
    plain = aiohttp.FormData({"chat_id": "1", "text": "Привет & +"})()
    asked = await ask(folder, await plain.as_bytes(), plain.headers.get("Content-Type", plain.content_type))
    assert asked.params == {"chat_id": "1", "text": "Привет & +"}
    empty = aiohttp.FormData(default_to_multipart=True)()
    asked = await ask(folder, await empty.as_bytes(), empty.headers["Content-Type"])
    assert (asked.params, asked.parts) == ({}, {})


async def test_what_grammy_sends_is_understood(folder: Path) -> None:
    body = (
        b'--XX\r\ncontent-disposition:form-data;name="chat_id"\r\n\r\n1\r\n'
        b'--XX\r\ncontent-disposition:form-data;name="f1";filename=my cat.jpg\r\n'
        b"content-type:application/octet-stream\r\n\r\ncat\r\n--XX--\r\n"
    )
    asked = await ask(folder, body, "multipart/form-data;boundary=XX")
    assert asked.params == {"chat_id": "1"}
    assert (asked.parts["f1"].name, asked.parts["f1"].mime) == ("my cat.jpg", "application/octet-stream")
    assert content(asked, "f1") == b"cat"
    await asked.close()


@pytest.mark.parametrize(
    ("options", "name"),
    [
        ('; filename="a.jpg"', "a.jpg"),
        ("; filename=a.jpg", "a.jpg"),
        ("; filename=a.jpg; size=3", "a.jpg"),
        ('; FileName = "a;b.jpg" ', "a;b.jpg"),
        ('; filename="a\\"b\\\\.jpg"', ".jpg"),
        ('; filename="a\\"b.jpg"', 'a"b.jpg'),
        ('; filename="a"b.jpg"', 'a"b.jpg'),
        ('; filename="C:\\dir\\a.jpg"', "a.jpg"),
        ('; filename="../../etc/passwd"', "passwd"),
        ('; filename=""', None),
        ("; filename=", None),
        ("; filename*=UTF-8''%D0%BA%D0%BE%D1%82.jpg", "кот.jpg"),
        ("; filename=\"x.jpg\"; filename*=utf-8'en'%D0%BA.jpg", "к.jpg"),
        ("; filename=\"x.jpg\"; filename*=iso-8859-1''caf%E9.jpg", "café.jpg"),
        ("; filename=\"x.jpg\"; filename*=UTF-8''%FF", "x.jpg"),
        ("; filename=\"x.jpg\"; filename*=nonsense''a", "x.jpg"),
        ('; filename="x.jpg"; filename*=bad', "x.jpg"),
    ],
)
async def test_file_names_are_read_however_they_are_written(folder: Path, options: str, name: str | None) -> None:
    asked = await ask(folder, form(part(FORM_DATA.format("photo") + options, b"1")), MULTIPART)
    assert asked.parts["photo"].name == name
    assert asked.parts["photo"].mime is None
    await asked.close()


async def test_boundaries_are_read_however_they_are_written(folder: Path) -> None:
    for kind in (
        'multipart/form-data; boundary="XX"',
        "Multipart/Form-Data;BOUNDARY=XX; charset=utf-8",
        "multipart/form-data; charset=utf-8; boundary=XX ",
    ):
        assert (await ask(folder, form(field("a", "1")), kind)).params == {"a": "1"}


@pytest.mark.parametrize(
    ("kind", "words"),
    [
        ("multipart/form-data", "boundary not found"),
        ("multipart/form-data; boundary", "boundary value not found"),
        ("multipart/form-data; boundary=", "boundary too big or empty"),
        ('multipart/form-data; boundary=""', "boundary too big or empty"),
        ("multipart/form-data; boundary=" + "x" * 71, "boundary too big or empty"),
    ],
)
async def test_a_form_without_a_boundary_is_refused(folder: Path, kind: str, words: str) -> None:
    assert await refused(folder, form(field("a", "1")), kind) == (400, f"Bad Request: {words}")


@pytest.mark.parametrize(
    ("head", "words"),
    [
        ("Content-Type: text/plain", "field name in multipart/form-data not found"),
        ("Content-Disposition: form-data", "field name in multipart/form-data not found"),
        ('Content-Disposition: form-data; filename="a"', "field name in multipart/form-data not found"),
        ('Content-Disposition: form-data; name=""', "field name in multipart/form-data not found"),
        ('Content-Disposition: attachment; name="a"', "expected form-data content disposition"),
    ],
)
async def test_a_part_without_a_name_is_refused(folder: Path, head: str, words: str) -> None:
    body = form(file("photo", b"x" * 300_000), part(head, b"1"))
    assert await refused(folder, body, MULTIPART) == (400, f"Bad Request: {words}")


async def test_a_part_without_headers_is_refused(folder: Path) -> None:
    words = "Bad Request: headers in multipart/form-data are empty"
    assert await refused(folder, b"--XX\r\n\r\n1\r\n--XX--\r\n", MULTIPART) == (400, words)


async def test_a_form_that_ends_too_early_is_refused_wherever_it_ends(folder: Path) -> None:
    body = form(file("photo", b"x" * 50), field("chat_id", "1"))
    last = body.rindex(b"--")
    for end in range(1, last + 2):
        assert (await refused(folder, body[:end], MULTIPART))[0] == 400
    for end in range(last + 2, len(body) + 1):
        await (await ask(folder, body[:end] + b"epilogue", MULTIPART)).close()


async def test_what_is_no_form_is_refused(folder: Path) -> None:
    for body in (b"{}", b"--YY\r\n", b"--XX\r\nno colon\r\n\r\n", b"--XX\nContent-Type: a\n\n1\n--XX--", b"\0" * 9):
        assert (await refused(folder, body, MULTIPART))[0] == 400


async def test_parameters_inside_a_part_are_parameters(folder: Path) -> None:
    inner = part(FORM_DATA.format("x") + f"\r\nContent-Type: {URLENCODED}", b"a=1&b=%D0%B0")
    asked = await ask(folder, form(field("b", "first"), inner), MULTIPART)
    assert asked.params == {"a": "1", "b": "first"}


async def test_of_two_files_of_one_name_the_first_counts(folder: Path) -> None:
    asked = await ask(folder, form(file("photo", b"1", "a"), file("photo", b"2", "b")), MULTIPART)
    assert (content(asked, "photo"), asked.parts["photo"].name) == (b"1", "a")
    await asked.close()


async def test_an_empty_file_is_a_file(folder: Path) -> None:
    asked = await ask(folder, form(file("photo", b"")), MULTIPART)
    assert content(asked, "photo") == b""
    await asked.close()


# ---------------------------------------------------------------- limits


async def test_a_file_too_large_is_refused_and_removed(folder: Path) -> None:
    limits = Limits(file=MB)
    asked = await ask(folder, form(file("photo", b"x" * MB)), MULTIPART, limits=limits)
    assert len(content(asked, "photo")) == MB
    await asked.close()
    code, words = await refused(folder, form(file("photo", b"x" * (MB + 1))), MULTIPART, limits=limits)
    assert code == 413
    assert words.startswith("Request Entity Too Large: file of size ")


async def test_too_many_parts_are_refused(folder: Path) -> None:
    body = form(*(field(str(i), "1") for i in range(1_000)))
    assert len((await ask(folder, body, MULTIPART)).params) == 1_000
    assert (await refused(folder, form(field("x", "1")) + body, MULTIPART, limits=Limits(fields=0)))[0] == 413
    assert (await refused(folder, body, MULTIPART, limits=Limits(fields=999)))[0] == 413
    files = form(*(file(str(i), b"1") for i in range(51)))
    words = "Request Entity Too Large: too much files attached"
    assert await refused(folder, files, MULTIPART) == (413, words)


async def test_headers_too_large_are_refused(folder: Path) -> None:
    words = "Request Header Fields Too Large: total headers size exceeded"
    for head in (
        "X: " + "x" * 20_000,
        "x" * 20_000 + ": x",
        "\r\n".join(["X: 1"] * 10_000),
        'Content-Disposition: form-data; name="' + "x" * 300_000,
    ):
        for size in (100, 1 << 16):
            assert await refused(folder, form(part(head)), MULTIPART, size=size) == (431, words)


async def test_a_file_is_never_in_memory(folder: Path) -> None:
    chunk = os.urandom(1 << 16)
    head = f'--XX\r\n{FORM_DATA.format("video")}; filename="a.mp4"\r\n\r\n'.encode()
    chunks = [head, *([chunk] * 800), b"\r\n--XX--\r\n"]
    receive = sender(chunks)
    tracemalloc.start()
    try:
        asked = await read(scope(kind=MULTIPART), receive, folder=folder, limits=DEFAULT)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    source = asked.parts["video"].source
    assert isinstance(source, Path)
    assert source.stat().st_size == 800 << 16
    assert peak < 3 * MB
    await asked.close()


# ---------------------------------------------------------------- when it goes wrong


@pytest.mark.parametrize("size", [10, 300 * KB, 2 * MB])
async def test_a_client_that_leaves_leaves_nothing(folder: Path, size: int) -> None:
    whole = form(file("a", b"x" * 300 * KB), file("photo", b"x" * size), field("chat_id", "1"))
    for share in (0.2, 0.6, 0.99):
        receive = sender(pieces(whole[: int(len(whole) * share)], 1 << 16), DISCONNECT)
        with pytest.raises(ClientLeft):
            await read(scope(kind=MULTIPART), receive, folder=folder, limits=DEFAULT)
        assert list(folder.glob("*")) == []
    for kind in (JSON, URLENCODED, None):
        with pytest.raises(ClientLeft):
            await read(scope(kind=kind), sender([b'{"a"'], DISCONNECT), folder=folder, limits=DEFAULT)
    with pytest.raises(ClientLeft):
        await read(scope(), sender([], DISCONNECT), folder=folder, limits=DEFAULT)


@pytest.mark.parametrize("times", [1, 2])
async def test_a_request_that_is_cancelled_leaves_nothing(folder: Path, times: int) -> None:
    chunks = pieces(form(*(file(str(i), b"x" * 300 * KB) for i in range(20))), 1 << 16)
    for steps in range(0, 120, 7):
        task = asyncio.ensure_future(read(scope(kind=MULTIPART), sender(chunks), folder=folder, limits=DEFAULT))
        for _ in range(steps):
            await asyncio.sleep(0)
        for _ in range(times):
            task.cancel()
            await asyncio.sleep(0)
        with suppress(asyncio.CancelledError):
            await (await task).close()
        assert list(folder.glob("*")) == []


async def test_a_cancelled_close_removes_the_files(folder: Path) -> None:
    asked = await ask(folder, form(file("photo", b"1")), MULTIPART)
    task = asyncio.ensure_future(asked.close())
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert list(folder.iterdir()) == []


async def test_a_full_disk_is_told_and_nothing_is_left(folder: Path) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (MB, hard))
    try:
        with pytest.raises(StoreFull) as caught:
            await ask(folder, form(file("a", b"1"), file("photo", b"x" * 2 * MB)), MULTIPART)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        signal.signal(signal.SIGXFSZ, handler)
    assert isinstance(caught.value.__cause__, OSError)
    assert caught.value.__cause__.errno == errno.EFBIG


async def test_a_folder_that_cannot_be_made_is_told(tmp_path: Path) -> None:
    (tmp_path / "spool").write_bytes(b"in the way")
    with pytest.raises(StoreError):
        await ask(tmp_path / "spool", form(file("photo", b"x")), MULTIPART)


async def test_a_request_without_files_makes_no_folder(folder: Path) -> None:
    await (await ask(folder, form(field("a", "1")), MULTIPART)).close()
    assert not folder.exists()


# ---------------------------------------------------------------- over HTTP


@asynccontextmanager
async def serving(folder: Path, ended: list[str]) -> Any:
    """A server that tells what it read; answers its port, and notes how each request ended."""

    async def app(scope: Any, receive: Any, send: Any) -> None:
        try:
            asked = await read(scope, receive, folder=folder, limits=Limits(file=5 * MB))
        except BadRequest as error:
            status, answer = error.code, {"description": error.description}
        except ClientLeft:
            ended.append("left")
            return
        else:
            sizes = {name: len(content(asked, name)) for name in asked.parts}
            status, answer = 200, {"params": asked.params, "sizes": sizes}
            await asked.close()
        ended.append(str(status))
        body = orjson.dumps(answer)
        headers = [(b"content-type", b"application/json"), (b"content-length", b"%d" % len(body))]
        await send({"type": "http.response.start", "status": status, "headers": headers})
        await send({"type": "http.response.body", "body": body})

    with socket.create_server(("127.0.0.1", 0)) as listener:
        server = uvicorn.Server(uvicorn.Config(app, lifespan="off", log_level="error", ws="none"))
        task = asyncio.ensure_future(server.serve([listener]))
        try:
            yield listener.getsockname()[1]
        finally:
            server.should_exit = True
            await task


async def test_over_http_files_arrive_chunked_and_whole_and_are_refused_in_words(folder: Path, tmp_path: Path) -> None:
    ended: list[str] = []
    video = tmp_path / "a.mp4"
    async with serving(folder, ended) as port, aiohttp.ClientSession() as client:
        for size, status in ((5 * MB, 200), (6 * MB, 413), (10, 200)):
            for chunked in (False, True):
                data = aiohttp.FormData(quote_fields=False)
                data.add_field("chat_id", "1")
                video.write_bytes(b"x" * size)
                data.add_field("video", video.open("rb"), filename="a.mp4")  # which the client closes
                url = f"http://127.0.0.1:{port}/bot{TOKEN}/sendVideo"
                async with client.post(url, data=data, chunked=chunked or None) as response:
                    answer = await response.json()
                    assert response.status == status
                if status == 200:
                    assert answer == {"params": {"chat_id": "1"}, "sizes": {"video": size}}
                else:
                    assert "too big to be uploaded" in answer["description"]
                assert list(folder.iterdir()) == []


async def test_over_http_a_client_that_leaves_leaves_nothing(folder: Path) -> None:
    ended: list[str] = []
    head = (
        f"POST /bot{TOKEN}/sendVideo HTTP/1.1\r\nHost: x\r\nContent-Type: {MULTIPART}\r\nContent-Length: 900000\r\n\r\n"
    )
    async with serving(folder, ended) as port:
        _, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(head.encode() + file("video", b"x" * 500_000))
        await writer.drain()
        while not list(folder.glob("new-*")):
            await asyncio.sleep(0.01)
        writer.close()
        await writer.wait_closed()
        while not ended:
            await asyncio.sleep(0.01)
        assert ended == ["left"]
        assert list(folder.iterdir()) == []


# ---------------------------------------------------------------- whatever comes

_FORM = form(field("chat_id", "1"), file("photo", b"\xff\r\n--X\r\n--XX-" * 9, "кот.jpg"), field("a", "Привет"))
_WORDS = [b"\r\n", b"--XX", b"--", b"\r\n--XX\r\n", b"--XX--", b'"', b";", b"\\", b"=", b"name*=", b"filename", b":"]
_BITS = st.sampled_from(_WORDS) | st.binary(max_size=6)
_EDITS = st.lists(st.tuples(st.integers(0, len(_FORM)), st.integers(0, 30), _BITS), max_size=3)


def mutated(edits: list[tuple[int, int, bytes]]) -> bytes:
    body = _FORM
    for at, length, bits in edits:
        body = body[:at] + bits + body[at + length :]
    return body


@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(_EDITS, st.integers(1, 400), st.booleans())
def test_no_form_whatever_its_faults_leaves_a_file(
    tmp_path: Path, edits: list[tuple[int, int, bytes]], size: int, leaves: bool
) -> None:
    asyncio.run(attempt(tmp_path / "spool", scope(kind=MULTIPART), pieces(mutated(edits), size), leaves))


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.lists(_BITS, max_size=12).map(b"".join), min_size=1, max_size=4), st.integers(1, 60))
def test_the_bytes_of_a_file_arrive_unchanged_however_they_are_cut(
    tmp_path: Path, contents: list[bytes], size: int
) -> None:
    contents = [data.replace(b"\r\n--XX", b"\r\n--X") for data in contents]
    contents = [data for data in contents if b"\r\n--XX" not in b"\r\n" + data]

    async def check() -> None:
        body = form(*(file(str(i), data) for i, data in enumerate(contents)))
        asked = await ask(tmp_path / "spool", body, MULTIPART, size=size)
        assert [content(asked, str(i)) for i in range(len(contents))] == contents
        await asked.close()

    asyncio.run(check())
