"""Bad input: every error names the field and the remedy, and nothing is stored. (Issue 2, "Bad input".)"""

from __future__ import annotations

import asyncio
import io
import random
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import orjson
import pytest

from kurir.core.errors import InvalidMessage, KeyConflict, UnknownBot
from kurir.core.message import Accepted, Draft, OnUnknown, Options, Ordering, Priority, State
from kurir.core.methods import METHODS
from kurir.drafting import check_method, deliverable
from kurir.message import Message
from kurir.outbox import MAX_BATCH, Bots, Outbox
from kurir.ports import Query
from kurir.stores.memory import MemoryStore
from kurir.telegram.files import InputFile
from kurir.telegram.spool import Spool

NOW = 1_800_000_000.0
SEND: dict[str, Any] = {"chat_id": 5, "text": "hello"}


class Clock:
    def now(self) -> float:
        return NOW

    async def sleep(self, seconds: float) -> None:
        raise AssertionError("nothing waits here")


class Door:
    """An outbox on a memory store, and what came through it."""

    def __init__(self, folder: Path, bots: dict[str, int]) -> None:
        self.store = MemoryStore()
        self.folder = folder
        self.drafts: list[Draft] = []
        self.outbox = Outbox(
            self.store, Bots(bots), Clock(), rng=random.Random(1), spool=Spool(folder), emit=self._hear
        )

    def _hear(self, event: Any) -> None:
        self.drafts += event.drafts

    def submit(self, *messages: Message) -> list[Accepted]:
        return asyncio.run(self.outbox.submit(messages))

    def draft(self, method: str = "sendMessage", params: Any = SEND, **treatment: Any) -> Draft:
        self.submit(Message(method, params, **treatment))
        return self.drafts[-1]

    def stored(self) -> int:
        return len(asyncio.run(self.store.find(Query())).items)

    def refused(self, field: str, *messages: Message) -> InvalidMessage:
        """The refusal, which names the field and the remedy and keeps nothing."""
        with pytest.raises(InvalidMessage) as caught:
            self.submit(*messages)
        error = caught.value
        assert error.field == field
        assert error.remedy
        assert str(error).startswith(field)
        assert str(error).endswith(error.remedy)
        assert self.stored() == 0
        assert not self.folder.exists() or not [f for f in self.folder.rglob("*") if f.is_file() and f.name != ".lock"]
        return error


@pytest.fixture
def door(tmp_path: Path) -> Door:
    return Door(tmp_path / "files", {"shop": 7})


@pytest.fixture
def two_bots(tmp_path: Path) -> Door:
    return Door(tmp_path / "files", {"shop": 7, "news": 8})


# ---------------------------------------------------------------- the bot


def test_the_only_bot_need_not_be_named(door: Door) -> None:
    assert door.draft().bot == 7


@pytest.mark.parametrize("bot", ["news", "8", 8])
def test_a_bot_goes_by_name_or_id(two_bots: Door, bot: str | int) -> None:
    assert two_bots.draft(bot=bot).bot == 8


@pytest.mark.parametrize("bot", ["nobody", 9, "9", "", True])
def test_an_unknown_bot_is_refused_with_the_known_ones(two_bots: Door, bot: Any) -> None:
    error = two_bots.refused("bot", Message("sendMessage", SEND, bot=bot))
    assert isinstance(error, UnknownBot)
    assert "news, shop" in str(error)


def test_with_several_bots_one_must_be_named(two_bots: Door) -> None:
    assert "news, shop" in str(two_bots.refused("bot", Message("sendMessage", SEND)))


def test_a_token_given_as_bot_is_not_repeated(door: Door) -> None:
    assert "SECRET" not in str(door.refused("bot", Message("sendMessage", SEND, bot="9:SECRET-TOKEN")))


# ---------------------------------------------------------------- the method


