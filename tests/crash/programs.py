"""The processes that crash tests kill. `python -m tests.crash.programs courier|submitter ...`"""

from __future__ import annotations

import asyncio
import signal
import sys
from pathlib import Path

from kurir import Kurir, Message, Settings

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


def main() -> None:
    name, store, url, *rest = sys.argv[1:]
    if name == "courier":
        asyncio.run(courier(Path(store), url))
    else:
        log, total, chats, rate, own = rest
        asyncio.run(submitter(Path(store), url, Path(log), int(total), int(chats), float(rate), own == "own"))


if __name__ == "__main__":
    main()
