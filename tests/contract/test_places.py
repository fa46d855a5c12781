"""Several handles on one place, as several processes have them."""

from __future__ import annotations

import asyncio

from kurir.core.message import Accepted

from .steps import BOT, T, draft
from .stores import Place


async def test_handles_that_open_a_new_place_at_once_all_succeed(place: Place) -> None:
    handles = [place() for _ in range(5)]
    await asyncio.gather(*(handle.open() for handle in handles))
    for n, handle in enumerate(handles):
        await handle.submit([draft(f"m{n}")], T)
    assert [(await handle.stats()).bots[0].waiting for handle in handles] == [5] * 5
    for handle in handles:
        await handle.close()


async def test_what_one_handle_does_the_others_see(place: Place) -> None:
    one, other = place(), place()
    await one.open()
    await other.open()
    await one.submit([draft("m")], T)
    [lease] = await other.lease("courier", [BOT], T + 60, T)
    assert [claim.id for claim in (await other.claim(lease, T, 10)).claims] == ["m"]
    assert (await one.claim(lease, T, 10)).claims == ()
    assert await one.lease("another", [BOT], T + 60, T) == []
    await one.close()
    await other.close()


async def test_handles_side_by_side_take_each_message_once(place: Place) -> None:
    """Order numbers, keys and claims are the place's, not a handle's."""
    handles = [place() for _ in range(3)]
    for handle in handles:
        await handle.open()

    async def hand_over(n: int) -> list[Accepted]:
        drafts = [draft(f"{n}-{i}", f"chat{i}", key=f"k{i}", digest=b"1") for i in range(20)]
        return await handles[n].submit(drafts, T)

    answers = await asyncio.gather(*(hand_over(n) for n in range(3)))
    assert len({accepted.seq for answer in answers for accepted in answer}) == 20
    assert sum(not accepted.duplicate for answer in answers for accepted in answer) == 20
    [lease] = await handles[0].lease("courier", [BOT], T + 60, T)
    claimed = await asyncio.gather(*(handle.claim(lease, T, 10) for handle in handles))
    ids = [claim.id for some in claimed for claim in some.claims]
    assert len(ids) == len(set(ids)) == 20
    for handle in handles:
        await handle.close()