@pytest.mark.parametrize("method", ["", None, 5, "send message", "../getMe", "send/x", "sendМessage", "a" * 65])
def test_a_bad_method_name_is_refused(door: Door, method: Any) -> None:
    door.refused("method", Message(method, SEND))


@pytest.mark.parametrize("method", ["sendChatAction", "answerCallbackQuery", "SENDCHATACTION"])
def test_what_is_now_or_never_is_refused(door: Door, method: str) -> None:
    door.refused("method", Message(method, {"chat_id": 5, "action": "typing"}))


@pytest.mark.parametrize("method", ["getUpdates", "GETME", "setWebhook", "deleteWebhook", "logOut", "close", "getFile"])
def test_what_only_asks_is_refused(door: Door, method: str) -> None:
    assert "Call Telegram itself" in str(door.refused("method", Message(method, {})))


def test_deliverable_is_exactly_what_can_be_handed_over() -> None:
    for method in (*METHODS, "sendmessage", "GETME", "someNewMethod", "", "a/b", "..", "x" * 64, "x" * 65, "x" * 5000):
        try:
            check_method(method)
            taken = True
        except InvalidMessage:
            taken = False
        assert deliverable(method) is taken, method


def test_a_method_goes_in_any_case(door: Door) -> None:
    assert door.draft("SENDMESSAGE").method == "sendMessage"


def test_a_method_of_tomorrow_is_let_through(door: Door) -> None:
    assert door.draft("sendHologram", {"chat_id": 5}).method == "sendHologram"


# ---------------------------------------------------------------- the parameters


@pytest.mark.parametrize("params", [None, [], "chat_id=5", 5])
def test_parameters_are_a_mapping(door: Door, params: Any) -> None:
    door.refused("params", Message("sendMessage", params))


@pytest.mark.parametrize("method", ["sendMessage", "sendPhoto", "forwardMessage", "editMessageText", "pinChatMessage"])
def test_empty_parameters_are_refused(door: Door, method: str) -> None:
    door.refused("params.chat_id", Message(method, {}))


@pytest.mark.parametrize("chat", [None, True, 1.5, [5], {"id": 5}, "", "  ", "two words"])
def test_what_is_no_chat_is_refused(door: Door, chat: Any) -> None:
    door.refused("params.chat_id", Message("sendMessage", {"chat_id": chat, "text": "x"}))


@pytest.mark.parametrize(("chat", "lane"), [(5, "5"), ("5", "5"), (" 5 ", "5"), ("@Name", "@name"), (-1001, "-1001")])
def test_a_chat_has_one_lane_however_written(door: Door, chat: Any, lane: str) -> None:
    assert door.draft(params={"chat_id": chat, "text": "x"}).chat == lane


def test_an_empty_text_is_refused(door: Door) -> None:
    door.refused("params.text", Message("sendMessage", {"chat_id": 5, "text": ""}))
    door.refused("params.text", Message("sendMessage", {"chat_id": 5}))


@pytest.mark.parametrize("text", [5, None, ["x"], {"a": 1}, True])
def test_a_text_of_the_wrong_type_is_refused(door: Door, text: Any) -> None:
    door.refused("params.text", Message("sendMessage", {"chat_id": 5, "text": text}))


@pytest.mark.parametrize("latitude", [None, True, [55.7], {}])
def test_a_degree_of_the_wrong_type_is_refused(door: Door, latitude: Any) -> None:
    params = {"chat_id": 5, "latitude": latitude, "longitude": 37.6}
    door.refused("params.latitude", Message("sendLocation", params))


def test_oversized_parameters_are_refused(door: Door) -> None:
    error = door.refused("params", Message("sendMessage", {"chat_id": 5, "text": "x" * (1 << 20)}))
    assert "1,048,576" in str(error)


def test_parameters_just_small_enough_are_taken(door: Door) -> None:
    room = (1 << 20) - len(orjson.dumps({"chat_id": 5, "text": ""}))
    assert len(door.draft(params={"chat_id": 5, "text": "x" * room}).params) == 1 << 20


