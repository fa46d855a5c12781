"""Promises of `telegram.spool` and `telegram.files`: files are kept once, durably, and sent once a bot."""

from __future__ import annotations

import asyncio
import errno
import hashlib
import io
import os
import resource
import time
import tracemalloc
from pathlib import Path
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from kurir.core.errors import InvalidMessage, StoreError, StoreFull
from kurir.core.message import Claim, FileRef, Priority
from kurir.telegram.files import InputFile, detach, learn, prepare
from kurir.telegram.spool import Spool

MB = 1024 * 1024


def sha(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def contents(folder: Path) -> list[str]:
    """All files below a folder but the lock."""
    return sorted(p.name for p in folder.rglob("*") if p.is_file() and p.name != ".lock")


# ---------------------------------------------------------------- the spool


@pytest.mark.parametrize("kind", ["bytes", "bytearray", "path", "stream"])
async def test_a_file_is_kept_by_its_hash(tmp_path: Path, kind: str) -> None:
    data = bytes(range(256)) * 10_000
    (tmp_path / "source").write_bytes(data)
    source: Any = {
        "bytes": data,
        "bytearray": bytearray(data),
        "path": tmp_path / "source",
        "stream": io.BytesIO(data),
    }[kind]
    spool = Spool(tmp_path / "spool")
    blob = await spool.add(source, name="photo", max_bytes=10 * MB)
    assert (blob.sha256, blob.size) == (sha(data), len(data))
    assert spool.path(blob.sha256).read_bytes() == data
    assert spool.path(blob.sha256) == tmp_path / "spool" / blob.sha256[:2] / blob.sha256


async def test_the_same_bytes_are_kept_once(tmp_path: Path) -> None:
    spool = Spool(tmp_path)
    blobs = await asyncio.gather(*(spool.add(b"same", name="f", max_bytes=9) for _ in range(20)))
    assert contents(tmp_path) == [blobs[0].sha256]


async def test_a_stream_is_taken_from_where_it_stands(tmp_path: Path) -> None:
    stream = io.BytesIO(b"header-body")
    stream.seek(7)
    assert (await Spool(tmp_path).add(stream, name="f", max_bytes=99)).sha256 == sha(b"body")


@pytest.mark.parametrize("path", [True, False])
async def test_a_file_that_is_too_large_is_refused_by_field_and_leaves_nothing(tmp_path: Path, path: bool) -> None:
    (tmp_path / "source").write_bytes(bytes(3 * MB))
    source = tmp_path / "source" if path else bytes(3 * MB)
    with pytest.raises(InvalidMessage) as caught:
        await Spool(tmp_path / "spool").add(source, name="params.video", max_bytes=2 * MB)
    assert caught.value.field == "params.video"
    assert contents(tmp_path / "spool") == []


@pytest.mark.parametrize("source", ["nothing there", "."])
async def test_a_path_that_cannot_be_read_is_refused_by_field(tmp_path: Path, source: str) -> None:
    with pytest.raises(InvalidMessage) as caught:
        await Spool(tmp_path / "spool").add(tmp_path / source, name="params.photo", max_bytes=9)
    assert caught.value.field == "params.photo"
    assert "path" in caught.value.remedy


async def test_an_empty_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InvalidMessage, match="empty"):
        await Spool(tmp_path).add(b"", name="f", max_bytes=9)


async def test_a_file_opened_as_text_is_refused(tmp_path: Path) -> None:
    text: Any = io.StringIO("text")
    with pytest.raises(InvalidMessage, match="binary"):
        await Spool(tmp_path).add(text, name="f", max_bytes=9)


async def test_a_closed_file_is_refused(tmp_path: Path) -> None:
    stream = io.BytesIO(b"x")
    stream.close()
    with pytest.raises(InvalidMessage, match="closed"):
        await Spool(tmp_path).add(stream, name="f", max_bytes=9)


async def test_a_large_file_is_copied_in_constant_memory(tmp_path: Path) -> None:
    with (tmp_path / "large").open("wb") as file:
        file.truncate(48 * MB)
    tracemalloc.start()
    try:
        await Spool(tmp_path / "spool").add(tmp_path / "large", name="f", max_bytes=99 * MB)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 6 * MB


