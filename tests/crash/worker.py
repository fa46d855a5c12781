"""A worker for the tests that hurt its store: it hands over messages and sends them, both at once.

`python -m tests.crash.worker STORE TELEGRAM LOG FIRST STEP TOTAL RATE`: messages FIRST, FIRST + STEP, ... below TOTAL, RATE
a second, each written to LOG when it was accepted; a new run goes on behind the last one written down. SIGTERM ends the
handing over early; SIGUSR1 makes it tell what its tasks wait for. It ends by itself when nothing waits in the store.
"""

from __future__ import annotations

import asyncio
import signal
import sys
from pathlib import Path

from kurir import Kurir, Message, Settings, StoreError
from kurir.core.pace import Limits
from kurir.settings import make_bot

TOKENS = tuple(f"{bot}:crash-test-token-crash-test-token-00" for bot in range(101, 105))
CHATS = 100  # of all bots together
TRY_AGAIN = 0.1  # seconds, as an impatient application


def mark(n: int) -> tuple[int, int, str]:
    """Bot (as an index of TOKENS), chat and text of message `n`."""
    chat = n % CHATS
    return chat % len(TOKENS), 1000 + chat, f"m{n}"


def expected(numbers: list[int]) -> dict[int, list[str]]:
    """What should arrive, by chat, for messages handed over in this order."""
    texts: dict[int, list[str]] = {}
    for n in numbers:
        _, chat, text = mark(n)
        texts.setdefault(chat, []).append(text)
    return texts


def settings(telegram: str) -> Settings:
    """Limits off, so that much is in flight when trouble comes."""
    bots = tuple(make_bot(token.split(":")[0], token, Limits(on=False)) for token in TOKENS)
    return Settings(bots=bots, telegram_url=telegram, log_level="critical")


async def hand_over(kurir: Kurir, n: int) -> None:
    """Insist, with a key: whether it was accepted in spite of an error does not matter."""
    bot, chat, text = mark(n)
    message = Message(
        "sendMessage", {"chat_id": chat, "text": text}, bot=TOKENS[bot].split(":")[0], idempotency_key=text
    )
    while True:
        try:
            await kurir.submit(message)
        except StoreError:
            await asyncio.sleep(TRY_AGAIN)
        else:
            return


async def drained(kurir: Kurir) -> None:
    while True:
        try:
            if not any(bot.waiting for bot in (await kurir.stats()).bots):
                return
        except StoreError:
            pass
        await asyncio.sleep(0.1)


def tell() -> None:
    """What each task waits for, from the outside in."""
    for task in asyncio.all_tasks():
        frames, coro = [], task.get_coro()
        while coro is not None:
            if (frame := getattr(coro, "cr_frame", None)) is not None:
                frames.append(f"{Path(frame.f_code.co_filename).name}:{frame.f_lineno} {frame.f_code.co_name}")
            coro = getattr(coro, "cr_await", None)
        print(f"{task.get_name()}: {' > '.join(frames)}", file=sys.stderr, flush=True)


async def work(store: str, telegram: str, log: Path, numbers: range, rate: float) -> None:
    stop = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set)
    asyncio.get_running_loop().add_signal_handler(signal.SIGUSR1, tell)
    done = len(log.read_text().split()) if log.exists() else 0
    kurir = Kurir(store, settings=settings(telegram))
    await kurir.start(patient=True)
    try:
        print("ready", flush=True)
        with log.open("a") as accepted:
            for n in numbers[done:]:
                if stop.is_set():
                    break
                await hand_over(kurir, n)
                accepted.write(f"{n}\n")
                accepted.flush()
                await asyncio.sleep(1 / rate)
        await drained(kurir)
    finally:
        await kurir.close()


def main() -> None:
    store, telegram, log, first, step, total, rate = sys.argv[1:]
    asyncio.run(work(store, telegram, Path(log), range(int(first), int(total), int(step)), float(rate)))


if __name__ == "__main__":
    main()