@pytest.mark.parametrize("value", [object(), {1, 2}, 1j, 10**30, "\ud800"])
def test_what_is_no_json_is_refused_naming_the_parameter(door: Door, value: Any) -> None:
    door.refused("params.reply_markup", Message("sendMessage", {**SEND, "reply_markup": value}))


def test_what_only_telegram_can_judge_is_accepted(door: Door) -> None:
    assert door.draft(params={"chat_id": 5, "text": "x" * 5000}).chat == "5"
    assert door.draft(params={"chat_id": 5, "text": "<b>open", "parse_mode": "HTML"}).chat == "5"


# ---------------------------------------------------------------- albums


@pytest.mark.parametrize("items", [0, 1, 11])
@pytest.mark.parametrize("as_text", [False, True])
def test_an_album_has_2_to_10_items(door: Door, items: int, as_text: bool) -> None:
    media: Any = [{"type": "photo", "media": f"https://example.org/{n}.jpg"} for n in range(items)]
    params = {"chat_id": 5, "media": orjson.dumps(media).decode() if as_text else media}
    assert f"{items} items" in str(door.refused("params.media", Message("sendMediaGroup", params)))


@pytest.mark.parametrize("items", [2, 10])
def test_an_album_of_2_to_10_items_is_taken(door: Door, items: int) -> None:
    media = [{"type": "photo", "media": f"https://example.org/{n}.jpg"} for n in range(items)]
    assert door.draft("sendMediaGroup", {"chat_id": 5, "media": media}).method == "sendMediaGroup"


def test_an_oversized_album_is_refused_before_its_files_are_copied(door: Door) -> None:
    media = [{"type": "photo", "media": b"jpeg"} for _ in range(11)]
    door.refused("params.media", Message("sendMediaGroup", {"chat_id": 5, "media": media}))


# ---------------------------------------------------------------- files


def test_a_missing_file_is_refused(door: Door, tmp_path: Path) -> None:
    error = door.refused("params.photo", Message("sendPhoto", {"chat_id": 5, "photo": tmp_path / "no.jpg"}))
    assert "no.jpg" in str(error)


def test_a_missing_file_in_an_album_is_refused_by_its_place(door: Door, tmp_path: Path) -> None:
    media = [{"type": "photo", "media": "https://example.org/1.jpg"}, {"type": "photo", "media": tmp_path / "no.jpg"}]
    door.refused("params.media[1].media", Message("sendMediaGroup", {"chat_id": 5, "media": media}))


def test_a_folder_is_no_file(door: Door, tmp_path: Path) -> None:
    door.refused("params.document", Message("sendDocument", {"chat_id": 5, "document": tmp_path}))


@pytest.mark.parametrize("content", [b"", bytearray(), io.BytesIO()])
def test_an_empty_file_is_refused(door: Door, content: Any) -> None:
    door.refused("params.document", Message("sendDocument", {"chat_id": 5, "document": content}))


