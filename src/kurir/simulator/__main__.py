"""`python -m kurir.simulator --port 8081`: the simulator on its own."""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import random
import sys

from .faults import Faults
from .limits import Limits
from .server import run


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m kurir.simulator", description=__doc__)
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=8081)
    parser.add_argument("--token", action="append", default=[], help="a bot; without any, every token is one")
    parser.add_argument("--no-limits", action="store_true", help="never answer 429")
    parser.add_argument("--hold", action="store_true", help="hold short floods up to 8 s, as Telegram does")
    parser.add_argument("--loss", type=float, default=0.0, metavar="SHARE", help="lose this share of all calls")
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    limits = Limits.none() if given.no_limits else Limits(hold=given.hold)
    faults = Faults.lossy(given.loss, rng=random.Random(given.seed)) if given.loss else None
    serving = run(
        given.host,
        given.port,
        tokens=given.token,
        limits=limits,
        faults=faults,
        seed=given.seed,
        ready=lambda url: print(f"Telegram, simulated: {url}", file=sys.stderr, flush=True),
    )
    with contextlib.suppress(KeyboardInterrupt):
        asyncio.run(serving)


if __name__ == "__main__":
    main()
