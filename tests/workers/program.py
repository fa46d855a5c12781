"""A worker as these tests start it: `python -m tests.workers.program SKEW STORE TELEGRAM PACE BOT...`.

SKEW: seconds by which this process' machine is ahead: whoever asks it for the time of day is told wrongly. It says in JSON
lines what happens to it.
"""

import sys
import time

_true, _skew = time.time, float(sys.argv[1])
time.time = lambda: _true() + _skew  # before anybody takes hold of it

import asyncio  # noqa: E402
import json  # noqa: E402
import signal  # noqa: E402
from collections.abc import Sequence  # noqa: E402

import uvloop  # noqa: E402

from kurir import Kurir, Settings  # noqa: E402
from kurir.app import Parts  # noqa: E402
from kurir.core.events import Crashed, Event, Fenced, Leased, Recovered, StoreTrouble, Unleased  # noqa: E402
from kurir.core.pace import Limits  # noqa: E402
from kurir.settings import make_bot, pace  # noqa: E402


def say(what: str, **more: object) -> None:
    print(json.dumps({"what": what, "at": _true(), **more}), flush=True)


def tell(event: Event) -> None:
    match event:
        case Leased(bot):
            say("leased", bot=bot)
        case Unleased(bot, why):
            say("unleased", bot=bot, why=why)
        case Fenced(claim):
            say("fenced", id=claim.id)
        case Recovered(bot, claims):
            say("recovered", bot=bot, claims=claims)
        case StoreTrouble(step, error):
            say("trouble", step=step, error=error)
        case Crashed(loop, error):
            say("crashed", loop=loop, error=error)
        case _:
            pass


async def work(store: str, telegram: str, limits: Limits, tokens: Sequence[str]) -> None:
    stop = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set)
    bots = tuple(make_bot(token.split(":")[0], token, limits) for token in tokens)
    settings = Settings(store=store, bots=bots, telegram_url=telegram, log_level="error")
    async with Kurir(settings=settings, parts=Parts(listeners=(tell,))):
        say("ready")
        await stop.wait()
    say("ended")


def main() -> None:
    store, telegram, limits, *tokens = sys.argv[2:]
    uvloop.run(work(store, telegram, pace(json.loads(limits), Limits(), "pace"), tokens))


if __name__ == "__main__":
    main()