async def test_a_full_disk_is_said_and_leaves_nothing(tmp_path: Path) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (MB, hard))  # the system then says EFBIG: Python ignores SIGXFSZ
    try:
        with pytest.raises(StoreFull, match="Free some space"):
            await Spool(tmp_path).add(bytes(3 * MB), name="f", max_bytes=9 * MB)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert contents(tmp_path) == []


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="needs /dev/full")
def test_the_system_says_enospc_as_expected() -> None:
    with open("/dev/full", "wb", buffering=0) as full, pytest.raises(OSError) as caught:
        full.write(b"x")
    assert caught.value.errno == errno.ENOSPC


async def test_a_spool_that_cannot_be_written_is_said(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(StoreError):
        await Spool(tmp_path / "file" / "spool").add(b"x", name="f", max_bytes=9)


async def test_a_damaged_blob_is_replaced_when_its_bytes_come_again(tmp_path: Path) -> None:
    spool = Spool(tmp_path)
    blob = await spool.add(b"whole", name="f", max_bytes=9)
    spool.path(blob.sha256).write_bytes(b"wh")
    await spool.add(b"whole", name="f", max_bytes=9)
    assert spool.path(blob.sha256).read_bytes() == b"whole"


async def test_a_blob_nobody_needs_is_removed(tmp_path: Path) -> None:
    spool = Spool(tmp_path)
    blob = await spool.add(b"x", name="f", max_bytes=9)
    assert await spool.remove([blob.sha256, sha(b"never there")], grace=0) == 1
    assert not await spool.exists(blob.sha256)


async def test_a_blob_added_again_just_now_is_not_removed(tmp_path: Path) -> None:
    spool = Spool(tmp_path)
    blob = await spool.add(b"x", name="f", max_bytes=9)
    os.utime(spool.path(blob.sha256), (1, 1))
    await spool.add(b"x", name="f", max_bytes=9)
    assert await spool.remove([blob.sha256]) == 0
    assert await spool.exists(blob.sha256)


async def test_adding_and_removing_at_once_never_loses_what_was_added(tmp_path: Path) -> None:
    spool = Spool(tmp_path)
    blob = await spool.add(b"x", name="f", max_bytes=9)
    for _ in range(40):
        os.utime(spool.path(blob.sha256), (1, 1))
        await asyncio.gather(
            spool.remove([blob.sha256]),
            spool.add(b"x", name="f", max_bytes=9),
            Spool(tmp_path).remove([blob.sha256]),
        )
        assert await spool.exists(blob.sha256)


async def test_only_old_debris_is_swept(tmp_path: Path) -> None:
    spool = Spool(tmp_path)
    blob = await spool.add(b"x", name="f", max_bytes=9)
    for name, age in (("new-old", 7200), ("new-fresh", 0)):
        (tmp_path / name).write_bytes(b"half")
        os.utime(tmp_path / name, (time.time() - age, time.time() - age))
    os.utime(spool.path(blob.sha256), (1, 1))
    assert await spool.sweep() == 1
    assert contents(tmp_path) == sorted(["new-fresh", blob.sha256])


@pytest.mark.parametrize("name", ["../../etc/passwd", "", "a" * 63, "A" * 64])
def test_what_is_no_hash_has_no_path(tmp_path: Path, name: str) -> None:
    with pytest.raises(ValueError):
        Spool(tmp_path).path(name)


# ---------------------------------------------------------------- out of the parameters


def test_a_file_in_the_parameters_becomes_an_attachment() -> None:
    params, [file] = detach("sendPhoto", {"chat_id": 1, "photo": Path("/x/cat.png"), "caption": "c"})
    assert params == {"chat_id": 1, "photo": "attach://photo", "caption": "c"}
    assert (file.field, file.kind, file.name, file.mime) == ("photo", "photo", "cat.png", "image/png")
    assert file.where == "params.photo"


def test_a_string_is_a_file_id_or_a_url_and_stays() -> None:
    given_params = {"chat_id": 1, "photo": "https://x/y.png", "caption": "attach://me"}
    assert detach("sendPhoto", given_params) == (given_params, ())


def test_each_file_of_an_album_is_an_attachment_of_its_kind() -> None:
    media = [
        {"type": "photo", "media": b"1"},
        {"type": "video", "media": io.BytesIO(b"2"), "thumbnail": b"3", "cover": b"4"},
        {"type": "photo", "media": "file_id"},
    ]
    params, files = detach("sendMediaGroup", {"chat_id": 1, "media": media})
    assert [file.kind for file in files] == ["photo", "video", "thumbnail", "cover"]
    assert [file.where for file in files][:2] == ["params.media[0].media", "params.media[1].media"]
    assert len({file.field for file in files}) == 4
    assert params["media"][0] == {"type": "photo", "media": f"attach://{files[0].field}"}
    assert params["media"][2]["media"] == "file_id"


def test_the_caller_s_parameters_are_not_changed() -> None:
    params = {"media": [{"type": "photo", "media": b"1"}]}
    detach("sendMediaGroup", params)
    assert params == {"media": [{"type": "photo", "media": b"1"}]}


def test_the_same_message_has_the_same_fields() -> None:
    params = {"media": [{"type": "photo", "media": b"1"}, {"type": "photo", "media": b"1"}]}
    assert detach("sendMediaGroup", params)[0] == detach("sendMediaGroup", params)[0]


def test_an_input_file_names_itself() -> None:
    _, [file] = detach("sendDocument", {"document": InputFile(b"x", "report.pdf", "application/x-my")})
    assert (file.name, file.mime) == ("report.pdf", "application/x-my")


@pytest.mark.parametrize(
    ("method", "name"), [("sendVoice", "voice.ogg"), ("sendDocument", "file"), ("sendVideoNote", "video.mp4")]
)
def test_bytes_get_a_name_that_fits(method: str, name: str) -> None:
    field = {"sendVoice": "voice", "sendDocument": "document", "sendVideoNote": "video_note"}[method]
    _, [file] = detach(method, {field: b"x"})
    assert file.name == name


def test_a_text_path_is_not_read() -> None:
    assert detach("sendPhoto", {"photo": "/etc/passwd"})[1] == ()


def test_a_wrong_source_is_refused_by_field() -> None:
    wrong: Any = InputFile("/etc/passwd")  # type: ignore[arg-type]
    with pytest.raises(InvalidMessage) as caught:
        detach("sendPhoto", {"photo": wrong})
    assert caught.value.field == "params.photo"


def test_parts_of_a_request_are_attached_where_it_refers_to_them() -> None:
    parts = {"a": InputFile(b"1", "a.jpg"), "photo": InputFile(b"2"), "stray": InputFile(b"3")}
    params, files = detach("sendPhoto", {"chat_id": "1", "photo": "attach://a"}, parts)
    assert [(file.kind, file.source) for file in files] == [("photo", b"1")]
    assert params["photo"] == f"attach://{files[0].field}"


def test_a_part_named_as_a_parameter_is_that_parameter() -> None:
    params, [file] = detach("sendPhoto", {"chat_id": "1"}, {"photo": InputFile(b"2", "p.jpg")})
    assert params == {"chat_id": "1", "photo": "attach://photo"}
    assert (file.kind, file.source) == ("photo", b"2")


def test_an_album_given_as_text_is_understood() -> None:
    media = '[{"type":"photo","media":"attach://a"},{"type":"document","media":"attach://a"}]'
    params, files = detach("sendMediaGroup", {"media": media}, {"a": InputFile(b"1", "a.jpg")})
    assert [file.kind for file in files] == ["photo", "document"]
    assert [item["media"] for item in params["media"]] == [f"attach://{file.field}" for file in files]


def test_the_limits_are_telegram_s() -> None:
    _, [photo] = detach("sendPhoto", {"photo": b"x"})
    _, [video] = detach("sendVideo", {"video": b"x"})
    assert [photo.limit(False), video.limit(False), video.limit(True)] == [10 * MB, 50 * MB, 2000 * MB]


JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.text(max_size=10),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)


