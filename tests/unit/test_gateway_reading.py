"""Promises of `web.gateway.reading`: what a client asked is understood as the official server does, whatever
library wrote it; files stream to disk; nothing is left of a request that fails or is over."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, quote, urlencode

import orjson
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from kurir.web.forms import urlencoded
from kurir.web.gateway.reading import Asked, BadRequest, ClientLeft, Limits, read

KB = 1024
MB = 1024 * KB
TOKEN = "123456:AAHdqTcvCH1vGWJxfSeofSAs0K5PALDsaw"
JSON = "application/json"
URLENCODED = "application/x-www-form-urlencoded"
MULTIPART = "multipart/form-data; boundary=XX"
DEFAULT = Limits()
DISCONNECT = {"type": "http.disconnect"}
FORM_DATA = 'Content-Disposition: form-data; name="{}"'

Receive = Callable[[], Awaitable[dict[str, Any]]]


def scope(
    path: str = f"/bot{TOKEN}/sendMessage", kind: str | None = None, query: str | bytes = b"", method: str = "POST"
) -> dict[str, Any]:
    headers = [(b"host", b"kurir"), (b"user-agent", b"test")]
    if kind is not None:
        headers.append((b"content-type", kind.encode()))
    query = query.encode() if isinstance(query, str) else query
    return {"type": "http", "method": method, "path": path, "query_string": query, "headers": headers}


def pieces(body: bytes, size: int) -> list[bytes]:
    return [body[start : start + size] for start in range(0, len(body), size)] or [b""]


def sender(chunks: list[bytes], end: dict[str, Any] | None = None) -> Receive:
    """The ASGI messages of a body; then `end` if given, else the body is complete."""
    messages = [
        {"type": "http.request", "body": chunk, "more_body": end is not None or i + 1 < len(chunks)}
        for i, chunk in enumerate(chunks)
    ]
    if end is not None:
        messages.append(end)
    source = iter(messages)

    async def receive() -> dict[str, Any]:
        return next(source)

    return receive


async def ask(
    folder: Path,
    body: bytes = b"",
    kind: str | None = None,
    *,
    size: int = 1 << 16,
    limits: Limits = DEFAULT,
    **parts: Any,
) -> Asked:
    return await read(scope(kind=kind, **parts), sender(pieces(body, size)), folder=folder, limits=limits)


async def refused(folder: Path, *args: Any, **kwargs: Any) -> tuple[int, str]:
    with pytest.raises(BadRequest) as caught:
        await ask(folder, *args, **kwargs)
    return caught.value.code, caught.value.description


def part(head: str, content: bytes = b"") -> bytes:
    return f"--XX\r\n{head}\r\n\r\n".encode() + content + b"\r\n"


def field(name: str, value: str) -> bytes:
    return part(FORM_DATA.format(name), value.encode())


def file(name: str, content: bytes, file_name: str = "a.jpg", mime: str = "image/jpeg") -> bytes:
    return part(f'{FORM_DATA.format(name)}; filename="{file_name}"\r\nContent-Type: {mime}', content)


def form(*parts: bytes) -> bytes:
    return b"".join(parts) + b"--XX--\r\n"


def content(asked: Asked, name: str) -> bytes:
    source = asked.parts[name].source
    assert type(source) is type(Path())
    return source.read_bytes()


def open_files() -> int:
    return len(os.listdir("/proc/self/fd"))


@contextmanager
def nothing_left(folder: Path) -> Iterator[Path]:
    """In that folder nothing is left, nor is any file open, at the end."""
    before = open_files()
    yield folder
    assert not folder.exists() or list(folder.iterdir()) == []
    assert open_files() <= before


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[Path]:
    with nothing_left(tmp_path / "spool") as folder:
        yield folder


# ---------------------------------------------------------------- the path


@pytest.mark.parametrize(
    ("path", "token", "test", "method"),
    [
        (f"/bot{TOKEN}/sendMessage", TOKEN, False, "sendMessage"),
        (f"/bot{TOKEN}/SENDmessage", TOKEN, False, "SENDmessage"),
        (f"/bot{TOKEN}/test/getMe", TOKEN, True, "getMe"),
        ("/bot/getMe", "", False, "getMe"),
    ],
)
async def test_token_and_method_are_read_from_the_path(
    folder: Path, path: str, token: str, test: bool, method: str
) -> None:
    asked = await ask(folder, path=path)
    assert (asked.token, asked.test, asked.method, asked.params) == (token, test, method, {})


@pytest.mark.parametrize("path", [f"/bot{TOKEN}", f"/bot{TOKEN}/", f"/bot{TOKEN}/test", f"/bot{TOKEN}/test/"])
async def test_the_method_may_be_a_parameter(folder: Path, path: str) -> None:
    for args in ({"query": "method=getMe"}, {"body": b'{"method":"getMe"}', "kind": JSON}):
        asked = await ask(folder, path=path, **args)
        assert (asked.token, asked.test, asked.method) == (TOKEN, "test" in path, "getMe")
        assert asked.params == {}


async def test_a_method_in_the_path_goes_before_one_among_the_parameters(folder: Path) -> None:
    asked = await ask(folder, form(field("method", "sendPhoto"), field("chat_id", "1")), MULTIPART)
    assert (asked.method, asked.params) == ("sendMessage", {"chat_id": "1"})


@pytest.mark.parametrize(
    ("path", "words"),
    [
        ("/", "Not Found"),
        ("/v1/messages", "Not Found"),
        (f"/file/bot{TOKEN}/x", "Not Found"),
        (f"/bot{TOKEN}", "Not Found: method not found"),
        (f"/bot{TOKEN}/", "Not Found: method not found"),
        (f"/bot{TOKEN}/../bot1:a/getMe", "Not Found: method not found"),
        (f"/bot{TOKEN}/getMe?a=b", "Not Found: method not found"),
        (f"/bot{TOKEN}/отправить", "Not Found: method not found"),
    ],
)
async def test_other_paths_are_not_found(folder: Path, path: str, words: str) -> None:
    assert await refused(folder, path=path) == (404, words)


async def test_a_method_parameter_that_is_no_name_is_not_found(folder: Path) -> None:
    for body in (b'{"method":1}', b'{"method":"a/b"}', b"[]"):
        assert (await refused(folder, body, JSON, path=f"/bot{TOKEN}/"))[0] == 404
    body = form(field("method", "a b"), file("photo", b"x" * 300_000))
    assert (await refused(folder, body, MULTIPART, path=f"/bot{TOKEN}/"))[0] == 404


async def test_only_get_and_post_are_served(folder: Path) -> None:
    assert (await ask(folder, query="chat_id=1", method="GET")).params == {"chat_id": "1"}
    for method in ("PUT", "DELETE", "HEAD", "OPTIONS"):
        assert await refused(folder, method=method) == (405, "Method Not Allowed")


# ---------------------------------------------------------------- parameters


async def test_json_keeps_its_types(folder: Path) -> None:
    given = {"chat_id": -100123, "text": "Привет 👋", "silent": True, "x": None, "markup": {"a": [1, 2.5, "b"]}}
    for kind in (JSON, "application/json; charset=utf-8", "Application/JSON"):
        asked = await ask(folder, orjson.dumps(given), kind)
        assert (asked.params, asked.parts) == (given, {})


async def test_a_form_is_strings(folder: Path) -> None:
    given = {"chat_id": "1", "text": "Привет & пока = 100% + 👋\r\n", "empty": ""}
    for body in (urlencode(given), "&&=x&" + urlencode(given, quote_via=quote) + "&chat_id"):
        assert (await ask(folder, body.encode(), URLENCODED, size=7)).params == given


@pytest.mark.parametrize("method", ["GET", "POST"])
async def test_parameters_may_be_in_the_query_string(folder: Path, method: str) -> None:
    given = {"chat_id": "1", "text": "Привет " * 6_000}
    assert 256 * KB > len(urlencode(given)) > 190 * KB
    assert (await ask(folder, query=urlencode(given), method=method)).params == given


async def test_query_and_body_are_merged_and_the_first_counts(folder: Path) -> None:
    query = "chat_id=1&chat_id=2&a=3"
    for body, kind in (
        (b'{"chat_id":9,"b":[4]}', JSON),
        (b"chat_id=9&b=4&b=5", URLENCODED),
        (form(field("chat_id", "9"), field("b", "4"), field("b", "5")), MULTIPART),
    ):
        asked = await ask(folder, body, kind, query=query)
        assert asked.params == {"chat_id": "1", "a": "3", "b": [4] if kind == JSON else "4"}


async def test_json_that_is_no_object_is_passed_over(folder: Path) -> None:
    for body in (b"null", b"[1]", b'"text"', b"1", b""):
        assert (await ask(folder, body, JSON, query="a=1")).params == {"a": "1"}


async def test_malformed_json_is_refused(folder: Path) -> None:
    for body in (b"{", b'{"chat_id":1', b"{'a':1}", b'{"a":NaN}', b"\xef\xbb\xbf{}", b"[" * 100_000, b'{"a":1}}'):
        code, words = await refused(folder, body, JSON)
        assert code == 400
        assert words.startswith("Bad Request: can't parse JSON object: ")


async def test_json_is_at_most_100_deep(folder: Path) -> None:
    for kind in ("[]", "{}"):
        pair = {"[]": ("[", "]"), "{}": ('{"a":', "}")}[kind]
        deep = '{"a":' + pair[0] * 99 + "0" + pair[1] * 99 + "}"
        assert (await ask(folder, deep.encode(), JSON)).params
        deeper = '{"a":' + pair[0] * 100 + "0" + pair[1] * 100 + "}"
        assert (await refused(folder, deeper.encode(), JSON))[0] == 400
    wide = orjson.dumps({"a": [[] for _ in range(1_000)]})
    assert len((await ask(folder, wide, JSON)).params["a"]) == 1_000


@pytest.mark.parametrize(
    ("body", "kind"),
    [
        (b'{"text":"\xff"}', JSON),
        (b'{"text":"cut \\ud83d"}', JSON),
        (b"text=%FF", URLENCODED),
        (b"text=\xff", URLENCODED),
        (b"%FF=text", URLENCODED),
        (b"text=%ED%A0%BD", URLENCODED),
        (form(part(FORM_DATA.format("text"), b"\xff")), MULTIPART),
    ],
)
async def test_what_is_not_utf8_is_refused(folder: Path, body: bytes, kind: str) -> None:
    words = (400, "Bad Request: strings must be encoded in UTF-8")
    assert await refused(folder, body, kind) == words
    if kind == URLENCODED:
        assert await refused(folder, query=body) == words


async def test_a_body_of_another_type_is_passed_over_but_read(folder: Path) -> None:
    for kind in (None, "text/plain", "application/octet-stream", "multipart/mixed; boundary=XX"):
        receive = sender([b'{"chat_id":', b"9}"])
        asked = await read(scope(kind=kind, query="a=1"), receive, folder=folder, limits=DEFAULT)
        assert asked.params == {"a": "1"}
        with pytest.raises(RuntimeError):  # all messages were taken
            await receive()


async def test_a_type_without_a_body_is_no_error(folder: Path) -> None:
    for kind in (JSON, URLENCODED, MULTIPART, "multipart/form-data"):
        assert (await ask(folder, b"", kind, method="GET", query="a=1")).params == {"a": "1"}


async def test_a_compressed_body_is_refused(folder: Path) -> None:
    for coding in ("gzip", "br"):
        asking = scope(kind=JSON)
        asking["headers"].append((b"content-encoding", coding.encode()))
        with pytest.raises(BadRequest, match="415 Unsupported Media Type"):
            await read(asking, sender([b"{}"]), folder=folder, limits=DEFAULT)


@given(st.binary(max_size=200) | st.text(alphabet="%=&+\r\n 4a\xff", max_size=40).map(lambda t: t.encode("latin-1")))
@example(b"a=%\r\n41%4")
@example(b"a%3Db=c%3D%3d&%25=%%41")
def test_urlencoding_is_understood_as_the_standard_library_does(data: bytes) -> None:
    pairs = parse_qsl(data.decode("latin-1"), keep_blank_values=True, encoding="latin-1")
    expected: dict[str, str] = {}
    try:
        for name, value in pairs:
            if name:
                expected.setdefault(name.encode("latin-1").decode(), value.encode("latin-1").decode())
    except UnicodeDecodeError:
        return
    assert urlencoded.fields(data) == expected


# ---------------------------------------------------------------- limits


async def test_too_many_parameters_are_refused(folder: Path) -> None:
    large = 2 * MB
    for body, kind in (
        (orjson.dumps({"a": "x" * large}), JSON),
        (b"a=" + b"x" * large, URLENCODED),
        (form(field("a", "x" * large)), MULTIPART),
        (form(*(field(str(i), "x" * 64 * KB) for i in range(20))), MULTIPART),
        (
            form(file("photo", b"1"), part(FORM_DATA.format("x") + f"\r\nContent-Type: {URLENCODED}", b"x" * large)),
            MULTIPART,
        ),
    ):
        code, words = await refused(folder, body, kind)
        assert (code, words[:24]) == (413, "Request Entity Too Large")
    assert (await ask(folder, orjson.dumps({"a": "x" * (MB - 10)}), JSON)).params


async def test_the_query_string_counts(folder: Path) -> None:
    limits = Limits(params=100)
    query = "a=" + "x" * 58
    assert (await ask(folder, b"b=" + b"x" * 38, URLENCODED, query=query, limits=limits)).params
    for body, kind in (
        (b"b=" + b"x" * 39, URLENCODED),
        (form(field("b", "x" * 40)), MULTIPART),
        (orjson.dumps({"b": "x" * 40}), JSON),
    ):
        assert (await refused(folder, body, kind, query=query, limits=limits))[0] == 413
    assert (await refused(folder, query="a=" + "x" * 256 * KB))[0] == 431


async def test_a_body_too_large_is_refused(folder: Path) -> None:
    limits = Limits(body=MB)
    words = "Request Entity Too Large: content length is"
    for body, kind in ((b"x" * 2 * MB, "text/plain"), (form(field("a", "1")) + b"x" * 2 * MB, MULTIPART)):
        for size in (1 << 16, 4 * MB):
            code, text = await refused(folder, body, kind, limits=limits, size=size)
            assert (code, text[: len(words)]) == (413, words)


# ---------------------------------------------------------------- whatever comes

_TYPES = st.sampled_from([JSON, URLENCODED, MULTIPART, "text/plain", "multipart/form-data;boundary=-"]) | st.text(
    alphabet=st.characters(max_codepoint=255), max_size=40
)
_QUERIES = st.sampled_from([b"", b"a=%D0%B0&b", b"%%=&"]) | st.binary(max_size=60)


async def attempt(folder: Path, asking: dict[str, Any], chunks: list[bytes], leaves: bool) -> None:
    limits = Limits(params=2_000, query=500, file=500, files=3, fields=9, header=200, body=5_000)
    try:
        asked = await read(asking, sender(chunks, DISCONNECT if leaves else None), folder=folder, limits=limits)
    except (BadRequest, ClientLeft) as error:
        problem = error
    else:
        problem = None
        orjson.dumps(asked.params)  # all of it is Unicode
        orjson.dumps([(name, file.name, file.mime) for name, file in asked.parts.items()])
        assert all(isinstance(file.source, Path) and file.source.is_file() for file in asked.parts.values())
        await asked.close()
    assert leaves or not isinstance(problem, ClientLeft)
    assert not isinstance(problem, BadRequest) or (400 <= problem.code < 500 and problem.description)
    assert list(folder.glob("*")) == []


@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.binary(max_size=300), min_size=1, max_size=5), _TYPES, _QUERIES, st.text(max_size=30))
def test_no_request_whatever_its_bytes_breaks_the_reading(
    tmp_path: Path, chunks: list[bytes], kind: str, query: bytes, path: str
) -> None:
    asking = scope(query=query)
    asking["headers"].append((b"content-type", kind.encode("latin-1")))
    folder = tmp_path / "spool"
    asyncio.run(attempt(folder, asking, chunks, False))
    asyncio.run(attempt(folder, {**asking, "path": f"/bot{path}"}, chunks, True))
