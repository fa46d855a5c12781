"""The Lua scripts: one a verb in `lua/`, each with the common parts that its first line needs put in front."""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass
from functools import cache
from importlib import resources

_NEEDS = re.compile(r"-- needs: ([\w ]+)\n")


@dataclass(frozen=True, slots=True)
class Script:
    """A script as the server runs it."""

    name: str
    source: str
    sha: str  # SHA-1 of the source, by which the server knows it


@cache
def script(name: str) -> Script:
    """The script `lua/<name>.lua`."""
    text = _read(name)
    needs = _NEEDS.match(text)
    parts = [_read(part) for part in needs[1].split()] if needs else []
    source = "\n".join([*parts, text])
    return Script(name, source, hashlib.sha1(source.encode(), usedforsecurity=False).hexdigest())


def _read(name: str) -> str:
    return resources.files(__package__).joinpath("lua", f"{name}.lua").read_text("utf8")