@given(st.sampled_from(["sendMessage", "sendMediaGroup", "sendHologram"]), st.dictionaries(st.text(), JSON))
def test_parameters_without_files_stay_as_they_are(method: str, params: dict[str, Any]) -> None:
    assert detach(method, params) == (params, ())


# ---------------------------------------------------------------- into the request


class Folder:
    """The paths of a spool without files."""

    def path(self, sha256: str) -> Path:
        return Path("/spool") / sha256


def claim(params: dict[str, Any], chat: str = "1", files: tuple[FileRef, ...] = (), **known: str) -> Claim:
    """A claim; `known`: file_ids by kind of the blob "s"."""
    return Claim(
        seq=1,
        token=1,
        lane=1,
        id="m",
        bot=1,
        chat=chat,
        method="sendPhoto",
        params=orjson.dumps(params),
        priority=Priority.NORMAL,
        accepted_at=0.0,
        files=files,
        file_ids={("s", kind): file_id for kind, file_id in known.items()},
    )


PHOTO = FileRef("photo", "s", 3, "a.jpg", "image/jpeg", "photo")


def test_a_message_without_files_goes_out_untouched() -> None:
    plain = claim({"chat_id": 1, "text": "x"})
    params, parts = prepare(plain, None)
    assert params is plain.params
    assert parts == ()


