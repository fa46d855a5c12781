"""Files: kept once, file_ids good for one bot and one kind, sizes, download."""

from __future__ import annotations

from kurir.simulator import World

from .helpers import Ask, result, why

MB = 1024 * 1024


def test_a_file_id_sends_the_file_again(ask: Ask) -> None:
    photo = result(ask("sendPhoto", chat_id=1, files={"photo": b"x"}))["photo"]
    for size in photo:
        assert ask("sendPhoto", chat_id=1, photo=size["file_id"]).status == 200


def test_a_file_id_is_good_for_its_bot_only(world: World, ask: Ask) -> None:
    world.add_bot("9:Z")
    file_id = result(ask("sendDocument", chat_id=1, files={"document": b"x"}))["document"]["file_id"]
    refused = ask("sendDocument", token="9:Z", chat_id=1, document=file_id)
    assert why(refused) == "Bad Request: wrong file identifier/HTTP URL specified"


def test_a_document_cannot_be_sent_as_a_photo(ask: Ask) -> None:
    file_id = result(ask("sendDocument", chat_id=1, files={"document": b"x"}))["document"]["file_id"]
    assert why(ask("sendPhoto", chat_id=1, photo=file_id)) == "Bad Request: can't use file of type Document as Photo"


def test_the_same_bytes_have_the_same_unique_id(ask: Ask) -> None:
    first, second = (result(ask("sendDocument", chat_id=1, files={"document": b"x"}))["document"] for _ in range(2))
    assert first["file_unique_id"] == second["file_unique_id"]


def test_a_photo_may_have_10_megabytes(ask: Ask) -> None:
    refused = ask("sendPhoto", chat_id=1, files={"photo": b"x" * (10 * MB + 1)})
    words = "file of size 10485761 bytes is too big for a photo; the maximum size is 10485760 bytes"
    assert why(refused) == f"Bad Request: {words}"


def test_another_file_may_have_50_megabytes_and_2000_on_a_local_server(world: World, ask: Ask) -> None:
    data = b"x" * (50 * MB + 1)
    refused = ask("sendDocument", chat_id=1, files={"document": data})
    assert (refused.status, why(refused)) == (413, "Request Entity Too Large")
    world.local = True
    assert ask("sendDocument", chat_id=1, files={"document": data}).status == 200


def test_an_empty_file_is_refused(ask: Ask) -> None:
    assert why(ask("sendDocument", chat_id=1, files={"document": b""})) == "Bad Request: file must be non-empty"


def test_a_file_can_be_downloaded_after_get_file(world: World, ask: Ask) -> None:
    file_id = result(ask("sendDocument", chat_id=1, files={"document": b"hello"}))["document"]["file_id"]
    path = result(ask("getFile", file_id=file_id))["file_path"]
    stored = world.files.download(123, path)
    assert stored is not None
    assert stored.read_bytes() == b"hello"
    assert world.files.download(9, path) is None


def test_a_file_beyond_20_megabytes_cannot_be_downloaded(ask: Ask) -> None:
    data = b"x" * (20 * MB + 1)
    file_id = result(ask("sendDocument", chat_id=1, files={"document": data}))["document"]["file_id"]
    assert why(ask("getFile", file_id=file_id)) == "Bad Request: file is too big"


def test_a_url_can_be_made_to_fail(world: World, ask: Ask) -> None:
    world.files.broken_urls["https://example.org/a.jpg"] = "failed to get HTTP URL content"
    refused = ask("sendPhoto", chat_id=1, photo="https://example.org/a.jpg")
    assert why(refused) == "Bad Request: failed to get HTTP URL content"


def test_the_folder_goes_with_the_world(world: World, ask: Ask) -> None:
    ask("sendDocument", chat_id=1, files={"document": b"x"})
    folder = world.files._folder
    assert folder is not None
    world.close()
    assert world.files._folder is None
