"""What a person reads while Kurir works (C9), and what nobody ever reads there."""

from __future__ import annotations

import logging
import re

import pytest

from kurir.ports import Store
from kurir.simulator import ChatState, Kind, Rule

from .helpers import EPOCH, TOKEN, in_virtual_time, playing

SECRET = "the code is 1234"


def lines(caplog: pytest.LogCaptureFixture, id: str = "") -> list[str]:
    found = [f"{r.levelname} {r.getMessage()}" for r in caplog.records if r.name.startswith("kurir")]
    return [line.replace(id, "ID") for line in found if id in line] if id else found


@pytest.fixture(autouse=True)
def loud(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG, logger="kurir")


@in_virtual_time
async def test_the_story_of_a_message_is_told_by_its_id(store: Store, caplog: pytest.LogCaptureFixture) -> None:
    async with playing(store, latency=0.2) as (kurir, s):
        s.world.faults.add(
            Rule(Kind.STATUS_JSON, times=1, status=429, retry_after=7, description="Too Many Requests: retry after 7"),
            Rule(Kind.STATUS_JSON, times=1, status=400, description="Bad Request: WORKER_BUSY_TOO_LONG_RETRY"),
        )
        receipt = await kurir.send_text(5, SECRET)
        await receipt.delivered(60)
    assert lines(caplog, receipt.id) == [
        "DEBUG ID accepted: sendMessage to 5",
        "INFO ID throttled: waits 7 s, as Telegram asks",
        "INFO ID failed (Bad Request: WORKER_BUSY_TOO_LONG_RETRY): attempt 2 counts, tried again in 1 s",
        "DEBUG ID sent to 5 in 0.200 s",
    ]


@in_virtual_time
async def test_a_dead_letter_is_told_once_with_its_reason(store: Store, caplog: pytest.LogCaptureFixture) -> None:
    async with playing(store) as (kurir, s):
        s.world.add_chat(5)
        s.world.set_state(5, ChatState.BLOCKED)
        receipt = await kurir.send_text(5, SECRET)
        await receipt.ended(10)
    told = [line for line in lines(caplog, receipt.id) if "dead" in line]
    assert told == ["WARNING ID dead: sendMessage to 5: Forbidden: bot was blocked by the user"]


@in_virtual_time
async def test_an_outage_is_told_when_it_begins_and_ends(store: Store, caplog: pytest.LogCaptureFixture) -> None:
    async with playing(store) as (kurir, s):
        s.world.faults.outage(EPOCH, EPOCH + 60)
        await (await kurir.send_text(5, SECRET)).delivered(100)
    told = [line for line in lines(caplog) if line.startswith("WARNING")]
    assert len(told) == 2
    assert "out of reach (connection refused)" in told[0]
    assert re.search(r"Telegram is back after 6\d s", told[1])


@in_virtual_time
async def test_a_refused_token_is_told_loudly(store: Store, caplog: pytest.LogCaptureFixture) -> None:
    async with playing(store) as (kurir, s):
        s.world.bots[TOKEN].revoked = True
        await kurir.send_text(5, SECRET)
        await s.sleep(40)
        s.world.bots[TOKEN].revoked = False
        await s.sleep(40)
    told = [line for line in lines(caplog) if "bot 123456" in line]
    assert any(line.startswith("ERROR bot 123456 stopped until somebody acts: refused: Unauth") for line in told)
    assert any("resumed: Telegram takes the token again" in line for line in told)


@in_virtual_time
async def test_no_line_holds_the_token_or_a_text(store: Store, caplog: pytest.LogCaptureFixture) -> None:
    async with playing(store, latency=0.05) as (kurir, s):
        for chat, fault in enumerate(
            (
                Rule(Kind.RESET_AFTER, chat=1, times=1),
                Rule(Kind.STATUS_HTML, chat=2, times=1),
                Rule(Kind.HANG, chat=3, times=1),
                Rule(Kind.STATUS_JSON, chat=4, times=1, status=401, description="Unauthorized"),
                Rule(Kind.STATUS_JSON, chat=5, status=400, description="Bad Request: can't parse entities"),
            ),
            1,
        ):
            s.world.faults.add(fault)
            await kurir.send_text(chat, SECRET, metadata={"phone": "+7 900"})
        await s.sleep(300)
    assert len(lines(caplog)) > 8
    assert TOKEN not in caplog.text
    assert TOKEN.split(":")[1] not in caplog.text
    assert SECRET not in caplog.text
    assert "+7 900" not in caplog.text


@in_virtual_time
async def test_at_the_usual_level_a_good_day_is_nearly_silent(store: Store, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, logger="kurir")
    async with playing(store) as (kurir, s):
        for n in range(20):
            await (await kurir.send_text(5, f"m{n}")).delivered(10)
        await s.sleep(300)
    assert [line.split(":")[0] for line in lines(caplog)] == ["INFO bot 123456", "INFO bot 123456"]
