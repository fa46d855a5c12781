"""The processes that crash tests kill. `python -m tests.crash.programs courier|submitter ...`"""

from __future__ import annotations

import asyncio
import json
import resource
import signal
import sys
from pathlib import Path

from kurir import Kurir, Message, Settings, StoreFull
from kurir.core.events import Attempted, StoreBack, StoreTrouble

TOKEN = "123456:crash-test-token-crash-test-token"


def kurir(store: Path, url: str, *, courier: bool) -> Kurir:
    """One as the programs use it: limits off, so that much is in flight when the kill comes."""
    return Kurir(
        f"sqlite:///{store}",
        TOKEN,
        courier=courier,
        settings=Settings(telegram_url=url, log_level="error"),
        pace="off",
    )


async def courier(store: Path, url: str) -> None:
    """Send until killed, or told to stop."""
    stop = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set)
    async with kurir(store, url, courier=True):
        print("ready", flush=True)
        await stop.wait()


def mark(n: int, chats: int) -> tuple[int, str]:
    """Chat and text of message `n`."""
    return 1000 + n % chats, f"m{n}"


async def submitter(store: Path, url: str, log: Path, total: int, chats: int, rate: float, own: bool) -> None:
    """Hand over messages `0 .. total`, writing down each that was accepted; go on behind the last one written down. One that
    was accepted but not written down is handed over again, with its key. `own`: with a courier of its own."""
    done = len(log.read_text().split()) if log.exists() else 0
    async with kurir(store, url, courier=own) as k:
        print("ready", flush=True)
        with log.open("a") as accepted:
            for n in range(done, total):
                chat, text = mark(n, chats)
                message = Message("sendMessage", {"chat_id": chat, "text": text}, idempotency_key=text)
                await k.submit(message)
                accepted.write(f"{n}\n")
                accepted.flush()
                await asyncio.sleep(1 / rate)
        if own:
            while any(bot.waiting for bot in (await k.stats()).bots):
                await asyncio.sleep(0.05)
    print("done", flush=True)


def _limit_files(size: int) -> None:
    """No file of this process may grow beyond `size` bytes: what a full disk does, without needing one."""
    _, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))


async def full_while_submitting(store: Path, url: str) -> None:
    """Hand over until the disk is full, go on refusing, then hand over again when there is room."""
    accepted, refused = [], []

    async def submit(k: Kurir, n: int) -> None:
        text = f"m{n}"
        try:
            await k.send_text(1000 + n % 10, text + "x" * 2000)
        except StoreFull as error:
            refused.append((text, error.remedy))
        else:
            accepted.append(text)

    async with kurir(store, url, courier=False) as k:
        _limit_files(600_000)
        for start in range(0, 1000, 50):
            await asyncio.gather(*(submit(k, n) for n in range(start, start + 50)))
        full = len(refused)
        _limit_files(resource.RLIM_INFINITY)
        await asyncio.gather(*(submit(k, n) for n in range(1000, 1100)))
    async with kurir(store, url, courier=True) as k:
        while any(bot.waiting for bot in (await k.stats()).bots):
            await asyncio.sleep(0.05)
    print(json.dumps({"accepted": accepted, "refused": [r[0] for r in refused], "remedy": refused[0][1], "full": full}))


async def full_while_settling(store: Path, url: str) -> None:
    """The disk fills while messages are in flight: their results wait for room."""
    sending, trouble, back = asyncio.Event(), asyncio.Event(), asyncio.Event()
    async with kurir(store, url, courier=True) as k:
        k.listen(lambda event: sending.set() if isinstance(event, Attempted) else None)
        k.listen(lambda event: trouble.set() if isinstance(event, StoreTrouble) else None)
        k.listen(lambda event: back.set() if isinstance(event, StoreBack) else None)
        await k.submit([Message("sendMessage", {"chat_id": 1000 + n % 50, "text": f"m{n}"}) for n in range(500)])
        await sending.wait()
        _limit_files(4096)
        await trouble.wait()
        await asyncio.sleep(1.0)
        held = (await k.stats()).bots[0].delivered
        _limit_files(resource.RLIM_INFINITY)
        await back.wait()
        while any(bot.waiting for bot in (await k.stats()).bots):
            await asyncio.sleep(0.05)
        print(json.dumps({"delivered_while_full": held, "delivered": (await k.stats()).bots[0].delivered}))


def main() -> None:
    name, store, url, *rest = sys.argv[1:]
    programs = {"courier": courier, "full-submit": full_while_submitting, "full-settle": full_while_settling}
    if name in programs:
        asyncio.run(programs[name](Path(store), url))
    else:
        log, total, chats, rate, own = rest
        asyncio.run(submitter(Path(store), url, Path(log), int(total), int(chats), float(rate), own == "own"))


if __name__ == "__main__":
    main()