def test_a_file_open_as_text_is_refused(door: Door, tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    path.write_text("text")
    with path.open() as file:
        door.refused("params.document", Message("sendDocument", {"chat_id": 5, "document": file}))


def test_a_closed_file_is_refused(door: Door, tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    path.write_text("text")
    with path.open("rb") as file:
        pass
    door.refused("params.document", Message("sendDocument", {"chat_id": 5, "document": file}))


@pytest.mark.parametrize("source", [5, "photo.jpg", None])
def test_a_file_object_around_something_else_is_refused(door: Door, source: Any) -> None:
    broken: Any = InputFile(source)
    door.refused("params.document", Message("sendDocument", {"chat_id": 5, "document": broken}))


def test_a_photo_beyond_telegrams_limit_is_refused(door: Door) -> None:
    photo = bytes(10 * 1024 * 1024 + 1)
    error = door.refused("params.photo", Message("sendPhoto", {"chat_id": 5, "photo": photo}))
    assert "10,485,760" in str(error)


def test_without_a_spool_a_file_is_refused_with_the_setting(door: Door) -> None:
    door.outbox = Outbox(door.store, Bots({"shop": 7}), Clock(), rng=random.Random(1), spool=None, emit=lambda _: None)
    error = door.refused("params.photo", Message("sendPhoto", {"chat_id": 5, "photo": b"jpeg"}))
    assert "KURIR_FILES" in error.remedy


# ---------------------------------------------------------------- times


def test_a_naive_time_is_refused(door: Door) -> None:
    naive = datetime(2030, 1, 1)
    door.refused("due_at", Message("sendMessage", SEND, due_at=naive))
    door.refused("expires_at", Message("sendMessage", SEND, expires_at=naive))


def test_an_expiry_in_the_past_is_refused(door: Door) -> None:
    past = datetime.fromtimestamp(NOW, UTC) - timedelta(seconds=1)
    assert "past" in str(door.refused("expires_at", Message("sendMessage", SEND, expires_at=past)))


def test_an_expiry_now_is_refused(door: Door) -> None:
    door.refused("expires_at", Message("sendMessage", SEND, expires_at=NOW))


def test_an_expiry_before_it_is_due_is_refused(door: Door) -> None:
    door.refused("expires_at", Message("sendMessage", SEND, due_at=NOW + 60, expires_at=NOW + 60))


def test_a_past_due_at_means_now(door: Door) -> None:
    assert door.draft(due_at=NOW - 60).due_at <= NOW


def test_times_are_kept_as_given(door: Door) -> None:
    draft = door.draft(due_at=timedelta(seconds=60), expires_at="2030-01-01T00:00:00Z")
    assert draft.due_at == NOW + 60
    assert draft.expires_at == datetime(2030, 1, 1, tzinfo=UTC).timestamp()


# ---------------------------------------------------------------- treatment


@pytest.mark.parametrize("priority", ["urgent", "", 1, 1.0, None, True])
def test_an_unknown_priority_is_refused(door: Door, priority: Any) -> None:
    door.refused("priority", Message("sendMessage", SEND, priority=priority))


@pytest.mark.parametrize("priority", ["high", "HIGH", Priority.HIGH])
def test_a_priority_goes_by_name_or_value(door: Door, priority: Any) -> None:
    assert door.draft(priority=priority).priority is Priority.HIGH


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("ordering", "random"),
        ("ordering", None),
        ("on_unknown", "ignore"),
        ("max_attempts", 0),
        ("max_attempts", 1001),
        ("max_attempts", 2.5),
        ("max_attempts", True),
        ("max_attempts", "3"),
        pytest.param("max_attempts", 10**400, id="huge_attempts"),
        ("timeout", 0),
        ("timeout", -1),
        ("timeout", 1e9),
        ("timeout", "30"),
        ("timeout", float("nan")),
        pytest.param("timeout", 10**400, id="huge_timeout"),
        ("delete_after", -1),
        ("delete_after", 49 * 3600),
        ("delete_after", "1h"),
        ("backoff", 5),
        ("backoff", "1,2,4"),
        ("backoff", b"124"),
        ("backoff", {"type": "random"}),
        ("backoff", {"type": "fixed", "delay": 3}),
        ("backoff", {"base": 3}),
    ],
)
def test_a_treatment_of_the_wrong_kind_is_refused(door: Door, field: str, value: Any) -> None:
    door.refused(field, Message("sendMessage", SEND, **{field: value}))