def test_a_new_file_is_uploaded() -> None:
    params, [part] = prepare(claim({"chat_id": 1, "photo": "attach://photo"}, files=(PHOTO,)), Folder())
    assert orjson.loads(params)["photo"] == "attach://photo"
    assert (part.field, part.path, part.name, part.size) == ("photo", Path("/spool/s"), "a.jpg", 3)


def test_a_known_file_goes_by_its_file_id() -> None:
    known = claim({"chat_id": 1, "photo": "attach://photo"}, files=(PHOTO,), photo="AgAC")
    params, parts = prepare(known, Folder())
    assert orjson.loads(params) == {"chat_id": 1, "photo": "AgAC"}
    assert parts == ()


@pytest.mark.parametrize("known", [{"document": "BQAC"}, {"photo": ""}])
def test_a_file_id_of_another_kind_or_that_is_void_is_not_used(known: dict[str, str]) -> None:
    _, parts = prepare(claim({"photo": "attach://photo"}, files=(PHOTO,), **known), Folder())
    assert len(parts) == 1


def test_a_thumbnail_is_always_uploaded() -> None:
    thumbnail = FileRef("thumbnail", "s", 3, "t.jpg", "image/jpeg", "thumbnail")
    _, parts = prepare(claim({"thumbnail": "attach://thumbnail"}, files=(thumbnail,), thumbnail="x"), Folder())
    assert len(parts) == 1


@pytest.mark.parametrize("old", [-5, "-5", " -5"])
def test_a_message_whose_chat_moved_goes_to_the_new_one(old: object) -> None:
    params, _ = prepare(claim({"chat_id": old, "text": "x"}, chat="-1001"), None)
    assert orjson.loads(params) == {"chat_id": -1001, "text": "x"}


@pytest.mark.parametrize(
    "params",
    [
        {"chat_id": -1001, "text": "x"},
        {"chat_id": -1001},
        {"chat_id": "-1001"},
        {"text": '"chat_id":-5,', "chat_id": -1001},
        {"reply_parameters": {"chat_id": -5}, "chat_id": -1001},
    ],
)
def test_a_message_that_names_its_chat_is_not_changed(params: dict[str, Any]) -> None:
    assert orjson.loads(prepare(claim(params, chat="-1001"), None)[0]) == params


@pytest.mark.parametrize(
    "params",
    [
        {"text": '"chat_id":-1001,', "chat_id": -5},
        {"reply_parameters": {"chat_id": -1001}, "chat_id": -5},
        {"chat_id": -10011, "text": "x"},
    ],
)
def test_a_text_that_looks_like_the_new_chat_deceives_nobody(params: dict[str, Any]) -> None:
    assert orjson.loads(prepare(claim(params, chat="-1001"), None)[0])["chat_id"] == -1001


