"""A process whose memory is looked at: `python -m bench.resident STORE COUNT` delivers COUNT urgent messages."""

from __future__ import annotations

import asyncio
import json
import sys
from pathlib import Path

import uvloop

from kurir import Message, Priority

from .world import NoSender, make_kurir, params

BATCH = 500
FIRST_CHAT = 50_000_000  # none that something waits for


async def main(path: Path, count: int) -> None:
    async with make_kurir(path, courier=True, transport=NoSender()) as kurir:
        for start in range(0, count, BATCH):
            chats = range(FIRST_CHAT + start, FIRST_CHAT + start + BATCH)
            messages = [Message("sendMessage", params(chat), priority=Priority.CRITICAL) for chat in chats]
            receipts = await kurir.submit(messages)
            await asyncio.gather(*(receipt.delivered(30) for receipt in receipts))
        print(json.dumps({"peak": _status("VmHWM"), "resident": _status("VmRSS")}))


def _status(name: str) -> int:
    """Bytes, as /proc/self/status tells."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith(name):
            return int(line.split()[1]) * 1024
    raise LookupError(name)


if __name__ == "__main__":
    uvloop.run(main(Path(sys.argv[1]), int(sys.argv[2])))