@pytest.mark.parametrize(
    ("backoff", "field"),
    [
        ([1, -1], "backoff[1]"),
        ([1, "2"], "backoff[1]"),
        ([1, True], "backoff[1]"),
        ([float("inf")], "backoff[0]"),
        ({"type": "fixed", "base": "3"}, "backoff.base"),
        ({"type": "exponential", "base": 1e6}, "backoff"),
    ],
)
def test_a_wrong_delay_is_refused_by_its_place(door: Door, backoff: Any, field: str) -> None:
    with pytest.raises(InvalidMessage) as caught:
        door.submit(Message("sendMessage", SEND, backoff=backoff, max_attempts=8))
    assert caught.value.field.startswith(field)
    assert door.stored() == 0


def test_treatment_is_kept(door: Door) -> None:
    draft = door.draft(
        max_attempts=5,
        backoff={"type": "exponential", "base": 2},
        timeout=30,
        delete_after=60,
        ordering="strict",
        on_unknown="hold",
    )
    assert draft.options == Options(5, (2.0, 4.0, 8.0, 16.0), 30.0, 60.0, Ordering.STRICT, OnUnknown.HOLD)


def test_ordinary_sends_do_not_ask_for_hold(door: Door) -> None:
    assert door.draft().options == Options()


@pytest.mark.parametrize(
    ("method", "params"),
    [
        ("sendGift", {"user_id": 5, "gift_id": "g"}),
        ("giftPremiumSubscription", {"user_id": 5, "month_count": 3, "star_count": 1000}),
        ("sendMessage", {**SEND, "allow_paid_broadcast": True}),
    ],
)
def test_what_costs_money_is_held_by_default(door: Door, method: str, params: Any) -> None:
    assert door.draft(method, params).options.on_unknown is OnUnknown.HOLD


def test_what_costs_money_is_resent_when_asked(door: Door) -> None:
    draft = door.draft("sendGift", {"user_id": 5, "gift_id": "g"}, on_unknown="resend")
    assert draft.options.on_unknown is OnUnknown.RESEND


# ---------------------------------------------------------------- keys


@pytest.mark.parametrize("key", ["", "x" * 256, 42, b"order", True, "\ud800"])
def test_a_bad_key_is_refused(door: Door, key: Any) -> None:
    door.refused("idempotency_key", Message("sendMessage", SEND, idempotency_key=key))


def test_a_key_reused_for_another_body_is_refused_and_keeps_nothing(door: Door) -> None:
    (first,) = door.submit(Message("sendMessage", SEND, idempotency_key="order-1"))
    with pytest.raises(KeyConflict) as caught:
        door.submit(Message("sendMessage", {**SEND, "text": "other"}, idempotency_key="order-1"))
    assert (caught.value.key, caught.value.id) == ("order-1", first.id)
    assert caught.value.remedy
    assert door.stored() == 1


def test_the_same_body_in_another_order_is_the_same(door: Door) -> None:
    (first,) = door.submit(Message("sendMessage", {"chat_id": 5, "text": "x"}, idempotency_key="k"))
    (second,) = door.submit(Message("sendMessage", {"text": "x", "chat_id": 5}, idempotency_key="k"))
    assert second == Accepted(first.id, State.WAITING, duplicate=True, seq=first.seq)


def test_another_method_is_another_body(door: Door) -> None:
    door.submit(Message("sendPhoto", {"chat_id": 5, "photo": "id"}, idempotency_key="k"))
    with pytest.raises(KeyConflict):
        door.submit(Message("sendDocument", {"chat_id": 5, "photo": "id"}, idempotency_key="k"))


def test_another_file_of_the_same_name_is_another_body(door: Door) -> None:
    def photo(content: bytes) -> Message:
        return Message("sendPhoto", {"chat_id": 5, "photo": InputFile(content, "a.jpg")}, idempotency_key="k")

    door.submit(photo(b"one"))
    assert door.submit(photo(b"one"))[0].duplicate
    with pytest.raises(KeyConflict):
        door.submit(photo(b"two"))


# ---------------------------------------------------------------- metadata