def test_a_lane_that_is_no_chat_changes_nothing() -> None:
    plain = claim({"inline_message_id": "A", "text": "x"}, chat="inline:A")
    assert prepare(plain, None)[0] is plain.params


# ---------------------------------------------------------------- back as file_ids


@pytest.mark.parametrize(
    ("kind", "result", "file_id"),
    [
        ("photo", {"photo": [{"file_id": "L", "width": 9, "height": 9}, {"file_id": "S", "width": 1}]}, "L"),
        ("document", {"document": {"file_id": "D"}}, "D"),
        ("animation", {"animation": {"file_id": "A"}, "document": {"file_id": "A"}}, "A"),
        ("video", {"video": {"file_id": "V", "thumbnail": {"file_id": "T"}}}, "V"),
        ("cover", {"video": {"file_id": "V", "cover": [{"file_id": "C", "width": 1, "height": 1}]}}, "C"),
        ("video_note", {"video_note": {"file_id": "N"}}, "N"),
        ("live_photo", {"live_photo": {"file_id": "P", "photo": [{"file_id": "Q"}]}}, "P"),
        ("live_photo_still", {"live_photo": {"file_id": "P", "photo": [{"file_id": "Q"}]}}, "Q"),
        ("sticker_file", {"file_id": "F", "file_unique_id": "u"}, "F"),
    ],
)
def test_the_file_id_of_an_upload_is_learned(kind: str, result: object, file_id: str) -> None:
    file = FileRef("f", "s", 3, "n", "m", kind)
    assert learn(claim({"f": "attach://f"}, files=(file,)), result) == (("s", kind, file_id),)


@pytest.mark.parametrize("result", [True, None, [], {}, {"photo": []}, {"photo": [{"width": 1}]}, {"photo": "x"}, 7])
def test_a_result_without_a_file_teaches_nothing(result: object) -> None:
    assert learn(claim({"photo": "attach://photo"}, files=(PHOTO,)), result) == ()


def test_a_thumbnail_teaches_nothing() -> None:
    thumbnail = FileRef("thumbnail", "s", 3, "t", "m", "thumbnail")
    result = {"thumbnail": {"file_id": "T"}}
    assert learn(claim({"thumbnail": "attach://thumbnail"}, files=(thumbnail,)), result) == ()


def test_what_was_known_is_not_learned_again() -> None:
    known = claim({"photo": "attach://photo"}, files=(PHOTO,), photo="AgAC")
    assert learn(known, {"photo": [{"file_id": "new"}]}) == ()


def test_an_album_teaches_item_by_item() -> None:
    files = (FileRef("b", "2", 1, "n", "m", "photo"), FileRef("a", "1", 1, "n", "m", "photo"))
    media = [{"media": "known"}, {"media": "attach://a"}, {"media": "attach://b"}]
    result = [{"photo": [{"file_id": file_id}]} for file_id in ("X", "A", "B")]
    assert learn(claim({"media": media}, files=files), result) == (("2", "photo", "B"), ("1", "photo", "A"))


def test_an_album_shorter_than_asked_teaches_what_it_can() -> None:
    files = (FileRef("a", "1", 1, "n", "m", "photo"), FileRef("b", "2", 1, "n", "m", "photo"))
    media = [{"media": "attach://a"}, {"media": "attach://b"}]
    result = [{"photo": [{"file_id": "A"}]}]
    assert learn(claim({"media": media}, files=files), result) == (("1", "photo", "A"),)


def test_paid_media_teach_item_by_item() -> None:
    files = (FileRef("a", "1", 1, "n", "m", "photo"), FileRef("b", "2", 1, "n", "m", "video"))
    media = [{"media": "attach://a"}, {"media": "attach://b"}]
    items = [{"type": "photo", "photo": [{"file_id": "A"}]}, {"type": "video", "video": {"file_id": "B"}}]
    result = {"paid_media": {"star_count": 1, "paid_media": items}}
    assert learn(claim({"media": media}, files=files), result) == (("1", "photo", "A"), ("2", "video", "B"))
