"""Each case runs in a process of its own, so that none inherits another's memory."""

from __future__ import annotations

import multiprocessing
import signal
import sys
import traceback
from dataclasses import replace
from multiprocessing.connection import Connection

from .cases import CASES
from .report import Figure
from .world import Run


def apart(name: str, run: Run) -> list[Figure] | None:
    """Run a case in a fresh process; `run.say` hears how far it is. None: it crashed."""
    context = multiprocessing.get_context("spawn")
    mine, theirs = context.Pipe(duplex=False)
    process = context.Process(target=_work, args=(name, replace(run, say=_mute), theirs), name=f"bench-{name}")
    process.start()
    theirs.close()
    figures: list[Figure] | None = None
    try:
        while True:
            told = mine.recv()
            if isinstance(told, str):
                run.say(told)
            else:
                figures = told
    except EOFError:
        process.join()
    finally:
        process.terminate()
    return figures


def _mute(_: str) -> None:
    """What a run says before it has somebody to tell."""


def _work(name: str, run: Run, pipe: Connection) -> None:
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))  # its servers end with it
    try:
        pipe.send(CASES[name](replace(run, say=pipe.send)))
    except Exception:
        traceback.print_exc()
        raise SystemExit(1) from None
    finally:
        pipe.close()