@pytest.mark.parametrize("metadata", ["order", 42, [("order", 42)]])
def test_metadata_is_a_mapping(door: Door, metadata: Any) -> None:
    door.refused("metadata", Message("sendMessage", SEND, metadata=metadata))


def test_metadata_has_50_pairs_at_most(door: Door) -> None:
    door.refused("metadata", Message("sendMessage", SEND, metadata={str(n): n for n in range(51)}))
    assert len(door.draft(metadata={str(n): n for n in range(50)}).metadata or {}) == 50


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("order", None),
        ("order", [1]),
        ("order", {"a": 1}),
        ("order", "x" * 501),
        ("order", "\ud800"),
        ("", "x"),
        ("k" * 65, "x"),
    ],
)
def test_metadata_beyond_its_limits_is_refused_by_its_name(door: Door, name: str, value: Any) -> None:
    door.refused(f"metadata.{name}", Message("sendMessage", SEND, metadata={name: value}))


def test_metadata_under_a_name_that_is_no_text_is_refused(door: Door) -> None:
    door.refused("metadata.5", Message("sendMessage", SEND, metadata={5: "x"}))  # type: ignore[dict-item]


def test_metadata_is_kept_as_text(door: Door) -> None:
    draft = door.draft(metadata={"order": 42, "paid": True, "sum": 1.5, "who": "Анна"})
    assert draft.metadata == {"order": "42", "paid": "true", "sum": "1.5", "who": "Анна"}


# ---------------------------------------------------------------- batches


def test_one_bad_message_refuses_the_batch_by_its_place(door: Door) -> None:
    error = door.refused(
        "messages[1].params.text", Message("sendMessage", SEND), Message("sendMessage", {"chat_id": 5})
    )
    assert "messages[1].params.text: is empty" in str(error)


def test_an_unknown_bot_in_a_batch_is_refused_by_its_place(door: Door) -> None:
    error = door.refused("messages[1].bot", Message("sendMessage", SEND), Message("sendMessage", SEND, bot="x"))
    assert isinstance(error, UnknownBot)


def test_a_batch_beyond_the_limit_is_refused(door: Door) -> None:
    door.refused("messages", *[Message("sendMessage", SEND)] * (MAX_BATCH + 1))


def test_a_key_twice_in_a_batch_with_two_bodies_refuses_all(door: Door) -> None:
    with pytest.raises(KeyConflict):
        door.submit(
            Message("sendMessage", SEND, idempotency_key="k"),
            Message("sendMessage", {**SEND, "text": "other"}, idempotency_key="k"),
        )
    assert door.stored() == 0


def test_a_key_twice_in_a_batch_with_one_body_is_one_message(door: Door) -> None:
    first, second = door.submit(*[Message("sendMessage", SEND, idempotency_key="k")] * 2)
    assert (second.id, second.duplicate) == (first.id, True)
    assert door.stored() == 1


def test_nothing_is_nothing(door: Door) -> None:
    assert door.submit() == []


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_a_number_that_json_cannot_say_is_refused(door: Door, value: float) -> None:
    place = {"chat_id": 1, "latitude": value, "longitude": 0.0}
    assert "finite" in door.refused("params.latitude", Message("sendLocation", place)).remedy


def test_an_optional_text_may_be_none_as_json_null_is(door: Door) -> None:
    kept = door.draft("sendPhoto", {"chat_id": 1, "photo": "file-id", "caption": None})
    assert orjson.loads(kept.params)["caption"] is None


def test_text_that_some_store_cannot_keep_is_refused_at_the_door(door: Door) -> None:
    door.refused("idempotency_key", Message("sendMessage", SEND, idempotency_key="order\x00 7"))
    door.refused("metadata.order", Message("sendMessage", SEND, metadata={"order": "7\x00"}))


def test_a_chat_that_cannot_exist_has_a_lane_that_every_store_can_keep(door: Door) -> None:
    assert "\x00" not in door.draft(params={"chat_id": "@no\x00body", "text": "hello"}).chat
