"""The in-process transport acts out what the world says, in the time of the given clock."""

from __future__ import annotations

import asyncio
from pathlib import Path

import orjson
import pytest

from kurir.core.outcome import Answer, Break, NoReply, Reply
from kurir.ports import Call, Part
from kurir.simulator import InProcessTransport, Kind, Limits, ManualClock, Rule, World, random_latency

from .helpers import TOKEN


@pytest.fixture
def transport(world: World, clock: ManualClock) -> InProcessTransport:
    return InProcessTransport(world, clock)


def message(text: str = "x", **more: object) -> Call:
    return Call(TOKEN, "sendMessage", orjson.dumps({"chat_id": 1, "text": text}), **more)  # type: ignore[arg-type]


async def timed(clock: ManualClock, transport: InProcessTransport, call: Call) -> tuple[Answer, float]:
    """The answer, and the seconds it took on the manual clock."""
    start = clock.now()
    task = asyncio.ensure_future(transport.call(call))
    for _ in range(2000):
        await clock.advance(0.05)
        if task.done():
            return task.result(), round(clock.now() - start, 2)
    raise AssertionError("no answer within 100 s")


async def test_a_call_is_answered_as_telegram_does(transport: InProcessTransport) -> None:
    answer = await transport.call(message())
    assert isinstance(answer, Reply)
    assert answer.payload is not None
    assert answer.payload["result"]["text"] == "x"


async def test_a_429_carries_the_header(world: World, transport: InProcessTransport) -> None:
    world.limits = Limits(private=((1, 30.0),))
    await transport.call(message())
    answer = await transport.call(message())
    assert isinstance(answer, Reply)
    assert (answer.status, answer.retry_after) == (429, 30.0)


