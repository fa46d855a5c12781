"""Two stores are told apart by counts and checksums, and some of what differs is named."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from dataclasses import replace

from kurir.core.message import Priority, State
from kurir.core.rows import MessageRow, Section
from kurir.ports import Row
from kurir.services.comparing import SHOWN, Comparison, Digest, Rows, compare


def message(n: int) -> MessageRow:
    metadata = {"b": "2", "a": "1"}
    return MessageRow(
        n, f"m{n}", 1, "a", "sendMessage", b"{}", State.WAITING, Priority.NORMAL, n, 5.0, metadata=metadata
    )


MESSAGES = [message(n) for n in range(5000)]


def those(rows: Sequence[Row]) -> Rows:
    async def each() -> AsyncIterator[Row]:
        for row in rows:
            yield row

    return each


async def between(source: Sequence[Row], target: Sequence[Row]) -> Comparison:
    return await compare(Section.MESSAGES, those(source), those(target), lambda *_: None)


async def test_order_does_not_matter() -> None:
    assert (await between(MESSAGES, MESSAGES[::-1])).same


async def test_neither_does_the_order_of_metadata() -> None:
    swapped = [replace(row, metadata={"a": "1", "b": "2"}) for row in MESSAGES]
    assert (await between(MESSAGES, swapped)).same


async def test_what_differs_is_named() -> None:
    changed = [replace(row, reason="why") if row.seq == 7 else row for row in MESSAGES if row.seq != 9]
    found = await between(MESSAGES, [*changed, message(9999)])
    assert not found.same
    assert (found.source, found.target) == (5000, 5000)
    assert found.differing == (
        "message m7: not alike",
        "message m9: only in the source",
        "message m9999: only in the target",
    )


async def test_little_is_named_where_much_differs() -> None:
    found = await between(MESSAGES, [])
    assert (found.source, found.target) == (5000, 0)
    assert 1 <= len(found.differing) <= SHOWN


async def test_every_field_of_a_message_counts() -> None:
    plain = Digest()
    plain.add(MESSAGES[0])
    for changed in (
        replace(MESSAGES[0], params=b"[]"),
        replace(MESSAGES[0], digest=b"1"),
        replace(MESSAGES[0], later=True),
        replace(MESSAGES[0], token=3),
        replace(MESSAGES[0], pos=0.5),
    ):
        other = Digest()
        other.add(changed)
        assert other.hex() != plain.hex()
