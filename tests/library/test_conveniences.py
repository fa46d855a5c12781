"""Every short way to send arrives with the Bot API's own parameters, files included (B1, C3, C4)."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import pytest

from kurir import InputFile, InvalidMessage, Kurir, State
from kurir.conveniences import TREATMENT
from kurir.core.methods import METHODS
from kurir.message import Message

from .helpers import in_virtual_time, params, playing

PNG = b"\x89PNG\r\n\x1a\n" + bytes(100)


# ---------------------------------------------------------------- without files


@in_virtual_time
async def test_send_text_arrives_with_its_parameters() -> None:
    async with playing() as (kurir, s):
        keyboard = {"inline_keyboard": [[{"text": "Track", "callback_data": "t1"}]]}
        await (await kurir.send_text(5, "<b>Hi</b>", parse_mode="HTML", reply_markup=keyboard)).delivered(10)
        (message,) = s.world.messages(5)
        assert message.text == "Hi"
        assert message.markup == keyboard


@in_virtual_time
async def test_send_location_arrives() -> None:
    async with playing() as (kurir, s):
        await (await kurir.send_location(5, 55.75, 37.61, horizontal_accuracy=10)).delivered(10)
        (message,) = s.world.messages(5)
        assert message.kind == "location"
        assert message.content["location"]["latitude"] == 55.75
        assert message.content["location"]["longitude"] == 37.61


@in_virtual_time
async def test_a_url_is_left_to_telegram() -> None:
    async with playing() as (kurir, s):
        await (await kurir.send_photo(5, "https://example.org/cat.jpg", caption="cat")).delivered(10)
        assert params(s.wire.sends()[0][1])["photo"] == "https://example.org/cat.jpg"
        assert [m.text for m in s.world.messages(5)] == ["cat"]


@in_virtual_time
async def test_what_is_none_is_left_out() -> None:
    async with playing() as (kurir, s):
        await (await kurir.send_text(5, "x", parse_mode=None)).delivered(10)
        assert params(s.wire.sends()[0][1]) == {"chat_id": 5, "text": "x"}


@in_virtual_time
async def test_treatment_goes_beside_the_parameters() -> None:
    async with playing(courier=False) as (kurir, s):
        receipt = await kurir.send_text(
            5, "x", priority="high", idempotency_key="k", metadata={"order": 42}, due_at=s.clock.now() + 60
        )
        record = await receipt.record()
        assert (record.priority.name, record.key, record.metadata) == ("HIGH", "k", {"order": "42"})
        assert record.due_at == s.clock.now() + 60
        assert record.params == b'{"chat_id":5,"text":"x"}'


def test_no_treatment_is_named_like_a_parameter_of_the_bot_api() -> None:
    """A parameter of that name could never be sent. `timeout` and `bot` are none of a method that sends."""
    assert TREATMENT.isdisjoint(
        {"text", "caption", "photo", "message_thread_id", "reply_parameters", "protect_content"}
    )
    assert {"method", "params"}.isdisjoint(TREATMENT)
    assert set(Message.__slots__) - {"method", "params"} == TREATMENT


@pytest.mark.parametrize(
    "name", ["text", "photo", "document", "voice", "video", "animation", "location", "media_group"]
)
def test_every_convenience_is_a_bot_api_method(name: str) -> None:
    words = "message" if name == "text" else name
    method = "send" + "".join(word.title() for word in words.split("_"))
    assert method in METHODS
    assert (getattr(Kurir, f"send_{name}").__doc__ or "").startswith(method)


# ---------------------------------------------------------------- files


@pytest.mark.parametrize("kind", ["photo", "document", "voice", "video", "animation"])
@pytest.mark.parametrize("given", ["path", "bytes", "open", "input_file", "bytesio"])
async def test_a_file_arrives_however_it_is_given(tmp_path: Path, kind: str, given: str) -> None:
    path = tmp_path / f"the-{kind}.bin"
    path.write_bytes(PNG)
    async with playing(files=tmp_path / "spool") as (kurir, s):
        with path.open("rb") as opened:
            sources: dict[str, Any] = {
                "path": path,
                "bytes": PNG,
                "open": opened,
                "input_file": InputFile(PNG, name="named.bin", mime="application/x-test"),
                "bytesio": io.BytesIO(PNG),
            }
            receipt = await getattr(kurir, f"send_{kind}")(5, sources[given], caption="c")
        result = await receipt.delivered(10)
        sent = result[kind][-1] if kind == "photo" else result[kind]
        stored = s.world.files.find(sent["file_id"], 123456) if hasattr(s.world.files, "find") else None
        assert sent["file_size"] == len(PNG) or kind == "photo"
        assert result["caption"] == "c"
        assert stored is None or stored.size == len(PNG)
        (part,) = s.wire.sends()[0][1].parts
        names = {"path": path.name, "open": path.name, "input_file": "named.bin"}
        if given in names:
            assert part.name == names[given]


async def test_a_document_keeps_its_name_and_type(tmp_path: Path) -> None:
    async with playing(files=tmp_path) as (kurir, _):
        result = await (await kurir.send_document(5, InputFile(b"%PDF", "счёт.pdf"))).delivered(10)
        assert (result["document"]["file_name"], result["document"]["mime_type"]) == ("счёт.pdf", "application/pdf")


async def test_a_thumbnail_goes_along(tmp_path: Path) -> None:
    async with playing(files=tmp_path) as (kurir, s):
        await (await kurir.send_video(5, b"video", thumbnail=PNG, duration=3)).delivered(10)
        assert {part.field for part in s.wire.sends()[0][1].parts} == {"video", "thumbnail"}


async def test_an_album_of_all_sources_arrives_as_one(tmp_path: Path) -> None:
    path = tmp_path / "a.jpg"
    path.write_bytes(PNG)
    media = [
        {"type": "photo", "media": path, "caption": "first"},
        {"type": "photo", "media": b"second"},
        {"type": "video", "media": InputFile(b"third", "c.mp4"), "thumbnail": PNG},
        {"type": "photo", "media": "https://example.org/4.jpg"},
    ]
    async with playing(files=tmp_path / "spool") as (kurir, s):
        result = await (await kurir.send_media_group(5, media)).delivered(10)
        assert [sorted({"photo", "video"} & set(m)) for m in result] == [["photo"], ["photo"], ["video"], ["photo"]]
        assert len({m["media_group_id"] for m in result}) == 1
        assert [m.text for m in s.world.messages(5)] == ["first", "", "", ""]


async def test_the_file_given_may_vanish_once_accepted(tmp_path: Path) -> None:
    path = tmp_path / "a.jpg"
    path.write_bytes(PNG)
    async with playing(files=tmp_path / "spool", courier=False) as (kurir, s):
        receipt = await kurir.send_photo(5, path)
        path.unlink()
        async with s.kurir(kurir.store, files=tmp_path / "spool"):
            assert (await receipt.delivered(10))["photo"]


async def test_a_message_whose_spooled_file_is_gone_is_dead_and_says_so(tmp_path: Path) -> None:
    async with playing(files=tmp_path / "spool", courier=False) as (kurir, s):
        receipt = await kurir.send_photo(5, PNG)
        for blob in (tmp_path / "spool").rglob("*"):
            if blob.is_file():
                blob.unlink()
        async with s.kurir(kurir.store, files=tmp_path / "spool"):
            record = await receipt.ended(10)
            assert record.state is State.DEAD
            assert "file" in (record.reason or "")


@pytest.mark.parametrize("items", [1, 11])
async def test_an_album_of_the_wrong_size_leaves_no_file_behind(tmp_path: Path, items: int) -> None:
    async with playing(files=tmp_path / "spool") as (kurir, _):
        with pytest.raises(InvalidMessage, match=r"params\.media"):
            await kurir.send_media_group(5, [{"type": "photo", "media": PNG}] * items)
        assert not (tmp_path / "spool").exists()