async def test_files_are_read_from_disk(transport: InProcessTransport, world: World, tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    path.write_bytes(b"hello")
    part = Part("document", path, "a.txt", "text/plain", 5)
    answer = await transport.call(Call(TOKEN, "sendDocument", b'{"chat_id": 1}', (part,)))
    assert isinstance(answer, Reply)
    assert answer.payload is not None
    assert answer.payload["result"]["document"]["file_size"] == 5


async def test_a_missing_file_was_not_sent(transport: InProcessTransport, tmp_path: Path) -> None:
    part = Part("document", tmp_path / "gone", "a.txt", "text/plain", 5)
    answer = await transport.call(Call(TOKEN, "sendDocument", b'{"chat_id": 1}', (part,)))
    assert isinstance(answer, NoReply)
    assert (answer.kind, answer.sent) == (Break.FILE, False)


@pytest.mark.parametrize(
    ("rule", "kind", "sent", "arrives", "seconds"),
    [
        (Rule(Kind.RESET_BEFORE), Break.RESET, True, 0, 0.05),
        (Rule(Kind.RESET_AFTER), Break.RESET, True, 1, 0.05),
        (Rule(Kind.HANG), Break.TIMEOUT, True, 0, 20.0),
        (Rule(Kind.HANG, handled=True), Break.TIMEOUT, True, 1, 20.0),
        (Rule(Kind.SLOW, seconds=30), Break.TIMEOUT, True, 1, 20.0),
        (Rule(Kind.REFUSED), Break.REFUSED, False, 0, 0.05),
        (Rule(Kind.DNS), Break.DNS, False, 0, 0.05),
        (Rule(Kind.UNREACHABLE), Break.UNREACHABLE, False, 0, 0.05),
        (Rule(Kind.CONNECT_TIMEOUT), Break.CONNECT_TIMEOUT, False, 0, 10.0),
    ],
    ids=lambda value: str(value.kind) if isinstance(value, Rule) else None,
)
async def test_each_fault_ends_the_call_in_its_way(
    world: World, clock: ManualClock, transport: InProcessTransport,
    rule: Rule, kind: Break, sent: bool, arrives: int, seconds: float,
) -> None:  # fmt: skip
    world.faults.add(rule)
    answer, took = await timed(clock, transport, message(timeout=20.0))
    assert isinstance(answer, NoReply)
    assert (answer.kind, answer.sent) == (kind, sent)
    assert len(world.messages()) == arrives
    assert len(world.journal.doubts) == arrives
    assert took == pytest.approx(seconds, abs=0.11)


async def test_5xx_come_as_json_and_as_html(world: World, transport: InProcessTransport) -> None:
    world.faults.add(Rule(Kind.STATUS_JSON, status=500, times=1), Rule(Kind.STATUS_HTML, handled=True))
    first, second = await transport.call(message()), await transport.call(message())
    assert isinstance(first, Reply)
    assert first.payload == {"ok": False, "error_code": 500, "description": "Internal Server Error"}
    assert isinstance(second, Reply)
    assert (second.status, second.payload) == (502, None)
    assert "502 Bad Gateway" in second.excerpt
    assert len(world.messages()) == len(world.journal.doubts) == 1


async def test_a_held_call_is_answered_late_and_its_giving_up_is_in_doubt(
    world: World, clock: ManualClock, transport: InProcessTransport
) -> None:
    world.limits = Limits(private=((1, 4.0),), hold=True)
    await transport.call(message("a"))
    answer, took = await timed(clock, transport, message("b"))
    assert isinstance(answer, Reply)
    assert took == pytest.approx(4.0, abs=0.11)
    answer, _ = await timed(clock, transport, message("c", timeout=1.0))
    assert isinstance(answer, NoReply)
    assert world.journal.report({1: ["a", "b", "c"]}).lost == ()
    assert len(world.journal.doubts) == 1


async def test_latency_passes_before_and_after_telegram_acts(world: World, clock: ManualClock) -> None:
    transport = InProcessTransport(world, clock, latency=1.0)
    start = clock.now()
    _, took = await timed(clock, transport, message())
    assert took == pytest.approx(1.0, abs=0.11)
    assert world.journal.sent()[0].at == pytest.approx(start + 0.5, abs=0.06)


def test_random_latency_comes_from_its_seed() -> None:
    first, second = random_latency(0.1, 0.2, seed=7), random_latency(0.1, 0.2, seed=7)
    assert [first() for _ in range(5)] == [second() for _ in range(5)]


async def test_nothing_connects_in_an_outage(world: World, clock: ManualClock, transport: InProcessTransport) -> None:
    world.faults.outage(clock.now() + 10, clock.now() + 20, Kind.DNS)
    assert isinstance(await transport.call(message("before")), Reply)
    await clock.advance(10)
    answer = await transport.call(message("within"))
    assert isinstance(answer, NoReply)
    assert (answer.kind, answer.sent) == (Break.DNS, False)
    await clock.advance(10)
    assert isinstance(await transport.call(message("after")), Reply)
    assert [one.text for one in world.messages()] == ["before", "after"]


@pytest.mark.parametrize(("begins", "arrives"), [(0.2, 0), (0.7, 1)])
async def test_an_outage_resets_what_is_under_way(
    world: World, clock: ManualClock, begins: float, arrives: int
) -> None:
    world.faults.outage(clock.now() + begins, clock.now() + 9)
    answer, _ = await timed(clock, InProcessTransport(world, clock, latency=1.0), message())
    assert isinstance(answer, NoReply)
    assert (answer.kind, answer.sent) == (Break.RESET, True)
    assert len(world.messages()) == len(world.journal.doubts) == arrives


async def test_a_cancelled_call_leaves_its_answer_in_doubt(world: World, clock: ManualClock) -> None:
    task = asyncio.ensure_future(InProcessTransport(world, clock, latency=1.0).call(message()))
    await clock.advance(0.7)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert len(world.journal.doubts) == 1


async def test_a_long_poll_waits_for_an_update(world: World, clock: ManualClock, transport: InProcessTransport) -> None:
    task = asyncio.ensure_future(transport.call(Call(TOKEN, "getUpdates", b'{"timeout": 30}')))
    await clock.advance(5)
    assert not task.done()
    world.say(1, "hi")
    await clock.advance(0.1)
    answer = task.result()
    assert isinstance(answer, Reply)
    assert answer.payload is not None
    assert answer.payload["result"][0]["message"]["text"] == "hi"


async def test_a_long_poll_ends_empty_after_its_time(clock: ManualClock, transport: InProcessTransport) -> None:
    answer, took = await timed(clock, transport, Call(TOKEN, "getUpdates", b'{"timeout": 3}'))
    assert isinstance(answer, Reply)
    assert answer.payload == {"ok": True, "result": []}
    assert took == pytest.approx(3.0, abs=0.11)


async def test_a_second_consumer_ends_the_first(clock: ManualClock, transport: InProcessTransport) -> None:
    first = asyncio.ensure_future(transport.call(Call(TOKEN, "getUpdates", b'{"timeout": 30}')))
    await clock.advance(1)
    second = asyncio.ensure_future(transport.call(Call(TOKEN, "getUpdates", b'{"timeout": 1}')))
    await clock.advance(2)
    answer = first.result()
    assert isinstance(answer, Reply)
    assert answer.status == 409
    assert answer.payload is not None
    assert str(answer.payload["description"]).startswith("Conflict: terminated by other getUpdates request")
    assert isinstance(second.result(), Reply)
